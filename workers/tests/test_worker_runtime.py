"""From claim to commit, against the real queue on SQLite, with an engine that computes nothing."""

import errno
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models.errors import Cancelled, DiskFull, OutOfMemory, UnreadableVideo
from models.types import Progress
from service.errors import DatabaseUnavailable
from service.jobs.arithmetic import REBASE_SECONDS
from service.jobs.queue import TaskQueue
from service.jobs.records import (
    DEFAULT_TENANT,
    JobRecord,
    Record,
    ResultRecord,
    TaskRecord,
    TenantRecord,
    VideoRecord,
)
from service.jobs.store import create_engine_for, reading, transaction
from service.storage import LocalBlobStore
from workers.devicelock import DeviceLock
from workers.lease import LeaseSettings
from workers.queue_views import has_claimable_task, is_unwanted
from workers.runtime import Ending, Runtime, run_available, run_task
from workers.work import FinishedChunk, FinishedVideo, PlannedVideo, Unable

START = datetime(2030, 1, 1, tzinfo=UTC)
QUICK = LeaseSettings(
    lease_seconds=60, heartbeat_seconds=0.02, progress_seconds=0.0, tick_seconds=0.01
)
DEADLINE_SECONDS = 10


@dataclass
class SetClock:
    moment: datetime = START

    def now(self, session):
        return self.moment

    def advance(self, seconds):
        self.moment += timedelta(seconds=seconds)


@dataclass
class FakeEngine:
    """Plays a job of three chunks; ``actions`` replaces what a kind of task does."""

    num_chunks: int = 3
    own: dict[str, str] = field(default_factory=lambda: {"kind": "x"})
    actions: dict[str, Any] = field(default_factory=dict)
    runs: list[tuple[str, int, int]] = field(default_factory=list)
    rests: int = 0

    def run(self, work, on_progress, should_stop):
        task = work.task
        self.runs.append((task.kind, task.index, task.token))
        on_progress(Progress("flow", 0.5))
        if task.kind in self.actions:
            return self.actions[task.kind](work, on_progress, should_stop)
        if task.kind == "plan":
            return PlannedVideo(self.num_chunks, {"duration": 1.0}, frozenset(), self.own)
        if task.kind == "chunk" and task.computed_with != self.own:
            return Unable(self.own)
        if task.kind == "chunk":
            return FinishedChunk(True, self.own)
        return FinishedVideo({"segments": []}, None)

    def rest(self):
        self.rests += 1


class World:
    """One database, one device, one job; what a worker process would hold."""

    def __init__(self, folder: Path):
        self.database = create_engine_for(f"sqlite:///{folder / 'kinetag.db'}")
        Record.metadata.create_all(self.database)
        with transaction(self.database) as session:
            session.add(TenantRecord(id=DEFAULT_TENANT, name=DEFAULT_TENANT, created_at=START))
        self.clock = SetClock()
        self.queue = TaskQueue(self.database, clock=self.clock)
        self.engine = FakeEngine()
        self.folder = folder
        self.blobs = LocalBlobStore(folder)
        self.drain = False
        self.runtime = self.make_runtime("worker-1")

    def make_runtime(self, owner, engine=None):
        return Runtime(
            queue=self.queue,
            engine=engine or self.engine,
            lock=DeviceLock(self.folder, owner),
            blobs=self.blobs,
            draining=lambda: self.drain,
            owner=owner,
            lease=QUICK,
        )

    def add_job(self, number=1):
        self.blobs.put_bytes(f"videos/vid_{number}", b"video")
        with transaction(self.database) as session:
            session.add(
                VideoRecord(
                    id=f"vid_{number}",
                    name="a.mp4",
                    sha256="a" * 64,
                    size_bytes=1,
                    blob_key=f"videos/vid_{number}",
                    created_at=START,
                )
            )
            session.flush()
            session.add(
                JobRecord(
                    id=f"job_{number}",
                    video_id=f"vid_{number}",
                    status="queued",
                    model="m",
                    options={},
                    created_at=START + timedelta(seconds=number),
                )
            )
            session.flush()
            session.add(
                TaskRecord(
                    id=f"task_{number}",
                    job_id=f"job_{number}",
                    kind="plan",
                    index=0,
                    status="ready",
                    run_after=START,
                    created_at=START,
                )
            )

    def job(self, number=1):
        with reading(self.database) as session:
            return session.get_one(JobRecord, f"job_{number}")

    def task(self, task_id="task_1"):
        with reading(self.database) as session:
            return session.get_one(TaskRecord, task_id)

    def request_cancel(self, number=1):
        with transaction(self.database) as session:
            session.get_one(JobRecord, f"job_{number}").cancel_requested = True

    def results(self):
        with reading(self.database) as session:
            return list(session.execute(select(ResultRecord)).scalars())


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.add_job()
    return made


