"""Outer-inner contrast against a direct reading of its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import OicSettings
from models.errors import ContractViolation
from models.localize.oic import outer_inner_contrast


def direct_contrast(values, start, stop, score, settings, threshold):
    """The published definition, sample by sample."""
    sequence = [v if not settings.thresholded or v > threshold else 0.0 for v in values]
    margin = max(settings.margin_ratio * (stop - start), settings.min_margin)
    far_left = max(0, int(start - margin))
    far_right = min(len(sequence) - 1, int(stop - 1 + margin))
    outer = sequence[far_left:start] + sequence[stop : far_right + 1]
    inner_mean = sum(sequence[start:stop]) / (stop - start)
    divisor = 2 * margin if settings.nominal_margin else len(outer)
    outer_mean = sum(outer) / divisor if outer else 0.0
    return inner_mean - outer_mean + settings.class_bonus * score


@st.composite
def cases(draw):
    values = draw(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40))
    start = draw(st.integers(0, len(values) - 1))
    stop = draw(st.integers(start + 1, len(values)))
    settings = OicSettings(
        margin_ratio=draw(st.sampled_from([0.0, 0.15, 0.2, 0.25, 1.0])),
        min_margin=draw(st.sampled_from([0.0, 1.0, 3.5])),
        class_bonus=draw(st.sampled_from([0.0, 0.2])),
        thresholded=draw(st.booleans()),
        nominal_margin=draw(st.booleans()),
    )
    return values, start, stop, draw(st.floats(0, 1)), settings, draw(st.floats(0, 1))


@given(cases())
def test_agrees_with_the_definition(case):
    values, start, stop, score, settings, threshold = case
    got = outer_inner_contrast(
        np.array(values, np.float32),
        np.array([[start, stop]]),
        np.array([score]),
        settings,
        threshold,
    )
    expected = direct_contrast(values, start, stop, score, settings, threshold)
    assert got[0] == pytest.approx(expected, abs=1e-9)


def test_a_box_with_silent_margins_scores_one_plus_the_bonus():
    values = np.zeros(40, np.float32)
    values[10:20] = 1.0
    runs = np.array([[10, 20], [0, 40]])
    got = outer_inner_contrast(values, runs, np.array([1.0, 1.0]), OicSettings())
    assert got == pytest.approx([1.2, 0.25 + 0.2])  # the second has no margin left


def test_no_runs_give_no_scores():
    runs = np.zeros((0, 2), np.int64)
    assert outer_inner_contrast(np.ones(3), runs, np.zeros(0), OicSettings()).shape == (0,)


@pytest.mark.parametrize("run", [[2, 2], [-1, 2], [3, 6], [4, 3]])
def test_refuses_ranges_that_are_empty_or_outside(run):
    with pytest.raises(ContractViolation, match="non-empty ranges"):
        outer_inner_contrast(np.ones(5), np.array([run]), np.zeros(1), OicSettings())
