"""Blobs: uploaded videos and stored activations, by key. Local folder; obstore underneath.

Keys are made by the server, never from names that users give. What `put_file` and `put_bytes`
return from has reached the disk.
"""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import obstore
from obstore.exceptions import BaseError as ObstoreError
from obstore.store import LocalStore

from service.errors import StorageFull, StorageUnavailable
from service.jobs.store import new_id
from service.settings import Settings

KEY_PATTERN = re.compile(r"(videos|results)(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){1,3}")
FULL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT})


class BlobStore(Protocol):
    """Where blobs lie; implementations pass one conformance suite."""

    def put_file(self, key: str, source: Path) -> None:
        """Move a finished local file in; the blob is complete and durable, or absent."""
        ...

    def put_bytes(self, key: str, content: bytes) -> None:
        """Store a small blob; it is complete and durable, or absent."""
        ...

    def get_bytes(self, key: str) -> bytes:
        """Return a small blob.

        Raises:
            FileNotFoundError: there is no such blob.
        """
        ...

    def open_local(self, key: str) -> AbstractContextManager[Path]:
        """Yield the blob as a file on this machine; it may be gone after the block.

        Raises:
            FileNotFoundError: there is no such blob.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete a blob; one that is not there is no error."""
        ...

    def keys(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        """Yield (key, last change) of every blob below a prefix, in no order."""
        ...


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
            target.parent.mkdir(parents=True, exist_ok=True)
            _sync(source)
            source.replace(target)
            _sync(target.parent)

    def put_bytes(self, key: str, content: bytes) -> None:
        """Write beside the place, sync, rename, sync the folder."""
        target = self._path(key)
        with mapped_storage_errors():
            target.parent.mkdir(parents=True, exist_ok=True)
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

    @contextmanager
    def open_local(self, key: str) -> Iterator[Path]:
        """Yield the blob's own file; it is not to be changed."""
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)
        yield path

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

    def _path(self, key: str) -> Path:
        if not KEY_PATTERN.fullmatch(key):
            message = f"{key!r} is no blob key."
            raise ValueError(message)
        return self._root / key


def open_blobs(settings: Settings) -> BlobStore:
    """Return the blob store of a deployment."""
    return LocalBlobStore(settings.data_dir)


def video_key(video_id: str) -> str:
    """Return the key of a video's bytes."""
    return f"videos/{video_id}"


def results_prefix(job_id: str) -> str:
    """Return the prefix of everything stored as a result of a job."""
    return f"results/{job_id}"


def store_activations(blobs: BlobStore, job_id: str, activations: dict[str, Any]) -> str:
    """Store a job's activations under a fresh key, so that no late worker overwrites another's.

    Returns:
        The key, to be handed to `TaskQueue.complete_join`, or deleted when that is refused.
    """
    key = f"{results_prefix(job_id)}/{new_id('activations')}.json"
    text = json.dumps(activations, separators=(",", ":"), allow_nan=False)
    blobs.put_bytes(key, text.encode())
    return key


def free_bytes(folder: Path) -> int:
    """Return the space an ordinary user has left on the folder's disk."""
    return shutil.disk_usage(folder).free


def free_floor_bytes(settings: Settings) -> int:
    """Return the free space below which uploads are refused."""
    total = shutil.disk_usage(settings.data_dir).total
    return min(settings.min_free_bytes, int(total * settings.min_free_fraction))


@contextmanager
def mapped_storage_errors() -> Iterator[None]:
    """Turn errors of files and of obstore into ours; a missing blob stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in FULL_ERRORS:
            message = "The disk is full; delete jobs that are no longer needed and try again."
            raise StorageFull(message) from error
        message = f"The storage folder cannot be used ({error.strerror})."
        raise StorageUnavailable(message) from error
    except ObstoreError as error:
        message = "The storage did not do what was asked; the service's log says why."
        raise StorageUnavailable(message) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
