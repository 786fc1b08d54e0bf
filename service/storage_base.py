"""What every blob store shares: the protocol, the keys that are taken, the mapping of errors.

Keys are made by the server, never from names that users give.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from obstore.exceptions import BaseError as ObstoreError
from obstore.exceptions import NotFoundError

from service.errors import StorageFull, StorageUnavailable

KEY_PATTERN = re.compile(
    r"(videos|results|thumbnails|features)(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){1,4}"
)
FULL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT})
READ_CHUNK_BYTES = 256 * 1024


class BlobStore(Protocol):
    """Where blobs lie; implementations pass one conformance suite."""

    def put_file(self, key: str, source: Path) -> None:
        """Move a finished local file in; the blob is complete and durable, or absent."""
        ...

    def put_bytes(self, key: str, content: bytes) -> None:
        """Store a small blob, in place of one that is there; complete and durable, or absent."""
        ...

    def get_bytes(self, key: str) -> bytes:
        """Return a small blob.

        Raises:
            FileNotFoundError: there is no such blob.
        """
        ...

    def size(self, key: str) -> int:
        """Return how many bytes a blob has.

        Raises:
            FileNotFoundError: there is no such blob.
        """
        ...

    def open_range(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes ``start`` to ``end`` (exclusive) of a blob, piece by piece.

        Args:
            key: of the blob.
            start: first byte, at least 0.
            end: one past the last byte; what lies beyond the blob's end is left out.

        Raises:
            FileNotFoundError: there is no such blob; raised at once, not at the first piece.
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

    def rest(self) -> None:
        """Drop what is only kept on this machine for a next use; called when there is none."""
        ...


def checked_key(key: str) -> str:
    """Return a key that the service can have made.

    Raises:
        ValueError: it cannot.
    """
    if not KEY_PATTERN.fullmatch(key):
        message = f"{key!r} is no blob key."
        raise ValueError(message)
    return key


@contextmanager
def mapped_storage_errors() -> Iterator[None]:
    """Turn errors of files and of obstore into ours; a missing blob becomes FileNotFoundError."""
    try:
        yield
    except NotFoundError as error:
        # Its own text repeats the whole exchange with the storage.
        raise FileNotFoundError(errno.ENOENT, "there is no such blob") from error
    except FileNotFoundError:
        raise
    except ObstoreError as error:
        message = "The storage did not do what was asked; the service's log says why."
        raise StorageUnavailable(message) from error
    except OSError as error:
        if error.errno in FULL_ERRORS:
            message = "The disk is full; delete jobs that are no longer needed and try again."
            raise StorageFull(message) from error
        message = f"The storage folder cannot be used ({error.strerror})."
        raise StorageUnavailable(message) from error
