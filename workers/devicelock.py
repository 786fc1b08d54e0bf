"""One device, one task: a file lock that also says who holds the device and for what.

Hints and polling both end behind this lock, so that two processes of one machine never compute
on the same device at once. The kernel drops the lock with its holder, however that one dies.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Which process runs which task under which token, as written into the lock file."""

    pid: int
    task_id: str
    token: int


class DeviceLock:
    """The lock of one device on this machine."""

    def __init__(self, run_folder: Path, device: str) -> None:
        self.path = run_folder / f"device-{device.replace(':', '-')}.lock"
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock without waiting; False when another process, or this one, has it."""
        if self._descriptor is not None:
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        return True

    def release(self) -> None:
        """Give the lock back; a no-op when it is not held."""
        if self._descriptor is None:
            return
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = None

    @contextmanager
    def occupied(self, task_id: str, token: int) -> Iterator[None]:
        """Write into the held lock what it is held for."""
        self._write(json.dumps(asdict(Occupancy(os.getpid(), task_id, token))))
        try:
            yield
        finally:
            self._write("")

    def occupancy(self) -> Occupancy | None:
        """Read, from any process, what the device is held for; None when it is idle.

        A holder that was killed leaves its text behind, so the answer is believed only while
        somebody holds the lock.
        """
        try:
            document = json.loads(self.path.read_bytes())
            found = Occupancy(**document)
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return found if self._held_by_somebody() else None

    def _held_by_somebody(self) -> bool:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    def _write(self, text: str) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode(), 0)


class FolderLockedError(Exception):
    """The folder is another process's, or cannot be written to; the message says which."""


@contextmanager
def exclusive_folder(path: Path, message: str) -> Iterator[None]:
    """Hold a lock file until the block ends, or refuse at once with ``message``.

    Raises:
        FolderLockedError: another process holds it, or the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = (
            f"The folder {path.parent} cannot be written to ({error.strerror}); choose another."
        )
        raise FolderLockedError(reason) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderLockedError(message) from error
        yield
    finally:
        os.close(descriptor)
