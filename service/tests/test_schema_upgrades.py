"""From every released schema, with data in every table of it, to the newest."""

import pytest
from alembic import command
from sqlalchemy import MetaData, inspect, select, text
from sqlalchemy.exc import IntegrityError

from service.errors import ConfigurationError, DataFolderBusy
from service.jobs.commands import open_core, request_cancel
from service.jobs.records import JobRecord
from service.jobs.removal import delete_job
from service.jobs.schema import KEPT_COPIES, migration_config, newest_revision, present_revision
from service.jobs.store import create_engine_for, migrate, reading
from service.operations.upgrade import upgrade
from service.settings import Settings

RELEASED = ("0001", "0002")
MOMENT = "2026-01-01 00:00:00+00:00"


def bring_to(engine, revision):
    configuration = migration_config()
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, revision)


def fill(engine):
    """Two videos of the same bytes, jobs of every state, tasks, events, a result, a worker."""
    from datetime import datetime

    now = datetime.fromisoformat(MOMENT)
    if engine.dialect.name == "sqlite":
        now = now.replace(tzinfo=None)
    tables = MetaData()
    tables.reflect(engine)
    states = ("queued", "processing", "succeeded", "failed", "canceled")

    def row(**values):
        return {"created_at": now, **values}

    rows = {
        "videos": [
            row(id=f"vid_{n}", name="Kamera <ü>.mp4", sha256=f"{n // 2}" * 64, size_bytes=5,
                blob_key=f"videos/vid_{n}", facts={"duration": 2.0} if n else None)
            for n in range(5)
        ],
        "jobs": [
            row(id=f"job_{state}", video_id=f"vid_{n}", status=state, progress=0.5,
                cancel_requested=False, delete_requested=False, model="m@1", options={"a": 1},
                tag="tag", num_chunks=2, started_at=now, stage=None,
                completed_at=now if n > 1 else None,
                error_code="crashed" if state == "failed" else None,
                error_message="It died." if state == "failed" else None,
                idempotency_key=f"key-{n}", request_digest="d")
            for n, state in enumerate(states)
        ],
        "tasks": [
            row(id=f"task_{state}_{index}", job_id=f"job_{state}", kind="chunk", chunk_index=index,
                status="ready" if n < 2 else "done", token=0, attempts=0, fraction=0.0,
                run_after=now)
            for n, state in enumerate(states) for index in range(2)
        ],
        "events": [
            {"job_id": f"job_{state}", "type": "job.queued", "details": {}, "created_at": now}
            for state in states
        ],
        "results": [
            row(job_id="job_succeeded", document={"segments": []}, token=1,
                activations_key="results/job_succeeded/a.json")
        ],
        "workers": [{"owner": "host/cpu", "seen_at": now}],
    }  # fmt: skip
    with engine.begin() as connection:
        for name, values in rows.items():
            connection.execute(tables.tables[name].insert(), values)
    return {name: len(values) for name, values in rows.items()}


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request, tmp_path):
    """An engine of a database without tables."""
    if request.param == "postgresql":
        name = f"upgrade_{tmp_path.name[-40:].lower()}_{id(tmp_path)}"
        url = request.getfixturevalue("postgres_server")(name)
    else:
        url = f"sqlite:///{tmp_path / 'kinetag.db'}"
    engine = create_engine_for(url)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("released", RELEASED)
def test_data_survive_an_upgrade(fresh, tmp_path, released):
    bring_to(fresh, released)
    counts = fill(fresh)
    migrate(fresh)
    with fresh.connect() as connection:
        assert present_revision(connection) == newest_revision()
        for name, count in counts.items():
            found = connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()  # noqa: S608
            assert (name, found) == (name, count)
        if fresh.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall() == []
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    with reading(fresh) as session:
        jobs = session.execute(select(JobRecord)).scalars().all()
        assert {job.tenant_id for job in jobs} == {"default"}
    with pytest.raises(IntegrityError), fresh.begin() as connection:
        connection.execute(text("UPDATE jobs SET video_id = 'nowhere' WHERE id = 'job_queued'"))
    names = {key["referred_table"] for key in inspect(fresh).get_foreign_keys("jobs")}
    assert {"videos", "tenants"} <= names


@pytest.mark.parametrize("released", RELEASED)
def test_an_upgraded_service_works_on(tmp_path, released):
    settings = Settings(data_dir=tmp_path)
    engine = create_engine_for(settings.resolved_database_url)
    bring_to(engine, released)
    fill(engine)
    done = upgrade(settings)
    assert (done.before, done.after) == (released, newest_revision())
    core = open_core(settings)
    assert request_cancel(core, "job_queued").job.status == "canceled"
    for state in ("queued", "succeeded", "failed", "canceled"):
        assert delete_job(core, f"job_{state}")
    core.engine.dispose()
    # As it was before lies beside it.
    copy = create_engine_for(f"sqlite:///{done.copy}")
    with copy.connect() as connection:
        assert present_revision(connection) == released
        found = connection.execute(text("SELECT status FROM jobs WHERE id = 'job_queued'"))
        assert found.scalar_one() == "queued"
    copy.dispose()
    engine.dispose()


def test_old_copies_go(tmp_path):
    folder = tmp_path / "before-upgrade"
    folder.mkdir()
    for day in range(1, 5):
        (folder / f"kinetag-0001-2026010{day}T000000.db").touch()
    (folder / "another.db").touch()
    engine = create_engine_for(f"sqlite:///{tmp_path / 'kinetag.db'}")
    bring_to(engine, "0001")
    copy = migrate(engine)
    engine.dispose()
    assert KEPT_COPIES == 2
    kept = {"another.db", "kinetag-0001-20260104T000000.db", copy.name}
    assert {path.name for path in folder.iterdir()} == kept


def test_a_new_database_is_not_copied(tmp_path):
    done = upgrade(Settings(data_dir=tmp_path))
    assert (done.before, done.copy) == (None, None)
    assert not (tmp_path / "before-upgrade").exists()


def test_postgresql_is_upgraded_after_a_dump(postgres_server, tmp_path):
    url = postgres_server("dumped")
    engine = create_engine_for(url)
    bring_to(engine, "0001")
    settings = Settings(data_dir=tmp_path, database_url=url)
    with pytest.raises(ConfigurationError, match="pg_dump"):
        upgrade(settings)
    with engine.connect() as connection:
        assert present_revision(connection) == "0001"
    assert upgrade(settings, dumped=True).after == newest_revision()
    engine.dispose()


def test_nothing_is_upgraded_under_a_running_service(tmp_path):
    import fcntl

    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataFolderBusy):
            upgrade(Settings(data_dir=tmp_path))
