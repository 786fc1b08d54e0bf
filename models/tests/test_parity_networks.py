"""ACM-Net, CoLA and CMCS run as their authors' code does: activations, losses, final segments."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.heads.blocks import snippet_counts, topk_mean
from models.heads.losses import (
    guide_loss,
    masked_info_nce,
    normalized_binary_cross_entropy,
    probability_cross_entropy,
    with_background,
)
from models.tests.parity_goldens import (
    RELATIVE,
    activations,
    assert_close,
    assert_same_segments,
    batch,
    golden,
    imported,
    native,
    segments,
    weights,
)

CMCS_WIDTHS = {"width": 8, "branch": 6, "attention": 6, "branches": 4}
ACMNET_SETS = ("thumos", "activitynet")


@pytest.fixture
def cola(tmp_path):
    return imported("cola", tmp_path, [weights("cola")], embed=8)


def acmnet(data_set, folder):
    state = {"epoch": 3, "model_state_dict": weights(f"acmnet_{data_set}")}
    return imported("acmnet", folder, [state])


@pytest.fixture
def cmcs_late(tmp_path):
    states = [weights("cmcs", "w.rgb."), weights("cmcs", "w.flow.")]
    return imported("cmcs", tmp_path, states, **CMCS_WIDTHS)


@pytest.fixture
def cmcs_early(tmp_path):
    return imported("cmcs", tmp_path, [weights("cmcs", "w.both.")], **CMCS_WIDTHS)


def test_cola_activations_agree(cola):
    recorded = golden("cola")
    output = cola.head(batch("cola"))
    assert_close(output.evidence["embedding"], recorded["embedding"])
    assert_close(output.class_logits, recorded["cas"])
    assert_close(output.evidence["actionness"], recorded["actionness"])
    assert_close(output.video_scores, recorded["video"])


def test_cola_losses_agree(cola):
    recorded = golden("cola")
    output = cola.head(batch("cola"))
    labels = torch.from_numpy(recorded["labels"])
    action = normalized_binary_cross_entropy(output.video_scores, labels)
    assert action.item() == pytest.approx(float(recorded["loss_action"]), rel=RELATIVE)
    sets = {name: torch.from_numpy(recorded[name]) for name in ("easy_act", "easy_bkg")}
    sets |= {name: torch.from_numpy(recorded[name]) for name in ("hard_act", "hard_bkg")}
    contrast = 0.0
    for query, positive, negative in (
        ("hard_act", "easy_act", "easy_bkg"),
        ("hard_bkg", "easy_bkg", "easy_act"),
    ):
        mean = sets[positive].mean(dim=1, keepdim=True)
        candidates = torch.cat([mean, sets[negative]], dim=1)
        is_positive = torch.zeros(3, 1, candidates.shape[1], dtype=torch.bool)
        is_positive[..., 0] = True
        losses, used = masked_info_nce(
            sets[query].mean(dim=1, keepdim=True), candidates, is_positive, ~is_positive, 0.07
        )
        assert used.all()
        contrast += losses.mean().item()
    assert contrast == pytest.approx(float(recorded["loss_snico"]), rel=RELATIVE)


def test_cola_segments_agree(cola):
    recorded = golden("cola")["segments"]
    for video in range(3):
        theirs = recorded[recorded[:, 0] == video][:, 1:]
        assert_same_segments(segments(cola, native("cola", video)), theirs)


@pytest.mark.parametrize("data_set", ACMNET_SETS)
def test_acmnet_activations_agree(data_set, tmp_path):
    recorded = golden(f"acmnet_{data_set}")
    output = acmnet(data_set, tmp_path).head(batch("acmnet_thumos"))
    assert_close(output.evidence["attention"], recorded["att"])
    assert_close(output.localization, recorded["inst_cas"][..., :-1])
    for ours, theirs in (("action", "inst"), ("context", "cont"), ("background", "back")):
        video = torch.softmax(output.evidence[f"{ours}_video_logits"], dim=-1)
        assert_close(video, recorded[f"{theirs}_cls"])
    assert_close(output.video_scores, recorded["inst_cls"][:, :-1])
    assert_close(output.attention, recorded["att"][..., 0])


@pytest.mark.parametrize(("data_set", "action_weight"), [("thumos", 1.0), ("activitynet", 5.0)])
def test_acmnet_losses_agree(data_set, action_weight, tmp_path):
    """The losses that TSSA shares with it, and the two that it does not, from their definition."""
    recorded = golden(f"acmnet_{data_set}")
    output = acmnet(data_set, tmp_path).head(batch("acmnet_thumos"))
    labels = torch.from_numpy(recorded["labels"])
    background = torch.cat([torch.zeros_like(labels), torch.ones(3, 1)], dim=1)
    targets = {
        "action": ("act_inst", with_background(labels, 0.0)),
        "context": ("act_cont", with_background(labels, 1.0)),
        "background": ("act_back", background),
    }
    total = 0.0
    for name, (theirs, target) in targets.items():
        probabilities = torch.softmax(output.evidence[f"{name}_video_logits"], dim=-1)
        loss = probability_cross_entropy(probabilities, target).item()
        assert loss == pytest.approx(float(recorded[f"loss_{theirs}"]), rel=RELATIVE)
        total += loss * (action_weight if name == "action" else 1.0)
    action = torch.softmax(output.evidence["action_logits"], dim=-1)
    guide = guide_loss(output.attention, action[..., -1], output.mask, mean=False).item()
    assert guide == pytest.approx(float(recorded["loss_guide"]), rel=RELATIVE)
    norms = []
    divisors = (8, 3, 3) if data_set == "thumos" else (2, 10, 10)
    for index, divisor in enumerate(divisors):
        attention = output.evidence["attention"][..., index : index + 1]
        counts = snippet_counts(output.mask, divisor)
        best = attention[..., 0].sort(dim=1, descending=True).indices[:, : counts[0]]
        feature = output.evidence["embedding"].gather(1, best[..., None].expand(-1, -1, 16))
        norms.append(feature.mean(dim=1).norm(dim=1))
        assert topk_mean(attention, counts, output.mask).min() > 0
    margins = (50 - norms[0] + norms[1]).clamp(min=0) + (50 - norms[1] + norms[2]).clamp(min=0)
    feature_loss = ((margins + norms[2]) ** 2).mean().item()
    assert feature_loss == pytest.approx(float(recorded["loss_feat"]), rel=RELATIVE)
    sparsity = output.evidence["attention"][..., :2].sum(dim=1).mean().item()
    assert sparsity == pytest.approx(float(recorded["loss_sparse"]), rel=RELATIVE)
    guide_weight, sparse_weight = (2e-3, 2e-4) if data_set == "thumos" else (5e-3, 0.0)
    total += guide_weight * guide + 5e-5 * feature_loss + sparse_weight * sparsity
    assert total == pytest.approx(float(recorded["loss_total"]), rel=RELATIVE)


def test_acmnet_segments_agree(tmp_path):
    recorded = golden("acmnet_thumos")["segments"]
    model = acmnet("thumos", tmp_path)
    for video in range(3):
        theirs = recorded[recorded[:, 0] == video][:, 1:]
        assert_same_segments(segments(model, native("acmnet_thumos", video)), theirs)


def test_acmnet_on_activitynet_proposes_the_same_places(tmp_path):
    """Its decoder empties what is below the cut before it scores, ours does not."""
    recorded = golden("acmnet_activitynet")["segments"]
    model = acmnet("activitynet", tmp_path)
    for video in range(3):
        theirs = recorded[recorded[:, 0] == video][:, 1:]
        ours = segments(model, native("acmnet_thumos", video))
        assert set(ours[:, 0]) == set(theirs[:, 0])
        for label in set(theirs[:, 0]):
            best = [one[one[:, 0] == label] for one in (ours, theirs)]
            tops = [rows[rows[:, 1].argmax()] for rows in best]
            np.testing.assert_allclose(tops[0][2:], tops[1][2:], rtol=RELATIVE)


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_cmcs_activations_agree(fusion, cmcs_late, cmcs_early):
    recorded = golden("cmcs")
    model, prefix = (cmcs_late, "late") if fusion == "late" else (cmcs_early, "both")
    output = model.head(torch.from_numpy(native("cmcs", 0))[None])
    assert_close(output.evidence["logits"][0], recorded[f"{prefix}_cas"])
    assert_close(output.evidence["weights"][0], recorded[f"{prefix}_attention"][:, 0])
    assert_close(output.evidence["video_logits"][0], recorded[f"{prefix}_global"])


@pytest.mark.parametrize("dilation", [1, 20])
@pytest.mark.parametrize("fusion", ["late", "early"])
def test_cmcs_segments_agree(fusion, dilation, cmcs_late, cmcs_early):
    """All agree but runs at the last snippet and margins that would begin before the video."""
    model, prefix = (cmcs_late, "late") if fusion == "late" else (cmcs_early, "both")
    card = model.card
    recipe = replace(card.recipe, fps=25.0)
    proposals = replace(card.proposals, widen_samples=dilation)
    model = replace(model, card=replace(card, recipe=recipe, proposals=proposals))
    values = native("cmcs", 0)
    ours = segments(model, values)
    theirs = golden("cmcs")[f"{prefix}_segments_{dilation}"]
    assert card.proposals.widen_samples == 20
    last_frame = ((len(values) - 1) * 16 + 1) / 25

    def inside(rows):
        frames = (rows[:, 3] - rows[:, 2]) * 25
        margin = np.maximum(1, frames * 0.25) / 25
        return (rows[:, 2] - margin >= 0) & (rows[:, 3] + margin < last_frame)

    assert inside(theirs).sum() >= 4
    assert_same_segments(ours[inside(ours)], theirs[inside(theirs)])
    # Every other run begins at the same place; one may begin behind the last snippet's first frame.
    ours = ours[ours[:, 2] < last_frame - (dilation - 1) / 50]
    assert len(ours) == len(theirs)
    starts = [np.sort(rows[:, 0] * 1000 + rows[:, 2]) for rows in (ours, theirs)]
    np.testing.assert_allclose(starts[0], starts[1], atol=1e-6)


def test_cmcs_cuts_at_the_mean_of_the_interpolated_sequence(cmcs_early):
    seen = activations(cmcs_early, native("cmcs", 0))
    places = np.arange(36 * 16 + 1) / 16
    for label in range(4):
        frames = np.interp(places, np.arange(37), seen.scoring[:, label])
        above = seen.scoring[:, label] > frames.mean()
        np.testing.assert_array_equal(seen.localization[:, label] > 0.5, above)
