import errno
import os
import time

import httpx2
import pytest
from obstore.store import MemoryStore
from starlette.testclient import TestClient

from service.errors import ConfigurationError, StorageFull, StorageUnavailable
from service.main import create_app
from service.storage import LocalBlobStore, mapped_storage_errors, store_activations
from service.storage_remote import PART_BYTES, RemoteBlobStore, open_remote


@pytest.fixture
def remote(s3_bucket, s3_server, tmp_path):
    return open_remote(f"{s3_bucket}/some/prefix", s3_server, tmp_path / "tmp")


@pytest.fixture(params=["local", "s3"])
def blobs(request, tmp_path):
    if request.param == "s3":
        return request.getfixturevalue("remote")
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


def test_readers_of_different_files_each_have_theirs_and_leave_none(tmp_path):
    blobs = RemoteBlobStore(MemoryStore(), tmp_path / "tmp")
    for key in ("videos/a", "videos/b"):
        blobs.put_file(key, source(tmp_path, key.encode()))
    with blobs.open_local("videos/a") as first:
        with blobs.open_local("videos/b") as second:
            assert second.read_bytes() == b"videos/b"
            with blobs.open_local("videos/a") as again:
                assert again.read_bytes() == b"videos/a"
            blobs.rest()
        assert first.read_bytes() == b"videos/a"
    blobs.rest()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_is_missing_is_said(blobs):
    with pytest.raises(FileNotFoundError):
        blobs.get_bytes("videos/none")
    with pytest.raises(FileNotFoundError), blobs.open_local("videos/none"):
        pytest.fail("opened a missing blob")
    with pytest.raises(FileNotFoundError):
        blobs.size("videos/none")
    with pytest.raises(FileNotFoundError):
        blobs.open_range("videos/none", 0, 1)


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
        lambda: blobs.size(key),
        lambda: blobs.open_range(key, 0, 1),
    ):
        with pytest.raises(ValueError, match="no blob key"):
            act()


def test_bytes_are_read_by_range(blobs, tmp_path):
    content = bytes(range(256)) * 3000
    blobs.put_file("videos/a", source(tmp_path, content))
    assert blobs.size("videos/a") == len(content)
    for start, end in [(0, 1), (0, len(content)), (5, 600_000), (len(content) - 3, 10**12)]:
        assert b"".join(blobs.open_range("videos/a", start, end)) == content[start:end]
    assert list(blobs.open_range("videos/a", len(content), 10**12)) == []


def test_an_empty_file_is_kept_empty(blobs, tmp_path):
    blobs.put_file("videos/a", source(tmp_path, b""))
    assert (blobs.size("videos/a"), list(blobs.open_range("videos/a", 0, 9))) == (0, [])
    with blobs.open_local("videos/a") as local:
        assert local.read_bytes() == b""


def test_what_is_left_from_use_goes_at_rest(blobs, tmp_path):
    blobs.put_bytes("videos/a", b"1")
    with blobs.open_local("videos/a"):
        pass
    blobs.rest()
    blobs.rest()
    assert blobs.get_bytes("videos/a") == b"1"
    assert list((tmp_path / "tmp").glob("*")) == []


def test_consecutive_uses_download_once(remote, tmp_path):
    remote.put_bytes("videos/a", b"1")
    with remote.open_local("videos/a") as first, remote.open_local("videos/a") as second:
        assert first == second
        remote.rest()
        assert first.read_bytes() == b"1"
    remote.put_bytes("videos/b", b"2")
    with remote.open_local("videos/b") as other:
        assert [path.name for path in (tmp_path / "tmp").iterdir()] == [other.name]


def test_copies_of_killed_workers_are_removed_after_a_day(remote, tmp_path):
    (tmp_path / "tmp").mkdir()
    for name, age_seconds in (("blob-old", 2 * 86400), ("blob-new", 60), ("other", 2 * 86400)):
        path = tmp_path / "tmp" / name
        path.touch()
        os.utime(path, (time.time() - age_seconds,) * 2)
    remote.put_bytes("videos/a", b"1")
    with remote.open_local("videos/a") as copy:
        names = {path.name for path in (tmp_path / "tmp").iterdir()}
    assert names == {"blob-new", "other", copy.name}


def test_a_large_file_goes_up_in_parts(remote, tmp_path, s3_server, s3_bucket):
    content = os.urandom(1024) * (2 * PART_BYTES // 1024 + 1)
    remote.put_file("videos/a", source(tmp_path, content))
    with remote.open_local("videos/a") as local:
        assert local.read_bytes() == content
    bucket = s3_bucket.removeprefix("s3://")
    head = httpx2.head(f"{s3_server}/{bucket}/some/prefix/videos/a")
    assert head.headers["etag"].endswith('-3"')


def test_an_upload_that_was_repeated_after_a_lost_answer_is_no_failure(remote, tmp_path):
    remote.put_file("videos/a", source(tmp_path, b"same"))
    remote.put_file("videos/a", source(tmp_path, b"same"))
    assert remote.get_bytes("videos/a") == b"same"
    with pytest.raises(StorageUnavailable):
        remote.put_file("videos/a", source(tmp_path, b"another"))
    assert remote.get_bytes("videos/a") == b"same"


def test_a_storage_that_is_away_is_an_outage(tmp_path, monkeypatch, s3_bucket):
    monkeypatch.setattr("service.storage_remote.MAX_RETRIES", 0)
    away = open_remote(s3_bucket, "http://127.0.0.1:1", tmp_path)
    with pytest.raises(StorageUnavailable):
        away.get_bytes("videos/a")
    path = source(tmp_path, b"kept")
    with pytest.raises(StorageUnavailable):
        away.put_file("videos/a", path)
    assert path.read_bytes() == b"kept"


@pytest.mark.parametrize("url", ["s3://", "ftp://host/x", "http://host/x", "memory:///", "x", ""])
def test_other_addresses_are_refused(url, tmp_path):
    with pytest.raises(ConfigurationError, match=r"S3|s3"):
        open_remote(url, None, tmp_path)


def test_a_failed_write_leaves_no_part(tmp_path, monkeypatch):
    blobs = LocalBlobStore(tmp_path / "root")

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
    first = store_activations(blobs, "job_a", b"first")
    second = store_activations(blobs, "job_a", b"second")
    assert first != second
    assert blobs.get_bytes(first) == b"first"


def test_an_upload_to_a_storage_that_is_away_is_refused_and_leaves_nothing(settings, monkeypatch):
    monkeypatch.setattr("service.storage_remote.MAX_RETRIES", 0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "x")
    away = {"storage_url": "s3://nowhere", "storage_endpoint": "http://127.0.0.1:1"}
    app = create_app(settings.model_copy(update=away))
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.post("/v1/jobs", files={"video": ("a.mp4", b"content")})
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert client.get("/v1/jobs").json()["jobs"] == []
        assert client.get("/v1/videos").json()["videos"] == []
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["storage"]["ok"]) == (503, False)
    assert [path for path in (settings.data_dir / "tmp").rglob("*") if path.is_file()] == []


def test_readiness_asks_the_object_storage(settings, s3_bucket, s3_server):
    for bucket, expected in ((s3_bucket, 200), ("s3://nobody-made-it", 503)):
        there = {"storage_url": bucket, "storage_endpoint": s3_server}
        app = create_app(settings.model_copy(update=there))
        with TestClient(app, base_url="http://localhost") as client:
            assert client.get("/readyz").status_code == expected
