"""Pictures as displayed: orientation, colours, depth, alpha, and which stream is taken."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from models.decode import VideoSource
from models.tests.decode_clips import Clip, read_numbers, write_clip

RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 30), (30, 30, 220), (128, 128, 128)
QUADRANTS = np.array([[RED, GREEN], [BLUE, GREY]], np.uint8)
# Linear part (a, b, c, d) of the display matrix -> what it does to stored pixels.
# Source: ISO 14496-12, track header matrix: x' = a x + c y, y' = b x + d y.
ORIENTATIONS = {
    (1, 0, 0, 1): lambda image: image,
    (-1, 0, 0, 1): lambda image: image[:, ::-1],
    (1, 0, 0, -1): lambda image: image[::-1],
    (-1, 0, 0, -1): lambda image: image[::-1, ::-1],
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),  # a phone held upright: clockwise
    (0, -1, 1, 0): lambda image: np.rot90(image, 1),
    (0, 1, 1, 0): lambda image: image.transpose(1, 0, 2),
    (0, -1, -1, 0): lambda image: image.transpose(1, 0, 2)[::-1, ::-1],
}


def write_still(path, image, codec="libx264", pix_fmt="yuv444p", tags=None, options=None):
    """Encode one picture five times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = pix_fmt
        stream.options = options or {"crf": "4"} if codec == "libx264" else options or {}
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        for index in range(5):
            frame = image if isinstance(image, av.VideoFrame) else None
            if frame is None:
                frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
                    format=pix_fmt,
                    dst_colorspace=(tags or {}).get("colorspace"),
                    dst_color_range=(tags or {}).get("color_range"),
                )
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def quadrants(height=64, width=96):
    return QUADRANTS.repeat(height // 2, axis=0).repeat(width // 2, axis=1)


def set_matrix(path, linear):
    """Overwrite the track header's matrix in an MP4 file."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in linear)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))


@pytest.fixture(scope="module")
def still_mp4(tmp_path_factory):
    return write_still(tmp_path_factory.mktemp("still") / "still.mp4", quadrants()).read_bytes()


@pytest.mark.parametrize("linear", ORIENTATIONS)
def test_all_eight_orientations_are_applied(tmp_path, still_mp4, linear):
    path = tmp_path / "turned.mp4"
    path.write_bytes(still_mp4)
    set_matrix(path, linear)
    with VideoSource(path, fps=25, short_side_px=32) as source:
        frame = source.read(0, 1)[0]
        expected = ORIENTATIONS[linear](quadrants(32, 48))
        assert frame.shape == expected.shape
        assert (source.facts.height_px, source.facts.width_px) == (
            (64, 96) if expected.shape[0] == 32 and expected.shape[1] == 48 else (96, 64)
        )
        inner = np.s_[8:12, 8:12]
        for flip in (np.s_[:], np.s_[::-1]):
            assert np.allclose(frame[flip][inner], expected[flip][inner], atol=12)
            assert np.allclose(frame[flip][:, ::-1][inner], expected[flip][:, ::-1][inner], atol=12)


@pytest.mark.parametrize(
    ("pix_fmt", "colorspace", "color_range"),
    [
        ("yuv420p", 5, 1),
        ("yuv420p", 1, 1),
        ("yuv420p", 1, 2),
        ("yuv420p", 9, 1),
        ("yuvj420p", 5, 2),
        ("yuv420p10le", 1, 1),
        ("yuv444p", 1, 2),
    ],
)
def test_colours_survive_matrix_range_and_depth(tmp_path, pix_fmt, colorspace, color_range):
    tags = {"colorspace": colorspace, "color_range": color_range}
    path = write_still(tmp_path / "colour.mp4", quadrants(), pix_fmt=pix_fmt, tags=tags)
    with VideoSource(path, fps=25, short_side_px=None) as source:
        frame = source.read(0, 1)[0].astype(int)
    assert np.abs(frame[16, 24] - RED).max() <= 5
    assert np.abs(frame[16, 72] - GREEN).max() <= 5
    assert np.abs(frame[48, 24] - BLUE).max() <= 5
    assert np.abs(frame[48, 72] - GREY).max() <= 3


def test_a_stream_without_a_matrix_is_taken_as_bt601(tmp_path):
    path = write_still(tmp_path / "plain.mp4", quadrants())
    with VideoSource(path, fps=25, short_side_px=None) as source:
        frame = source.read(0, 1)[0].astype(int)
    assert np.abs(frame[16, 24] - RED).max() <= 5


def test_alpha_is_dropped_and_the_colours_stay(tmp_path):
    planes = av.VideoFrame.from_ndarray(quadrants(), "rgb24").reformat(format="yuva420p")
    path = write_still_frame(tmp_path / "alpha.webm", planes)
    with VideoSource(path, fps=25, short_side_px=None) as source:
        frame = source.read(0, 1)[0].astype(int)
    assert np.abs(frame[16, 24] - RED).max() <= 12
    assert np.abs(frame[48, 72] - GREY).max() <= 6


def write_still_frame(path, frame):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=25)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuva420p"
        stream.options = {"crf": "10", "b": "0", "cpu-used": "8"}
        for index in range(3):
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(path, out, *, attach_first=False, defaults=None):
    """Put the streams of several clips side by side into one file."""
    inputs = [av.open(str(one)) for one in path]
    with av.open(str(out), "w") as container:
        pairs = []
        for number, source in enumerate(inputs):
            stream = container.add_stream_from_template(source.streams.video[0])
            if defaults is not None:
                stream.disposition = (
                    av.stream.Disposition.default
                    if number in defaults
                    else av.stream.Disposition(0)
                )
            if attach_first and number == 0:
                stream.disposition = av.stream.Disposition.attached_pic
            pairs.append((source, stream))
        for source, stream in pairs:
            for packet in source.demux(video=0):
                if packet.size > 0:
                    packet.stream = stream
                    container.mux(packet)
    for source in inputs:
        source.close()
    return out


@pytest.mark.parametrize(("defaults", "first"), [({0, 1}, 100), ({0}, 0), ({1}, 100), (set(), 100)])
def test_of_several_streams_the_default_then_the_largest_is_taken(tmp_path, defaults, first):
    small = write_clip(tmp_path / "small.mkv", Clip(count=10, size=(64, 48)))
    large = write_clip(tmp_path / "large.mkv", Clip(count=10, start=100))
    both = remux([small, large], tmp_path / "both.mkv", defaults=defaults)
    with VideoSource(both, fps=25, short_side_px=None) as source:
        assert read_numbers(source.read(0, 10)) == list(range(first, first + 10))
        assert [warning.code for warning in source.warnings] == ["several_video_streams"]


def test_a_cover_picture_is_no_video(tmp_path):
    cover = write_clip(
        tmp_path / "cover.mkv", Clip("mjpeg", count=1, size=(320, 240), pix_fmt="yuvj420p")
    )
    video = write_clip(tmp_path / "video.mp4", Clip(count=10, start=50))
    both = remux([cover, video], tmp_path / "both.mp4", attach_first=True)
    with VideoSource(both, fps=25, short_side_px=None) as source:
        assert read_numbers(source.read(0, 10)) == list(range(50, 60))
        assert source.warnings == ()


def test_the_pixel_shape_is_ignored(tmp_path):
    path = write_still(
        tmp_path / "wide.mp4", quadrants(), tags={"sample_aspect_ratio": Fraction(2, 1)}
    )
    with VideoSource(path, fps=25, short_side_px=None) as source:
        assert source.frame_size == (64, 96)
