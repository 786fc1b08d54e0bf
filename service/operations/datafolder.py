"""The data folder of the embedded set-up: what in it is worth keeping, and who uses it now."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from service.errors import ConfigurationError, DataFolderBusy
from service.settings import Settings

PASSING = frozenset({"run", "tmp", "uploads", "before-upgrade"})
"""Folders that mean nothing elsewhere or later: locks, unfinished files, copies of the database."""

BLOB_FOLDERS = frozenset({"videos", "results", "thumbnails"})
"""Folders whose files are worth keeping only where the database knows them."""


def embedded_database(settings: Settings) -> Path:
    """Return the database's file.

    Raises:
        ConfigurationError: the database is no file, or videos lie elsewhere.
    """
    if settings.storage_url is not None:
        message = (
            f"Videos lie in {settings.storage_url}, not in the data folder: keep versions of that "
            "bucket, and copy the database with its own tools."
        )
        raise ConfigurationError(message)
    address = make_url(settings.resolved_database_url)
    if address.get_backend_name() != "sqlite" or not address.database:
        message = (
            "The jobs lie in PostgreSQL, which Kinetag does not copy: use pg_dump and pg_restore, "
            "and copy the data folder after the dump."
        )
        raise ConfigurationError(message)
    return Path(address.database)


UNCHANGING = BLOB_FOLDERS | {"features"}
"""Folders whose files are replaced, if at all, and never written into."""


@contextmanager
def unused(data_folder: Path) -> Iterator[None]:
    """Keep every `kinetag up` off a folder until the block ends.

    Raises:
        DataFolderBusy: one runs on it.
    """
    lock = data_folder / "run" / "up.lock"
    if not lock.exists():
        yield
        return
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"A kinetag up runs on {data_folder}; stop it first."
            raise DataFolderBusy(message) from error
        yield
    finally:
        os.close(descriptor)
