"""Training on planted features: it learns what is there, and nothing where nothing is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.errors import ContractViolation, RecipeMismatch, TrainingDataInvalid
from models.evaluation.activitynet import Detection, GroundTruth, mean_average_precision
from models.heads.aicl import AiclSettings
from models.heads.registry import PRESETS
from models.localize.segments import localize_activations
from models.prediction import predict
from models.recipe import FeatureRecipe
from models.training.sampling import (
    VideoOrder,
    cropped_positions,
    padded_batch,
    perturbed_positions,
)
from models.training.tags import TaggedDataset
from models.training.train import train_head
from models.types import FeatureSet

STREAM_WIDTH = 64
CLASSES = tuple(f"action{index}" for index in range(5))
RECIPE = FeatureRecipe(name="planted", stream_width=STREAM_WIDTH)
SNIPPET_SECONDS = 0.64


def prototype(rng):
    """One unit vector per stream, side by side, scaled so that noise of 0.5 does not drown it."""
    halves = rng.standard_normal((2, STREAM_WIDTH))
    return np.concatenate([half / np.linalg.norm(half) for half in halves]) * STREAM_WIDTH**0.5 / 4


class PlantedWorld:
    """Videos of prototypes in noise. Every instance is known, so localization can be scored."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.actions = [prototype(self.rng) for _ in CLASSES]
        self.backgrounds = [prototype(self.rng) for _ in range(4)]

    def draw(self):
        """Return float32[T, D], bool[C] and (class, start, end) in snippets."""
        rng = self.rng
        length = int(rng.integers(60, 250))
        context = (self.backgrounds[rng.integers(4)] + prototype(rng)) / 2
        clean = np.tile(context, (length, 1))
        labels = rng.choice(len(CLASSES), rng.integers(1, 3), replace=False)
        instances, place = [], int(rng.integers(3, 15))
        while place < length - 25:
            action, size = int(rng.choice(labels)), int(rng.integers(3, 21))
            clean[place : place + size] = self.actions[action]
            instances.append((action, place, place + size))
            place += size + int(rng.integers(6, 25))
        noisy = np.maximum(0, clean + 0.5 * rng.standard_normal(clean.shape))
        tags = np.zeros(len(CLASSES), np.bool_)
        tags[[one[0] for one in instances]] = True
        return noisy.astype(np.float32), tags, instances

    def draw_complete(self, count):
        """Return videos in which each class is in some and missing in some."""
        while True:
            videos = [self.draw() for _ in range(count)]
            counts = sum(tags.astype(int) for _, tags, _ in videos)
            if counts.min() > 0 and counts.max() < count:
                return videos


def dataset_of(videos, labels=None):
    stacked = np.stack([tags for _, tags, _ in videos]) if labels is None else labels
    names = tuple(f"v{index}" for index in range(len(videos)))
    return TaggedDataset(names, [values for values, _, _ in videos], stacked, CLASSES, RECIPE)


def feature_set(values, recipe=RECIPE):
    duration = len(values) * SNIPPET_SECONDS
    return FeatureSet(values, recipe.grid(duration).snippet_seconds(), recipe.digest, duration)


def map_at_half(trained, videos):
    truths, found = [], []
    for index, (values, _, instances) in enumerate(videos):
        features = feature_set(values)
        grid = RECIPE.grid(features.duration_seconds)
        truths += [
            GroundTruth(str(index), CLASSES[c], a * SNIPPET_SECONDS, b * SNIPPET_SECONDS)
            for c, a, b in instances
        ]
        activations = predict(trained, features)
        found += [
            Detection(
                str(index), CLASSES[p.class_index], p.start_seconds, p.end_seconds, p.raw_score
            )
            for p in localize_activations(activations, grid, trained.settings.proposals)
        ]
    return mean_average_precision(found, truths, (0.5,)).map_at(0.5)


def preset(steps, **head):
    small = PRESETS["aicl"]["small"]
    assert isinstance(small.head, AiclSettings)
    return replace(
        small,
        head=replace(small.head, width=64, **head),
        stages=(replace(small.training, steps=steps, num_snippets=128, log_every=50),),
        inference=replace(small.inference, window_snippets=128, overlap_snippets=64),
    )


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_aicl_finds_planted_actions_and_shuffled_tags_find_nothing():
    world = PlantedWorld()
    train, test = [world.draw() for _ in range(60)], [world.draw() for _ in range(20)]
    trained = train_head(dataset_of(train), "aicl", preset(100), seed=0)
    assert map_at_half(trained, test) > 0.8
    tags = np.stack([one[1] for one in train])
    shuffled = dataset_of(train, tags[np.random.default_rng(1).permutation(len(tags))])
    fooled = train_head(shuffled, "aicl", preset(60, contrast_weight=0.0), seed=0)
    assert map_at_half(fooled, test) < 0.1


@pytest.mark.usefixtures("one_thread")
def test_the_same_seed_gives_the_same_head_and_leaves_global_state_alone():
    world = PlantedWorld(1)
    dataset = dataset_of(world.draw_complete(12))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    records = []
    heads = [
        train_head(dataset, "aicl", preset(4), seed, on_log=records.append) for seed in (3, 3, 4)
    ]
    assert torch.equal(torch.rand(3), expected)
    states = [one.head.state_dict() for one in heads]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])
    assert [record["step"] for record in records] == [4.0, 4.0, 4.0]
    assert {"loss", "loss_video", "loss_contrast", "seconds"} <= set(records[0])
    assert heads[0].log == records[:1]
    assert not heads[0].head.training


