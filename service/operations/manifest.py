"""The list of what a backup holds, by which it is checked before anything is restored.

A backup without its list is not finished, because the list is written last.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from models.atomic import write_text_atomic
from service.errors import BackupDamaged

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "kinetag.db"
"""The database's name inside a backup."""

READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a backup: its size and the SHA-256 of its bytes."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds.

    Attributes:
        created_at: when the database was copied, RFC 3339.
        schema: revision of the database.
        files: by path below the backup's folder, with slashes.
    """

    created_at: str
    schema: str
    files: Mapping[str, StoredFile]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size_bytes for file in self.files.values())


def digest_file(path: Path) -> StoredFile:
    """Read a file through."""
    digest = hashlib.sha256()
    size_bytes = 0
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
    return StoredFile(size_bytes, digest.hexdigest())


def regular_files(folder: Path) -> Iterator[Path]:
    """Yield every regular file below a folder, in order; links are not followed.

    What disappears meanwhile is left out.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from regular_files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Finish a backup."""
    document = {
        "format": FORMAT,
        "created_at": manifest.created_at,
        "schema": manifest.schema,
        "files": {
            name: {"size_bytes": file.size_bytes, "sha256": file.sha256}
            for name, file in sorted(manifest.files.items())
        },
    }
    write_text_atomic(folder / MANIFEST, json.dumps(document, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read the list of a backup.

    Raises:
        BackupDamaged: there is none, or it is not one that this version can read.
    """
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        message = f"{folder} has no {MANIFEST}: it is no backup, or one that was broken off."
        raise BackupDamaged(message) from error
    except (OSError, ValueError) as error:
        message = f"The list of the backup, {folder / MANIFEST}, cannot be read."
        raise BackupDamaged(message) from error
    try:
        if document["format"] != FORMAT:
            message = f"The backup is of format {document['format']}; use the Kinetag that made it."
            raise BackupDamaged(message)
        files = {
            _checked_name(name): StoredFile(int(file["size_bytes"]), str(file["sha256"]))
            for name, file in document["files"].items()
        }
        return Manifest(str(document["created_at"]), str(document["schema"]), files)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"The list of the backup, {folder / MANIFEST}, is not of the documented form."
        raise BackupDamaged(message) from error


def verify(folder: Path, manifest: Manifest) -> None:
    """Compare every file of a backup with its list.

    Raises:
        BackupDamaged: a file is missing, is no ordinary file, or differs.
    """
    for name, expected in manifest.files.items():
        path = folder / name
        try:
            ordinary = stat.S_ISREG(path.lstat().st_mode)
        except OSError:
            ordinary = False
        if not ordinary:
            message = f"The backup's file {name} is missing; use another backup."
            raise BackupDamaged(message)
        if digest_file(path) != expected:
            message = f"The backup's file {name} is damaged; use another backup."
            raise BackupDamaged(message)


def _checked_name(name: str) -> str:
    """Return a path that stays below the folder it is joined to."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name:
        message = f"{name!r} is no path inside a backup."
        raise ValueError(message)
    return name
