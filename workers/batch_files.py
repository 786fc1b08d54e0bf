"""Which files a batch takes, and where their results are filed: folders, lists, patterns."""

import glob
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from service.batches.files import RESULT_ENDING, printable_name, walk_files
from service.errors import InvalidRequest

MAX_NAME_BYTES = 255
"""Of one component; the limit of the usual file systems."""

HASH_BLOCK_BYTES = 1 << 20
LONG_NAME_MARK = "%~"
KEPT_BYTES_OF_LONG_NAME = 150
NANOSECONDS = 1_000_000_000
UPWARDS = frozenset({".", ".."})
"""Parts of a path that are no names."""


@dataclass(frozen=True, slots=True)
class FileItem:
    """One file of a batch.

    Attributes:
        name: reversible and printable, unique in the batch; components joined by ``/``.
        path: where it lies.
    """

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells a file from a later one in its place, as far as no byte is read."""

    size_bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """Look at a file.

        Raises:
            OSError: it is gone, or is no regular file.
        """
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            message = "not a file"
            raise OSError(message)
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)

    def is_old(self, now_seconds: float, seconds: float) -> bool:
        """Tell whether the last change lies far enough back to show in a later ``mtime``."""
        return now_seconds - self.mtime_ns / NANOSECONDS > seconds


@dataclass(frozen=True, slots=True)
class FileChoice:
    """What the command line asked for.

    Attributes:
        inputs: folders, files, or patterns with ``*``.
        lists: files with one path per line.
        patterns: names of files that are taken from folders; empty takes the usual ones.
        left_out: a folder that is never walked into: the output's.
    """

    inputs: tuple[str, ...]
    lists: tuple[Path, ...] = ()
    patterns: tuple[str, ...] = ()
    left_out: Path | None = None


def result_path(folder: Path, name: str) -> Path:
    """Return where the result of an item of this name is filed; no two names share one.

    A component that is too long for a file system is cut and ends in a hash of the whole. Names
    that a server sends lead nowhere else.
    """
    *folders, last = name.split("/")
    parts = [_short(part.replace(".", "%2E") if part in UPWARDS else part, "") for part in folders]
    return folder.joinpath(*parts, _short(last, RESULT_ENDING) + RESULT_ENDING)


def find_files(choice: FileChoice) -> list[FileItem]:
    """Return the chosen files, each once, by name.

    Symbolic links to files are followed, links to folders are not; hidden files and folders are
    left out, because copying programs write there first.

    Raises:
        InvalidRequest: an input is not there, or two inputs would give two files one name.
    """
    found: dict[str, FileItem] = {}
    for item in _candidates(choice):
        known = found.setdefault(item.name, item)
        if known.path != item.path:
            message = f"Two inputs hold a file {item.name}; give their common folder instead."
            raise InvalidRequest(message)
    return [found[name] for name in sorted(found)]


def find_urls(choice: FileChoice) -> list[tuple[str, str]]:
    """Return (name, URL) of the addresses in the lists, each once, in their order."""
    urls = [line for one in choice.lists for line in _lines(one) if _is_url(line)]
    return [(printable_name(url), url) for url in dict.fromkeys(urls)]


def hash_file(path: Path, should_stop: Callable[[], bool]) -> str | None:
    """Return the sha256 of a file's bytes; None when told to stop.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK_BYTES):
            if should_stop():
                return None
            digest.update(block)
    return digest.hexdigest()


def _short(part: str, ending: str) -> str:
    content = part.encode()
    if len(content) + len(ending) <= MAX_NAME_BYTES:
        return part
    digest = hashlib.sha256(content).hexdigest()
    kept = content[:KEPT_BYTES_OF_LONG_NAME].decode(errors="ignore")
    return f"{kept}{LONG_NAME_MARK}{digest}"


def _candidates(choice: FileChoice) -> Iterator[FileItem]:
    folders = [one for one in choice.inputs if Path(one).is_dir()]
    for text in choice.inputs:
        if Path(text).is_dir():
            prefix = f"{Path(text).resolve().name}/" if len(folders) > 1 else ""
            for relative, path in walk_files(Path(text), choice.patterns, choice.left_out):
                yield FileItem(printable_name(prefix + relative), path)
        elif Path(text).is_file():
            yield _listed(Path(text), Path(text).parent)
        elif glob.has_magic(text):
            matching = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - any root
            yield from (_listed(Path(one), Path()) for one in matching if Path(one).is_file())
        else:
            message = f"There is no file or folder {printable_name(text)}."
            raise InvalidRequest(message)
    for one in choice.lists:
        lines = (line for line in _lines(one) if not _is_url(line))
        yield from (_listed(one.parent / line, one.parent) for line in lines)


def _is_url(line: str) -> bool:
    return line.startswith(("http://", "https://"))


def _listed(path: Path, base: Path) -> FileItem:
    """Name a file that was given by itself: below its base, or by its whole path."""
    absolute = os.path.abspath(path)  # noqa: PTH100 - resolves ".." by text, keeps links
    below = os.path.abspath(base)  # noqa: PTH100 - as above
    if absolute.startswith(f"{below.rstrip('/')}/"):
        relative = absolute[len(below.rstrip("/")) + 1 :]
        return FileItem(printable_name(relative), path)
    # The first slash stands as %2F: a whole path never equals one below a folder.
    return FileItem("%2F" + printable_name(absolute.lstrip("/")), path)


def _lines(path: Path) -> Iterator[str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"The list {path} cannot be read: {error.strerror}."
        raise InvalidRequest(message) from error
    for line in content.split(b"\0" if b"\0" in content else b"\n"):
        text = line.rstrip(b"\r")
        if text and not text.startswith(b"#"):
            yield os.fsdecode(text)
