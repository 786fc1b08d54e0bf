"""Videos that lie on the server already: which files a request may name.

Only regular files below the folders that the operator listed, judged after all symbolic links
are resolved. Between this judgement and the reading a link can be put in the file's place, so
whoever opens a file judges it again, with the descriptor's own path, by `open_below`.
"""

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.errors import EmptyUpload, PathRefused

MAX_PATH_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class LocalVideo:
    """A file that may be read: where it really lies, and its size."""

    path: Path
    size_bytes: int


def resolve_path(text: str, roots: Sequence[str]) -> LocalVideo:
    """Return the file a request names.

    Args:
        text: an absolute path.
        roots: the folders below which files may be named, as `Settings.path_roots`.

    Raises:
        PathRefused: the path is not below a root, or is no regular file that can be read.
        EmptyUpload: the file has no bytes.
    """
    descriptor, video = _open(text, roots)
    os.close(descriptor)
    return video


def open_below(text: str, roots: Sequence[str]) -> int:
    """Open such a file for reading and return its descriptor, which the caller closes.

    Raises:
        PathRefused: as for `resolve_path`.
        EmptyUpload: as for `resolve_path`.
    """
    return _open(text, roots)[0]


def _open(text: str, roots: Sequence[str]) -> tuple[int, LocalVideo]:
    if not roots:
        message = (
            "This service reads no files of its own machine; upload the video, or let the "
            "operator list its folder in KINETAG_PATH_ROOTS."
        )
        raise PathRefused(message)
    named = _named(text)
    if not any(named.is_relative_to(root) for root in _both_forms(roots)):
        raise PathRefused(_outside(roots))
    try:
        # Not blocking, because opening a FIFO would wait for somebody who writes into it.
        real = named.resolve(strict=True)
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, RuntimeError, ValueError) as error:
        raise PathRefused(_unusable(error)) from error
    try:
        return descriptor, _checked(descriptor, real, roots)
    except BaseException:
        os.close(descriptor)
        raise


def _named(text: str) -> Path:
    path = Path(text)
    if "\0" in text or len(text) > MAX_PATH_CHARACTERS or not path.is_absolute():
        message = "The path is no absolute path of a file; give one like /archive/cam3/0900.mp4."
        raise PathRefused(message)
    if ".." in path.parts:
        message = "The path holds '..'; give the file's plain absolute path."
        raise PathRefused(message)
    return path


def _checked(descriptor: int, real: Path, roots: Sequence[str]) -> LocalVideo:
    # A folder on the way may have become a link since it was resolved: resolve what is open.
    if real.resolve() != real or not any(real.is_relative_to(root) for root in _real(roots)):
        raise PathRefused(_outside(roots))
    status = os.fstat(descriptor)
    now = real.stat()
    if (status.st_dev, status.st_ino) != (now.st_dev, now.st_ino):
        message = "The file was replaced while it was looked at; try again when it rests."
        raise PathRefused(message)
    if not stat.S_ISREG(status.st_mode):
        message = "The path is no regular file; name a video file, no folder, device or pipe."
        raise PathRefused(message)
    if status.st_size == 0:
        message = "The file at this path is empty; name one with content."
        raise EmptyUpload(message)
    return LocalVideo(real, status.st_size)


def _real(roots: Sequence[str]) -> list[Path]:
    return [Path(root).resolve() for root in roots]


def _both_forms(roots: Sequence[str]) -> list[Path]:
    return [*map(Path, roots), *_real(roots)]


def _outside(roots: Sequence[str]) -> str:
    listed = ", ".join(roots)
    return f"The path is not below a folder that may be read; these may: {listed}."


def _unusable(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EPERM}:
        return "The service may not read the file at this path; change its permissions."
    return "There is no file at this path that can be opened; check its spelling."
