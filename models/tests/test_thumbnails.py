"""Thumbnails: the right pictures at the right seconds, from any container, cheaply."""

import os
import time
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import pytest

from models import decode_tiles
from models.decode import VideoSource
from models.decode_media import scan
from models.decode_protocol import DecodeLimits
from models.decode_tiles import draw_tiles, tile_size
from models.errors import DecoderCrashed, UnreadableVideo
from models.tests.decode_clips import Clip, read_numbers, write_clip
from models.thumbnails import MAX_TILES, draw_thumbnails

GROUPS = {"g": "10", "bf": "2", "x264-params": "scenecut=0"}


def strip_of(path):
    with VideoSource(path, fps=25.0, short_side_px=None) as source:
        return draw_thumbnails(source), source.facts


def tiles_of(strip):
    """Cut the JPEG as a page would."""
    picture: Any = cv2.imdecode(np.frombuffer(strip.jpeg, np.uint8), cv2.IMREAD_COLOR)
    shape = strip.to_json()
    tiles = []
    for index in range(shape["count"]):
        row, column = divmod(index, shape["columns"])
        top, left = row * shape["tile_height"], column * shape["tile_width"]
        tiles.append(picture[top : top + shape["tile_height"], left : left + shape["tile_width"]])
    return np.array(tiles)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_a_short_video_is_shown_exactly(name, tmp_path):
    codec = "mpeg4" if name == "a.avi" else "libx264"
    options = {} if name == "a.avi" else GROUPS
    path = write_clip(tmp_path / name, Clip(codec, count=100, options=options))
    strip, facts = strip_of(path)
    # Four seconds, two tiles each: in the middle of eight equal parts.
    expected = [int((index + 0.5) * 12.5) for index in range(8)]
    assert read_numbers(tiles_of(strip)) == expected
    assert strip.seconds == pytest.approx([number / 25 for number in expected], abs=1e-6)
    assert (strip.tile_width_px, strip.tile_height_px) == (120, 90)
    assert facts.container.split(",")[0] in {"mov", "matroska", "mpegts", "avi"}


def test_variable_rates_are_shown_by_time_not_by_number(tmp_path):
    """A second of 10 frames, then three seconds in which one frame stands still."""
    times = tuple([index / 10 for index in range(10)] + [1.0, 4.0])
    path = write_clip(tmp_path / "a.mkv", Clip(count=12, fps=Fraction(10), times=times))
    strip, _ = strip_of(path)
    numbers = read_numbers(tiles_of(strip))
    # The standing frame is shown once, however many parts of the video it fills.
    assert numbers == sorted(set(numbers))
    assert 10 in numbers
    assert strip.seconds[numbers.index(10)] == pytest.approx(1.0)


def test_there_are_never_more_than_the_most(tmp_path):
    path = write_clip(tmp_path / "a.mp4", Clip(count=250, fps=Fraction(5), options=GROUPS))
    strip, _ = strip_of(path)
    assert len(strip.seconds) == MAX_TILES
    assert np.diff(strip.seconds) == pytest.approx(50 / 60, abs=0.21)


def test_one_frame_is_one_tile(tmp_path):
    strip, _ = strip_of(write_clip(tmp_path / "a.mkv", Clip(count=1)))
    assert strip.to_json() == {
        "tile_width": 120, "tile_height": 90, "columns": 1, "count": 1, "seconds": [0.0],
    }  # fmt: skip


def test_small_pictures_are_not_enlarged_and_tall_ones_fit():
    assert tile_size((64, 48), (160, 90)) == (64, 48)
    assert tile_size((1080, 1920), (160, 90)) == (51, 90)
    assert tile_size((7680, 16), (160, 90)) == (160, 1)


# Long videos: key frames only. Shown in this process, where the budget can be set.


@pytest.fixture
def keys_of(monkeypatch):
    def show(path, count=8):
        monkeypatch.setattr(decode_tiles, "CHEAP_PIXELS", 0)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            medium = scan(descriptor, DecodeLimits(), lambda: None)
            return list(draw_tiles(medium, (120, 90), count, lambda: None))
        finally:
            os.close(descriptor)

    return show


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_long_video_is_shown_by_key_frames(name, keys_of, tmp_path):
    path = write_clip(tmp_path / name, Clip(count=100, options=GROUPS))
    tiles = keys_of(path)
    numbers = read_numbers(np.array([tile.rgb for tile in tiles]))
    assert numbers == [tile.rank for tile in tiles]
    assert numbers == [0, 10, 30, 40, 50, 60, 80, 90]