def until_stopped(work, on_progress, should_stop):
    """An engine that works until it is asked to stop, as a real one does at block borders."""
    import threading
    import time

    deadline = time.monotonic() + DEADLINE_SECONDS
    pause = threading.Event()
    while time.monotonic() < deadline:
        on_progress(Progress("flow", time.monotonic() % 1))
        if should_stop():
            raise Cancelled("Stopped as asked.")
        pause.wait(0.005)
    pytest.fail("the engine was never asked to stop")


def raising(error):
    def act(work, on_progress, should_stop):
        raise error

    return act


def test_one_call_carries_a_job_from_plan_to_result(world):
    assert run_available(world.runtime, "task_1") == 5
    assert [kind for kind, _, _ in world.engine.runs] == ["plan", "chunk", "chunk", "chunk", "join"]
    assert world.job().status == "succeeded"
    assert [result.activations_key for result in world.results()] == [None]


def test_what_is_kept_open_between_tasks_is_closed_when_there_are_none(world):
    run_available(world.runtime, None)
    assert world.engine.rests == 1
    world.drain = True
    run_available(world.runtime, None)
    assert world.engine.rests == 2


def test_worker_that_computes_otherwise_leaves_the_chunks_to_others(world):
    assert run_task(world.runtime, None) is Ending.DONE
    other = FakeEngine(own={"kind": "y"})
    stranger = world.make_runtime("worker-2", other)
    assert run_task(stranger, None) is Ending.DECLINED
    assert run_available(stranger, None) == 0, "it would spin"
    assert not has_claimable_task(world.database, world.clock, "worker-2")
    assert has_claimable_task(world.database, world.clock, "worker-1")
    assert run_available(world.runtime, None) == 4
    assert world.job().status == "succeeded"
    assert world.job().computed_with == {"kind": "x"}


def test_worker_left_alone_computes_all_in_its_own_way(world):
    assert run_task(world.runtime, None) is Ending.DONE
    assert run_task(world.runtime, None) is Ending.DONE
    other = FakeEngine(own={"kind": "y"})
    stranger = world.make_runtime("worker-2", other)
    assert run_available(stranger, None) == 1
    world.clock.advance(REBASE_SECONDS)
    assert run_available(stranger, None) == 4
    assert world.job().status == "succeeded"
    assert world.job().computed_with == {"kind": "y"}
    indices = [index for kind, index, _ in other.runs if kind == "chunk"]
    assert sorted(set(indices)) == [0, 1, 2], "also the one that was done otherwise"


def test_chunk_finished_after_its_job_was_rebased_does_not_count(world):
    assert run_task(world.runtime, None) is Ending.DONE
    other = world.make_runtime("worker-2", FakeEngine(own={"kind": "y"}))

    def slow(work, on_progress, should_stop):
        world.engine.actions.clear()
        world.clock.advance(REBASE_SECONDS)
        world.queue.expire_leases()
        run_available(other, None)
        return FinishedChunk(True, {"kind": "x"})

    world.engine.actions["chunk"] = slow
    assert run_task(world.runtime, None) is Ending.DROPPED
    assert world.job().computed_with == {"kind": "y"}
    assert len(world.results()) == 1


def test_activations_are_stored_beside_the_result(world):
    finished = FinishedVideo({"segments": []}, b"evidence")
    world.engine.actions["join"] = lambda *_: finished
    run_available(world.runtime, None)
    (result,) = world.results()
    assert world.blobs.get_bytes(result.activations_key) == b"evidence"


def test_refused_result_leaves_no_activations_behind(world):
    rival = world.make_runtime("worker-2")
    finished = FinishedVideo({"segments": []}, b"evidence")

    def slow(work, on_progress, should_stop):
        world.engine.actions["join"] = lambda *_: finished
        world.clock.advance(61)
        assert run_task(rival, work.task.id) is Ending.DONE
        return finished

    world.engine.actions["join"] = slow
    run_available(world.runtime, None)
    assert len(world.results()) == 1
    assert [key for key, _ in world.blobs.keys("results")] == [world.results()[0].activations_key]


def test_hint_for_unknown_or_taken_task_is_harmless(world):
    assert run_task(world.runtime, "task_absent") is Ending.IDLE
    world.queue.claim(owner="other", task_id="task_1", lease_seconds=60)
    assert run_task(world.runtime, "task_1") is Ending.IDLE
    assert world.engine.runs == []


def test_busy_device_runs_nothing(world):
    other = DeviceLock(world.folder, "worker-1")
    assert other.acquire()
    assert run_available(world.runtime, None) == 0
    assert world.engine.runs == []
    other.release()
    assert run_available(world.runtime, None) == 5


