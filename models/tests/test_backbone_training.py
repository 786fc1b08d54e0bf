"""Training of a narrow backbone: it learns, repeats itself, and its views keep flow's meaning."""

import dataclasses

import numpy as np
import pytest
import torch

from models.errors import TrainingDataInvalid, WeightsInvalid
from models.training import backbone
from models.training.backbone import BackboneTrainingSettings, classify_clips, train_backbone
from models.training.clip_augmentation import (
    AugmentationSettings,
    View,
    batch_of,
    colour_matrix,
    cut_view,
    flow_batch,
    rgb_batch,
)

QUIET = AugmentationSettings(
    zoom_share=0, mirror_share=0, colour_share=0, grey_share=0, invert_share=0, noise=0,
    camera_share=0, flow_gain=0, flow_noise_px=0,
)  # fmt: skip
TINY = BackboneTrainingSettings(
    stream="flow", num_classes=2, width=0.0625, num_frames=8, crop_px=32, epochs=8, batch_size=8,
    bf16=False, dropout=0.0, num_threads=1, seed=3,
)  # fmt: skip


def _moving_clips(count):
    """Clips that move sideways (0) or up and down (1), either way."""
    rng = np.random.default_rng(0)
    labels = np.arange(count, dtype=np.int64) % 2
    levels = rng.integers(124, 133, (count, 10, 36, 40, 2)).astype(np.uint8)
    signs = rng.choice([-40, 40], count)
    for clip, label, sign in zip(levels, labels, signs, strict=True):
        clip[:, 8:28, 8:30, label] = 128 + sign
    return levels, labels


def test_training_learns_repeats_and_reports():
    clips, labels = _moving_clips(32)
    before = torch.random.get_rng_state()
    entries = []
    state, log = train_backbone(clips, labels, TINY, entries.append)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert entries == log
    assert [entry["epoch"] for entry in log] == list(range(1, 9))
    assert log[-1]["loss"] < 0.6 * log[0]["loss"]
    assert (classify_clips(clips, state, TINY) == labels).mean() > 0.9
    again, _ = train_backbone(clips, labels, TINY)
    assert all(torch.equal(state[name], again[name]) for name in state)
    other, _ = train_backbone(clips, labels, dataclasses.replace(TINY, seed=4, epochs=1))
    assert not torch.equal(other["logits.conv3d.weight"], state["logits.conv3d.weight"])


def test_bf16_gradients_come_from_written_memory_only():
    # Freed memory full of NaN shows a kernel that reads what nobody wrote.
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (8, 16, 112, 112, 2), dtype=np.uint8)
    labels = np.arange(8, dtype=np.int64) % 2
    settings = dataclasses.replace(
        TINY, width=0.25, num_frames=16, crop_px=112, bf16=True, augmentation=QUIET
    )
    with backbone._seeded(settings):
        network = backbone._build_network(settings)
        x, y = next(backbone._training_batches(clips, labels, settings, rng))
        gradients = []
        for _ in range(2):
            del [torch.full((size,), float("nan")) for size in (10**4, 10**5, 10**6)][:]
            network.zero_grad()
            logits = backbone._forward(network, x, bf16=True)
            torch.autograd.backward(torch.nn.functional.cross_entropy(logits, y))
            gradients.append(
                {name: value.grad.clone() for name, value in network.named_parameters()}
            )
    for name, gradient in gradients[0].items():
        assert torch.isfinite(gradient).all(), name
        if "conv3d" in name:
            torch.testing.assert_close(gradient, gradients[1][name], rtol=0.2, atol=2e-2)


def test_mirrored_and_zoomed_flow_turns_and_grows():
    levels = np.full((4, 6, 6, 2), 128, np.uint8)
    levels[..., 0], levels[..., 1] = 192, 96
    plain, mirrored, zoomed = flow_batch(
        [View(levels, 1.0, 1.0, mirrored=False), View(levels, 1.0, 1.0, mirrored=True),
         View(levels, 1.1, 0.9, mirrored=False)], QUIET, np.random.default_rng(0),
    )  # fmt: skip
    torch.testing.assert_close(mirrored[0], -plain[0])
    torch.testing.assert_close(mirrored[1], plain[1])
    torch.testing.assert_close(zoomed[0], 1.1 * plain[0])
    torch.testing.assert_close(zoomed[1], 0.9 * plain[1])


