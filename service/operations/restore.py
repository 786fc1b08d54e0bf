"""`kinetag restore`: a backup becomes a data folder again, whole or not at all."""

import shutil
from pathlib import Path

from service.errors import BackupDamaged, ConfigurationError
from service.jobs.schema import require_known, sync
from service.operations.datafolder import unused
from service.operations.manifest import Manifest, digest_file, read_manifest, verify
from service.storage import mapped_storage_errors


def check(source: Path) -> Manifest:
    """Compare a backup with its list, file by file; returns the list.

    Raises:
        BackupDamaged: something is missing or differs.
        SchemaNewer: a newer Kinetag made it.
    """
    manifest = read_manifest(source)
    require_known(manifest.schema)
    with mapped_storage_errors():
        verify(source, manifest)
    return manifest


def restore(source: Path, data_folder: Path) -> Manifest:
    """Copy a backup into an empty data folder, comparing every copy with the backup's list.

    Raises:
        BackupDamaged: something is missing or differs; the data folder is empty again.
        ConfigurationError: the data folder is not empty.
        DataFolderBusy: a `kinetag up` runs on it.
        SchemaNewer: a newer Kinetag made the backup.
        StorageFull: the disk is full; the data folder is empty again.
    """
    manifest = read_manifest(source)
    require_known(manifest.schema)
    with unused(data_folder):
        if data_folder.exists() and any(data_folder.iterdir()):
            message = f"{data_folder} is not empty; restore into a folder that is, or a new one."
            raise ConfigurationError(message)
        existed = data_folder.exists()
        try:
            with mapped_storage_errors():
                _copy_all(source, data_folder, manifest)
        except BaseException:
            _empty(data_folder, keep=existed)
            raise
    return manifest


def _copy_all(source: Path, data_folder: Path, manifest: Manifest) -> None:
    folders = {data_folder}
    for name, expected in sorted(manifest.files.items()):
        original, copy = source / name, data_folder / name
        if original.is_symlink() or not original.is_file():
            message = f"The backup's file {name} is missing; use another backup."
            raise BackupDamaged(message)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(original, copy)
        if digest_file(copy) != expected:
            message = f"The backup's file {name} is damaged; use another backup."
            raise BackupDamaged(message)
        sync(copy)
        folders |= {copy.parent, *(one for one in copy.parents if data_folder in one.parents)}
    for folder in folders:
        sync(folder)


def _empty(folder: Path, keep: bool) -> None:
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
