"""The benches of length and memory: their videos, their fit, and one small run of each."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench import length, memory, second_head
from bench.long_video import CLIP_FRAMES, FPS, require_length, write_long_video
from bench.untaught import narrow_recipe, untaught_localizer
from models.decode import VideoSource
from models.feature_store import LocalFeatureStore


def test_a_long_video_is_its_clip_over_and_over(tmp_path: Path):
    path = tmp_path / "long.mp4"
    write_long_video(path, 25.0, 64, 48)
    assert [one.name for one in tmp_path.iterdir()] == ["long.mp4"]
    require_length(path, 25.0)
    with VideoSource(path, fps=FPS, short_side_px=None) as source:
        assert source.facts.num_source_frames == 625
        assert not source.facts.variable_frame_rate
        first = source.read(100, 104)
        again = source.read(CLIP_FRAMES + 100, CLIP_FRAMES + 104)
        np.testing.assert_array_equal(first, again)
        assert source.warnings == ()


def test_a_wrong_length_is_refused(tmp_path: Path):
    path = tmp_path / "long.mp4"
    write_long_video(path, 2.0, 64, 48)
    with pytest.raises(SystemExit, match="long"):
        require_length(path, 3.0)


def test_a_line_is_found_and_a_square_is_told():
    lengths = np.array([60.0, 120, 240, 480, 960])
    fit = length.fit_line(lengths, 2 + 0.05 * lengths)
    assert fit["start_seconds"] == pytest.approx(2)
    assert fit["seconds_per_video_minute"] == pytest.approx(3)
    assert fit["largest_deviation"] == pytest.approx(0, abs=1e-9)
    assert fit["exponent"] == pytest.approx(1)
    square = length.fit_line(lengths, 1e-4 * lengths**2)
    assert square["exponent"] > 1.5
    assert square["largest_deviation"] > 0.2


def test_plots_repeat_bit_for_bit(tmp_path: Path):
    pytest.importorskip("matplotlib")
    lengths = np.array([60.0, 120, 240])
    fit = length.fit_line(lengths, lengths / 10)
    for name in ("a.svg", "b.svg"):
        length.draw_plot(tmp_path / name, lengths, lengths / 10, fit)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_lengths_are_read_and_named():
    runs = [memory.Run.parse(word, 3, 2) for word in memory.DEFAULT_LENGTHS.split(",")]
    assert [run.name for run in runs] == [
        "published 1 min", "published 10 min", "published 30 min", "narrow 1 h", "narrow 10 h",
    ]  # fmt: skip
    assert [run.every for run in runs] == [3] * 5
    assert memory.Run.parse("published:1800:7", 3, 2).every == 7
    for word in ("wide:60", "narrow", "narrow:60:1:1", "narrow:long"):
        with pytest.raises(ValueError, match=r"RECIPE|unpack|convert"):
            memory.Run.parse(word, 1, 2)


def test_memory_bench_writes_its_figures(tmp_path: Path):
    path = tmp_path / "memory.json"
    memory.main(["--lengths", "narrow:130", "--every", "2", "--threads", "1", "--json", str(path)])
    figures = json.loads(path.read_text())["figures"]
    run = figures["runs"]["narrow 2.16667 min"]
    assert (run["chunks"], run["chunks_computed"]) == (3, 2)
    assert 50 < figures["rss_mb"]["narrow 2.16667 min"] < run["rss_with_decoder_mb"]
    assert run["rss_after_loading_mb"] <= run["rss_mb"]


def test_chunks_in_the_store_are_not_computed(tmp_path: Path):
    path = tmp_path / "long.mp4"
    write_long_video(path, 130.0, 64, 48)
    localizer = untaught_localizer(narrow_recipe(), 1)
    store = LocalFeatureStore(tmp_path / "features")
    with localizer.open(path) as source:
        assert memory.fill_store(localizer, source.facts, store, 2) == 2
        known = store.load_chunk(source.facts.sha256, localizer.recipe.digest, 1)
        assert known is not None
        values = localizer.features(source, store).values
    np.testing.assert_array_equal(values[100:200], known.values)
    assert np.isfinite(values).all()
    assert not np.allclose(values[:100].std(), known.values.std(), rtol=0.01)


def test_growth_is_against_the_first_length():
    peaks_mb = {"narrow 1 h": 100.0, "narrow 10 h": 104.0, "published 1 min": 900.0}
    assert memory.growth(peaks_mb, "narrow") == pytest.approx(0.04)
    assert memory.growth(peaks_mb, "published") is None


@pytest.mark.slow
def test_second_head_bench_runs_on_a_short_video(tmp_path: Path):
    figures = second_head.measure(tmp_path, 20.0, 1)
    assert figures["video_seconds"] == 20.0
    for kind in ("warm", "cold"):
        parts = figures[f"{kind}_seconds"] + figures[f"{kind}_loading_seconds"]
        assert figures[f"{kind}_total_seconds"] == pytest.approx(parts)
