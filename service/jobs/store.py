"""The database: the one engine factory, transactions, migrations, clocks, ids.

SQLite runs on a recent library where the wheel of one exists; every transaction that may write
begins as BEGIN IMMEDIATE, because in WAL mode a read that upgrades to a write fails at once.
PostgreSQL runs through psycopg 3. Nobody else opens connections.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy
import structlog
from alembic import command
from sqlalchemy import Connection, Engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from service.errors import ConfigurationError, DatabaseUnavailable
from service.jobs import schema

SAFE_SQLITE = (3, 51, 3)
"""Source: sqlite.org/wal.html, "The WAL-Reset Bug": fixed in 3.51.3."""

BUSY_TIMEOUT_MS = 10_000
STATEMENT_TIMEOUT_MS = 30_000
IDLE_TRANSACTION_TIMEOUT_MS = 60_000
CONNECT_TIMEOUT_SECONDS = 5
MIGRATION_LOCK = 0x6B696E65
"""Key of the PostgreSQL advisory lock; any constant nobody else uses."""

READ_ONLY = "kinetag_read_only"
WAL_SWITCH_ATTEMPTS = 200
WAL_SWITCH_PAUSE_SECONDS = 0.02

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Source: Crockford's Base 32 alphabet, as ULID uses it."""

ID_CHARACTERS = 26
ID_RANDOM_BITS = 80

_log = structlog.get_logger(__name__)


class Clock(Protocol):
    """Where the job core takes the time from."""

    def now(self, session: Session) -> datetime:
        """Return the current moment, timezone-aware UTC."""


class HostClock:
    """The clock of this host: right where all processes share one host."""

    def now(self, session: Session) -> datetime:  # noqa: ARG002 - the protocol's signature
        """Return this host's time."""
        return datetime.now(UTC)


