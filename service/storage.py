"""Blobs: videos, thumbnails, stored activations, by key. Local folder or object storage.

`open_blobs` chooses by the settings. What `put_file` and `put_bytes` return from has reached the
disk, or the object storage has confirmed it. The local store is here, the other one in
`service.storage_remote`.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import obstore
from obstore.store import LocalStore

from service.jobs.store import new_id
from service.settings import Settings
from service.storage_base import (
    FULL_ERRORS,
    KEY_PATTERN,
    READ_CHUNK_BYTES,
    BlobStore,
    checked_key,
    mapped_storage_errors,
)
from service.storage_remote import open_remote

__all__ = [
    "FULL_ERRORS",
    "KEY_PATTERN",
    "BlobStore",
    "LocalBlobStore",
    "features_prefix",
    "free_bytes",
    "free_floor_bytes",
    "mapped_storage_errors",
    "open_blobs",
    "results_prefix",
    "store_activations",
    "video_key",
]


class LocalBlobStore:
    """Blobs in folders below a root on this machine.

    Args:
        root: created when missing; sources given to `put_file` lie on the same file system.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._store = LocalStore(root, mkdir=True)

    def put_file(self, key: str, source: Path) -> None:
        """Sync the file, rename it to its place, sync the folder."""
        target = self._path(key)
        with mapped_storage_errors():
            _make_folder(target.parent)
            _sync(source)
            source.replace(target)
            _sync(target.parent)

    def put_bytes(self, key: str, content: bytes) -> None:
        """Write beside the place, sync, rename, sync the folder."""
        target = self._path(key)
        with mapped_storage_errors():
            _make_folder(target.parent)
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".part-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                self.put_file(key, Path(name))
            finally:
                Path(name).unlink(missing_ok=True)

    def get_bytes(self, key: str) -> bytes:
        """Read the whole blob."""
        self._path(key)
        with mapped_storage_errors():
            return bytes(obstore.get(self._store, key).bytes())

    def size(self, key: str) -> int:
        """Ask the file system."""
        path = self._existing(key)
        with mapped_storage_errors():
            return path.stat().st_size

    def open_range(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """Read the blob's own file."""
        path = self._existing(key)
        with mapped_storage_errors():
            file = path.open("rb")
        return _read_range(file, start, end)

    @contextmanager
    def open_local(self, key: str) -> Iterator[Path]:
        """Yield the blob's own file; it is not to be changed."""
        yield self._existing(key)

    def delete(self, key: str) -> None:
        """Delete the blob's file, and its folder when nothing else is in it."""
        path = self._path(key)
        with mapped_storage_errors():
            path.unlink(missing_ok=True)
            for folder in path.relative_to(self._root).parents[:-2]:
                try:
                    (self._root / folder).rmdir()
                except OSError:
                    break

    def keys(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        """List by obstore, in batches."""
        with mapped_storage_errors():
            for batch in obstore.list(self._store, prefix=prefix):
                for entry in batch:
                    if KEY_PATTERN.fullmatch(entry["path"]):
                        yield entry["path"], entry["last_modified"]

    def rest(self) -> None:
        """Nothing is kept elsewhere."""

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)

    def _existing(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)
        return path


def open_blobs(settings: Settings) -> BlobStore:
    """Return the blob store of a deployment.

    Raises:
        ConfigurationError: the storage's address cannot be used.
    """
    if settings.storage_url is None:
        return LocalBlobStore(settings.data_dir)
    return open_remote(settings.storage_url, settings.storage_endpoint, settings.temporary_folder)


def video_key(video_id: str) -> str:
    """Return the key of a video's bytes."""
    return f"videos/{video_id}"


def results_prefix(job_id: str) -> str:
    """Return the prefix of everything stored as a result of a job."""
    return f"results/{job_id}"


def features_prefix(sha256: str) -> str:
    """Return the prefix of all features of a video; the data folder's layout is the same."""
    return f"features/{sha256[:2]}/{sha256}"


def store_activations(blobs: BlobStore, job_id: str, evidence: bytes) -> str:
    """Store a job's evidence under a fresh key, so that no late worker overwrites another's.

    Args:
        blobs: where to.
        job_id: whose.
        evidence: as `models.evidence_file.write_evidence` makes it. Releases before it stored
            JSON under keys that end in ``.json``.

    Returns:
        The key, to be handed to `TaskQueue.complete_join`, or deleted when that is refused.
    """
    key = f"{results_prefix(job_id)}/{new_id('activations')}.npz"
    blobs.put_bytes(key, evidence)
    return key


def free_bytes(folder: Path) -> int:
    """Return the space an ordinary user has left on the folder's disk."""
    return shutil.disk_usage(folder).free


def free_floor_bytes(settings: Settings) -> int:
    """Return the free space below which uploads are refused."""
    total = shutil.disk_usage(settings.data_dir).total
    return min(settings.min_free_bytes, int(total * settings.min_free_fraction))


def _read_range(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with file, mapped_storage_errors():
        file.seek(start)
        left_bytes = end - start
        while left_bytes > 0:
            piece = file.read(min(READ_CHUNK_BYTES, left_bytes))
            if not piece:
                return
            left_bytes -= len(piece)
            yield piece


def _make_folder(folder: Path) -> None:
    """Make a folder whose entry in the one above has reached the disk, too."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
