"""`kinetag backup`: a copy of the embedded set-up, taken while it runs.

What must never be is a row without its blob. Blobs are written before their rows and removed
after them, so the blobs there are get linked first, then the database is copied as of one moment,
then come the blobs that this copy knows and that are younger. Blobs never change, so a hard link
keeps one as well as a copy does, and costs nothing.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlalchemy import Engine, select

from service.errors import ConfigurationError, StorageUnavailable
from service.jobs.records import ContentRecord, JobRecord, ResultRecord, VideoRecord
from service.jobs.schema import copy_sqlite, newest_revision, require_newest, sync
from service.jobs.store import create_engine_for, reading
from service.operations.datafolder import BLOB_FOLDERS, PASSING, UNCHANGING, embedded_database
from service.operations.manifest import (
    DATABASE,
    Manifest,
    digest_file,
    regular_files,
    write_manifest,
)
from service.settings import Settings
from service.storage import mapped_storage_errors

MAX_ROUNDS = 5
"""How often the database is copied anew because something it knew was deleted meanwhile."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """What a backup is to hold, and how.

    Attributes:
        features: whether extracted features come along; without them they are computed again.
        link: whether files may be hard links to the originals where the disk is the same.
    """

    features: bool = True
    link: bool = True


def back_up(settings: Settings, target: Path, options: BackupOptions) -> Manifest:
    """Copy the embedded set-up into a folder; returns what it holds.

    Raises:
        ConfigurationError: the folder is not empty, or the set-up is not the embedded one.
        StorageUnavailable: a blob of the database could not be copied.
        StorageFull: the disk is full.
    """
    database = embedded_database(settings)
    if not database.is_file():
        message = f"There is no database at {database}; name the data folder with --data."
        raise ConfigurationError(message)
    engine = create_engine_for(f"sqlite:///{database}")
    try:
        require_newest(engine)
        with mapped_storage_errors():
            _require_empty(target, settings.data_dir)
            copier = _Copier(settings.data_dir, target, options)
            copier.take_all(_names(settings.data_dir, database, options))
            moment = _copy_database(engine, copier)
            files = {
                path.relative_to(target).as_posix(): digest_file(path)
                for path in regular_files(target)
            }
            for folder in {target / parent for name in files for parent in Path(name).parents}:
                sync(folder)
            manifest = Manifest(moment.isoformat(), newest_revision(), files)
            write_manifest(target, manifest)
    finally:
        engine.dispose()
    return manifest


class _Copier:
    """Links or copies files of the data folder to the same places below the target."""

    def __init__(self, source: Path, target: Path, options: BackupOptions) -> None:
        self.target = target
        self._source = source
        self._link = options.link

    def take_all(self, names: Iterable[str]) -> list[str]:
        """Take those that are not there yet; return the names of the missing ones."""
        return [name for name in names if not self._take(name)]

    def drop_blobs(self, known: AbstractSet[str]) -> None:
        """Remove the blobs that are not among the known ones."""
        for folder in sorted(BLOB_FOLDERS):
            for path in regular_files(self.target / folder):
                if path.relative_to(self.target).as_posix() not in known:
                    path.unlink()

    def _take(self, name: str) -> bool:
        source, target = self._source / name, self.target / name
        if target.exists():
            return True
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if not self._linked(source, target):
                shutil.copyfile(source, target, follow_symlinks=False)
                sync(target)
        except FileNotFoundError:
            target.unlink(missing_ok=True)
            return False
        return True

    def _linked(self, source: Path, target: Path) -> bool:
        # Only what is never changed in place may be shared with its original.
        if not self._link or source.relative_to(self._source).parts[0] not in UNCHANGING:
            return False
        try:
            os.link(source, target, follow_symlinks=False)
        except FileNotFoundError:
            raise
        except OSError:
            # Another disk, or one that has no links.
            self._link = False
        return self._link


def _copy_database(engine: Engine, copier: _Copier) -> datetime:
    """Copy the database such that none of its rows lacks its blob; return when that was."""
    copy = copier.target / DATABASE
    missing: list[str] = []
    for _ in range(MAX_ROUNDS):
        moment = datetime.now(UTC)
        copy.unlink(missing_ok=True)
        copy_sqlite(engine, copy)
        known = _known_blobs(copy)
        missing = copier.take_all(sorted(known))
        if not missing:
            copier.drop_blobs(known)
            return moment
        _log.info("deleted_meanwhile", blobs=missing[:10])
    message = (
        f"The database knows the blob {missing[0]}, which is not in the data folder; delete what "
        "it belongs to and repeat."
    )
    raise StorageUnavailable(message)


def _known_blobs(database: Path) -> set[str]:
    """Return the blobs of a copied database; what is being deleted may lack them already."""
    engine = create_engine_for(f"sqlite:///{database}")
    results = select(ResultRecord.activations_key).join(
        JobRecord, JobRecord.id == ResultRecord.job_id
    )
    statements = (
        select(ContentRecord.blob_key),
        select(VideoRecord.thumbnails_key),
        results.where(JobRecord.delete_requested.is_(False)),
    )
    try:
        with reading(engine) as session:
            keys = {key for one in statements for key in session.execute(one).scalars()}
    finally:
        # Also folds what the library keeps beside the file back into it.
        engine.dispose()
    return {key for key in keys if key is not None}


def _names(data_folder: Path, database: Path, options: BackupOptions) -> Iterator[str]:
    """Yield the path below the data folder of every file worth keeping but the database."""
    own = {database.name, *(database.name + end for end in ("-wal", "-shm", "-journal"))}
    for path in regular_files(data_folder):
        name = path.relative_to(data_folder)
        if name.parts[0] in PASSING or (len(name.parts) == 1 and name.name in own):
            continue
        if name.parts[0] == "features" and not options.features:
            continue
        if not name.name.startswith("."):  # a file that is being written
            yield name.as_posix()


def _require_empty(target: Path, data_folder: Path) -> None:
    if target.resolve().is_relative_to(data_folder.resolve()):
        message = f"{target} is inside the data folder; give a folder elsewhere."
        raise ConfigurationError(message)
    # It holds videos, and the secrets that webhooks are signed with.
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(target.iterdir()):
        message = f"{target} is not empty; give a folder that is empty or does not exist."
        raise ConfigurationError(message)
