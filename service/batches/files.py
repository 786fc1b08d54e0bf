"""Files of folders as items: which are taken, and what they are called.

An item's name is its path below the folder that was given, made printable and reversible: bytes
that are no printable text stand as ``%XX``.
"""

import fnmatch
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

VIDEO_PATTERNS = (
    "*.mp4", "*.m4v", "*.mov", "*.3gp", "*.3g2", "*.mkv", "*.webm", "*.avi", "*.ts", "*.m2ts",
    "*.mts", "*.mpg", "*.mpeg", "*.vob", "*.flv",
)  # fmt: skip
"""Usual endings of the containers that `models.decode_formats` opens."""

RESULT_ENDING = ".json"


def printable_name(relative: str) -> str:
    """Return a path below a folder as an item's name; `original_path` takes it back.

    What is not printable, ``%`` itself, and bytes that are no UTF-8 become ``%XX`` of each byte.
    The dot of a folder that is called like a result is written so too: results never collide.
    """
    *folders, last = relative.split("/")
    names = [_printable(folder) for folder in folders]
    names = [
        name.removesuffix(RESULT_ENDING) + "%2Ejson" if name.endswith(RESULT_ENDING) else name
        for name in names
    ]
    return "/".join([*names, _printable(last)])


def original_path(name: str) -> str:
    """Return the path that `printable_name` made a name of."""
    return os.fsdecode(unquote_to_bytes(name))


def is_wanted(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether a file of this name is taken; case does not count, hidden files never are."""
    if name.startswith("."):
        return False
    return any(fnmatch.fnmatchcase(name.lower(), one.lower()) for one in patterns)


def walk_files(
    root: Path, patterns: Sequence[str] = (), left_out: Path | None = None
) -> Iterator[tuple[str, Path]]:
    """Yield (path below the root, path) of the files of a folder and those below it.

    Links to files are followed, links to folders are not; hidden files and folders are left out,
    because copying programs write there first.

    Args:
        root: where to begin.
        patterns: of file names; none takes the usual endings of videos.
        left_out: a folder that is not walked into.
    """
    barred = left_out.resolve() if left_out is not None else None
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = [
            one
            for one in folders
            if not one.startswith(".") and (barred is None or (here / one).resolve() != barred)
        ]
        for name in files:
            if is_wanted(name, patterns or VIDEO_PATTERNS):
                path = here / name
                yield path.relative_to(root).as_posix(), path


def _printable(part: str) -> str:
    return "".join(
        one
        if one.isprintable() and one != "%"
        else "".join(f"%{byte:02X}" for byte in os.fsencode(one))
        for one in part
    )
