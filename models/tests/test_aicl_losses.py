"""AICL's forward pass and every loss term against a slow direct reading."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from models.heads.aicl import CONTRAST_TERMS, EMBEDDING_NAMES, AiclHead, AiclSettings
from models.heads.base import HeadSpec, Moment
from models.heads.losses import (
    generalized_cross_entropy,
    masked_info_nce,
    multiple_instance_bce,
    normalized_binary_cross_entropy,
    normalized_cross_entropy,
)
from models.heads.registry import PRESETS

SPEC = HeadSpec(("a", "b", "c"), ("rgb", "flow"), 6)
SMALL_HEAD = PRESETS["aicl"]["small"].head
assert isinstance(SMALL_HEAD, AiclSettings)
SMALL = replace(SMALL_HEAD, width=8, input_dropout=0.0)
FAITHFUL = AiclSettings(width=8)
MOMENT = Moment("main", 1, 100, 0, 10, torch.arange(2))
VARIANTS = [FAITHFUL, replace(FAITHFUL, fill_pairs=True), SMALL]
LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
LENGTHS = (50, 44, 7)


def scene(settings, seed=0):
    torch.manual_seed(seed)
    head = AiclHead(SPEC, settings)
    features = 3 * torch.randn(3, 50, SPEC.feature_width)
    mask = torch.arange(50)[None] < torch.tensor(LENGTHS)[:, None]
    return head, head(features, mask), features, mask


def direct_sets(a1, a2, settings):
    """Indices of the four sets of one video, by plain sorting."""
    length = len(a1)
    count = max(1, length // settings.pair_divisor)
    one = [value > a1.double().quantile(0.5).item() for value in a1.double().tolist()]
    other = [value > a2.double().quantile(0.5).item() for value in a2.double().tolist()]
    members = {
        "ca": [t for t in range(length) if one[t] and other[t]],
        "cb": [t for t in range(length) if not one[t] and not other[t]],
        "ia": [t for t in range(length) if one[t] != other[t]],
        "ib": [t for t in range(length) if one[t] != other[t]],
    }
    chosen = {}
    for name, indices in members.items():
        descending = name in {"ca", "ia"}
        ordered = sorted(indices, key=lambda t: (-a1[t] if descending else a1[t]).item())
        if settings.fill_pairs:
            ordered += [t for t in range(length) if t not in indices]
        chosen[name] = ordered[:count]
    return chosen


def direct_contrast(output, settings, a1):
    total = torch.zeros(())
    for name in EMBEDDING_NAMES:
        for query, positive, negatives in CONTRAST_TERMS:
            losses = []
            for row, length in enumerate(LENGTHS):
                embedding = output.evidence[name][row, :length]
                sets = direct_sets(a1[row, :length], output.attention[row, :length], settings)
                if not all(sets[key] for key in (query, positive, negatives)):
                    continue
                q = embedding[sets[query]].mean(dim=0)
                p = embedding[sets[positive]].mean(dim=0)
                negative = embedding[sets[negatives]]
                if q.norm() < 1e-6 or p.norm() < 1e-6:
                    continue
                cosines = [functional.cosine_similarity(q, p, dim=0)]
                cosines += [
                    functional.cosine_similarity(q, n, dim=0) for n in negative if n.norm() > 0
                ]
                logits = torch.stack(cosines) / settings.temperature
                losses.append(-functional.log_softmax(logits, dim=0)[0])
            total = total + sum(losses) / max(1, len(losses))
    return total


@pytest.mark.parametrize("settings", VARIANTS)
def test_every_loss_term_agrees_with_a_direct_reading(settings):
    head, output, _, _ = scene(settings)
    total, parts = head.loss(output, LABELS, MOMENT)
    logits = output.class_logits
    if settings.class_actionness == "sum":
        a1 = logits.sum(dim=2).sigmoid()
    else:
        a1 = logits.max(dim=2).values.sigmoid()
    rgb, flow = output.evidence["rgb_actionness"], output.evidence["flow_actionness"]

    gce, video_rows = torch.zeros(()), []
    for row, length in enumerate(LENGTHS):
        ranking = output.localization if settings.topk_by == "fused" else logits
        k = max(1, length // 8)
        best = ranking[row, :length].sort(dim=0, descending=True).indices[:k]
        video_rows.append(logits[row, :length].gather(0, best).mean(dim=0))
        action = {t for c in range(3) if LABELS[row, c] for t in best[:, c].tolist()}
        for stream in (rgb, flow):
            inside = [(1 - (stream[row, t] + 1e-7) ** 0.7) / 0.7 for t in action]
            outside = [
                (1 - (1 - stream[row, t] + 1e-7) ** 0.7) / 0.7
                for t in range(length)
                if t not in action
            ]
            gce = gce + sum(inside) / max(1, len(inside)) + sum(outside) / max(1, len(outside))
    video = torch.stack(video_rows)
    torch.testing.assert_close(parts["actionness"], gce / 3, rtol=1e-4, atol=1e-5)

    def mean_square(one, other):
        differences = [(one[r, :n] - other[r, :n]) ** 2 for r, n in enumerate(LENGTHS)]
        return torch.cat(differences).mean()

    torch.testing.assert_close(parts["modality"], mean_square(rgb, flow))
    torch.testing.assert_close(parts["action"], mean_square(a1, output.attention))

    if settings.video_loss == "softmax_ce":
        log_p = video.log_softmax(dim=1)
        expected = -(log_p[0, 0] / 2 + log_p[0, 2] / 2 + log_p[1, 1]) / 3
    else:
        present = torch.stack([video[0, 0], video[0, 2], video[1, 1]])
        absent = torch.cat(
            [logits[0, :50, 1], logits[1, :44, 0], logits[1, :44, 2], logits[2, :7].flatten()]
        )
        expected = functional.binary_cross_entropy_with_logits(present, torch.ones(3))
        expected = expected + functional.binary_cross_entropy_with_logits(
            absent, torch.zeros(len(absent))
        )
    torch.testing.assert_close(parts["video"], expected)

    torch.testing.assert_close(
        parts["contrast"], direct_contrast(output, settings, a1), rtol=1e-4, atol=1e-4
    )
    weighted = parts["video"] + parts["actionness"] + 5 * parts["modality"] + 0.1 * parts["action"]
    torch.testing.assert_close(total, weighted + 0.01 * parts["contrast"])


@pytest.mark.parametrize("settings", VARIANTS)
def test_the_fused_sequence_and_video_scores(settings):
    _, output, _, mask = scene(settings)
    logits = output.class_logits
    soft = settings.video_loss == "softmax_ce"
    probabilities = logits.softmax(dim=2) if soft else logits.sigmoid()
    share = settings.class_share
    attention = (output.evidence["rgb_actionness"] + output.evidence["flow_actionness"]) / 2
    expected = share * probabilities + (1 - share) * attention[..., None]
    torch.testing.assert_close(output.localization[mask], expected[mask])
    sums = output.video_scores.sum(dim=1)
    assert torch.allclose(sums, torch.ones(3)) == soft


@pytest.mark.parametrize("settings", VARIANTS)
def test_the_loss_ignores_padding(settings):
    head, output, features, mask = scene(settings)
    loud = features.masked_fill(~mask[..., None], 1e3)
    total, _ = head.loss(output, LABELS, MOMENT)
    again, _ = head.loss(head(loud, mask), LABELS, MOMENT)
    torch.testing.assert_close(total, again)


@pytest.mark.parametrize("settings", VARIANTS)
def test_every_parameter_learns_and_gradients_are_finite(settings):
    head, output, _, _ = scene(settings)
    total, _ = head.loss(output, LABELS, MOMENT)
    total.backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_single_snippet_and_no_labels_give_a_finite_loss():
    head = AiclHead(SPEC, FAITHFUL)
    total, _ = head.loss(head(torch.randn(1, 1, 12)), torch.zeros(1, 3), MOMENT)
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


def test_without_weight_the_contrast_is_not_computed():
    head, output, _, _ = scene(replace(FAITHFUL, contrast_weight=0.0))
    _, parts = head.loss(output, LABELS, MOMENT)
    assert "contrast" not in parts


def test_the_published_size():
    spec = HeadSpec(tuple(f"c{i}" for i in range(20)), ("rgb", "flow"), 1024)
    state = AiclHead(spec, AiclSettings()).state_dict()
    assert len(state) == 12
    assert sum(value.numel() for value in state.values()) == 6_304_278


def test_contrast_sets_are_disjoint_where_they_must_be_and_only_members():
    head, output, _, mask = scene(FAITHFUL)
    sets = head.mine(output, output.class_logits.sum(dim=2).sigmoid())
    assert not (sets["ca"] & sets["cb"]).any()
    assert not ((sets["ia"] | sets["ib"]) & (sets["ca"] | sets["cb"])).any()
    assert all(not (chosen & ~mask).any() for chosen in sets.values())


def test_binary_losses_by_hand():
    p = torch.tensor([[0.5, 0.25]])
    expected = -(math.log(0.5) + math.log(0.75)) / 2
    got = normalized_binary_cross_entropy(p, torch.tensor([[1.0, 0.0]]))
    assert got.item() == pytest.approx(expected)
    sure = normalized_binary_cross_entropy(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    assert torch.isfinite(sure)


def test_a_video_without_labels_adds_nothing_to_cross_entropy():
    logits = torch.randn(1, 3)
    assert normalized_cross_entropy(logits, torch.zeros(1, 3)).item() == 0.0


def test_gce_of_perfect_predictions_is_zero():
    targets = torch.tensor([[True, False, True]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert generalized_cross_entropy(targets.float(), targets, mask, 0.7).item() == pytest.approx(
        0, abs=1e-4
    )
    assert generalized_cross_entropy((~targets).float(), targets, mask, 0.7).item() > 2.8


def test_bce_negatives_are_all_snippets_of_absent_classes_only():
    snippet = torch.tensor([[[0.0, 5.0], [0.0, 5.0]]])
    labels, mask = torch.tensor([[0.0, 1.0]]), torch.ones(1, 2, dtype=torch.bool)
    got = multiple_instance_bce(torch.tensor([[0.0, 0.0]]), snippet, labels, mask)
    assert got.item() == pytest.approx(2 * math.log(2))


def test_info_nce_with_several_positives_by_hand():
    anchors = torch.tensor([[1.0, 0.0]])
    candidates = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [0.0, 0.0]])
    positive = torch.tensor([[True, True, False, True]])
    negative = torch.tensor([[False, False, True, False]])
    got, used = masked_info_nce(anchors, candidates, positive, negative, 0.5)
    above = math.exp(2) + 1
    assert used.tolist() == [True]
    assert got.item() == pytest.approx(-math.log(above / (above + math.exp(-2))))
    nothing, unused = masked_info_nce(
        anchors, candidates, torch.zeros_like(positive), negative, 0.5
    )
    assert unused.tolist() == [False]
    assert nothing.item() == 0.0
