"""Runs: the same weights after a kill, the checkpoint that held-out tags choose, nothing leaks."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import Preset, TrainingSettings
from models.errors import Cancelled, TrainingDataInvalid
from models.heads.aicl import AiclSettings
from models.heads.registry import PRESETS
from models.recipe import FeatureRecipe
from models.synthetic.planted import PlantedSettings, PlantedWorld
from models.training.checkpoint import CHECKPOINT_NAME
from models.training.holdout import HeldOutScore, split_holdout
from models.training.sampling import redrawn_positions
from models.training.tags import TaggedDataset
from models.training.train import RunOptions, train_head

SETTINGS = PlantedSettings(num_classes=3, stream_width=8, min_snippets=45, max_snippets=60)


def planted(count=12, seed=0):
    videos = PlantedWorld(SETTINGS, seed).videos(count)
    return TaggedDataset(
        ids=tuple(f"v{index}" for index in range(count)),
        features=[one.features for one in videos],
        labels=np.stack([one.labels for one in videos]),
        classes=("a", "b", "c"),
        recipe=FeatureRecipe(name="planted", stream_width=SETTINGS.stream_width),
    )


def preset(steps=(20,)) -> Preset:
    small = PRESETS["aicl"]["small"]
    assert isinstance(small.head, AiclSettings)
    stages = tuple(
        replace(small.training, stage=f"s{index}", steps=count, batch_size=4, log_every=5)
        for index, count in enumerate(steps)
    )
    return replace(small, head=replace(small.head, width=8), stages=stages)


def state_of(trained):
    return {name: value.numpy() for name, value in trained.head.state_dict().items()}


def same(one, other):
    return all(np.array_equal(value, other[name]) for name, value in one.items())


class StopAfter:
    """Answers True once, after so many questions."""

    def __init__(self, questions):
        self.left = questions

    def __call__(self):
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize("stop_at", [1, 7, 20, 26, 33])
def test_a_stopped_and_resumed_run_ends_with_the_same_weights_and_log(tmp_path, stop_at):
    data, settings = planted(), preset((20, 14))
    whole = train_head(data, "aicl", settings, 3, run=RunOptions(holdout=0.2))
    options = RunOptions(holdout=0.2, folder=tmp_path, resume=True)
    with pytest.raises(Cancelled):
        train_head(data, "aicl", settings, 3, run=replace(options, should_stop=StopAfter(stop_at)))
    assert (tmp_path / CHECKPOINT_NAME).is_file()
    resumed = train_head(data, "aicl", settings, 3, run=options)
    assert same(state_of(whole), state_of(resumed))
    assert resumed.chosen_step == whole.chosen_step
    assert resumed.held_out == whole.held_out
    without_time = [{k: v for k, v in r.items() if k != "seconds"} for r in resumed.log]
    assert without_time == [{k: v for k, v in r.items() if k != "seconds"} for r in whole.log]
    assert not (tmp_path / CHECKPOINT_NAME).exists()


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    data, settings = planted(), preset()
    options = RunOptions(folder=tmp_path, resume=True)
    with pytest.raises(Cancelled):
        train_head(data, "aicl", settings, 3, run=replace(options, should_stop=StopAfter(4)))
    for other in (
        lambda: train_head(data, "aicl", settings, 4, run=options),
        lambda: train_head(planted(seed=1), "aicl", settings, 3, run=options),
        lambda: train_head(data, "aicl", preset((21,)), 3, run=options),
    ):
        with pytest.raises(TrainingDataInvalid, match="belongs to a run with other data"):
            other()


@pytest.mark.parametrize("content", [b"", b"short", bytes(64), b"\xff" * 4096])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    (tmp_path / CHECKPOINT_NAME).write_bytes(content)
    with pytest.raises(TrainingDataInvalid, match="damaged"):
        train_head(planted(), "aicl", preset(), 3, run=RunOptions(folder=tmp_path, resume=True))


def test_without_resume_an_old_checkpoint_is_ignored(tmp_path):
    (tmp_path / CHECKPOINT_NAME).write_bytes(b"from another life")
    got = train_head(planted(), "aicl", preset(), 3, run=RunOptions(folder=tmp_path))
    assert same(state_of(got), state_of(train_head(planted(), "aicl", preset(), 3)))


def test_held_out_videos_never_enter_training():
    data = planted()
    options = RunOptions(holdout=0.25)
    one = train_head(data, "aicl", preset(), 3, run=options)
    assert len(one.held_out_videos) == 3
    assert one.held_out is not None
    assert 10 <= one.chosen_step <= 20
    noisy = [values.copy() for values in data.features]
    for index in one.held_out_videos:
        noisy[index] += 3 * np.random.default_rng(1).standard_normal(noisy[index].shape, np.float32)
    other = train_head(replace(data, features=noisy), "aicl", preset(), 3, run=options)
    assert np.array_equal(one.standardize_mean, other.standardize_mean)
    losses = [[r["loss"] for r in x.log if "loss" in r] for x in (one, other)]
    assert losses[0] == losses[1]


def test_the_best_checkpoint_on_held_out_tags_is_returned():
    data = planted(20)
    got = train_head(data, "aicl", preset((60,)), 0, run=RunOptions(holdout=0.3))
    seen = [
        (r["held_out_video_map"], -r["held_out_log_loss"], r["step"])
        for r in got.log
        if "held_out_video_map" in r
    ]
    assert len(seen) == 10
    best = max(seen, key=lambda one: (one[0], one[1]))
    assert got.chosen_step == best[2]
    assert got.held_out == HeldOutScore(best[0], -best[1])


def test_each_class_keeps_two_training_videos():
    rng = np.random.default_rng(0)
    labels = np.zeros((10, 3), np.bool_)
    labels[:3, 0] = labels[2:6, 1] = labels[5:7, 2] = True
    for share in (0.1, 0.5, 0.9):
        training, held = split_holdout(labels, share, rng)
        assert sorted([*training, *held]) == list(range(10))
        assert (labels[training].sum(axis=0) >= 2).all()
        assert len(held) <= round(share * 10)
    training, held = split_holdout(labels[:, 2:], 0.5, rng)
    assert not labels[held, 2].any()


def test_videos_that_could_rank_nothing_are_not_held_out():
    rng = np.random.default_rng(0)
    labels = np.zeros((10, 1), np.bool_)
    labels[:5] = True
    training, held = split_holdout(labels, 0.1, rng)  # one video ranks nothing
    assert len(training) == 10
    assert len(held) == 0
    training, held = split_holdout(labels, 0.2, rng)
    assert labels[held].sum() == 1
    assert len(training) == 8


def test_epochs_become_steps():
    settings = TrainingSettings(epochs=900, batch_size=16)
    assert settings.num_steps(200) == 11_700  # 13 steps each, as printed for 200 videos
    assert TrainingSettings(epochs=180, batch_size=1, accumulate=10).num_steps(200) == 3_600
    assert TrainingSettings(steps=7).num_steps(200) == 7


def test_accumulated_batches_sum_their_gradients():
    # Full videos of one at a time, summed, move the weights as one padded batch of the same
    # videos does: SGD of a mean over eight is an eighth of the sum's.
    data, base = planted(8), preset()
    stage = replace(
        base.training, steps=1, sampling="full", optimizer="sgd", momentum=0.0, learning_rate=0.1
    )
    assert isinstance(base.head, AiclSettings)
    plain = replace(base.head, input_dropout=0.0, contrast_weight=0.0, modality_weight=0.0)
    plain = replace(plain, actionness_weight=0.0, action_weight=0.0, video_loss="softmax_ce")
    together = replace(base, head=plain, stages=(replace(stage, batch_size=8),))
    summed = replace(
        base,
        head=plain,
        stages=(replace(stage, batch_size=1, accumulate=8, learning_rate=0.0125),),
    )
    one = state_of(train_head(data, "aicl", together, 0))
    other = state_of(train_head(data, "aicl", summed, 0))
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], atol=1e-6, err_msg=name)


def test_the_learning_rate_is_divided_by_ten():
    data, base = planted(8), preset()
    stage = replace(base.training, steps=3, optimizer="sgd", decay_every=1, learning_rate=1e-3)
    seen = train_head(data, "aicl", replace(base, stages=(stage,)), 0)
    other = replace(stage, decay_every=0)
    assert not same(
        state_of(seen), state_of(train_head(data, "aicl", replace(base, stages=(other,)), 0))
    )


def test_short_videos_are_drawn_from_freely():
    rng = np.random.default_rng(0)
    short = redrawn_positions(5, 40, rng)
    assert (np.diff(short) >= 0).all()
    assert set(short.tolist()) == set(range(5))
    assert redrawn_positions(7, 7, rng).tolist() == list(range(7))
    assert len(redrawn_positions(100, 7, rng)) == 7


def test_the_card_says_how_the_checkpoint_was_chosen():
    trained = train_head(planted(), "aicl", preset(), 3, run=RunOptions(holdout=0.25))
    training = trained.card("m", "1").training
    assert training["chosen_by"] == "held-out tags"
    assert training["num_held_out_videos"] == 3
    assert training["num_videos"] == 9
    json.dumps(trained.card("m", "1").to_json())
    torch.manual_seed(0)
