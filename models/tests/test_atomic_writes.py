"""Files appear whole or not at all."""

import errno

import pytest

from models.atomic import write_bytes_atomic, write_text_atomic
from models.errors import DiskFull


def test_content_replaces_what_was_there(tmp_path):
    path = tmp_path / "new" / "file.json"
    write_text_atomic(path, "old")
    write_bytes_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.json"]


def test_a_full_disk_keeps_the_old_file_and_leaves_no_part(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_text_atomic(path, "old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("models.atomic.os.fsync", full)
    with pytest.raises(DiskFull, match="is full"):
        write_text_atomic(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]
