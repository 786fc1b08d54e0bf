"""Scores in 0..1: the curve, what fits it, and what tags alone say about thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.localize.calibration import ScoreCalibration, calibration_from_json, public_score
from models.training.calibrate import LOWEST_RAW_SCORE, class_min_score, fit_logistic

FINITE = st.floats(-1e6, 1e6)


@given(FINITE, FINITE, st.floats(1e-3, 1e3), st.floats(-50, 50))
def test_scores_lie_in_0_to_1_and_keep_their_order(one, other, slope, offset):
    curve = ScoreCalibration(slope, offset)
    low, high = sorted([one, other])
    assert 0 <= curve.probability(low) <= curve.probability(high) <= 1


def test_without_calibration_scores_are_clipped():
    assert [public_score(raw, None) for raw in (-0.3, 0.4, 1.2)] == [0.0, 0.4, 1.0]
    assert public_score(0.0, ScoreCalibration(3.0, 0.0)) == 0.5


def test_json_round_trip_and_refusals():
    curve = ScoreCalibration(7.5, -3.0)
    assert calibration_from_json({**curve.to_json(), "fitted_on": "x"}) == curve
    assert calibration_from_json(None) is None
    for wrong in (
        {"kind": "table"},
        {"kind": "logistic", "slope": 0.0, "offset": 0.0},
        {"kind": "logistic", "slope": float("nan"), "offset": 0.0},
        {"kind": "logistic", "slope": 1.0, "offset": float("inf")},
    ):
        with pytest.raises(ValueError, match="calibration"):
            calibration_from_json(wrong)


def test_the_curve_recovers_the_one_that_drew_the_tags():
    rng = np.random.default_rng(0)
    raw = rng.uniform(-0.5, 1.2, 4000)
    truth = ScoreCalibration(6.0, -2.0)
    chance = np.array([truth.probability(value) for value in raw])
    fitted = fit_logistic(raw, rng.random(len(raw)) < chance)
    assert fitted is not None
    assert fitted.slope == pytest.approx(6.0, abs=0.6)
    for value in (0.0, 0.33, 0.8):
        assert fitted.probability(value) == pytest.approx(truth.probability(value), abs=0.03)


def test_separable_and_useless_scores_still_give_a_rising_finite_curve():
    raw = np.array([0.1, 0.2, 0.8, 0.9])
    apart = fit_logistic(raw, np.array([False, False, True, True]))
    assert apart is not None
    assert np.isfinite([apart.slope, apart.offset]).all()
    assert apart.probability(0.15) < 0.5 < apart.probability(0.85)
    reversed_ = fit_logistic(raw, np.array([True, True, False, False]))
    assert reversed_ is not None
    assert reversed_.slope > 0
    same = fit_logistic(np.full(4, 0.3), np.array([True, False, True, False]))
    assert same is not None
    assert same.probability(0.3) == pytest.approx(0.5, abs=0.01)


def test_one_kind_of_tag_cannot_calibrate():
    assert fit_logistic(np.array([0.1, 0.2]), np.array([True, True])) is None
    assert fit_logistic(np.array([0.1, 0.2]), np.array([False, False])) is None


def test_a_threshold_lies_in_the_middle_of_a_gap():
    got = class_min_score(np.array([0.8, 0.9, 0.95, 0.99]), np.array([0.1, 0.3, 0.4]))
    assert got == pytest.approx(0.6)


def test_a_threshold_never_costs_more_than_a_quarter_of_the_tagged_videos():
    rng = np.random.default_rng(1)
    present, absent = rng.normal(0.4, 0.2, 400), rng.normal(0.5, 0.2, 400)
    got = class_min_score(present, absent)
    assert (present < got).mean() <= 0.26


def test_both_errors_are_equal_where_scores_overlap():
    rng = np.random.default_rng(2)
    present, absent = rng.normal(0.7, 0.15, 2000), rng.normal(0.4, 0.15, 2000)
    got = class_min_score(present, absent)
    assert (absent >= got).mean() == pytest.approx((present < got).mean(), abs=0.01)
    assert got == pytest.approx(0.55, abs=0.02)


def test_a_class_without_counterexamples_is_not_cut():
    assert class_min_score(np.array([0.2]), np.array([])) == LOWEST_RAW_SCORE
    assert class_min_score(np.array([]), np.array([0.2, 0.3])) == 0.3