class DatabaseClock:
    """The clock of the database server: one clock for many hosts."""

    def now(self, session: Session) -> datetime:
        """Return the server's time."""
        moment: datetime = session.execute(select(sqlalchemy.func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)


def clock_for(engine: Engine) -> Clock:
    """Return the clock that all processes of this database share."""
    return DatabaseClock() if engine.dialect.name == "postgresql" else HostClock()


def new_id(prefix: str) -> str:
    """Return a fresh public id ``prefix_`` + 26 characters, which sort by time of making.

    Source: the ULID specification (48 bits of milliseconds, 80 random bits).
    """
    number = (time.time_ns() // 1_000_000) << ID_RANDOM_BITS | secrets.randbits(ID_RANDOM_BITS)
    characters = []
    for _ in range(ID_CHARACTERS):
        number, digit = divmod(number, len(CROCKFORD))
        characters.append(CROCKFORD[digit])
    return f"{prefix}_{''.join(reversed(characters))}"


def create_engine_for(url: str) -> Engine:
    """Build the engine for a database address.

    Args:
        url: ``sqlite:////absolute/path.db`` or ``postgresql://user:password@host/name``.

    Raises:
        ConfigurationError: the address is malformed or of another kind of database.
    """
    try:
        address = make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        message = "The database address cannot be read; give sqlite:///PATH or postgresql://…"
        raise ConfigurationError(message) from error
    backend = address.get_backend_name()
    if backend == "sqlite":
        return _sqlite_engine(address)
    if backend == "postgresql":
        return sqlalchemy.create_engine(
            address.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_SECONDS,
                "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"
                f" -c idle_in_transaction_session_timeout={IDLE_TRANSACTION_TIMEOUT_MS}",
            },
        )
    message = f"Kinetag stores its jobs in SQLite or PostgreSQL, not in {backend}."
    raise ConfigurationError(message)


def _sqlite_engine(address: sqlalchemy.URL) -> Engine:
    if not address.database or address.database == ":memory:":
        message = "SQLite in memory cannot be shared by processes; give sqlite:///PATH."
        raise ConfigurationError(message)
    Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    module = _recent_sqlite_module()
    keywords: dict[str, Any] = {} if module is None else {"module": module}
    # Parameters are what users gave: errors, which get logged, do not repeat them.
    engine = sqlalchemy.create_engine(address, hide_parameters=True, **keywords)
    library: tuple[int, ...] = engine.dialect.dbapi.sqlite_version_info  # type: ignore[union-attr]
    journal = "WAL" if library >= SAFE_SQLITE else "DELETE"
    if journal != "WAL":
        _log.error(
            "sqlite_library_old",
            library=".".join(map(str, library)),
            needed=".".join(map(str, SAFE_SQLITE)),
            consequence="rollback journal instead of WAL: safe, with fewer concurrent writers",
        )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:  # noqa: ANN401 - the driver is untyped
        # The driver must not begin transactions on its own: the event below does.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        _set_journal(cursor, journal)
        # NORMAL could lose the last commits at power loss: "accepted" must mean durable.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get(READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _set_journal(cursor: Any, journal: str) -> None:  # noqa: ANN401 - the driver is untyped
    if str(cursor.execute("PRAGMA journal_mode").fetchone()[0]).upper() == journal:
        return
    # Switching a fresh file to WAL needs it alone and does not wait for the busy timeout: several
    # processes that start together on one wait for each other here, once, and nobody later.
    for attempt in range(WAL_SWITCH_ATTEMPTS):
        try:
            cursor.execute(f"PRAGMA journal_mode = {journal}")
        except Exception as error:
            if "locked" not in str(error) or attempt == WAL_SWITCH_ATTEMPTS - 1:
                raise
            time.sleep(WAL_SWITCH_PAUSE_SECONDS)
        else:
            return


def _recent_sqlite_module() -> Any:  # noqa: ANN401 - a module, or None
    try:
        import pysqlite3.dbapi2  # type: ignore[import-untyped]  # noqa: PLC0415 - not everywhere
    except ImportError:
        return None
    return pysqlite3.dbapi2


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """Open a session whose work commits as a whole at the end, or not at all.

    Raises:
        DatabaseUnavailable: the database did not answer in time.
    """
    with mapped_errors(), Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Open a session that only reads; on SQLite it takes no write lock.

    Raises:
        DatabaseUnavailable: the database did not answer in time.
    """
    reader = engine.execution_options(**{READ_ONLY: True})
    with mapped_errors(), Session(reader, expire_on_commit=False) as session:
        yield session


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Turn the database's outages into ours; programming errors pass through."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        message = "The database did not answer; check that it runs and has disk space."
        raise DatabaseUnavailable(message) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            message = "The connection to the database broke; the same request may pass now."
            raise DatabaseUnavailable(message) from error
        raise


def migrate(engine: Engine) -> Path | None:
    """Bring the schema to the newest version; safe when several processes start together.

    Returns:
        The copy that was made of an SQLite database before its schema changed, if it did.

    Raises:
        DatabaseUnavailable: the database did not answer in time.
        SchemaNewer: a newer program has made the database.
    """
    copy = None
    configuration = schema.migration_config()
    with mapped_errors(), _migrating(engine) as connection:
        if engine.dialect.name == "postgresql":
            lock = sqlalchemy.func.pg_advisory_xact_lock(MIGRATION_LOCK)
            connection.execute(select(lock))
        present = schema.present_revision(connection)
        if present == schema.newest_revision():
            return None
        if present is not None and engine.dialect.name == "sqlite":
            copy = schema.copy_before_upgrade(engine, present)
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")
    return copy


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    """Open a transaction in which tables may be made anew without their rows' children noticing.

    SQLite changes a table by dropping and remaking it, which with foreign keys on would delete
    every row that refers to it. They are checked before the transaction ends instead.
    Source: sqlite.org/lang_altertable.html, "Making Other Kinds Of Table Schema Changes".
    """
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            yield connection
        return
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys = OFF")  # type: ignore[union-attr]  # it is connected
        try:
            with connection.begin():
                yield connection
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
                if broken:
                    message = f"The migration left rows without their parents: {broken[:3]}."
                    raise RuntimeError(message)
        finally:
            # A connection whose checks are off must not go back to the pool.
            connection.invalidate()
