"""Fixtures of the service's tests: databases, a clock that is set by hand, an API over HTTP."""

import json
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
import uvicorn
from sqlalchemy import text
from sqlalchemy.engine import make_url
from starlette.testclient import TestClient

from models.recipe import FeatureRecipe
from service.api.deps import ApiContext
from service.jobs.commands import JobCore, NewJob, create_job
from service.jobs.lifecycle import Plan
from service.jobs.queue import TaskQueue
from service.jobs.records import Record
from service.jobs.store import create_engine_for, migrate, new_id, transaction
from service.jobs.videos import NewContent, NewVideo
from service.main import create_app
from service.settings import Settings
from service.storage import LocalBlobStore, video_key

# Each part of the service declares its tables in its own module; tests want all of them.
for module in sorted(Path(__file__).parents[1].glob("*/records.py")):
    import_module(f"service.{module.parent.name}.records")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
LEASE_SECONDS = 60.0
CLASSES = ("walk", "run", "fall")


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.moment = EPOCH

    def now(self, session):
        return self.moment

    def advance(self, seconds):
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory):
    """A database file with the newest schema, to be copied: migrating costs many syncs."""
    path = tmp_path_factory.mktemp("schema") / "jobs.db"
    engine = create_engine_for(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgres_url(postgres_server):
    """The address of a database with the newest schema, shared by all tests."""
    url = postgres_server("tests")
    engine = create_engine_for(url)
    migrate(engine)
    engine.dispose()
    return url


def emptied_postgres(url):
    """Return an engine for a database as it was after its migration."""
    engine = create_engine_for(url)
    tables = ", ".join(name for name in Record.metadata.tables if name != "tenants")
    with transaction(engine) as session:
        session.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
        session.execute(text("DELETE FROM tenants WHERE id <> 'default'"))
    return engine


# Everything about jobs is tested on both kinds of database; see REQUIRE_POSTGRES in conftest.py.
@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path, migrated_sqlite):
    if request.param == "postgresql":
        engine = emptied_postgres(request.getfixturevalue("postgres_url"))
    else:
        shutil.copy(migrated_sqlite, tmp_path / "jobs.db")
        engine = create_engine_for(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def database_url(engine):
    return make_url(engine.url).render_as_string(hide_password=False)


@pytest.fixture
def core(engine, clock, tmp_path):
    return JobCore(engine, clock, LocalBlobStore(tmp_path / "data"), tmp_path / "data" / "features")


@pytest.fixture
def queue(engine, clock):
    return TaskQueue(engine, clock)


@pytest.fixture
def add_job(core, tmp_path):
    """Queue a job whose video has the given bytes; later ones are one second younger."""

    def add(content=b"video", **fields):
        video_id = new_id("vid")
        source = tmp_path / "source"
        source.write_bytes(content)
        core.blobs.put_file(video_key(video_id), source)
        core.clock.advance(1)
        stored = NewContent((content.hex() * 64)[:64], len(content), video_key(video_id))
        request = NewJob(
            video=NewVideo(name="cam.mp4", content=stored, video_id=video_id),
            **{"model": "kinetag-demo@1", **fields},
        )
        return create_job(core, request)[0].job.id

    return add


@pytest.fixture
def run_job(queue):
    """Do all tasks of the jobs there are, as a worker would; return what was done."""

    def run(num_chunks=2, result=None):
        done = []
        while (task := queue.claim(owner="runner", lease_seconds=LEASE_SECONDS)) is not None:
            done.append((task.kind, task.index))
            if task.kind == "plan":
                queue.complete_plan(task.id, task.token, Plan(num_chunks, {}, set()))
            elif task.kind == "chunk":
                queue.complete_chunk(task.id, task.token, computed=True, computed_with={})
            else:
                queue.complete_join(task.id, task.token, result=result or NATIVE)
        return done

    return run


def segment(label, score, start=1.0):
    return {
        "label": label,
        "score": score,
        "start": start,
        "end": start + 2.0,
        "start_ms": int(start * 1000),
        "end_ms": int(start * 1000) + 2000,
        "start_frame": int(start * 25),
        "end_frame": int(start * 25) + 50,
        "raw_score": score,
    }


NATIVE = {
    "version": "1",
    "video": {"name": "cam.mp4", "sha256": "0" * 64, "duration": 9.0, "nominal_fps": 25.0,
              "vfr": False, "width": 64, "height": 48},
    "model": "kinetag-demo@1",
    "recipe": "0123456789abcdef",
    "computed_with": {},
    "segments": [segment("walk", 0.9), segment("run", 0.4, 5.0)],
    "labels_seen": {"walk": 0.95, "run": 0.5},
    "warnings": [],
}  # fmt: skip


@pytest.fixture
def native():
    return NATIVE


def write_card(folder, name="kinetag-demo", version="1"):
    target = folder / f"{name}@{version}"
    target.mkdir(parents=True)
    card = {
        "format": 1,
        "name": name,
        "version": version,
        "method": "aicl",
        "classes": CLASSES,
        "recipe": FeatureRecipe("test").to_json(),
        "licence": "Apache-2.0",
        "metrics": {"mAP@0.5": 0.7},
        "warnings": [{"code": "demo_model", "message": "A demonstration.", "seconds": None}],
    }
    (target / "card.json").write_text(json.dumps(card))


@pytest.fixture
def card_writer():
    return write_card


@pytest.fixture
def settings(tmp_path, migrated_sqlite):
    data = tmp_path / "data"
    write_card(data / "models")
    shutil.copy(migrated_sqlite, data / "kinetag.db")
    return Settings(
        data_dir=data,
        default_model="kinetag-demo@1",
        min_free_bytes=0,
        max_upload_bytes=3_000_000,
        upload_stall_seconds=0.4,
    )


class ServiceClient(TestClient):
    """Speaks HTTP to the service, and knows what is behind it."""

    context: ApiContext
    core: JobCore
    queue: TaskQueue


@pytest.fixture
def client(settings):
    app = create_app(settings)
    with ServiceClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        client.context = app.state.context
        client.core = client.context.core
        client.queue = TaskQueue(client.core.engine)
        yield client


@pytest.fixture
def live_server(settings):
    """Serve the API from a thread on a real socket; yield (host, port)."""
    config = uvicorn.Config(create_app(settings), port=0, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    waiter = threading.Event()
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        waiter.wait(0.01)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    thread.join(10)
