"""TSSA's presets against the published values, and its training runs: seeds, stop and resume."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import OicSettings, settings_from_json, settings_to_json
from models.errors import Cancelled
from models.heads.registry import HEADS, PRESETS
from models.heads.tssa import TssaSettings
from models.localize.oic import outer_inner_contrast
from models.recipe import FeatureRecipe
from models.synthetic.planted import PlantedSettings, PlantedWorld
from models.training.run import RunOptions
from models.training.tags import TaggedDataset
from models.training.train import train_head


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_published_presets_hold_the_published_values():
    thumos, activitynet = PRESETS["tssa"]["thumos14"], PRESETS["tssa"]["activitynet1.3"]
    rows = [  # value, THUMOS14, ActivityNet 1.3
        (lambda p: p.training.optimizer, "adam", "adam"),
        (lambda p: p.training.learning_rate, 1e-4, 1e-4),
        (lambda p: (p.training.beta1, p.training.beta2), (0.9, 0.999), (0.9, 0.999)),
        (lambda p: p.training.weight_decay, 5e-5, 1e-3),
        (lambda p: p.training.batch_size, 16, 32),
        (lambda p: p.training.epochs, 100, 100),
        (lambda p: p.training.num_snippets, 750, 75),
        (lambda p: p.training.sampling, "perturb_short", "perturb_short"),
        (lambda p: p.training.standardize, False, False),
        (lambda p: p.training.accumulate, 1, 1),
        (lambda p: len(p.stages), 1, 1),
        (lambda p: p.head.width, 0, 0),
        (lambda p: (p.head.residual, p.head.kernel), (True, 3), (True, 3)),
        (lambda p: p.head.dropout, 0.5, 0.5),
        (lambda p: p.head.input_dropout, 0.0, 0.5),
        (lambda p: p.head.classifiers, "separate", "separate"),
        (lambda p: p.head.foreground_divisor, 8, 8),
        (lambda p: (p.head.context_divisor, p.head.background_divisor), (2, 2), (2, 2)),
        (lambda p: p.head.multiple_instance_share, 0.5, 0.5),
        (lambda p: p.head.sequence, "attended_softmax", "attended_softmax"),
        (lambda p: p.head.empty_is_background, False, False),
        (lambda p: (p.head.context_weight, p.head.background_weight), (0.1, 0.1), (0.1, 0.1)),
        (lambda p: (p.head.pull_weight, p.head.guide_weight), (0.05, 0.002), (0.05, 0.002)),
        (lambda p: (p.head.pull_quiet, p.head.pull_ramp), (0.1, 0.1), (0.1, 0.1)),
        (lambda p: (p.head.guide, p.head.guide_detached), ("sum", True), ("sum", True)),
        (lambda p: p.head.dictionary_init, "class_means", "class_means"),
        (lambda p: p.head.restrict_to_labels, False, False),
        (lambda p: p.inference.sampling, "uniform_short", "uniform_short"),
        (lambda p: p.inference.num_snippets, 750, 75),
        (lambda p: p.proposals.class_threshold, 0.1, 0.1),
        (lambda p: p.proposals.allow_empty, False, False),
        (lambda p: p.proposals.upsample, 20, 20),
        (lambda p: p.proposals.align, "start", "start"),
        (lambda p: p.proposals.oic.margin_ratio, 0.2, 0.2),
        (lambda p: p.proposals.oic.class_bonus, 0.2, 0.2),
        (lambda p: p.proposals.oic.nominal_margin, False, False),
        (lambda p: p.proposals.oic.min_length, 1, 1),
        (lambda p: p.proposals.nms.kind, "hard", "hard"),
        (lambda p: p.proposals.nms.threshold, 0.5, 0.5),
        (lambda p: p.proposals.nms.plus_one, True, True),
        (lambda p: p.proposals.nms.plus_unit, "seconds", "seconds"),
    ]
    for place, (value, for_thumos, for_activitynet) in enumerate(rows):
        assert value(thumos) == for_thumos, place
        assert value(activitynet) == for_activitynet, place
    assert thumos.proposals.thresholds == pytest.approx(np.linspace(0.1, 0.9, 33))
    assert activitynet.proposals.thresholds == pytest.approx([0.005, 0.01, 0.015, 0.02, 0.025])


def test_small_is_native_and_without_published_quirks():
    small = PRESETS["tssa"]["small"]
    assert isinstance(small.head, TssaSettings)
    assert 0 < small.head.width <= 256
    assert small.training.sampling == "crop"
    assert small.training.num_snippets == small.inference.window_snippets == 64
    assert small.inference.overlap_snippets == 32
    assert small.training.num_steps(100) <= 400
    assert small.proposals.allow_empty
    assert small.proposals.align == "center"
    assert not small.proposals.nms.plus_one
    for preset in PRESETS["tssa"].values():
        assert settings_from_json(TssaSettings, settings_to_json(preset.head)) == preset.head


def test_margins_are_divided_by_what_is_there_or_by_their_full_width():
    values = np.array([0.9] * 10 + [0.2] * 10)
    runs, scores = np.array([[0, 10]]), np.array([0.5])
    oic = PRESETS["tssa"]["thumos14"].proposals.oic
    # Inside 0.9; two samples of 0.2 after the run, none before it; 0.2 * 0.5 on top.
    assert outer_inner_contrast(values, runs, scores, oic) == pytest.approx([0.9 - 0.2 + 0.1])
    nominal = replace(oic, nominal_margin=True)
    assert isinstance(nominal, OicSettings)
    assert outer_inner_contrast(values, runs, scores, nominal) == pytest.approx([0.9 - 0.1 + 0.1])


def planted(count=14):
    settings = PlantedSettings(num_classes=3, stream_width=6, max_snippets=90)
    videos = PlantedWorld(settings, 5).videos(count)
    return TaggedDataset(
        tuple(f"v{index}" for index in range(count)),
        [one.features for one in videos],
        np.stack([one.labels for one in videos]),
        ("a", "b", "c"),
        FeatureRecipe(name="planted", stream_width=6),
    )


def short_preset(steps=12, **head):
    small = PRESETS["tssa"]["small"]
    assert isinstance(small.head, TssaSettings)
    return replace(
        small,
        head=replace(small.head, width=8, **head),
        stages=(replace(small.training, steps=steps, batch_size=4, log_every=3),),
    )


@pytest.mark.parametrize("init", ["class_means", "uniform"])
def test_a_stopped_and_resumed_run_ends_like_an_unbroken_one(tmp_path, init):
    dataset, preset = planted(), short_preset(dictionary_init=init)
    whole = train_head(dataset, "tssa", preset, 2)
    asked = []

    def halfway():
        asked.append(None)
        return len(asked) == 6

    options = RunOptions(folder=tmp_path, should_stop=halfway, holdout=0.0)
    with pytest.raises(Cancelled):
        train_head(dataset, "tssa", preset, 2, run=options)
    resumed = train_head(
        dataset, "tssa", preset, 2, run=RunOptions(folder=tmp_path, resume=True, holdout=0.0)
    )
    again, other = whole.head.state_dict(), resumed.head.state_dict()
    assert "dictionary.centroids" in again
    assert all(torch.equal(again[name], other[name]) for name in again)
    assert {"loss_pull", "loss_guide", "loss_largest_class"} <= set(resumed.log[-1])


def test_the_seed_decides_and_the_special_loss_changes_the_weights():
    dataset = planted()
    states = [
        train_head(dataset, "tssa", short_preset(**options), seed).head.state_dict()
        for seed, options in [(1, {}), (1, {}), (2, {}), (1, dict(HEADS["tssa"].plain))]
    ]
    name = "embedding.convolved.conv.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])
    assert not torch.equal(states[0][name], states[3][name])
