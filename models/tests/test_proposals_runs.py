"""Upsampling and grouping."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ContractViolation
from models.localize.oic import running_sums
from models.localize.proposals import mean_over_runs, runs_above, upsample_linear


def direct_runs(values, threshold):
    runs, start = [], None
    for index, value in enumerate([*values, float("-inf")]):
        if value > threshold and start is None:
            start = index
        elif value <= threshold and start is not None:
            runs.append([start, index])
            start = None
    return runs


@given(st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0]), min_size=1, max_size=30))
def test_runs_agree_with_a_scan(values):
    assert runs_above(np.array(values), 0.3).tolist() == direct_runs(values, 0.3)


def test_a_run_of_index_zero_alone_is_not_lost():
    assert runs_above(np.array([1.0, 0.0, 0.0]), 0.5).tolist() == [[0, 1]]


def test_a_value_at_the_threshold_is_outside():
    assert runs_above(np.array([0.5, 0.6]), 0.5).tolist() == [[1, 2]]


def test_start_alignment_places_samples_at_multiples_and_extrapolates():
    got = upsample_linear(np.array([[0.0], [1.0], [0.5]]), 2, "start")[:, 0]
    assert got == pytest.approx([0.0, 0.5, 1.0, 0.75, 0.5, 0.25])


def test_center_alignment_is_symmetric_and_holds_the_borders():
    values = np.array([[0.2], [1.0], [0.4]])
    got = upsample_linear(values, 4, "center")[:, 0]
    assert got[:2] == pytest.approx([0.2, 0.2])
    assert got[-2:] == pytest.approx([0.4, 0.4])
    mirrored = upsample_linear(values[::-1], 4, "center")[::-1, 0]
    assert got == pytest.approx(mirrored)


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12),
    st.integers(1, 24),
    st.sampled_from(["center", "start"]),
)
def test_upsampling_agrees_with_interpolation(values, factor, align):
    knots = np.array(values, np.float64)
    got = upsample_linear(knots[:, None], factor, align)[:, 0]
    samples = np.arange(len(knots) * factor)
    positions = (samples + 0.5) / factor - 0.5 if align == "center" else samples / factor
    inside = positions <= len(knots) - 1
    expected = np.interp(positions, np.arange(len(knots)), knots)
    checked = np.ones_like(inside) if align == "center" else inside
    assert got[checked] == pytest.approx(expected[checked])


def test_factor_one_changes_nothing():
    values = np.random.default_rng(0).random((7, 3))
    for align in ("center", "start"):
        assert upsample_linear(values, 1, align) == pytest.approx(values)


def test_means_over_runs():
    runs = np.array([[0, 2], [1, 4]])
    assert mean_over_runs(running_sums(np.array([0.0, 1.0, 2.0, 3.0])), runs) == pytest.approx(
        [0.5, 2.0]
    )


def test_refuses_an_empty_sequence():
    with pytest.raises(ContractViolation):
        upsample_linear(np.zeros((0, 2)), 4, "center")
