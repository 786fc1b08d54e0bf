"""Flow bytes: the vectors of the specification, and what they do at the edges."""

import numpy as np
import pytest

from models.errors import ContractViolation
from models.flow.tvl1 import dequantize_flow, quantize_flow

CLIP_PX = 20.0


@pytest.mark.parametrize(
    ("pixels", "level", "value"),
    [(0.0, 128, 0.00392), (-20.0, 0, -1.0), (20.0, 255, 1.0), (35.0, 255, 1.0), (-35.0, 0, -1.0)],
)
def test_known_vectors(pixels, level, value):
    levels = quantize_flow(np.array([pixels], np.float32), CLIP_PX)
    assert levels.dtype == np.uint8
    assert levels[0] == level
    assert dequantize_flow(levels)[0] == pytest.approx(value, abs=1e-5)


def test_levels_follow_the_formula_and_never_fall():
    flow = np.linspace(-25, 25, 5001, dtype=np.float32)
    levels = quantize_flow(flow, CLIP_PX).astype(int)
    clipped = np.clip(flow.astype(np.float64), -CLIP_PX, CLIP_PX)
    exact = 255 * (clipped + CLIP_PX) / (2 * CLIP_PX)
    assert np.abs(levels - exact).max() <= 0.5 + 1e-4
    assert (np.diff(levels) >= 0).all()


def test_there_and_back_costs_at_most_half_a_level():
    flow = np.random.default_rng(0).uniform(-20, 20, (3, 4, 5, 2)).astype(np.float32)
    values = dequantize_flow(quantize_flow(flow, CLIP_PX))
    assert values.shape == flow.shape
    assert values.dtype == np.float32
    assert np.abs(values * CLIP_PX - flow).max() <= 20 / 255 + 1e-5


def test_every_level_survives_the_round_trip():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(quantize_flow(dequantize_flow(levels) * 20, CLIP_PX), levels)


def test_another_clip():
    assert quantize_flow(np.array([1.0], np.float32), 1.0)[0] == 255


@pytest.mark.parametrize("value", [np.nan])
def test_refuses_what_is_no_number(value):
    with pytest.raises(ContractViolation, match="no number"):
        quantize_flow(np.array([0.0, value], np.float32), CLIP_PX)


def test_refuses_a_clip_that_is_not_positive():
    with pytest.raises(ContractViolation, match="clip_px"):
        quantize_flow(np.zeros(1, np.float32), 0.0)
