"""Files that are being received: written by one at a time, synced while more arrives.

The bytes of a resumable upload lie in one file per upload until it is complete. Besides the lock
in the database, which tells requests apart, its writer holds the kernel's lock on the file: a
writer that froze and lost the first one still keeps everybody else from mixing in bytes.
"""

import fcntl
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from service.errors import UploadLocked
from service.storage_base import mapped_storage_errors

MAX_PARTS = 512
"""Of one system call; POSIX allows at least 16, Linux and macOS 1024."""

LOCKED_MESSAGE = (
    "Another request writes to this upload; wait a few seconds, ask for its offset, and go on."
)


class ReceivedFile:
    """A file that grows at its end. Writing, syncing and closing may come from several threads.

    Args:
        descriptor: open for writing; owned from now on.
        offset: where the next bytes go; whatever lies behind is cut off.
    """

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self._writing = threading.Lock()
        self._syncing = threading.Lock()
        self._closed = False
        self.offset = offset
        self.cut_back(offset)

    def __enter__(self) -> "ReceivedFile":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def write(self, parts: Sequence[bytes]) -> None:
        """Append bytes; on a closed file nothing happens.

        Raises:
            StorageFull: the disk is full; what fitted is kept.
        """
        with self._writing, mapped_storage_errors():
            for first in range(0, len(parts), MAX_PARTS):
                if not self._closed:
                    self._write_all(parts[first : first + MAX_PARTS])

    def _write_all(self, parts: Sequence[bytes]) -> None:
        written = os.writev(self._descriptor, parts)
        self.offset += written
        if written < sum(map(len, parts)):
            # Cut short, by a signal or by a disk that is nearly full: the rest, piece by piece.
            rest = memoryview(b"".join(parts))[written:]
            while rest:
                done = os.write(self._descriptor, rest)
                self.offset += done
                rest = rest[done:]

    def sync(self) -> int:
        """Bring to the disk what was written so far; return how many bytes the file has then."""
        with self._syncing, mapped_storage_errors():
            if self._closed:
                return 0
            offset = self.offset
            os.fsync(self._descriptor)
            return offset

    def cut_back(self, offset: int) -> None:
        """Drop what lies behind an offset; the next bytes go there."""
        with self._writing, mapped_storage_errors():
            os.ftruncate(self._descriptor, offset)
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            self.offset = offset

    def close(self) -> None:
        """Close it, after a write or sync that is under way."""
        with self._writing, self._syncing:
            if not self._closed:
                self._closed = True
                os.close(self._descriptor)


def begin_file(path: Path) -> None:
    """Make the empty file of a new upload."""
    with mapped_storage_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def open_file(path: Path, offset: int) -> ReceivedFile:
    """Open an upload's file to go on at an offset, or at its end if that comes first.

    Raises:
        FileNotFoundError: there is none.
        UploadLocked: somebody else has it open.
    """
    with mapped_storage_errors():
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _lock(descriptor, path)
            return ReceivedFile(descriptor, min(offset, os.fstat(descriptor).st_size))
        except BaseException:
            os.close(descriptor)
            raise


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UploadLocked(LOCKED_MESSAGE) from error
    # Between opening and locking the file may have been finished and moved away.
    here, there = os.fstat(descriptor), path.stat()
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
        raise UploadLocked(LOCKED_MESSAGE)
