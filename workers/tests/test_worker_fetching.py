"""Fetch tasks from claim to commit: real HTTP servers, the real queue, leases that are lost."""

import contextlib
import hashlib
import http.server
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from service.accounts.limits import Quotas
from service.errors import DatabaseUnavailable, LeaseLost
from service.jobs.commands import JobCore, NewJob, create_job, get_job, request_cancel
from service.jobs.queue import TaskQueue
from service.jobs.records import DEFAULT_TENANT, ContentRecord, Record, TaskRecord, TenantRecord
from service.jobs.states import TaskKind
from service.jobs.store import create_engine_for, reading, transaction
from service.jobs.videos import NewVideo
from service.outbound import Outbound, OutboundPolicy
from service.outbound_fetch import FetchLimits
from service.storage import LocalBlobStore
from workers.fetching import FetchingSettings, FetchService
from workers.lease import LeaseSettings

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = LeaseSettings(
    lease_seconds=60, heartbeat_seconds=0.02, progress_seconds=0.0, tick_seconds=0.01
)
LONG_SECONDS = 10


class HandClock:
    def __init__(self):
        self.moment = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self, session):
        return self.moment


class Place:
    """A web server with one file; ``answer`` replaces what it does."""

    def __init__(self):
        self.content = CONTENT
        self.answer: Any = None
        self.touched = 0
        place = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                place.touched += 1
                if place.answer is not None:
                    place.answer(self)
                else:
                    place.whole(self)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/clip.mp4"

    def whole(self, handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(self.content)))
        handler.end_headers()
        handler.wfile.write(self.content)

    def status(self, code):
        def answer(handler):
            handler.send_response(code)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        self.answer = answer


@pytest.fixture
def place():
    place = Place()
    yield place
    place.server.shutdown()
    place.server.server_close()


class World:
    def __init__(self, folder):
        database = create_engine_for(f"sqlite:///{folder / 'kinetag.db'}")
        Record.metadata.create_all(database)
        self.clock = HandClock()
        with transaction(database) as session:
            now = self.clock.moment
            session.add(TenantRecord(id=DEFAULT_TENANT, name=DEFAULT_TENANT, created_at=now))
        self.blobs = LocalBlobStore(folder)
        self.core = JobCore(database, self.clock, self.blobs, folder / "features")
        self.queue = TaskQueue(database, self.clock)
        self.folder = folder / "tmp"

    def service(self, *, policy=None, floor_bytes=0, core=None, **limits):
        outbound = Outbound(policy or OutboundPolicy(allow_private=True))
        settings = FetchingSettings(
            folder=self.folder,
            floor_bytes=floor_bytes,
            owner="host/fetch",
            limits=FetchLimits(**{"max_bytes": 10_000_000, "total_seconds": 30.0, **limits}),
            lease=QUICK,
        )
        return FetchService(core or self.core, outbound, settings)

    def add_job(self, url, **fields):
        video = NewVideo(name="clip.mp4", source="url", source_ref=url)
        return create_job(self.core, NewJob(video=video, model="m@1", **fields))[0].job.id

    def view(self, job_id):
        return get_job(self.core, job_id)

    def tasks(self):
        with reading(self.core.engine) as session:
            rows = session.execute(select(TaskRecord).order_by(TaskRecord.created_at))
            return {task.kind: task for task in rows.scalars()}

    def leftovers(self):
        return list(self.folder.iterdir()) if self.folder.exists() else []

    def blob_keys(self):
        return [key for key, _ in self.blobs.keys("videos")]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_a_fetched_video_is_stored_hashed_and_planned(world, place):
    job_id = world.add_job(place.url)
    assert world.service().run_one("me")
    view = world.view(job_id)
    assert (view.video.sha256, view.video.size_bytes) == (SHA256, len(CONTENT))
    assert world.blobs.get_bytes(view.video.blob_key) == CONTENT
    tasks = world.tasks()
    assert tasks["fetch"].status == "done"
    assert tasks["plan"].status == "ready"
    assert world.leftovers() == []
    assert not world.service().run_one("me"), "nothing else is to be fetched"


def test_workers_do_not_take_fetches_nor_fetchers_work(world, place):
    world.add_job(place.url)
    assert world.queue.claim(owner="w", lease_seconds=60.0) is None
    world.service().run_one("me")
    assert world.queue.claim(owner="w", lease_seconds=60.0).kind == "plan"


def test_the_same_bytes_are_stored_once(world, place):
    jobs = [world.add_job(f"{place.url}?{number}") for number in range(3)]
    service = world.service()
    while service.run_one("me"):
        pass
    keys = {world.view(job_id).video.blob_key for job_id in jobs}
    assert len(keys) == 1
    assert world.blob_keys() == list(keys)
    with reading(world.core.engine) as session:
        assert len(session.execute(select(ContentRecord)).all()) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "url_unreachable"), (403, "url_unreachable"), (410, "url_unreachable")],
)
def test_a_refusal_fails_the_job_at_once(status, code, world, place):
    place.status(status)
    job_id = world.add_job(place.url)
    world.service().run_one("me")
    job = world.view(job_id).job
    assert (job.status, job.error_code) == ("failed", code)
    assert str(status) in job.error_message
    assert world.leftovers() == world.blob_keys() == []


def test_private_addresses_fail_the_job_untouched(world, place):
    job_id = world.add_job(place.url)
    world.service(policy=OutboundPolicy()).run_one("me")
    assert world.view(job_id).job.error_code == "url_refused"
    assert place.touched == 0


