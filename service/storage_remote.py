"""Blobs in an object storage: S3 and what speaks like it, Google Cloud Storage, Azure.

Nothing is kept on this machine but the one blob that a worker is busy with. A blob counts as
stored when the storage has confirmed it and says the right size; every request body carries its
SHA-256, which S3 verifies before it answers (other storages verify their own checksums).
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import structlog
from obstore.exceptions import AlreadyExistsError
from obstore.exceptions import BaseError as ObstoreError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store, from_url

from service.errors import ConfigurationError, StorageUnavailable
from service.storage_base import KEY_PATTERN, READ_CHUNK_BYTES, checked_key, mapped_storage_errors

PART_BYTES = 8 * 1024 * 1024
"""Also the size up to which a file goes up in one request, which may then demand to be the first.

Source: S3 user guide, "Multipart upload limits": parts of 5 MiB to 5 GiB, at most 10,000."""

MAX_PARTS = 9_000
COPY_PREFIX = "blob-"
LEFTOVER_SECONDS = 24 * 3600.0
MAX_PARTS_AT_ONCE = 4
"""Times PART_BYTES is the memory that one upload takes."""

CONNECT_TIMEOUT = timedelta(seconds=5)
READ_TIMEOUT = timedelta(seconds=30)
RETRY_TIMEOUT = timedelta(seconds=15)
MAX_RETRIES = 3
LONGEST_BACKOFF = timedelta(seconds=2)

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _LocalCopy:
    """The blob that was downloaded last; ``readers`` keep it from being replaced."""

    key: str
    path: Path
    readers: int = 0


class RemoteBlobStore:
    """Blobs in an object storage.

    A file is downloaded for whoever needs it as a file, and kept until another one is needed or
    `rest` is called: consecutive tasks on a video fetch it once. Safe from any thread; two that
    need different files at a time each have one.

    Args:
        store: of obstore; its prefix, if any, is part of it.
        temporary_folder: for downloads; created when missing.
    """

    def __init__(self, store: ObjectStore, temporary_folder: Path) -> None:
        self._store = store
        self._folder = temporary_folder
        self._copy: _LocalCopy | None = None
        self._lock = threading.Lock()

    def put_file(self, key: str, source: Path) -> None:
        """Upload, in parts when large; compare the size; remove the source."""
        checked_key(key)
        with mapped_storage_errors():
            size_bytes = source.stat().st_size
            if size_bytes <= PART_BYTES:
                self._create(key, source.read_bytes())
            else:
                self._upload_parts(key, source, size_bytes)
            self._require_size(key, size_bytes)
            source.unlink()

    def put_bytes(self, key: str, content: bytes) -> None:
        """Upload in one request, in place of what was there."""
        checked_key(key)
        with mapped_storage_errors():
            obstore.put(self._store, key, content, use_multipart=False)

    def get_bytes(self, key: str) -> bytes:
        """Download the whole blob."""
        checked_key(key)
        with mapped_storage_errors():
            return bytes(obstore.get(self._store, key).bytes())

    def size(self, key: str) -> int:
        """Ask the storage."""
        checked_key(key)
        with mapped_storage_errors():
            return obstore.head(self._store, key)["size"]

    def open_range(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """Download only what is asked for."""
        end = min(end, self.size(key))
        if start >= end:
            return iter(())
        with mapped_storage_errors():
            answer = obstore.get(self._store, key, options={"range": (start, end)})
        return _pieces(answer)

    @contextmanager
    def open_local(self, key: str) -> Iterator[Path]:
        """Download the blob unless it is the last one that was; yield the copy."""
        copy = self._kept(checked_key(key))
        if copy is None:
            self.rest()
            copy = self._keep(_LocalCopy(key, self._download(key), readers=1))
        try:
            yield copy.path
        finally:
            self._let_go(copy)

    def delete(self, key: str) -> None:
        """Delete the object."""
        checked_key(key)
        copy = self._copy
        if copy is not None and copy.key == key:
            self.rest()
        try:
            with mapped_storage_errors():
                obstore.delete(self._store, key)
        except FileNotFoundError:
            return

    def keys(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        """List in batches."""
        with mapped_storage_errors():
            for batch in obstore.list(self._store, prefix=prefix):
                for entry in batch:
                    if KEY_PATTERN.fullmatch(entry["path"]):
                        yield entry["path"], entry["last_modified"]

    def rest(self) -> None:
        """Remove the copy that was kept, unless somebody reads it."""
        with self._lock:
            if self._copy is not None and self._copy.readers == 0:
                self._copy.path.unlink(missing_ok=True)
                self._copy = None

    def _kept(self, key: str) -> _LocalCopy | None:
        with self._lock:
            copy = self._copy
            if copy is None or copy.key != key:
                return None
            copy.readers += 1
            return copy

    def _keep(self, copy: _LocalCopy) -> _LocalCopy:
        with self._lock:
            before, self._copy = self._copy, copy
            if before is not None and before.readers == 0:
                before.path.unlink(missing_ok=True)
        return copy

    def _let_go(self, copy: _LocalCopy) -> None:
        with self._lock:
            copy.readers -= 1
            # One that another has taken the place of is nobody's any more.
            if copy.readers == 0 and copy is not self._copy:
                copy.path.unlink(missing_ok=True)

    def _create(self, key: str, content: bytes) -> None:
        try:
            obstore.put(self._store, key, content, mode="create")
        except AlreadyExistsError:
            # Keys are fresh: it was this very request, whose answer was lost and which obstore
            # repeated. The size is compared after this, as always.
            _log.info("blob_was_there", key=key)

    def _upload_parts(self, key: str, source: Path, size_bytes: int) -> None:
        obstore.put(
            self._store,
            key,
            source,
            use_multipart=True,
            chunk_size=max(PART_BYTES, -(-size_bytes // MAX_PARTS)),
            max_concurrency=MAX_PARTS_AT_ONCE,
        )

    def _require_size(self, key: str, size_bytes: int) -> None:
        stored_bytes = obstore.head(self._store, key)["size"]
        if stored_bytes != size_bytes:
            _log.error("blob_size_differs", key=key, sent=size_bytes, stored=stored_bytes)
            message = "The storage kept another number of bytes than was sent; try again."
            raise StorageUnavailable(message)

    def _download(self, key: str) -> Path:
        with mapped_storage_errors():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._drop_leftovers()
            answer = obstore.get(self._store, key)
            size_bytes = answer.meta["size"]
            with tempfile.NamedTemporaryFile(
                dir=self._folder, prefix=COPY_PREFIX, delete=False
            ) as file:
                path = Path(file.name)
                try:
                    for piece in answer.stream(min_chunk_size=PART_BYTES):
                        file.write(piece)
                    file.flush()
                    if path.stat().st_size != size_bytes:
                        message = "The storage broke off in the middle of a file; try again."
                        raise StorageUnavailable(message)
                except BaseException:
                    path.unlink(missing_ok=True)
                    raise
        return path

    def _drop_leftovers(self) -> None:
        """Remove what killed workers left; a host without a sweeper has nobody else to do it."""
        horizon = time.time() - LEFTOVER_SECONDS
        for path in self._folder.glob(f"{COPY_PREFIX}*"):
            try:
                if path.stat().st_mtime < horizon:
                    path.unlink()
            except FileNotFoundError:
                continue


def open_remote(url: str, endpoint: str | None, temporary_folder: Path) -> RemoteBlobStore:
    """Open an object storage by its address.

    Credentials and region come from the provider's own variables (``AWS_ACCESS_KEY_ID``,
    ``AWS_REGION``, ``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_KEY`` and so on) or
    from the machine's role.

    Args:
        url: ``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``az://account/container/prefix``.
        endpoint: of a storage that speaks S3 but is not Amazon's; http only where it says so.
        temporary_folder: see `RemoteBlobStore`.

    Raises:
        ConfigurationError: the address is of no kind that is known.
    """
    client = {
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": READ_TIMEOUT,
        # Videos take longer than the default of 30 s for a whole request; stalls are what counts.
        "timeout": timedelta(days=1),
        "allow_http": endpoint is not None and endpoint.startswith("http://"),
    }
    retry = {
        "max_retries": MAX_RETRIES,
        "retry_timeout": RETRY_TIMEOUT,
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": LONGEST_BACKOFF,
            "base": 2,
        },
    }
    options: dict[str, Any] = {"client_options": client, "retry_config": retry}
    if url.startswith("s3://"):
        options["checksum_algorithm"] = "SHA256"
        if endpoint is not None:
            options["endpoint"] = endpoint
    try:
        store = from_url(url, **options)
    except (ObstoreError, ValueError, TypeError) as error:
        message = (
            "The storage address cannot be used; give s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or "
            "az://ACCOUNT/CONTAINER/PREFIX."
        )
        raise ConfigurationError(message) from error
    if not isinstance(store, (S3Store, GCSStore, AzureStore)):
        message = "Videos are stored in a folder, in S3, in Google Cloud Storage or in Azure."
        raise ConfigurationError(message)
    return RemoteBlobStore(store, temporary_folder)


def _pieces(answer: Any) -> Iterator[bytes]:  # noqa: ANN401 - obstore keeps its type in a stub
    with mapped_storage_errors():
        for piece in answer.stream(min_chunk_size=READ_CHUNK_BYTES):
            yield bytes(piece)
