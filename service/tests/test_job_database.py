import subprocess
import sys
from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert as insert_into
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

import service.jobs.store as store_module
from service.errors import ConfigurationError, DatabaseUnavailable
from service.jobs.commands import get_job, request_cancel
from service.jobs.records import EventRecord, JobRecord, Record, ResultRecord, TaskRecord
from service.jobs.store import create_engine_for, migrate, new_id, reading, transaction

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)

MIGRATE = """
import sys
from service.jobs.store import create_engine_for, migrate
migrate(create_engine_for(sys.argv[1]))
"""


def test_postgresql_is_covered(postgres_url):
    engine = create_engine_for(postgres_url)
    assert (engine.dialect.name, engine.driver) == ("postgresql", "psycopg")
    assert isinstance(store_module.clock_for(engine), store_module.DatabaseClock)
    with reading(engine) as session:
        assert store_module.clock_for(engine).now(session).tzinfo is UTC
    engine.dispose()


def test_migrations_make_exactly_the_schema_of_the_records(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Record.metadata) == []
        checks = {
            constraint.name
            for table in Record.metadata.tables.values()
            for constraint in table.constraints
            if str(constraint.name).startswith("ck_")
        }
        if engine.dialect.name == "sqlite":
            sql = "SELECT group_concat(sql) FROM sqlite_master"
        else:
            sql = "SELECT string_agg(conname, ',') FROM pg_constraint"
        schema = connection.execute(text(sql)).scalar_one()
    assert len(checks) > 10
    assert [name for name in checks if name not in schema] == []


def test_migrating_again_changes_nothing(engine, core, add_job):
    job_id = add_job()
    migrate(engine)
    assert get_job(core, job_id).job.id == job_id


def test_processes_may_migrate_at_the_same_time(tmp_path):
    url = f"sqlite:///{tmp_path / 'fresh.db'}"
    runs = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, url], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for run in runs:
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 0, errors.decode()


@pytest.mark.parametrize(
    "change",
    [
        "status = 'unheard of'",
        "status = 'succeeded'",
        "status = 'failed', completed_at = created_at",
        "completed_at = created_at",
        "error_code = 'x', error_message = 'x'",
        "status = 'processing'",
        "progress = 1.5",
        "num_chunks = 0",
        "idempotency_key = 'x'",
        "status = 'succeeded', completed_at = created_at, cancel_requested = true",
    ],
)
def test_the_database_refuses_impossible_jobs(engine, add_job, change):
    add_job()
    with pytest.raises(IntegrityError), transaction(engine) as session:
        session.execute(text(f"UPDATE jobs SET {change}"))  # noqa: S608 - from above


@pytest.mark.parametrize(
    "change",
    [
        "status = 'leased'",
        "lease_until = created_at",
        "owner = 'somebody'",
        "kind = 'other'",
        "attempts = 1",
        "chunk_index = 1",
        "fraction = -0.1",
    ],
)
def test_the_database_refuses_impossible_tasks(engine, add_job, change):
    add_job()
    with pytest.raises(IntegrityError), transaction(engine) as session:
        session.execute(text(f"UPDATE tasks SET {change}"))  # noqa: S608 - from above


@pytest.mark.parametrize(("kind", "index"), [("plan", 0), ("join", 0), ("chunk", 3)])
def test_no_job_has_a_task_twice(engine, add_job, kind, index):
    job_id = add_job()

    def insert():
        row = TaskRecord(id=new_id("task"), job_id=job_id, kind=kind, index=index, status="ready",
                         run_after=MOMENT, created_at=MOMENT)  # fmt: skip
        with transaction(engine) as session:
            session.add(row)

    if kind != "plan":
        insert()
    with pytest.raises(IntegrityError):
        insert()


def test_a_job_has_one_result(engine, add_job):
    job_id = add_job()

    def insert(session):
        session.execute(
            insert_into(ResultRecord).values(job_id=job_id, document={}, token=1, created_at=MOMENT)
        )

    with transaction(engine) as session:
        insert(session)
    with pytest.raises(IntegrityError), transaction(engine) as session:
        insert(session)


def test_event_ids_are_never_used_twice(engine, core, add_job):
    first = add_job()
    with reading(engine) as session:
        highest = max(session.execute(select(EventRecord.id)).scalars())
    with transaction(engine) as session:
        session.execute(text("DELETE FROM events"))
    request_cancel(core, first)
    with reading(engine) as session:
        assert min(session.execute(select(EventRecord.id)).scalars()) > highest


def test_a_failed_transaction_leaves_nothing(engine, core, add_job):
    job_id = add_job()

    def change_and_fail():
        with transaction(engine) as session:
            session.get_one(JobRecord, job_id).tag = "changed"
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        change_and_fail()
    assert get_job(core, job_id).job.tag is None


def test_times_come_back_aware_and_naive_ones_are_refused(engine, core, add_job):
    job_id = add_job()
    assert get_job(core, job_id).job.created_at.utcoffset().total_seconds() == 0
    with pytest.raises(Exception, match="timezone-aware"), transaction(engine) as session:
        session.get_one(JobRecord, job_id).created_at = datetime(2026, 1, 1)  # noqa: DTZ001


def test_sqlite_runs_on_a_recent_library_in_wal_mode(tmp_path):
    engine = create_engine_for(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    engine.dispose()
    recent = engine.dialect.dbapi.sqlite_version_info >= store_module.SAFE_SQLITE
    assert values == {
        "journal_mode": "wal" if recent else "delete",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
    }


def test_an_old_sqlite_library_means_no_wal_and_an_error_in_the_log(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(store_module, "SAFE_SQLITE", (99, 0, 0))
    monkeypatch.setattr(store_module._log, "error", lambda event, **_: logged.append(event))
    engine = create_engine_for(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "delete"
    engine.dispose()
    assert logged == ["sqlite_library_old"]


def test_writers_begin_immediately_and_readers_do_not_wait(migrated_sqlite, monkeypatch):
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT_MS", 50)
    engine = create_engine_for(f"sqlite:///{migrated_sqlite}")
    with transaction(engine) as writer:
        writer.execute(select(JobRecord))
        with reading(engine) as session:
            assert session.execute(select(JobRecord)).first() is None
        with pytest.raises(DatabaseUnavailable), transaction(engine) as session:
            session.execute(select(JobRecord))
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://a/b", "no address"])
def test_other_databases_are_refused(url):
    with pytest.raises(ConfigurationError):
        create_engine_for(url)


def test_an_absent_server_is_an_outage():
    engine = create_engine_for("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(DatabaseUnavailable), transaction(engine) as session:
        session.execute(text("SELECT 1"))


def test_ids_sort_by_time_and_never_repeat():
    ids = [new_id("job") for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(one) == 30 and one.startswith("job_") for one in ids)
    assert [one[:14] for one in ids] == sorted(one[:14] for one in ids)
