"""Damaged and unusable files: a covering result with warnings, or one clear error."""

import os
import struct
import zlib
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from models.decode import DecodeLimits, VideoSource, display_name, probe
from models.decode_formats import never_shown
from models.decode_timeline import PacketLog, build_timeline
from models.errors import (
    CodecUnsupported,
    ContainerUnsupported,
    EmptyVideo,
    InputError,
    NoVideoStream,
    UnreadableVideo,
    VideoTooLarge,
    VideoTooLong,
)
from models.tests.decode_clips import Clip, read_numbers, write_clip

GROUPS = {"g": "10", "bf": "2", "x264-params": "scenecut=0"}


def codes(source):
    return [warning.code for warning in source.warnings]


def test_a_cut_matroska_file_ends_where_it_was_cut_and_says_so(tmp_path):
    path = write_clip(tmp_path / "a.mkv", Clip(count=100, options=GROUPS))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with VideoSource(path, fps=25, short_side_px=None) as source:
        numbers = read_numbers(source.read(0, 1000))
        assert 20 < len(numbers) < 80
        assert numbers == sorted(numbers)
        assert numbers[:15] == list(range(15))
        (cut,) = [warning for warning in source.warnings if warning.code == "truncated"]
        assert cut.seconds == pytest.approx(source.facts.duration_seconds)


def test_a_cut_mp4_with_its_index_in_front_is_usable(tmp_path):
    path = write_clip(
        tmp_path / "a.mp4",
        Clip(count=100, options=GROUPS, muxer_options={"movflags": "faststart"}),
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with VideoSource(path, fps=25, short_side_px=None) as source:
        numbers = read_numbers(source.read(0, 1000))
        assert numbers[:30] == list(range(30))
        assert "truncated" in codes(source)


def test_a_cut_mp4_with_its_index_at_the_end_is_one_error(tmp_path):
    path = write_clip(tmp_path / "a.mp4", Clip(options=GROUPS))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableVideo, match=r"looks like MP4/MOV .* cut off"):
        probe(path)


