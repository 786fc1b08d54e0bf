"""`kinetag upgrade`: the database takes the schema of this program, after a copy of it was made."""

from dataclasses import dataclass
from pathlib import Path

from service.errors import ConfigurationError
from service.jobs.schema import newest_revision, present_revision
from service.jobs.store import create_engine_for, migrate
from service.operations.datafolder import unused
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did.

    Attributes:
        before: revision it found; None where there was no database yet.
        after: the newest one.
        copy: of the database as it was; None where nothing was changed.
    """

    before: str | None
    after: str
    copy: Path | None


def upgrade(settings: Settings, dumped: bool = False) -> Upgrade:
    """Bring the database to the newest schema.

    Args:
        settings: of the deployment.
        dumped: for PostgreSQL, whether a dump was made.

    Raises:
        ConfigurationError: a PostgreSQL database of an older schema, and no dump was made.
        DataFolderBusy: a `kinetag up` runs on the data folder.
        DatabaseUnavailable: the database did not answer.
        SchemaNewer: a newer Kinetag has made it.
    """
    engine = create_engine_for(settings.resolved_database_url)
    try:
        with unused(settings.data_dir):
            with engine.connect() as connection:
                before = present_revision(connection)
            embedded = engine.dialect.name == "sqlite"
            if before not in {None, newest_revision()} and not embedded and not dumped:
                message = (
                    "Kinetag does not copy a PostgreSQL database: stop all its processes, make a "
                    "dump with pg_dump, and repeat with --dumped."
                )
                raise ConfigurationError(message)
            copy = migrate(engine)
    finally:
        engine.dispose()
    return Upgrade(before, newest_revision(), copy)
