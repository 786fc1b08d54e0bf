"""Writes files so that a crash leaves the old one or the new one, never a part."""

import errno
import os
import tempfile
from pathlib import Path

from models.errors import DiskFull


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write a whole file: temporary file beside it, fsync, rename, fsync of the folder.

    Raises:
        DiskFull: no space is left on the device, or the quota is used up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
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


def write_text_atomic(path: Path, content: str) -> None:
    """Write a whole UTF-8 text file as `write_bytes_atomic` does."""
    write_bytes_atomic(path, content.encode())