def packet_spans(path):
    """Byte position and size of each packet, in decoding order."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def zero_packets(path, wanted):
    """Zero the content of packets of an MP4 or AVI file, by decoding number."""
    spans = packet_spans(path)
    data = bytearray(path.read_bytes())
    for number in wanted:
        at, size = spans[number]
        data[at : at + size] = bytes(size)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("lost", [range(34, 39), range(8)])
def test_frames_that_cannot_be_decoded_are_held_and_told_of(tmp_path, lost):
    path = write_clip(tmp_path / "a.mp4", Clip("mjpeg", count=60, pix_fmt="yuvj420p"))
    zero_packets(path, lost)
    good = [number for number in range(60) if number not in lost]
    expected = [max((g for g in good if g <= k), default=good[0]) for k in range(60)]
    with VideoSource(path, fps=25, short_side_px=None) as source:
        whole = source.read(0, 60)
        assert read_numbers(whole) == expected
        (warning,) = source.warnings
        assert warning.code == "frames_lost"
        assert warning.seconds == pytest.approx(lost.start / 25)
        assert f"{lost.stop / 25:.2f} s" in warning.message
        source.read(0, 60)
        assert len(source.warnings) == 1
    with VideoSource(path, fps=25, short_side_px=None) as source:
        assert np.array_equal(source.read(lost.stop - 2, 60), whole[lost.stop - 2 :])


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4", "libvpx-vp9"])
def test_flipped_bits_never_end_a_run_and_seeking_still_changes_nothing(tmp_path, codec):
    options = {"libx265": {"x265-params": "log-level=none:keyint=10"}}.get(codec, {"g": "10"})
    suffix = "webm" if codec == "libvpx-vp9" else "mp4"
    path = write_clip(tmp_path / f"a.{suffix}", Clip(codec, count=60, options=options))
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(7)
    for at, size in packet_spans(path)[20:32]:
        for offset in rng.integers(0, size, 5):
            data[at + offset] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(data))
    with VideoSource(path, fps=25, short_side_px=None) as source:
        whole = source.read(0, 1000)
        assert len(whole) == source.num_frames
        assert read_numbers(whole)[:10] == list(range(10))
    with VideoSource(path, fps=25, short_side_px=None) as source:
        assert np.array_equal(source.read(45, 1000), whole[45:])


def test_a_hole_in_an_avi_keeps_what_follows_in_its_place(tmp_path):
    path = write_clip(tmp_path / "a.avi", Clip("mjpeg", count=60, pix_fmt="yuvj420p"))
    spans = packet_spans(path)
    data = bytearray(path.read_bytes())
    start, stop = spans[20][0] - 8, spans[30][0] - 8
    data[start:stop] = bytes(stop - start)
    path.write_bytes(bytes(data))
    with VideoSource(path, fps=25, short_side_px=None) as source:
        numbers = read_numbers(source.read(0, 60))
        assert numbers == list(range(20)) + [19] * 10 + list(range(30, 60))
        (warning,) = source.warnings
        assert (warning.code, warning.seconds) == ("frames_lost", 0.8)


def test_a_restarted_clock_is_joined(tmp_path):
    first = write_clip(tmp_path / "a.ts", Clip(count=30, options={"bf": "0", "g": "10"}))
    again = write_clip(tmp_path / "b.ts", Clip(count=30, start=30, options={"bf": "0", "g": "10"}))
    path = tmp_path / "joined.ts"
    path.write_bytes(first.read_bytes() + again.read_bytes())
    with VideoSource(path, fps=25, short_side_px=None) as source:
        whole = source.read(0, 1000)
        assert read_numbers(whole) == list(range(60))
        assert source.facts.duration_seconds == pytest.approx(2.4, abs=0.01)
        (warning,) = source.warnings
        assert warning.code == "timestamps_repaired"
        assert warning.seconds == pytest.approx(1.2, abs=0.05)
        assert np.array_equal(source.read(40, 50), whole[40:50])


def png() -> bytes:
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(8 * 25))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", EmptyVideo, "0 bytes"),
        (b"not a video at all\n" * 50, UnreadableVideo, "text"),
        (bytes(range(256)) * 64, UnreadableVideo, "no video"),
        (bytes(10_000), UnreadableVideo, "no video"),
        (png(), ContainerUnsupported, "PNG image.*MP4"),
        (b"GIF89a" + bytes(500), ContainerUnsupported, "GIF"),
        (b"OggS" + bytes(500), ContainerUnsupported, "Ogg"),
        (b"PK\x03\x04" + bytes(500), ContainerUnsupported, "ZIP"),
        (b"\x00\x00\x00\x1cftypheic" + bytes(500), ContainerUnsupported, "HEIF"),
        (b"\x00\x00\x00\x1cftypisom" + bytes(500), UnreadableVideo, "MP4"),
        (b"\x1aE\xdf\xa3" + bytes(500), UnreadableVideo, "Matroska"),
    ],
)
def test_what_is_no_video_is_one_clear_error(tmp_path, content, kind, words):
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(kind, match=words):
        probe(path)


def test_sound_alone_is_no_video(tmp_path):
    for name, codec in [("a.m4a", "aac"), ("a.wav", "pcm_s16le"), ("a.mkv", "aac")]:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(codec, rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
            frame.sample_rate = 8000
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
        with pytest.raises(NoVideoStream):
            probe(path)


@pytest.mark.parametrize(
    ("codec", "name", "pix_fmt"),
    [("qtrle", "a.mov", "rgb24"), ("ffv1", "a.mkv", "yuv420p"), ("magicyuv", "a.avi", "yuv420p")],
)
def test_other_codecs_are_refused_by_name(tmp_path, codec, name, pix_fmt):
    path = write_clip(tmp_path / name, Clip(codec, count=3, pix_fmt=pix_fmt))
    with pytest.raises(CodecUnsupported, match=rf"{codec}.*H\.264"):
        probe(path)


def test_limits_on_length_and_count(tmp_path):
    path = write_clip(tmp_path / "a.mkv", Clip(count=50))
    with pytest.raises(VideoTooLong, match="2 s"):
        probe(path, limits=DecodeLimits(max_duration_seconds=1.5))
    with pytest.raises(VideoTooLong, match="49 frames"):
        probe(path, limits=DecodeLimits(max_frames=49))
    with pytest.raises(VideoTooLarge, match="128x96"):
        probe(path, limits=DecodeLimits(max_pixels=128 * 96 - 1))
    assert probe(path, limits=DecodeLimits(max_frames=50)).num_source_frames == 50


def test_a_thin_picture_cannot_blow_up_when_resized(tmp_path):
    path = write_clip(tmp_path / "thin.avi", Clip("mjpeg", 2, size=(4096, 16), pix_fmt="yuvj420p"))
    limits = DecodeLimits(max_pixels=1_000_000)
    with (
        pytest.raises(VideoTooLarge),
        VideoSource(path, fps=25, short_side_px=256, limits=limits),
    ):
        pass


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be opened"):
        probe(tmp_path / "absent.mp4")
    with pytest.raises(InputError, match="not a file"):
        probe(tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="not a file"):
        probe(tmp_path / "pipe.mp4")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.mp4", "a.mp4"),
        ("a\x00b\n\x1b[31m.mp4", "ab[31m.mp4"),
        ("x" * 300, "x" * 255),
        ("e\u0301.mp4", "\u00e9.mp4"),
        ("\u202egpj.exe", "gpj.exe"),
        ("\n", "video"),
        ("\udcff.mp4", "?.mp4"),
    ],
)
def test_names_are_only_for_show(name, shown):
    assert display_name(name) == shown


@pytest.mark.parametrize(
    ("codec", "first", "last", "hidden"),
    [
        ("vp8", 0b0001_0000, 0, False),
        ("vp8", 0b0000_0001, 0, True),
        ("vp9", 0b1000_0010, 0, False),  # shown
        ("vp9", 0b1000_0100, 0, True),  # an inter frame for reference only
        ("vp9", 0b1000_1000, 0, False),  # shows an existing frame
        ("vp9", 0b1000_0100, 0b1100_1001, False),  # a superframe shows its last one
        ("vp9", 0b1011_0001, 0, False),  # profile 3
        ("vp9", 0b1011_0010, 0, True),
        ("h264", 0, 0, False),
    ],
)
def test_reference_only_packets_are_no_frames(codec, first, last, hidden):
    assert never_shown(codec, first, last) == hidden


def log_of(pts, dts=None, durations=None):
    log = PacketLog(Fraction(1, 1000), repair_clock=False)
    for index, time in enumerate(pts):
        decoding = None if dts is None else dts[index]
        log.add((time, decoding, 0), index, key=True, hidden=False)
    return log


def test_missing_presentation_times_are_derived():
    from_decoding = build_timeline(log_of([None] * 5, dts=[10, 50, 90, 130, 170]), 25.0)
    assert from_decoding is not None
    assert from_decoding.by_order
    assert from_decoding.ticks.tolist() == [0, 40, 80, 120, 160]
    assert from_decoding.duration_seconds == pytest.approx(0.2)
    from_rate = build_timeline(log_of([None] * 4), 50.0)
    assert from_rate is not None
    assert from_rate.ticks.tolist() == [0, 20, 40, 60]
    assert build_timeline(log_of([None]), 0.0).duration_seconds == pytest.approx(0.04)
