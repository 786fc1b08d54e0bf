"""The contrast score: against its equations spelled out, its twin, and what it is used for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import ContrastSettings, ProposalSettings
from models.errors import ContractViolation
from models.heads import contrast_score as twin
from models.localize.contrast import contrast_scores, edgeness, interval_means
from models.localize.segments import localize_activations
from models.localize.windows import cross_fade
from models.timegrid import TimeGrid
from models.types import Activations, HeadProposals

DEFAULT = ContrastSettings()
WHOLE = np.zeros(1, np.int64)


def slow_edgeness(values, window):
    """Equations 6 and 7, one step after the other."""
    reach, out = window // 2, np.zeros(len(values))
    for t in range(len(values)):
        seen = range(max(0, t - reach), min(len(values), t + reach + 1))
        high = max(seen, key=lambda i: (values[i], -i))
        low = min(seen, key=lambda i: (values[i], i))
        if high != low:
            steep = (values[high] - values[low]) / abs(high - low)
            out[t] = steep if low <= t < high else -steep if high <= t < low else 0.0
    return out


def slow_mean(values, start, end):
    """Mean of a step function over a real interval, cut to the sequence."""
    start, end = max(0.0, start), min(float(len(values)), end)
    if end - start < 1e-6:
        return 0.0
    parts = [max(0.0, min(end, i + 1) - max(start, i)) * v for i, v in enumerate(values)]
    return sum(parts) / (end - start)


def slow_score(values, start, end, window=7, margin=0.25):
    """Equations 8 to 12."""
    start, end = max(0.0, start), min(float(len(values)), end)
    edges, d = slow_edgeness(values, window), (end - start) * margin
    action = slow_mean(values, start + d, end - d)
    rise = slow_mean(edges, start - d, start + d) - slow_mean(values, start - d, start)
    fall = -slow_mean(edges, end - d, end + d) - slow_mean(values, end, end + d)
    return action, rise, fall, action + (rise + fall) / 2


def random_case(seed, length, count=40):
    rng = np.random.default_rng(seed)
    values = rng.random((length, 3))
    if seed % 3 == 0:
        values = np.round(values * 3) / 3  # ties and plateaus
    ends = np.sort(rng.uniform(-0.3 * length, 1.3 * length, (count, 2)), axis=1)
    ends[:3] = np.round(ends[:3])
    return values, ends, rng.integers(0, 3, count)


def plateau(seed=1):
    rng = np.random.default_rng(seed)
    values = np.full(100, 0.05)
    values[40:56] = 0.8
    return (values + 0.02 * rng.standard_normal(100))[:, None]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("length", [1, 2, 5, 40])
def test_scores_follow_the_equations(seed, length):
    values, intervals, columns = random_case(seed, length)
    for column in range(3):
        slow = slow_edgeness(values[:, column], 7)
        assert edgeness(values, 7)[:, column] == pytest.approx(slow, abs=1e-12)
    rows = [slow_score(values[:, c], a, b) for (a, b), c in zip(intervals, columns, strict=True)]
    action, rise, fall, whole = (np.array(one) for one in zip(*rows, strict=True))
    assert contrast_scores(values, intervals, columns, DEFAULT) == pytest.approx(whole, abs=1e-9)
    only = replace(DEFAULT, terms="action")
    assert contrast_scores(values, intervals, columns, only) == pytest.approx(action, abs=1e-9)
    edges = replace(DEFAULT, terms="edges")
    assert contrast_scores(values, intervals, columns, edges) == pytest.approx(
        rise + fall, abs=1e-9
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("length", [1, 3, 40, 300])
@pytest.mark.parametrize("kind", [DEFAULT, ContrastSettings(window=5, margin_ratio=0.1)])
def test_the_differentiable_twin_gives_the_same_numbers(seed, length, kind):
    values, intervals, columns = random_case(seed, length)
    for terms in ("all", "action", "edges"):
        one = replace(kind, terms=terms)
        wanted = contrast_scores(values, intervals, columns, one)
        got = twin.contrast_scores(
            torch.from_numpy(values), torch.from_numpy(intervals), torch.from_numpy(columns), one
        )
        assert got.numpy() == pytest.approx(wanted, abs=1e-6)
    steep = twin.edgeness(torch.from_numpy(values), kind.window)
    assert steep.numpy() == pytest.approx(edgeness(values, kind.window), abs=1e-12)


def test_the_gradient_is_the_slope_and_spares_the_judge():
    values, intervals, columns = random_case(1, 40)
    inner = np.clip(intervals, 3.3, 36.7) + np.array([0.0, 0.41])
    judge = torch.from_numpy(values).requires_grad_()
    ends = torch.from_numpy(inner).requires_grad_()
    twin.contrast_scores(judge, ends, torch.from_numpy(columns), DEFAULT).sum().backward()
    assert judge.grad is None
    assert ends.grad is not None
    step = 1e-7
    for place in (0, 1):
        moved = inner.copy()
        moved[:, place] += step
        slope = (
            contrast_scores(values, moved, columns, DEFAULT)
            - contrast_scores(values, inner, columns, DEFAULT)
        ) / step
        assert ends.grad[:, place].numpy() == pytest.approx(slope, abs=1e-4)


def test_empty_intervals_and_flat_sequences_score_nothing_and_stay_finite():
    flat = np.full((9, 1), 0.7)
    assert edgeness(flat, 7).tolist() == [[0.0]] * 9
    empty = np.array([[3.0, 3.0], [-5.0, -2.0], [11.0, 15.0]])
    columns = np.zeros(3, np.int64)
    assert contrast_scores(flat, empty, columns, DEFAULT).tolist() == [0.0, 0.0, 0.0]
    ends = torch.from_numpy(empty).requires_grad_()
    twin.contrast_scores(
        torch.from_numpy(flat), ends, torch.from_numpy(columns), DEFAULT
    ).sum().backward()
    assert ends.grad is not None
    assert torch.isfinite(ends.grad).all()
    assert contrast_scores(flat, np.zeros((0, 2)), columns[:0], DEFAULT).shape == (0,)
    # The whole of a constant sequence has nothing outside and no edges.
    assert contrast_scores(flat, np.array([[0.0, 9.0]]), WHOLE, DEFAULT) == pytest.approx([0.7])


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_scores_stay_in_their_range(seed, length):
    values, intervals, columns = random_case(seed, length)
    scores = contrast_scores(values, intervals, columns, DEFAULT)
    assert (np.abs(scores) <= 2 + 1e-9).all()
    assert (np.abs(edgeness(values, 7)) <= 1).all()


def test_wrong_shapes_and_backward_intervals_are_refused():
    with pytest.raises(ContractViolation, match="end >= start"):
        contrast_scores(np.ones((4, 1)), np.array([[3.0, 1.0]]), WHOLE, DEFAULT)
    with pytest.raises(ContractViolation, match="K columns"):
        contrast_scores(np.ones((4, 1)), np.zeros((2, 2)), WHOLE, DEFAULT)


def test_a_plateau_is_best_where_it_is():
    """Published example: 0.8 on snippets 40 to 55 over 0.05 with noise 0.02."""
    values = plateau()
    wanted = {
        (40, 56): 0.88,
        (39, 57): 0.86,
        (38, 58): 0.85,
        (36, 60): 0.82,
        (40, 50): 0.47,
        (44, 52): 0.03,
        (30, 46): -0.21,
    }
    intervals = np.array(list(wanted), float)
    scores = contrast_scores(values, intervals, np.zeros(len(wanted), np.int64), DEFAULT)
    assert scores == pytest.approx(list(wanted.values()), abs=0.02)
    assert np.abs(edgeness(values, 7)).max() == pytest.approx(0.25, abs=0.02)
    every = np.array([(a, b) for a in range(100) for b in range(a + 1, 101)], float)
    scores = contrast_scores(values, every, np.zeros(len(every), np.int64), DEFAULT)
    assert every[scores.argmax()].tolist() == [40, 56]


def test_interval_means_read_between_steps():
    values = np.array([[1.0, 0.0], [3.0, 10.0], [5.0, 0.0]])
    intervals = np.array([[0.5, 1.5], [1.0, 2.0], [-4.0, 9.0], [2.0, 2.0]])
    got = interval_means(values, intervals, np.array([0, 1, 0, 0]))
    assert got == pytest.approx([2.0, 10.0, 3.0, 0.0])


# As a score of runs and of a head's own intervals


def activations_of(curve, own=None, window_scores=None):
    sequence = np.asarray(curve, np.float32)
    names = tuple(f"c{index}" for index in range(sequence.shape[1]))
    scores = np.ones(sequence.shape[1], np.float32)
    return Activations(sequence, sequence, scores, sequence.max(axis=1), names, window_scores, own)


def own_of(*rows):
    classes, starts, ends, scores = zip(*rows, strict=True)
    return HeadProposals(
        np.array(classes, np.int64), np.stack([starts, ends], 1).astype(float), np.array(scores)
    )


GRID = TimeGrid(25.0, 16, 16, 64.0)


@pytest.mark.parametrize("align", ["center", "start"])
def test_runs_can_be_scored_by_contrast(align):
    cuts = ProposalSettings(thresholds=(0.425,), score="contrast", align=align)
    values = plateau()
    best = localize_activations(activations_of(values), GRID, cuts)[0]
    half_early = 0.5 if align == "start" else 0.0
    assert best.start_seconds == pytest.approx((40 - half_early) * 0.64, abs=0.03)
    assert best.end_seconds == pytest.approx((56 - half_early) * 0.64, abs=0.03)
    # The sequence is judged where it stands, whatever the alignment calls that instant.
    wanted = contrast_scores(values, np.array([[40.0, 56.0]]), WHOLE, DEFAULT)
    assert best.raw_score == pytest.approx(wanted[0], abs=0.02)


def test_own_intervals_keep_their_scores_or_get_new_ones():
    own = own_of((0, 40, 56, 0.3), (0, 41, 56, 0.6), (0, 70, 80, 0.5))
    known = activations_of(plateau(), own)
    head = ProposalSettings(source="head", min_raw_score=0.0)
    kept = localize_activations(known, GRID, head)
    assert [one.raw_score for one in kept] == [0.6, 0.5]
    again = localize_activations(known, GRID, replace(head, score="contrast", min_raw_score=0.1))
    assert len(again) == 1
    assert again[0].start_seconds == pytest.approx(40 * 0.64)
    assert again[0].raw_score == pytest.approx(0.88, abs=0.02)


def test_own_intervals_need_their_class_where_they_are():
    window_scores = np.zeros((100, 1), np.float32)
    window_scores[:50] = 0.9
    own = own_of((0, 10, 20, 0.5), (0, 70, 80, 0.9))
    known = activations_of(plateau(), own, window_scores)
    got = localize_activations(known, GRID, ProposalSettings(source="head"))
    assert [one.raw_score for one in got] == [0.5]


def test_settings_that_want_own_intervals_refuse_activations_without():
    with pytest.raises(ContractViolation, match="hold none"):
        localize_activations(activations_of(plateau()), GRID, ProposalSettings(source="head"))


# Joining windows


def window_of(length, *rows):
    own = own_of(*rows) if rows else own_of((0, 0.0, 0.0, 0.0))
    return activations_of(np.zeros((length, 1)), own)


def test_windows_join_their_intervals_and_leave_cut_ones_to_who_sees_them_whole():
    ranges = [(0, 64), (32, 96), (64, 128)]
    joined = cross_fade(
        ranges,
        [
            window_of(64, (0, 0, 10, 0.1), (0, 40, 64, 0.2), (0, 20, 64, 0.3)),
            window_of(64, (0, 8, 40, 0.4), (0, 0, 20, 0.5), (0, 10, 64, 0.6), (0, 40, 64, 0.65)),
            window_of(64, (0, 0, 20, 0.7), (0, 50, 64, 0.8)),
        ],
    )
    assert joined.proposals is not None
    rows = np.column_stack([joined.proposals.steps, joined.proposals.raw_scores]).tolist()
    assert rows == [
        [0, 10, 0.1],  # the video's own start cuts nothing
        [20, 64, 0.3],  # begins before the second window does: nobody sees it whole
        [40, 72, 0.4],
        [42, 96, 0.6],  # the third begins at 64
        [114, 128, 0.8],  # the video's own end
    ]


def test_windows_without_intervals_join_to_none():
    windows = [activations_of(np.zeros((6, 1))), window_of(6)]
    assert cross_fade([(0, 6), (3, 9)], windows).proposals is None
    empty = HeadProposals(np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros(0))
    nothing = activations_of(np.zeros((6, 1)), empty)
    joined = cross_fade([(0, 6), (3, 9)], [nothing, nothing]).proposals
    assert joined is not None
    assert joined.steps.shape == (0, 2)