def test_mirroring_reverses_columns():
    clip = np.random.default_rng(0).integers(0, 256, (8, 12, 12, 3), dtype=np.uint8)
    always = dataclasses.replace(QUIET, mirror_share=1.0)
    view = cut_view(clip, 8, 12, always, np.random.default_rng(0))
    assert view.mirrored
    np.testing.assert_array_equal(view.levels, clip[:, :, ::-1])


def test_views_without_change_are_the_clip_itself():
    clip = np.random.default_rng(0).integers(0, 256, (8, 12, 12, 3), dtype=np.uint8)
    views = [cut_view(clip, 8, 12, QUIET, np.random.default_rng(0))]
    torch.testing.assert_close(rgb_batch(views, QUIET, np.random.default_rng(0)), batch_of(views))
    expected = torch.from_numpy(clip).permute(3, 0, 1, 2) / 127.5 - 1
    torch.testing.assert_close(batch_of(views)[0], expected)


def test_strong_augmentation_stays_in_range_and_changes_colours():
    clip = np.random.default_rng(0).integers(0, 256, (20, 40, 44, 3), dtype=np.uint8)
    rng, settings = np.random.default_rng(1), AugmentationSettings()
    views = [cut_view(clip, 16, 32, settings, rng) for _ in range(12)]
    assert {view.levels.shape for view in views} == {(16, 32, 32, 3)}
    batch = rgb_batch(views, settings, rng)
    assert batch.shape == (12, 3, 16, 32, 32)
    assert batch.is_contiguous(memory_format=torch.channels_last_3d)
    assert float(batch.abs().max()) <= 1
    assert float((batch - batch_of(views)).abs().mean()) > 0.05
    matrices = [colour_matrix(settings, rng)[0] for _ in range(40)]
    assert any(np.linalg.matrix_rank(matrix, tol=1e-4) == 1 for matrix in matrices)  # grey
    assert any(matrix.sum() < 0 for matrix in matrices)  # inverted


@pytest.mark.parametrize(
    ("shape", "label", "stream"),
    [((2, 4, 36, 40, 2), 0, "flow"), ((2, 10, 36, 40, 3), 0, "flow"),
     ((2, 10, 36, 40, 2), 2, "flow"), ((2, 10, 36, 40, 2), -1, "flow"),
     ((2, 10, 36, 40, 2), 0, "depth"), ((0, 10, 36, 40, 2), 0, "flow")],
)  # fmt: skip
def test_clips_that_do_not_fit_are_refused(shape, label, stream):
    clips, labels = np.zeros(shape, np.uint8), np.full(shape[0], label, np.int64)
    with pytest.raises(TrainingDataInvalid):
        train_backbone(clips, labels, dataclasses.replace(TINY, stream=stream))


def test_training_goes_on_from_initial_weights_and_draws_only_a_new_classifier():
    clips, labels = _moving_clips(16)
    still = dataclasses.replace(TINY, peak_learning_rate=1e-9, weight_decay=0.0, epochs=1)
    start, _ = train_backbone(clips, labels, still)
    other = dataclasses.replace(still, seed=9)
    kept, _ = train_backbone(clips, labels, other, initial=start)
    learned = [name for name in start if "conv3d" in name]
    assert learned
    for name in learned:
        torch.testing.assert_close(kept[name], start[name], rtol=0, atol=1e-6)
    wider, _ = train_backbone(
        clips, labels, dataclasses.replace(other, num_classes=3), initial=start
    )
    assert len(wider["logits.conv3d.weight"]) == 3
    torch.testing.assert_close(wider[learned[0]], start[learned[0]], rtol=0, atol=1e-6)


def test_initial_weights_of_another_network_are_refused():
    clips, labels = _moving_clips(8)
    rgb = dataclasses.replace(TINY, stream="rgb", epochs=1)
    start, _ = train_backbone(np.zeros((8, 10, 36, 40, 3), np.uint8), labels, rgb)
    with pytest.raises(WeightsInvalid):
        train_backbone(clips, labels, TINY, initial=start)
