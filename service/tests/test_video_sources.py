"""Paths that requests may name, ranges, media types, moments: pure rules by tables."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import EmptyUpload, InvalidRequest, PathRefused, RangeRefused
from service.ingest.moments import read_moment
from service.ingest.paths import open_below, resolve_path
from service.ingest.ranges import ByteRange, disposition_of, media_type_of, read_range


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    (folder / "cam3").mkdir(parents=True)
    (folder / "cam3" / "a.mp4").write_bytes(b"video")
    (folder / "empty.mp4").touch()
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (folder / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (folder / "in.mp4").symlink_to(folder / "cam3" / "a.mp4")
    (folder / "outside").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(str(folder / "plug"))
    return folder


def test_a_file_below_a_root_is_found_where_it_really_lies(archive):
    for name in ("cam3/a.mp4", "in.mp4", "cam3/./a.mp4", "cam3//a.mp4"):
        video = resolve_path(f"{archive}/{name}", (str(archive),))
        assert (video.path, video.size_bytes) == (archive / "cam3" / "a.mp4", 5)
    descriptor = open_below(str(archive / "in.mp4"), (str(archive),))
    with os.fdopen(descriptor, "rb") as file:
        assert file.read() == b"video"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.mp4", "cam3/../../secret.mp4", "cam3/../cam3/a.mp4", "out.mp4",
        "outside/secret.mp4", "loop", "loop/a", "pipe", "plug", "cam3", "", "missing.mp4",
        "cam3/a.mp4/b", "a\0.mp4", "a\ud800.mp4", "x" * 300, "y/" * 3000,
    ],
)  # fmt: skip
def test_everything_else_is_refused(archive, name):
    with pytest.raises(PathRefused):
        resolve_path(f"{archive}/{name}", (str(archive),))


def test_what_lies_outside_is_refused_without_being_looked_at(archive, tmp_path):
    for path in (tmp_path / "secret.mp4", tmp_path / "missing.mp4", "/dev/zero", "/proc/self/mem"):
        with pytest.raises(PathRefused, match="not below"):
            resolve_path(str(path), (str(archive),))
    for path in ("cam3/a.mp4", "file:///etc/passwd", "~/a.mp4"):
        with pytest.raises(PathRefused, match="absolute"):
            resolve_path(path, (str(archive),))
    with pytest.raises(PathRefused, match="KINETAG_PATH_ROOTS"):
        resolve_path(str(archive / "cam3" / "a.mp4"), ())


def test_a_root_may_be_a_link_itself(archive, tmp_path):
    (tmp_path / "mount").symlink_to(archive)
    video = resolve_path(f"{tmp_path}/mount/cam3/a.mp4", (f"{tmp_path}/mount",))
    assert video.path == archive / "cam3" / "a.mp4"
    assert resolve_path(str(video.path), (f"{tmp_path}/mount",)) == video


def test_an_empty_file_is_told_apart(archive):
    with pytest.raises(EmptyUpload):
        resolve_path(str(archive / "empty.mp4"), (str(archive),))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 10)),
        ("bytes=3-5", (3, 6)),
        ("bytes=3-999", (3, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-999", (0, 10)),
        ("Bytes = 3 - 5", (3, 6)),
        ("bytes=5-3", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("bytes=a-b", None),
        ("items=0-1", None),
        ("", None),
    ],
)
def test_ranges(header, expected):
    found = read_range(header, 10)
    if expected is None:
        assert found is None
    else:
        start, end = expected
        assert found == ByteRange(start, end, 10)
        assert found.header == f"bytes {start}-{end - 1}/10"


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999-"])
def test_ranges_behind_the_end_are_refused(header):
    with pytest.raises(RangeRefused) as caught:
        read_range(header, 10)
    assert caught.value.headers == {"Content-Range": "bytes */10"}


@given(st.text(max_size=40), st.integers(0, 1 << 60))
def test_no_header_breaks_the_reading_of_ranges(header, size):
    try:
        found = read_range(f"bytes={header}", size)
    except RangeRefused:
        return
    assert found is None or 0 <= found.start < found.end <= size


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\0\0\0\x18ftypmp42", "video/mp4"),
        (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webmB\x87", "video/webm"),
        (b"\x1aE\xdf\xa3\xa3B\x86\x81\x01B\x82\x88matroska", "video/x-matroska"),
        (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo"),
        (b"RIFF\0\0\0\0WAVEfmt ", "application/octet-stream"),
        (b"G" + b"\0" * 187 + b"G", "video/mp2t"),
        (b"\0\0\x01\xba", "video/mp2p"),
        (b"GIF89a", "application/octet-stream"),
        (b"<html><script>", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_media_types_come_from_the_bytes(head, expected):
    assert media_type_of(head) == expected


@given(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=60))
def test_no_name_breaks_out_of_its_header(name):
    header = disposition_of(name)
    assert header.isascii()
    assert header.startswith('attachment; filename="')
    assert header.count('"') == 2
    assert "\n" not in header


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+10:00",
     "9999-12-31T23:59:59-10:00", "1700000000"],
)  # fmt: skip
def test_moments_without_use_are_refused(text):
    with pytest.raises(InvalidRequest):
        read_moment(text)


def test_moments_keep_their_instant():
    moment = read_moment("2026-03-01T09:00:00+01:00")
    assert moment == read_moment("2026-03-01T08:00:00Z")
    assert read_moment("") is None
