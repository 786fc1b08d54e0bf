"""Which schema a database has, which one this program knows, and a copy before the one changes.

A database of a newer schema is left alone: what an old program writes into it could be wrong in
ways that nobody notices.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import structlog
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from service.errors import DatabaseUnavailable, SchemaNewer, SchemaOlder

MIGRATIONS = Path(__file__).parents[1] / "migrations"
COPIES_FOLDER = "before-upgrade"
KEPT_COPIES = 2

_log = structlog.get_logger(__name__)


def migration_config() -> Config:
    """Return what Alembic needs to find the migrations."""
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return configuration


def newest_revision() -> str:
    """Return the revision that this program works with."""
    return str(ScriptDirectory.from_config(migration_config()).get_current_head())


def present_revision(connection: Connection) -> str | None:
    """Return a database's revision; None for one without tables of ours.

    Raises:
        SchemaNewer: it is none that this program knows.
    """
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None:
        require_known(revision)
    return revision


def require_known(revision: str) -> None:
    """Refuse a schema that this program does not know.

    Raises:
        SchemaNewer: so it is.
    """
    scripts = ScriptDirectory.from_config(migration_config())
    if revision not in {one.revision for one in scripts.walk_revisions()}:
        message = (
            f"The database has the schema {revision} of a newer Kinetag; start that one, or "
            "restore the copy that was made before its upgrade."
        )
        raise SchemaNewer(message)


def require_newest(engine: Engine) -> None:
    """Refuse to work on a database that is not of this program's schema.

    Raises:
        SchemaNewer: it is of a newer one.
        SchemaOlder: it is of an older one, or has none.
    """
    with engine.connect() as connection:
        revision = present_revision(connection)
    if revision != newest_revision():
        message = f"The database has the older schema {revision}; run kinetag upgrade first."
        raise SchemaOlder(message)


def copy_before_upgrade(engine: Engine, revision: str) -> Path:
    """Copy an SQLite database before its schema changes; return the copy."""
    database = Path(str(engine.url.database))
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    copy = database.parent / COPIES_FOLDER / f"{database.stem}-{revision}-{moment}.db"
    copy.parent.mkdir(mode=0o700, exist_ok=True)
    copy.unlink(missing_ok=True)
    copy_sqlite(engine, copy)
    _log.info("database_copied", revision=revision, copy=str(copy))
    # They hold what users have deleted since.
    for old in sorted(copy.parent.glob(f"{database.stem}-*.db"), key=_age_order)[:-KEPT_COPIES]:
        old.unlink(missing_ok=True)
    return copy


def _age_order(copy: Path) -> str:
    return copy.stem.rpartition("-")[2]


def copy_sqlite(engine: Engine, target: Path) -> None:
    """Copy an SQLite database as of one moment, while others read and write it.

    Args:
        engine: of the database.
        target: does not exist.

    Raises:
        DatabaseUnavailable: it could not be copied.
    """
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        # A reader like any other: outside of a transaction, because it is one of its own.
        cursor.execute("VACUUM INTO ?", (str(target),))
        cursor.close()
    except engine.dialect.loaded_dbapi.Error as error:
        target.unlink(missing_ok=True)
        message = f"The database could not be copied to {target}; look for free disk space there."
        raise DatabaseUnavailable(message) from error
    finally:
        connection.close()
    sync(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Bring a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