def test_where_a_seek_lands_early_the_tile_says_so(keys_of, tmp_path):
    """MPEG-TS is searched by decoding time: a seek may lead to the key frame before."""
    tiles = keys_of(write_clip(tmp_path / "a.ts", Clip(count=100, options=GROUPS)))
    ranks = [tile.rank for tile in tiles]
    assert read_numbers(np.array([tile.rgb for tile in tiles])) == ranks
    assert all(rank % 10 == 0 for rank in ranks)
    assert len(ranks) > 4


def test_a_file_that_cannot_be_searched_is_read_in_passing(keys_of, tmp_path, monkeypatch):
    monkeypatch.setattr("models.decode_frames.PictureStream.seek", lambda self, key: False)
    path = write_clip(tmp_path / "a.mp4", Clip(count=100, options=GROUPS))
    tiles = keys_of(path)
    assert read_numbers(np.array([tile.rgb for tile in tiles])) == [0, 10, 30, 40, 50, 60, 80, 90]


def test_a_single_key_frame_is_shown_once(keys_of, tmp_path):
    path = write_clip(tmp_path / "a.mp4", Clip(count=100, options={**GROUPS, "g": "1000"}))
    assert [tile.rank for tile in keys_of(path)] == [0]


def test_damage_leaves_tiles_out_but_the_rest_stands(keys_of, tmp_path):
    path = write_clip(tmp_path / "a.mkv", Clip(count=100, options=GROUPS))
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 3, len(data) // 2):
        data[at] ^= 0x5A
    path.write_bytes(bytes(data))
    ranks = [tile.rank for tile in keys_of(path)]
    assert ranks == sorted(set(ranks))
    assert 1 <= len(ranks) <= 8


def test_ten_hours_take_seconds(tmp_path):
    """Three seconds of packets repeated over ten hours; decoding them all would take minutes."""
    clip = write_clip(
        tmp_path / "clip.mp4", Clip(count=15, fps=Fraction(5), size=(640, 360), options={"g": "5"})
    )
    path = tmp_path / "long.mkv"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        inner: Any = source.streams.video[0]
        outer: Any = target.add_stream_from_template(inner)
        shots: list[Any] = [packet for packet in source.demux(inner) if packet.size]
        contents = [(bytes(shot), shot.pts, shot.dts, shot.is_keyframe) for shot in shots]
        for turn in range(12_000):
            shift = round(turn * 3 / inner.time_base)
            for content, pts, dts, key in contents:
                packet: Any = av.Packet(content)
                packet.stream, packet.time_base = outer, inner.time_base
                packet.pts, packet.dts, packet.is_keyframe = pts + shift, dts + shift, key
                target.mux(packet)
    started = time.monotonic()
    strip, facts = strip_of(path)
    spent = time.monotonic() - started
    assert facts.duration_seconds == pytest.approx(36_000, abs=1)
    assert len(strip.seconds) == MAX_TILES
    # A full decode of 180,000 frames takes more than two minutes on this kind of machine.
    assert spent < 20


# A child that lies.


@pytest.mark.parametrize(
    "lie",
    [
        {},
        {"size": [90, 9999], "seconds": [0.0]},
        {"size": [0, 160], "seconds": [0.0]},
        {"size": [90], "seconds": [0.0]},
        {"size": [90, 160], "seconds": [0.0] * 1000},
        {"size": [90, 160], "seconds": [2.0, 1.0]},
        {"size": [90, 160], "seconds": [-1.0]},
        {"size": [90, 160], "seconds": [99.0]},
        {"size": [90, 160], "seconds": [None]},
    ],
)
def test_senseless_answers_are_not_believed(lie, tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mkv", Clip(count=25))
    with VideoSource(path, fps=25.0, short_side_px=None) as source:
        monkeypatch.setattr(source, "_ask", lambda question: lie)
        with pytest.raises(DecoderCrashed):
            draw_thumbnails(source)


def test_no_picture_at_all_is_said(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mkv", Clip(count=25))
    with VideoSource(path, fps=25.0, short_side_px=None) as source:
        monkeypatch.setattr(source, "_ask", lambda question: {"size": [90, 120], "seconds": []})
        with pytest.raises(UnreadableVideo):
            draw_thumbnails(source)