def test_statistics_standardise_the_training_features():
    world = PlantedWorld(2)
    videos = world.draw_complete(12)
    for values, _, _ in videos:
        values[:, 5] = 2.0  # a dead feature is centred and never divided by zero
    trained = train_head(dataset_of(videos), "aicl", preset(1), seed=0)
    together = np.concatenate([values for values, _, _ in videos])
    assert trained.standardize_mean == pytest.approx(together.mean(axis=0), abs=1e-4)
    live = np.arange(together.shape[1]) != 5
    assert trained.standardize_std[live] == pytest.approx(together.std(axis=0)[live], rel=1e-3)
    assert trained.standardize_std[5] == 1.0


def test_faithful_sampling_stretches_and_raw_features_stay_raw():
    world = PlantedWorld(3)
    videos = world.draw_complete(8)
    published = PRESETS["aicl"]["thumos14"]
    assert isinstance(published.head, AiclSettings)
    quick = replace(
        published,
        head=replace(published.head, width=8),
        stages=(replace(published.training, steps=2, num_snippets=40),),
        inference=replace(published.inference, num_snippets=90),
    )
    trained = train_head(dataset_of(videos), "aicl", quick, seed=1)
    assert trained.standardize_mean.tolist() == [0.0] * 2 * STREAM_WIDTH
    features = feature_set(videos[0][0])
    activations = predict(trained, features)
    assert len(activations.localization) == 90
    grid = RECIPE.grid(features.duration_seconds)
    forced = localize_activations(activations, grid, quick.proposals)
    assert forced
    assert max(one.end_seconds for one in forced) <= features.duration_seconds


def test_long_videos_are_seen_in_windows_of_the_trained_length():
    world = PlantedWorld(4)
    videos = world.draw_complete(8)
    trained = train_head(dataset_of(videos), "aicl", preset(1), seed=0)
    rng = np.random.default_rng(0)
    long = rng.random((300, 2 * STREAM_WIDTH)).astype(np.float32)
    activations = predict(trained, feature_set(long))
    assert activations.localization.shape == (300, len(CLASSES))
    assert activations.window_scores is not None
    assert predict(trained, feature_set(long[:128])).window_scores is None
    # Before the first overlap nothing differs from seeing the first window alone.
    alone = predict(trained, feature_set(long[:128])).localization
    assert activations.localization[:64] == pytest.approx(alone[:64], abs=1e-6)


def test_foreign_or_broken_features_are_refused():
    world = PlantedWorld(5)
    videos = world.draw_complete(8)
    trained = train_head(dataset_of(videos), "aicl", preset(1), seed=0)
    values = videos[0][0]
    other = FeatureRecipe(name="other", stream_width=STREAM_WIDTH, fps=12.5)
    with pytest.raises(RecipeMismatch, match="trained on planted"):
        predict(trained, feature_set(values, other))
    with pytest.raises(ContractViolation):
        predict(trained, replace(feature_set(values), values=values[:, :7]))
    with pytest.raises(ContractViolation, match="not finite"):
        predict(trained, replace(feature_set(values), values=values * np.nan))


def test_untrainable_heads_and_streams_and_divergence_are_refused():
    world = PlantedWorld(6)
    videos = world.draw_complete(8)
    dataset = dataset_of(videos)
    with pytest.raises(TypeError, match="KineticsSettings"):
        train_head(dataset, "kinetics", preset(1), seed=0)
    only_flow = replace(dataset.recipe, streams=("flow",), stream_width=2 * STREAM_WIDTH)
    with pytest.raises(RecipeMismatch, match="rgb"):
        train_head(replace(dataset, recipe=only_flow), "aicl", preset(1), seed=0)
    wild = preset(20)
    wild = replace(wild, stages=(replace(wild.training, learning_rate=1e30),))
    with pytest.raises(TrainingDataInvalid, match="diverged at step"):
        train_head(dataset, "aicl", wild, seed=0)


def test_perturbed_positions_follow_the_published_rule():
    rng = np.random.default_rng(0)
    for length, samples in [(3, 10), (100, 10), (10, 10), (1, 5), (241, 750)]:
        bases = [i * length // samples for i in range(samples)]
        seen = np.stack([perturbed_positions(length, samples, rng) for _ in range(200)])
        for i in range(samples):
            low = bases[i]
            high = bases[i + 1] if i + 1 < samples else length - 1
            assert seen[:, i].min() >= low
            assert seen[:, i].max() <= max(low, high)
    wide = np.stack([perturbed_positions(100, 10, rng) for _ in range(500)])
    assert set(wide[:, 0]) == set(range(11))  # both ends of the first stretch are drawn


def test_crops_are_contiguous_and_reach_both_ends():
    rng = np.random.default_rng(0)
    crops = [cropped_positions(12, 8, rng) for _ in range(100)]
    assert all(np.diff(one).tolist() == [1] * 7 for one in crops)
    assert {int(one[0]) for one in crops} == {0, 1, 2, 3, 4}
    assert cropped_positions(5, 8, rng).tolist() == [0, 1, 2, 3, 4]


def test_each_epoch_sees_every_video_once_and_batches_are_full():
    order = VideoOrder(10, 4, np.random.default_rng(0))
    drawn = np.concatenate([order.take() for _ in range(5)])
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert len(VideoOrder(3, 16, np.random.default_rng(0)).take()) == 3


def test_padding_is_zero_and_masked():
    batch = padded_batch(
        [np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)],
        np.zeros((2, 1), np.float32),
        np.arange(2),
    )
    assert batch.mask.sum(axis=1).tolist() == [2, 4]
    assert batch.features[~batch.mask].sum() == 0