def test_a_file_over_the_limit_fails_the_job(world, place):
    job_id = world.add_job(place.url)
    world.service(max_bytes=1000).run_one("me")
    assert world.view(job_id).job.error_code == "too_large"
    assert world.leftovers() == world.blob_keys() == []


def test_an_empty_file_fails_the_job(world, place):
    place.content = b""
    job_id = world.add_job(place.url)
    world.service().run_one("me")
    assert world.view(job_id).job.error_code == "empty_video"


def test_passing_troubles_are_tried_again_later_and_given_up_at_last(world, place):
    place.status(503)
    job_id = world.add_job(place.url)
    service = world.service()
    service._pause = lambda keeper: lambda seconds: None
    for wait in (5, 10):
        assert service.run_one("me")
        assert world.view(job_id).job.status == "queued"
        assert not service.run_one("me"), "not at once"
        world.clock.moment += timedelta(seconds=wait)
    assert service.run_one("me")
    assert world.view(job_id).job.error_code == "url_unreachable"


def test_a_full_disk_costs_no_attempt(world, place):
    job_id = world.add_job(place.url)
    service = world.service(floor_bytes=1 << 60)
    for _ in range(5):
        assert service.run_one("me")
        assert world.view(job_id).job.status == "queued"
        world.clock.moment += timedelta(seconds=60)
    assert place.touched == 0
    world.service().run_one("me")
    assert world.tasks()["fetch"].status == "done"


def test_the_tenant_s_quota_holds_for_fetched_bytes(world, place):
    small = JobCore(
        world.core.engine, world.clock, world.blobs, world.core.features_folder,
        Quotas(stored_bytes=1000),
    )  # fmt: skip
    job_id = world.add_job(place.url)
    world.service(core=small).run_one("me")
    assert world.view(job_id).job.error_code == "quota_bytes"
    assert world.leftovers() == world.blob_keys() == []


def test_what_a_killed_process_left_goes_with_the_next_attempt(world, place):
    world.add_job(place.url)
    task = world.queue.claim(owner="dead", lease_seconds=60.0, kinds=(TaskKind.FETCH,))
    world.folder.mkdir(parents=True)
    (world.folder / f"fetch-{task.id}-{task.token}").write_bytes(b"half")
    world.clock.moment += timedelta(seconds=61)
    assert world.service().run_one("me")
    assert world.leftovers() == []
    assert len(world.blob_keys()) == 1


def test_a_fetch_that_was_taken_over_changes_nothing(world, place):
    """The lease runs out in mid-fetch, somebody else finishes; the late one's bytes are dropped."""
    world.add_job(place.url)
    late, other = world.service(), world.service()
    taken_over = []

    def answer(handler):
        if not taken_over:
            taken_over.append(True)
            world.clock.moment += timedelta(seconds=61)
            assert other.run_one("other")
        place.whole(handler)

    place.answer = answer
    # Its heartbeat may notice first, and then it stops by itself.
    with contextlib.suppress(LeaseLost):
        late.run_one("late")
    assert len(world.blob_keys()) == 1
    assert world.leftovers() == []
    assert world.tasks()["plan"].status == "ready"


def test_canceling_stops_a_fetch(world, place):
    job_id = world.add_job(place.url)
    finished = threading.Event()

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        request_cancel(world.core, job_id)
        try:
            while not finished.wait(0.005):
                handler.wfile.write(bytes(65536))
        except OSError:
            finished.set()

    place.answer = endless
    assert world.service(max_bytes=1 << 40).run_one("me")
    assert world.view(job_id).job.status == "canceled"
    assert finished.wait(LONG_SECONDS), "the connection was closed"
    assert world.leftovers() == world.blob_keys() == []


def test_stopping_gives_the_fetch_back_without_spending_an_attempt(world, place):
    job_id = world.add_job(place.url)
    begun = threading.Event()

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(65536))
                begun.set()
        except OSError:
            pass

    place.answer = endless
    service = world.service(max_bytes=1 << 40)
    service.start()
    assert begun.wait(LONG_SECONDS)
    service.stop()
    task = world.tasks()["fetch"]
    assert (task.status, task.attempts) == ("ready", 0)
    assert world.view(job_id).job.status == "queued"
    assert world.leftovers() == []


def test_bytes_that_are_there_already_are_not_fetched_again(world, place):
    """Two jobs of one video: the second one's fetch finds it done."""
    first = world.view(world.add_job(place.url))
    create_job(world.core, NewJob(video=first.video.id, model="m@1"))
    service = world.service()
    assert service.run_one("me")
    assert service.run_one("me")
    assert place.touched == 1


def test_a_bug_fails_the_job_and_not_the_thread(world, place, monkeypatch):
    job_id = world.add_job(place.url)
    monkeypatch.setattr(
        "workers.fetching.Fetcher.fetch", lambda *args: (_ for _ in ()).throw(KeyError("oops"))
    )
    service = world.service()
    for _ in range(3):
        assert service.run_one("me")
        world.clock.moment += timedelta(seconds=60)
    assert world.view(job_id).job.error_code == "internal_error"


def test_an_outage_leaves_the_task_to_its_lease(world, place, monkeypatch):
    world.add_job(place.url)

    def away(*args, **options):
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(TaskQueue, "complete_fetch", away)
    with pytest.raises(DatabaseUnavailable):
        world.service().run_one("me")
    assert world.tasks()["fetch"].status == "leased"
    assert world.leftovers() == []