def test_device_shows_what_it_is_held_for(world):
    seen = []

    def look(work, on_progress, should_stop):
        seen.append(DeviceLock(world.folder, "worker-1").occupancy())
        return PlannedVideo(1, {}, frozenset(), {})

    world.engine.actions["plan"] = look
    run_available(world.runtime, None)
    assert (seen[0].task_id, seen[0].token) == ("task_1", 1)
    assert DeviceLock(world.folder, "worker-1").occupancy() is None


def test_lease_taken_over_means_the_late_result_is_dropped(world):
    rival = world.make_runtime("worker-2")

    def slow(work, on_progress, should_stop):
        world.engine.actions.pop("plan")
        world.clock.advance(61)
        assert run_task(rival, "task_1") is Ending.DONE
        return PlannedVideo(99, {}, frozenset(), {})

    world.engine.actions["plan"] = slow
    assert run_task(world.runtime, "task_1") is Ending.DROPPED
    assert world.job().num_chunks == 3
    assert world.task().token == 2


def test_cancel_request_ends_the_job_as_canceled(world):
    def cancel(work, on_progress, should_stop):
        world.request_cancel()
        return until_stopped(work, on_progress, should_stop)

    world.engine.actions["plan"] = cancel
    assert run_task(world.runtime, None) is Ending.CANCELED
    assert world.job().status == "canceled"
    assert run_task(world.runtime, None) is Ending.IDLE


def test_drain_gives_the_task_back_and_spends_no_attempt(world):
    def drain(work, on_progress, should_stop):
        world.drain = True
        return until_stopped(work, on_progress, should_stop)

    world.engine.actions["plan"] = drain
    assert run_available(world.runtime, None) == 1
    task = world.task()
    assert (task.status, task.attempts, task.token) == ("ready", 0, 1)
    assert world.job().status == "queued"


def test_draining_worker_claims_nothing(world):
    world.drain = True
    assert run_available(world.runtime, "task_1") == 0
    assert world.task().token == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [(UnreadableVideo("Not a video; send another."), "unreadable_video")],
)
def test_error_of_the_input_fails_the_job_at_once(world, error, code):
    world.engine.actions["plan"] = raising(error)
    assert run_task(world.runtime, None) is Ending.FAILED
    job = world.job()
    assert (job.status, job.error_code, job.error_message) == ("failed", code, str(error))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OutOfMemory("Memory ran out."), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (ZeroDivisionError("a bug"), "internal_error"),
        (FileNotFoundError(2, "gone"), "internal_error"),
    ],
)
def test_error_that_may_pass_is_tried_three_times(world, error, code):
    world.engine.actions["plan"] = raising(error)
    for attempt in (1, 2, 3):
        assert run_task(world.runtime, None) is Ending.FAILED
        assert world.task().attempts == attempt
        assert run_task(world.runtime, None) is Ending.IDLE, "it must wait before the next attempt"
        world.clock.advance(3600)
    job = world.job()
    assert (job.status, job.error_code) == ("failed", code)
    assert "Error" not in job.error_message
    assert "a bug" not in job.error_message


@pytest.mark.parametrize("error", [DiskFull("full"), OSError(errno.ENOSPC, "no space")])
def test_full_disk_spends_no_attempt_and_waits(world, error):
    world.engine.actions["plan"] = raising(error)
    for _ in range(5):
        assert run_available(world.runtime, None) == 1
        task = world.task()
        assert (task.status, task.attempts) == ("ready", 0)
        world.clock.advance(3600)
    world.engine.actions.clear()
    run_available(world.runtime, None)
    assert world.job().status == "succeeded"


def test_database_outage_leaves_the_task_to_its_lease(world):
    world.engine.actions["plan"] = raising(DatabaseUnavailable("away"))
    assert run_task(world.runtime, None) is Ending.DROPPED
    assert world.task().status == "leased"
    world.clock.advance(61)
    assert world.queue.expire_leases() == 1
    assert world.task().status == "ready"


def test_views_of_the_queue_follow_the_rows(world):
    assert has_claimable_task(world.database, world.clock, "me")
    task = world.queue.claim(owner="other", task_id=None, lease_seconds=60)
    assert not has_claimable_task(world.database, world.clock, "me")
    assert not is_unwanted(world.database, task.id, task.token)
    world.request_cancel()
    assert is_unwanted(world.database, task.id, task.token)
    assert is_unwanted(world.database, task.id, task.token - 1)
    assert is_unwanted(world.database, "task_absent", 1)
    world.clock.advance(61)
    assert not has_claimable_task(world.database, world.clock, "me"), "its job is being canceled"
