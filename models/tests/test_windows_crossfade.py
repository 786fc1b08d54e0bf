"""Windows over long videos: they cover, they blend, they hide nothing short."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ContractViolation
from models.localize.windows import cross_fade, fade_weights, inference_positions, plan_windows
from models.types import Activations


@st.composite
def plans(draw):
    window = draw(st.integers(1, 40))
    overlap = draw(st.integers(0, window - 1))
    total = draw(st.integers(1, 200))
    return total, window, overlap


@given(plans())
def test_windows_cover_everything_and_weights_sum_to_one(plan):
    total, window, overlap = plan
    ranges = plan_windows(total, window, overlap)
    summed = np.zeros(total)
    for (start, stop), weight in zip(ranges, fade_weights(ranges), strict=True):
        assert 0 <= start < stop <= total
        assert stop - start == min(window, total)
        assert (weight > 0).all()
        summed[start:stop] += weight
    assert summed == pytest.approx(np.ones(total))
    for (_, stop), (start, _) in pairwise(ranges):
        assert stop - start >= overlap


def piece(rng, length, scores):
    curve = rng.random((length, 2)).astype(np.float32)
    return Activations(curve, curve / 2, np.array(scores, np.float32), curve[:, 0], ("a", "b"))


def test_one_window_is_returned_as_it_is():
    window = piece(np.random.default_rng(0), 5, [0.1, 0.9])
    assert cross_fade([(0, 5)], [window]) is window


def test_equal_curves_blend_into_themselves_and_scores_become_a_curve():
    rng = np.random.default_rng(1)
    whole = piece(rng, 100, [0.0, 0.0])
    ranges = plan_windows(100, 40, 20)
    windows = [
        Activations(
            whole.localization[a:b],
            whole.scoring[a:b],
            np.array([0.9 if a == 0 else 0.0, 0.3], np.float32),
            whole.attention[a:b],
            whole.classes,
        )
        for a, b in ranges
    ]
    joined = cross_fade(ranges, windows)
    assert joined.localization == pytest.approx(whole.localization, abs=1e-6)
    assert joined.scoring == pytest.approx(whole.scoring, abs=1e-6)
    assert joined.attention == pytest.approx(whole.attention, abs=1e-6)
    assert joined.window_scores is not None
    # A class seen in the first window alone keeps its full score there and fades to nothing.
    assert joined.window_scores[:20, 0] == pytest.approx(np.full(20, 0.9))
    assert (np.diff(joined.window_scores[19:41, 0]) < 0).all()
    assert joined.window_scores[40:, 0] == pytest.approx(np.zeros(60))
    assert joined.video_scores == pytest.approx([0.9, 0.3])


def test_overlap_moves_linearly_from_one_window_to_the_next():
    ones = Activations(
        np.ones((6, 1), np.float32), np.ones((6, 1), np.float32), np.ones(1, np.float32),
        np.ones(6, np.float32), ("a",),
    )  # fmt: skip
    zeros = Activations(
        np.zeros((6, 1), np.float32), np.zeros((6, 1), np.float32), np.zeros(1, np.float32),
        np.zeros(6, np.float32), ("a",),
    )  # fmt: skip
    joined = cross_fade([(0, 6), (3, 9)], [ones, zeros])
    assert joined.localization[:, 0] == pytest.approx([1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0])


def test_what_streams_see_is_cross_faded_like_the_attention():
    rng = np.random.default_rng(5)
    ranges = plan_windows(50, 20, 10)
    windows = [piece(rng, 20, [0.5, 0.5]) for _ in ranges]
    windows = [replace(one, stream_attention={"flow": one.attention}) for one in windows]
    joined = cross_fade(ranges, windows)
    assert joined.stream_attention["flow"].tolist() == joined.attention.tolist()


def test_refuses_windows_of_another_length():
    window = piece(np.random.default_rng(0), 5, [0.1, 0.9])
    with pytest.raises(ContractViolation, match="5 activation steps"):
        cross_fade([(0, 6)], [window])
    with pytest.raises(ContractViolation, match="1 windows for 2 ranges"):
        cross_fade([(0, 5), (3, 8)], [window])


@pytest.mark.parametrize(("total", "window", "overlap"), [(0, 4, 1), (5, 4, 4), (5, 4, -1)])
def test_refuses_impossible_plans(total, window, overlap):
    with pytest.raises(ContractViolation):
        plan_windows(total, window, overlap)


def test_inference_positions_of_the_three_kinds():
    assert inference_positions(5, 3, "native").tolist() == [0, 1, 2, 3, 4]
    assert inference_positions(5, 3, "uniform").tolist() == [0, 1, 3]
    assert inference_positions(3, 6, "uniform").tolist() == [0, 0, 1, 1, 2, 2]
    assert inference_positions(3, 6, "uniform_short").tolist() == [0, 1, 2]
    assert inference_positions(7, 2, "uniform_short").tolist() == [0, 3]
