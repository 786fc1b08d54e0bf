"""Archives of strangers: bombs, links, lies, damage; nothing is unpacked before it is judged."""

import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batches import zips
from service.batches.zips import list_members, open_archive, unpack
from service.errors import ArchiveRefused

LIMIT = 10_000_000
VIDEO = b"\0\0\0\x18ftypisom" + bytes(range(256)) * 8


@pytest.fixture
def write(tmp_path):
    """Returns (*(name or ZipInfo, bytes)) -> path of an archive of these."""

    def write(*members, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return path

    return write


def _members(path, patterns=()):
    with open_archive(path) as archive:
        return list_members(archive, patterns, LIMIT)


def _refusals(path):
    return {member.name: member.refusal for member in _members(path)}


def _unpack(path, index=0):
    target = io.BytesIO()
    with open_archive(path) as archive:
        return unpack(archive, index, target, lambda _size: None), target.getvalue()


def test_good_members_come_out_as_they_went_in(write):
    path = write(("a/b.mp4", VIDEO), ("c.mp4", VIDEO[:500]))
    assert _refusals(path) == {"a/b.mp4": "", "c.mp4": ""}
    found, content = _unpack(path, 1)
    assert content == VIDEO[:500]
    assert found.size_bytes == 500


def test_names_are_shown_and_never_used(write):
    names = ["../../etc/passwd.mp4", "/abs.mp4", "C:\\x.mp4", "line\nbreak.mp4", "\N{SNOWMAN}.mp4"]
    shown = set(_refusals(write(*((name, VIDEO) for name in names))))
    assert "line%0Abreak.mp4" in shown
    assert all(part.isprintable() for name in shown for part in name.split("/"))
    assert len(shown) == len(names)


def _link():
    info = zipfile.ZipInfo("link.mp4")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, b"/etc/passwd"


def _device():
    info = zipfile.ZipInfo("device.mp4")
    info.external_attr = (stat.S_IFCHR | 0o666) << 16
    return info, b"x"


def test_members_that_are_no_plain_files_are_refused(write):
    path = write(_link(), _device(), ("empty.mp4", b""), ("fine.mp4", VIDEO))
    refusals = _refusals(path)
    assert refusals.pop("fine.mp4") == ""
    assert all(refusals.values())
    assert set(refusals) == {"link.mp4", "device.mp4", "empty.mp4"}


def test_folders_hidden_files_and_resource_forks_are_no_items(write):
    path = write(
        ("cam/", b""), ("cam/.hidden.mp4", VIDEO), ("__MACOSX/x.mp4", VIDEO), ("a.txt", b"t")
    )
    assert list(_refusals(path)) == ["a.txt"]
    assert _members(path, ("*.mp4",)) == []


def test_bombs_are_refused_by_ratio_size_and_sum(write, monkeypatch):
    path = write(("bomb.mp4", bytes(5_000_000)), ("large.mp4", os.urandom(LIMIT + 1)))
    refusals = _refusals(path)
    assert "100 times" in refusals["bomb.mp4"]
    assert str(LIMIT) in refusals["large.mp4"]
    monkeypatch.setattr(zips, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(ArchiveRefused, match="more than 1000 bytes"):
        _members(path)


def test_too_many_members_are_refused_before_they_are_read(write, monkeypatch):
    path = write(*((f"{index}.mp4", b"x") for index in range(50)))
    monkeypatch.setattr(zips, "MAX_MEMBERS", 49)
    monkeypatch.setattr(zipfile, "ZipFile", lambda _path: pytest.fail("it was read"))
    with pytest.raises(ArchiveRefused, match="more than 49 members"):
        open_archive(path)
    monkeypatch.setattr(zips, "MAX_DIRECTORY_BYTES", 100)
    with pytest.raises(ArchiveRefused):
        open_archive(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_come_twice_are_refused(write):
    path = write(("a.mp4", VIDEO), ("a.mp4", VIDEO), ("b.mp4", VIDEO))
    assert [bool(member.refusal) for member in _members(path)] == [True, True, False]


def test_encryption_and_rare_compressions_are_refused(write, tmp_path):
    path = write(("a.mp4", VIDEO), compression=zipfile.ZIP_LZMA)
    assert "Deflate" in _refusals(path)["a.mp4"]
    path = write(("a.mp4", VIDEO))
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    content[6] |= 1
    content[directory + 8] |= 1
    path.write_bytes(content)
    assert "encrypted" in _refusals(path)["a.mp4"]


def test_members_that_share_bytes_are_refused(write):
    """The trick of the best bombs: many entries of the directory lead to the same bytes."""
    path = write(("a.mp4", VIDEO), ("b.mp4", VIDEO))
    content = bytearray(path.read_bytes())
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    struct.pack_into("<L", content, second + 42, 0)
    path.write_bytes(content)
    with pytest.raises(ArchiveRefused, match="share"):
        _members(path)


def test_lies_about_sizes_and_damage_are_noticed(write):
    path = write(("a.mp4", VIDEO), compression=zipfile.ZIP_STORED)
    good = path.read_bytes()
    damaged = bytearray(good)
    damaged[100] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ArchiveRefused, match="damaged"):
        _unpack(path)
    deflated = bytearray(write(("a.mp4", VIDEO)).read_bytes())
    directory = deflated.rindex(b"PK\x01\x02")
    struct.pack_into("<L", deflated, directory + 24, len(VIDEO) - 100)
    path.write_bytes(deflated)
    with pytest.raises(ArchiveRefused):
        _unpack(path)


def test_what_is_no_video_by_its_first_bytes_is_refused(write):
    nested = io.BytesIO()
    with zipfile.ZipFile(nested, "w") as archive:
        archive.writestr("x.mp4", VIDEO)
    path = write(("inner.mp4", nested.getvalue()), ("text.mp4", b"Just a text, nothing more."))
    for index, what in ((0, "ZIP archive"), (1, "a text")):
        with pytest.raises(ArchiveRefused, match=what):
            _unpack(path, index)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive at all" * 10])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(ArchiveRefused, match="no ZIP archive"):
        _members(path)


def test_an_empty_archive_has_no_members(write):
    assert _members(write()) == []


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_archives_end_in_a_refusal_and_nothing_else(tmp_path_factory, data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.mp4", VIDEO)
        archive.writestr("b/c.mp4", VIDEO[:99])
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 2, len(content))) :]
    path = Path(tmp_path_factory.getbasetemp()) / "fuzzed.zip"
    path.write_bytes(content)
    try:
        members = _members(path)
    except ArchiveRefused:
        return
    for member in members:
        if not member.refusal:
            try:
                _, unpacked = _unpack(path, member.index)
            except ArchiveRefused:
                continue
            assert len(unpacked) == member.size_bytes
