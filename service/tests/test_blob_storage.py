import errno
import os

import pytest

from service.errors import StorageFull, StorageUnavailable
from service.storage import LocalBlobStore, mapped_storage_errors, store_activations


@pytest.fixture(params=["local"])
def blobs(request, tmp_path):
    return LocalBlobStore(tmp_path / "root")


def source(tmp_path, content):
    path = tmp_path / "source"
    path.write_bytes(content)
    return path


def test_a_stored_file_is_moved_in(blobs, tmp_path):
    path = source(tmp_path, b"content")
    blobs.put_file("videos/a", path)
    assert not path.exists()
    with blobs.open_local("videos/a") as local:
        assert local.read_bytes() == b"content"
    assert blobs.get_bytes("videos/a") == b"content"


def test_bytes_replace_bytes(blobs):
    blobs.put_bytes("results/j/a.json", b"1")
    blobs.put_bytes("results/j/a.json", b"22")
    assert blobs.get_bytes("results/j/a.json") == b"22"
    assert [key for key, _ in blobs.keys("results")] == ["results/j/a.json"]


def test_keys_are_listed_by_prefix_with_their_time(blobs, tmp_path):
    blobs.put_bytes("results/one/a", b"")
    blobs.put_bytes("results/two/b", b"")
    assert [key for key, _ in blobs.keys("results/one")] == ["results/one/a"]
    assert all(moment.tzinfo is not None for _, moment in blobs.keys("results"))
    assert list(blobs.keys("videos")) == []


def test_deleting_is_idempotent(blobs):
    blobs.put_bytes("results/j/a", b"")
    blobs.delete("results/j/a")
    blobs.delete("results/j/a")
    assert list(blobs.keys("results")) == []


def test_what_is_missing_is_said(blobs):
    with pytest.raises(FileNotFoundError):
        blobs.get_bytes("videos/none")
    with pytest.raises(FileNotFoundError), blobs.open_local("videos/none"):
        pytest.fail("opened a missing blob")


@pytest.mark.parametrize(
    "key",
    ["", "videos", "videos/", "videos/../x", "/videos/a", "other/a", "videos/.hidden", "videos/a\n",
     "results/a/../../x", "videos//a", "videos/a\x00"],
)  # fmt: skip
def test_only_keys_made_by_the_service_are_taken(blobs, tmp_path, key):
    for act in (
        lambda: blobs.put_bytes(key, b""),
        lambda: blobs.put_file(key, source(tmp_path, b"")),
        lambda: blobs.get_bytes(key),
        lambda: blobs.delete(key),
    ):
        with pytest.raises(ValueError, match="no blob key"):
            act()


def test_a_failed_write_leaves_no_part(blobs, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull):
        blobs.put_bytes("results/j/a", b"1")
    assert [path for path in (tmp_path / "root").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EIO, StorageUnavailable),
        (errno.EACCES, StorageUnavailable),
        (errno.EROFS, StorageUnavailable),
    ],
)
def test_errors_of_the_system_become_ours(number, expected):
    with pytest.raises(expected), mapped_storage_errors():
        raise OSError(number, os.strerror(number))


def test_activations_never_overwrite_each_other(blobs):
    first = store_activations(blobs, "job_a", {"classes": ["walk"]})
    second = store_activations(blobs, "job_a", {"classes": []})
    assert first != second
    assert blobs.get_bytes(first) == b'{"classes":["walk"]}'
