"""The bench of TV-L1: its energy, and which frames it draws."""

import numpy as np
import pytest

pytest.importorskip("models.flow._tvl1", reason="the native kernel was not built")
pytest.importorskip("cv2")

from bench.tvl1 import generate_runs, tvl1_energy
from models.flow.frames import Region
from models.recipe import FlowRecipe

LAMBDA = FlowRecipe().lambda_
WHOLE = Region(0, 0, 24, 30)


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 255, (2, 24, 30)).astype(np.uint8)


def test_energy_without_flow_is_the_difference_of_the_frames(frames):
    flow = np.zeros((24, 30, 2), np.float32)
    difference = np.abs(frames[0].astype(int) - frames[1]).sum()
    assert tvl1_energy(frames[0], frames[1], flow, WHOLE) == pytest.approx(LAMBDA * difference)
    region = Region(3, 5, 10, 12)
    part = np.abs(frames[0].astype(int) - frames[1])[3:13, 5:17].sum()
    cut = region.cut(flow[None])[0]
    assert tvl1_energy(frames[0], frames[1], cut, region) == pytest.approx(LAMBDA * part)


def test_energy_of_a_whole_shift_is_zero(frames):
    shifted = np.roll(frames[0], 2, axis=1)
    region = Region(0, 0, 24, 28)
    flow = np.zeros((24, 28, 2), np.float32)
    flow[..., 0] = 2
    assert tvl1_energy(frames[0], shifted, flow, region) == pytest.approx(0, abs=1e-3)


def test_energy_counts_the_length_of_each_gradient(frames):
    rows, columns = np.mgrid[:24, :30].astype(np.float32)
    flow = np.stack([0.03 * columns + 0.04 * rows, np.zeros_like(rows)], axis=-1)
    flat = np.zeros((24, 30), np.uint8)
    # Inside 0.05 per pixel; the last row and column have no neighbour beyond them.
    expected = 23 * 29 * 0.05 + 23 * 0.04 + 29 * 0.03
    assert tvl1_energy(flat, flat, flow, WHOLE) == pytest.approx(expected, rel=1e-4)


def test_drawn_runs_repeat():
    runs = generate_runs()
    assert len(runs) == 12
    np.testing.assert_array_equal(runs[3], generate_runs()[3])
