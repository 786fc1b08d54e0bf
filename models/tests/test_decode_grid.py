"""Frames on the grid by presentation time: every grid frame's identity is read from its pixels."""

from fractions import Fraction

import numpy as np
import pytest

from models.decode import VideoSource, probe
from models.errors import ContractViolation
from models.tests.decode_clips import HEIGHT, WIDTH, Clip, read_numbers, write_clip

B_FRAMES = {"bf": "3", "g": "20", "b_adapt": "0", "x264-params": "scenecut=0"}


def open_clip(path, fps=25.0, short_side_px=None):
    return VideoSource(path, fps=fps, short_side_px=short_side_px)


def numbers_of(path, fps=25.0):
    with open_clip(path, fps) as source:
        return read_numbers(source.read(0, 10_000))


CODECS = {
    "b_frames.mp4": Clip(options=B_FRAMES),
    "b_frames.mkv": Clip(options=B_FRAMES),
    "b_frames.ts": Clip(options=B_FRAMES),
    "open_gop.mkv": Clip(options=B_FRAMES | {"x264-params": "open-gop=1:keyint=20:scenecut=0"}),
    "refresh.ts": Clip(options={"x264-params": "intra-refresh=1:keyint=15:bframes=0"}),
    "hevc.mp4": Clip("libx265", options={"x265-params": "log-level=none:keyint=20:bframes=3"}),
    "vp9.webm": Clip("libvpx-vp9", options={"g": "20", "deadline": "realtime", "cpu-used": "8"}),
    "vp8.webm": Clip("libvpx", options={"g": "20", "auto-alt-ref": "1", "lag-in-frames": "10",
                                        "deadline": "good", "cpu-used": "5"}),
    "mpeg4.avi": Clip("mpeg4", options={"g": "20"}),
    "mpeg4_b.avi": Clip("mpeg4", options={"g": "20", "bf": "2"}),
    "h264_b.avi": Clip(options=B_FRAMES),
    "mjpeg.avi": Clip("mjpeg", pix_fmt="yuvj420p"),
    "mpeg2.mpg": Clip("mpeg2video", options={"g": "15", "bf": "2"}),
    "mpeg2.ts": Clip("mpeg2video", options={"g": "15", "bf": "2"}),
    "flv.flv": Clip(options={"bf": "2", "g": "20"}),
    "fragmented.mp4": Clip(
        options=B_FRAMES, muxer_options={"movflags": "frag_keyframe+empty_moov"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CODECS)
def test_every_grid_frame_is_the_one_on_screen_and_seeking_changes_no_bit(tmp_path, name):
    path = write_clip(tmp_path / name, CODECS[name])
    with open_clip(path) as source:
        whole = source.read(0, 1000)
        assert read_numbers(whole) == list(range(60))
        assert source.facts.num_source_frames == 60
        assert source.facts.duration_seconds == pytest.approx(60 / 25, abs=2e-3)
        assert not source.facts.variable_frame_rate
        assert source.warnings == ()
    with open_clip(path) as source:
        for start, stop in [(47, 60), (21, 23), (58, 60), (39, 60)]:
            assert np.array_equal(source.read(start, stop), whole[start:stop]), (start, stop)


def test_reading_in_any_order_gives_the_same_bits(tmp_path):
    path = write_clip(tmp_path / "a.mp4", Clip(options=B_FRAMES, count=120))
    with open_clip(path) as source:
        whole = source.read(0, 120)
        for start, stop in [(40, 81), (80, 120), (79, 100), (0, 3), (110, 200), (2, 5), (0, 120)]:
            assert np.array_equal(source.read(start, stop), whole[start:stop]), (start, stop)
        assert source.read(120, 130).shape == (0, HEIGHT, WIDTH, 3)
        assert source.read(7, 7).shape == (0, HEIGHT, WIDTH, 3)
        with pytest.raises(ContractViolation):
            source.read(5, 4)


@pytest.mark.parametrize(
    ("fps", "suffix"),
    [(Fraction(30000, 1001), "mp4"), (Fraction(30000, 1001), "mkv"), (Fraction(60), "mkv"),
     (Fraction(10), "mp4"), (Fraction(24), "mkv")],
)  # fmt: skip
def test_other_rates_show_what_is_on_screen(tmp_path, fps, suffix):
    path = write_clip(tmp_path / f"a.{suffix}", Clip(fps=fps))
    shown_from = [float(index / fps) for index in range(60)]
    slack = 1e-9
    if suffix == "mkv":  # its clock ticks once per millisecond
        shown_from = [round(seconds, 3) for seconds in shown_from]
        slack = 5e-4 + 1e-9
    got = numbers_of(path)
    assert len(got) == pytest.approx(float(60 / fps * 25), abs=1)
    for k, number in enumerate(got):
        assert number == np.searchsorted(shown_from, k / 25 + slack, "right") - 1, k


def test_a_millisecond_clock_skips_no_frame_on_a_grid_of_the_same_rate(tmp_path):
    path = write_clip(tmp_path / "a.mkv", Clip(fps=Fraction(30), count=90))
    assert numbers_of(path, fps=30.0) == list(range(90))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rate_follows_the_clock(tmp_path, suffix):
    times = (0.0, 0.04, 0.5, 0.54, 0.58, 2.0, 2.04)
    path = write_clip(tmp_path / f"a.{suffix}", Clip(count=7, times=times, options={"bf": "0"}))
    with open_clip(path) as source:
        got = read_numbers(source.read(0, 1000))
        assert source.facts.variable_frame_rate
        assert got[:52] == [int(np.searchsorted(times, k / 25 + 5e-4, "right")) - 1
                            for k in range(52)]  # fmt: skip
        at = source.source_frame_at(np.array([0.0, 0.039, 0.041, 0.499, 1.999, 2.001, 99.0]))
        assert at.tolist() == [0, 0, 1, 1, 4, 5, 6]
    with open_clip(path) as source:
        assert read_numbers(source.read(40, 52)) == got[40:52]


def test_seconds_count_from_the_first_presentation_time(tmp_path):
    times = tuple(5.0 + index / 25 for index in range(30))
    path = write_clip(tmp_path / "late.mkv", Clip(count=30, times=times))
    assert numbers_of(path) == list(range(30))
    assert probe(path).duration_seconds == pytest.approx(1.2, abs=2e-3)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_very_short_videos_work(tmp_path, count):
    path = write_clip(tmp_path / "short.mp4", Clip(count=count))
    assert numbers_of(path) == list(range(count))


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((127, 95), None, (95, 127)),
        ((341, 255), 48, (48, 64)),
        ((96, 128), 48, (64, 48)),
        ((128, 96), 96, (96, 128)),
        ((64, 48), 96, (96, 128)),
        ((340, 256), 112, (112, 149)),
    ],
)
def test_the_short_side_decides_the_size(tmp_path, size, short_side, expected):
    clip = Clip(count=9, size=size, pix_fmt="yuv444p", options={"crf": "10"})
    path = write_clip(tmp_path / "odd.mp4", clip)
    with open_clip(path, short_side_px=short_side) as source:
        assert source.frame_size == expected
        assert (source.facts.width_px, source.facts.height_px) == size
        frames = source.read(0, 9)
        assert frames.shape == (9, *expected, 3)
        assert read_numbers(frames) == list(range(9))


def test_a_batch_border_loses_nothing(tmp_path):
    path = write_clip(tmp_path / "big.mp4", Clip(count=20, size=(1280, 960)))
    with open_clip(path) as source:
        assert read_numbers(source.read(0, 20)) == list(range(20))
