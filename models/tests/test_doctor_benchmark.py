"""The doctor's benchmark: each stage on little work; its clock on drawn times."""

import time
from dataclasses import replace

import numpy as np
import pytest

from models.bundled.recipe import bundled_recipe
from models.doctor import benchmark

TINY = replace(bundled_recipe(), width=0.125, stream_width=128, short_side_px=48, crop_px=48)


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (70, 48, 64, 3), np.uint8)


def test_flow(frames):
    name, rate = benchmark.measure_flow(TINY, frames, "cpu", 1, 0.05)
    assert name in {"native", "opencv"}
    assert rate > 0


def test_backbone(frames):
    precision, rate = benchmark.measure_backbone(TINY, frames, "cpu", 1, 0.05)
    assert precision == "fp32"  # narrow networks stay with it
    assert rate > 0


def test_extraction_as_a_whole(frames):
    alone = replace(TINY, streams=("rgb",), flow=None)
    whole = benchmark.measure_extraction(alone, frames, "cpu", 1, 0.05)
    _, windows = benchmark.measure_backbone(alone, frames, "cpu", 1, 0.05)
    # The same work, counted in frames and in windows of 16.
    assert 1 / 8 < whole / (16 * windows) < 8


def test_decoding(frames):
    assert benchmark.measure_decode(frames, 0.05) > 0


def test_drawn_source_is_a_video_without_end(frames):
    source = benchmark.DrawnSource(frames, TINY, 10)
    assert source.facts.duration_seconds * TINY.fps == pytest.approx(160)
    np.testing.assert_array_equal(source.read(68, 72), frames[[68, 69, 0, 1]])


@pytest.mark.parametrize("per_item", [0.001, 0.1, 10.0])
def test_rate_is_exact_and_keeps_its_time(per_item, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    asked = []

    def run(items):
        asked.append(items)
        now[0] += items * per_item
        return items * per_item

    rate = benchmark._rate(run, 2, 64, 2.0)
    assert rate == pytest.approx(1 / per_item)
    assert asked[0] == 2
    assert max(asked) <= 64
    # A slow machine is asked for one trial only; another one for at most trial and time.
    assert now[0] <= max(2 * per_item, 2.0) + 2 * per_item + 1e-9
