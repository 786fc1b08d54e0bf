"""Suppression against quadratic oracles, and the published overlap values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import NmsSettings
from models.errors import ContractViolation
from models.localize.nms import _overlap, suppress

KINDS = ("hard", "soft", "soft_once", "contain")


def direct_iou(one, other, extra=0.0):
    inter = max(0.0, min(one[1], other[1]) - max(one[0], other[0]) + extra)
    union = one[1] - one[0] + other[1] - other[0] + 2 * extra - inter
    return inter / union if union > 0 else 0.0


def rank(boxes, scores, alive):
    return sorted(alive, key=lambda i: (-scores[i], boxes[i][0], boxes[i][1]))


def direct_suppress(boxes, scores, settings):
    """One loop per kind, straight from its description; returns (index, score) pairs."""
    extra = 1.0 if settings.plus_one else 0.0
    scores, alive, out = list(scores), list(range(len(boxes))), []
    while alive:
        best = rank(boxes, scores, alive)[0]
        alive.remove(best)
        out.append((best, scores[best]))
        for other in list(alive):
            iou = direct_iou(boxes[best], boxes[other], extra)
            if settings.kind == "contain":
                inter = max(
                    0.0,
                    min(boxes[best][1], boxes[other][1])
                    - max(boxes[best][0], boxes[other][0])
                    + extra,
                )
                length = boxes[other][1] - boxes[other][0] + extra
                if length > 0 and inter / length > settings.threshold:
                    alive.remove(other)
            elif settings.kind == "soft":
                if scores[other] > 0:
                    scores[other] *= math.exp(-(iou**2) / settings.alpha)
            elif iou >= settings.threshold:
                alive.remove(other)
                if settings.kind == "soft_once":
                    out.append((other, scores[other] * math.exp(-(iou**2) / settings.alpha)))
    return out


@st.composite
def interval_sets(draw):
    count = draw(st.integers(0, 12))
    tenths = st.integers(0, 100)
    boxes = []
    for _ in range(count):
        start = draw(tenths)
        boxes.append((start / 10, (start + draw(st.integers(1, 60))) / 10))
    scores = [draw(st.integers(-5, 20)) / 16 for _ in range(count)]
    return np.array(boxes).reshape(-1, 2), np.array(scores, np.float64)


def settings_strategy():
    return st.builds(
        NmsSettings,
        kind=st.sampled_from(KINDS),
        threshold=st.sampled_from([0.3, 0.4, 0.55, 0.7]),
        alpha=st.sampled_from([0.2, 0.35]),
        plus_one=st.booleans(),
    )


@given(interval_sets(), settings_strategy())
def test_agrees_with_the_quadratic_oracle(case, settings):
    boxes, scores = case
    kept, kept_scores = suppress(boxes, scores, settings)
    expected = direct_suppress(boxes.tolist(), scores.tolist(), settings)
    got = sorted(zip(boxes[kept].tolist(), kept_scores.round(9).tolist(), strict=True))
    want = sorted((boxes[i].tolist(), round(score, 9)) for i, score in expected)
    assert got == want


@given(interval_sets(), settings_strategy(), st.randoms(use_true_random=False))
def test_input_order_is_irrelevant(case, settings, random):
    boxes, scores = case
    order = list(range(len(scores)))
    random.shuffle(order)
    kept, kept_scores = suppress(boxes, scores, settings)
    again, again_scores = suppress(boxes[order], scores[order], settings)
    assert boxes[kept].tolist() == boxes[order][again].tolist()
    assert kept_scores.tolist() == again_scores.tolist()


@given(interval_sets(), st.sampled_from(["hard", "contain"]))
def test_hard_kinds_are_idempotent_and_subsets(case, kind):
    boxes, scores = case
    settings = NmsSettings(kind=kind)
    kept, _ = suppress(boxes, scores, settings)
    again, _ = suppress(boxes[kept], scores[kept], settings)
    assert again.tolist() == list(range(len(kept)))
    assert len(set(kept.tolist())) == len(kept)


@given(interval_sets(), st.sampled_from(["soft", "soft_once"]))
def test_soft_kinds_lose_nothing(case, kind):
    boxes, scores = case
    kept, _ = suppress(boxes, scores, NmsSettings(kind=kind))
    assert sorted(kept.tolist()) == list(range(len(scores)))


@pytest.mark.parametrize(
    ("one", "other", "plain", "plus_one"),
    [
        ((10, 11), (11.2, 12.2), 0.0, 0.25),
        ((10, 12), (11, 13), 1 / 3, 0.5),
        ((10, 20), (15, 25), 1 / 3, 0.375),
    ],
)
def test_published_overlaps_with_and_without_the_extra_second(one, other, plain, plus_one):
    first, second = np.array([one], float), np.array([other], float)
    assert _overlap(first, second, NmsSettings(), 0.0)[0] == pytest.approx(plain)
    assert _overlap(first, second, NmsSettings(), 1.0)[0] == pytest.approx(plus_one)


def test_short_neighbours_survive_unless_the_extra_second_is_asked_for():
    boxes, scores = np.array([[0.0, 1.0], [0.5, 1.5]]), np.array([0.9, 0.8])
    assert len(suppress(boxes, scores, NmsSettings())[0]) == 2
    assert len(suppress(boxes, scores, NmsSettings(plus_one=True))[0]) == 1


def test_equal_scores_rank_the_earlier_interval_first():
    boxes = np.array([[5.0, 9.0], [0.0, 4.0]])
    assert suppress(boxes, np.array([0.5, 0.5]), NmsSettings())[0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("boxes", "scores"),
    [([[0, 1]], [float("nan")]), ([[2, 1]], [0.5]), ([[0, 1]], [0.5, 0.6])],
)
def test_refuses_broken_input(boxes, scores):
    with pytest.raises(ContractViolation):
        suppress(np.array(boxes, float), np.array(scores), NmsSettings())
