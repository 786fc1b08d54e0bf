"""From activations to intervals in seconds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import NmsSettings, OicSettings, ProposalSettings
from models.errors import ContractViolation
from models.localize.segments import localize_activations
from models.timegrid import TimeGrid
from models.types import Activations

ONE_CUT = ProposalSettings(thresholds=(0.5,))


def activations_of(curve, video_scores=None, window_scores=None):
    sequence = np.asarray(curve, np.float32)
    scores = np.ones(sequence.shape[1]) if video_scores is None else np.asarray(video_scores)
    return Activations(
        sequence,
        sequence,
        scores.astype(np.float32),
        sequence.max(axis=1),
        tuple(f"c{index}" for index in range(sequence.shape[1])),
        window_scores,
    )


def box(num_snippets, *ranges):
    curve = np.zeros((num_snippets, 1))
    for start, stop in ranges:
        curve[start:stop] = 1.0
    return curve


def spans(proposals):
    return sorted((one.start_seconds, one.end_seconds) for one in proposals)


def test_a_box_of_full_windows_comes_back_at_its_own_seconds():
    grid = TimeGrid(25.0, 16, 16, 12.8)
    got = localize_activations(activations_of(box(20, (5, 9))), grid, ONE_CUT)
    # The cut at one half lies midway between window centres, which is the windows' border.
    assert spans(got) == [(pytest.approx(5 * 0.64, abs=0.02), pytest.approx(9 * 0.64, abs=0.02))]
    assert got[0].raw_score == pytest.approx(1.2, abs=0.2)


def test_centre_alignment_is_right_where_windows_overlap():
    grid = TimeGrid(25.0, 16, 8, 12.8)
    # Snippets 10..13 cover frames [80, 120); their centres span frames 88..112.
    got = localize_activations(activations_of(box(grid.num_snippets, (10, 14))), grid, ONE_CUT)
    assert spans(got) == [(pytest.approx(84 / 25, abs=0.02), pytest.approx(116 / 25, abs=0.02))]


@pytest.mark.parametrize("stride", [8, 16])
def test_runs_at_the_ends_reach_the_ends_of_the_video(stride):
    grid = TimeGrid(25.0, 16, stride, 10.3)
    count = grid.num_snippets
    curve = activations_of(box(count, (0, 1), (count - 1, count)))
    got = spans(localize_activations(curve, grid, ONE_CUT))
    assert got[0][0] == 0.0
    assert got[1][1] == 10.3


def test_start_alignment_gives_the_published_times():
    # Published vector: N = 241, T = 750, 24 samples per step, run 2400..2639 inclusive.
    grid = TimeGrid(25.0, 16, 16, 241 * 0.64)
    curve = np.zeros((750, 1))
    curve[100:110] = 1.0
    settings_ = replace(ONE_CUT, align="start", thresholds=(0.0,))
    seconds = grid.activation_seconds(np.array([2400 / 24, 2640 / 24]), 750, centered=False)
    assert seconds == pytest.approx([20.565, 22.622], abs=5e-4)
    got = localize_activations(activations_of(curve), grid, settings_)[0]
    # The linear flanks reach one step to each side, less one sample.
    step = 241 * 16 / (750 * 25)
    assert got.start_seconds == pytest.approx(seconds[0] - step * 23 / 24, abs=1e-9)
    assert got.end_seconds == pytest.approx(seconds[1], abs=1e-9)


def test_nothing_passes_gives_nothing_unless_forced():
    grid = TimeGrid(25.0, 16, 16, 12.8)
    quiet = activations_of(np.hstack([box(20, (3, 6))] * 2), video_scores=[0.05, 0.10])
    assert localize_activations(quiet, grid, ONE_CUT) == []
    forced = localize_activations(quiet, grid, replace(ONE_CUT, allow_empty=False))
    assert [one.class_index for one in forced] == [1]


def test_the_first_class_is_not_special():
    grid = TimeGrid(25.0, 16, 16, 12.8)
    only_first = activations_of(np.hstack([box(20, (3, 6)), box(20)]), video_scores=[0.9, 0.0])
    assert [p.class_index for p in localize_activations(only_first, grid, ONE_CUT)] == [0]


def test_a_class_threshold_is_reached_by_equality():
    grid = TimeGrid(25.0, 16, 16, 12.8)
    at = activations_of(box(20, (3, 6)), video_scores=[np.float32(0.15)])
    cut = replace(ONE_CUT, class_threshold=float(np.float32(0.15)))
    assert len(localize_activations(at, grid, cut)) == 1


def test_window_scores_decide_where_a_class_counts():
    grid = TimeGrid(25.0, 16, 16, 64.0)
    window_scores = np.zeros((100, 1), np.float32)
    window_scores[:50] = 0.9
    curve = activations_of(box(100, (10, 14), (80, 84)), [0.9], window_scores)
    got = localize_activations(curve, grid, ONE_CUT)
    assert len(got) == 1
    assert got[0].end_seconds < 32
    with_both = localize_activations(replace(curve, window_scores=None), grid, ONE_CUT)
    assert len(with_both) == 2


def test_short_runs_and_low_scores_can_be_left_out():
    grid = TimeGrid(25.0, 16, 16, 12.8)
    curve = activations_of(box(20, (2, 3), (8, 12)))
    longer = replace(ONE_CUT, oic=OicSettings(min_length=48))
    assert len(localize_activations(curve, grid, ONE_CUT)) == 2
    assert len(localize_activations(curve, grid, longer)) == 1
    assert localize_activations(curve, grid, replace(ONE_CUT, min_raw_score=1.3)) == []


def test_suppression_is_per_class():
    grid = TimeGrid(25.0, 16, 16, 12.8)
    twice = activations_of(np.hstack([box(20, (5, 9))] * 2))
    got = localize_activations(twice, grid, ProposalSettings())
    best = [p for p in got if p.raw_score > 0.5]
    assert {p.class_index for p in best} == {0, 1}


@settings(max_examples=60)
@given(
    st.integers(1, 30),
    st.integers(1, 3),
    st.sampled_from(["center", "start"]),
    st.sampled_from(["hard", "soft", "soft_once", "contain"]),
    st.integers(0, 10_000),
)
def test_proposals_lie_inside_the_video_in_a_stated_order(count, classes, align, kind, seed):
    rng = np.random.default_rng(seed)
    grid = TimeGrid(25.0, 16, 16, count * 0.64 - float(rng.random()) * 0.5)
    cuts = ProposalSettings(align=align, nms=NmsSettings(kind=kind))
    curve = activations_of(rng.random((count, classes)), rng.random(classes))
    got = localize_activations(curve, grid, cuts)
    assert got == sorted(
        got, key=lambda p: (-p.raw_score, p.start_seconds, p.end_seconds, p.class_index)
    )
    for one in got:
        assert 0 <= one.start_seconds < one.end_seconds <= grid.duration_seconds
        assert curve.video_scores[one.class_index] >= cuts.class_threshold
        assert -1 <= one.raw_score <= 1.2 + 1e-9
    assert got == localize_activations(curve, grid, cuts)


def test_refuses_disagreeing_or_broken_activations():
    grid = TimeGrid(25.0, 16, 16, 12.8)
    good = activations_of(box(20, (3, 6)))
    with pytest.raises(ContractViolation, match="disagree in shape"):
        localize_activations(replace(good, scoring=good.scoring[:5]), grid, ONE_CUT)
    broken = good.localization.copy()
    broken[3] = np.nan
    with pytest.raises(ContractViolation, match="not finite"):
        localize_activations(replace(good, localization=broken), grid, ONE_CUT)
