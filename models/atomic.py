"""Writes files so that a crash leaves the old one or the new one, never a part."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from models.errors import DiskFull

KEPT_NAME_LENGTH = 40
"""Of the temporary file's name: the whole one may be as long as file systems allow already."""


RANDOM_ENDING = re.compile(r"[a-z0-9_]{8}")
"""Source: the characters of Python's `tempfile`."""


def is_unfinished(name: str, ending: str) -> bool:
    """Return whether `atomic_file` names so what is to become a file whose name ends in this."""
    hidden, _, random = name.rpartition(".")
    kept = hidden[1:]
    whole = kept.endswith(ending) or len(kept) == KEPT_NAME_LENGTH
    return hidden.startswith(".") and whole and RANDOM_ENDING.fullmatch(random) is not None


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to be written in parts: a temporary one beside ``path``, renamed at the end.

    It is synced before the rename and its folder after it; an error inside leaves nothing behind.

    Raises:
        DiskFull: no space is left on the device, or the quota is used up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        prefix = f".{path.name[:KEPT_NAME_LENGTH]}."
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=prefix)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            message = f"The disk holding {path.parent} is full; free some space and try again."
            raise DiskFull(message) from error
        raise


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write a whole file: temporary file beside it, fsync, rename, fsync of the folder.

    Raises:
        DiskFull: no space is left on the device, or the quota is used up.
    """
    with atomic_file(path) as file:
        file.write(content)


def write_text_atomic(path: Path, content: str) -> None:
    """Write a whole UTF-8 text file as `write_bytes_atomic` does."""
    write_bytes_atomic(path, content.encode())
