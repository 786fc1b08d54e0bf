"""Runs one task from claim to commit. Hints and polling both end here.

Owns the translation of endings into what the job core is told: finished, failed, given back,
canceled, or nothing at all when the lease was lost. The computing itself is the engine's.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import assert_never

import structlog

from models.errors import Cancelled, DiskFull, OutOfMemory, PipelineError
from service.errors import LeaseLost, OutageError, RequestError, StorageFull
from service.ingest.paths import open_below
from service.jobs.lifecycle import Plan
from service.jobs.queue import ClaimedTask, TaskQueue
from service.storage import BlobStore, store_activations
from service.tracing import span
from workers.devicelock import DeviceLock
from workers.lease import LeaseKeeper, LeaseSettings, StopReason
from workers.metering import TaskMeter, unmetered
from workers.probing import store_thumbnails
from workers.work import (
    Engine,
    FinishedChunk,
    FinishedVideo,
    Outcome,
    PlannedVideo,
    ProbedVideo,
    TaskInput,
    Unable,
)

INTERNAL_ERROR_CODE = "internal_error"
INTERNAL_ERROR_MESSAGE = (
    "An unexpected error stopped this job; the worker's log has the details under the job's id."
)
MAX_TASKS_PER_CALL = 50
LOCK_WAIT_SECONDS = 1.0
LOCK_PAUSE_SECONDS = 0.05

_log = structlog.get_logger(__name__)


class Ending(StrEnum):
    """How a call of `run_task` ended."""

    IDLE = "idle"
    DONE = "done"
    FAILED = "failed"
    RELEASED = "released"
    DECLINED = "declined"
    CANCELED = "canceled"
    DROPPED = "dropped"
    DISK_FULL = "disk_full"


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything a worker process needs to run tasks.

    Attributes:
        queue: the job core.
        engine: what computes.
        lock: of this process's device.
        blobs: where videos lie and activations go.
        draining: whether this worker was told to finish.
        owner: name written into leases.
        lease: its times.
        path_roots: folders below which videos may lie that were given by path.
        meter: what counts the work.
    """

    queue: TaskQueue
    engine: Engine
    lock: DeviceLock
    blobs: BlobStore
    draining: Callable[[], bool]
    owner: str
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    path_roots: tuple[str, ...] = ()
    meter: TaskMeter = field(default_factory=unmetered)


def run_available(runtime: Runtime, task_id: str | None) -> int:
    """Run the hinted task, then whatever else can be claimed, under the device's lock.

    Going on without waiting for further hints keeps a job's plan, chunks and join together.

    Returns:
        How many tasks were run; 0 when the device is busy or nothing could be claimed.
    """
    if not _acquire(runtime.lock):
        return 0
    count = 0
    try:
        while count < MAX_TASKS_PER_CALL and not runtime.draining():
            ending = run_task(runtime, task_id)
            if ending is Ending.IDLE and task_id is None:
                break
            count += ending is not Ending.IDLE
            if ending is Ending.DISK_FULL:
                break
            task_id = None
    finally:
        runtime.engine.rest()
        runtime.blobs.rest()
        runtime.meter.flush(now=True)
        runtime.lock.release()
    return count


def _acquire(lock: DeviceLock) -> bool:
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while not lock.acquire():
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOCK_PAUSE_SECONDS)
    return True


def run_task(runtime: Runtime, task_id: str | None) -> Ending:
    """Claim one task and carry it to an ending; the caller holds the device's lock.

    Args:
        runtime: of this process.
        task_id: the hinted task, or None for the one that is next in line.
    """
    with span("claim") as attributes:
        task = runtime.queue.claim(
            owner=runtime.owner, task_id=task_id, lease_seconds=runtime.lease.lease_seconds
        )
        attributes(found=task is not None)
    if task is None:
        return Ending.IDLE
    started = time.monotonic()
    with (
        structlog.contextvars.bound_contextvars(
            job_id=task.job_id, task_id=task.id, kind=task.kind, index=task.index, token=task.token
        ),
        span("task", job_id=task.job_id, kind=task.kind, index=task.index) as attributes,
    ):
        _log.info("task_started", attempt=task.attempt)
        with runtime.lock.occupied(task.id, task.token):
            ending = _carry(runtime, task)
        seconds = time.monotonic() - started
        _log.info("task_ended", ending=ending.value, duration_seconds=seconds)
        attributes(ending=ending.value)
    runtime.meter.task(task.kind, ending.value, seconds)
    runtime.meter.flush()
    return ending


def _carry(runtime: Runtime, task: ClaimedTask) -> Ending:
    try:
        return _execute(runtime, task)
    except LeaseLost:
        _log.warning("fenced")
    except OutageError as error:
        # The row stays leased and comes back when the lease runs out.
        _log.warning("outage", code=error.code, error=str(error))
    return Ending.DROPPED


def _execute(runtime: Runtime, task: ClaimedTask) -> Ending:
    keeper = LeaseKeeper(runtime.queue, (task.id, task.token), runtime.lease, runtime.draining)
    try:
        with keeper, _opened(runtime, task) as path:
            outcome = _compute(runtime, TaskInput(task, path), keeper)
    except Cancelled:
        return _end_early(runtime.queue, task, keeper.reason)
    except (DiskFull, StorageFull, MemoryError, OSError) as error:
        return _resource_failed(runtime.queue, task, error)
    except (PipelineError, RequestError) as error:
        return _fail(runtime.queue, task, error)
    except (LeaseLost, OutageError):
        raise
    except Exception:  # noqa: BLE001 - the last net: a bug fails its job, not the worker
        _log.exception("unexpected_error")
        runtime.queue.fail(
            task.id,
            task.token,
            code=INTERNAL_ERROR_CODE,
            message=INTERNAL_ERROR_MESSAGE,
            retryable=True,
        )
        return Ending.FAILED
    if keeper.reason in {StopReason.FENCED, StopReason.STALLED}:
        # The commit would be refused if somebody else holds the task by now; let it decide.
        _log.warning("finished_late", reason=keeper.reason)
    with span("commit"):
        ending = _commit(runtime, task, outcome)
    if ending is Ending.DONE:
        _meter(runtime.meter, outcome)
    return ending


def _meter(meter: TaskMeter, outcome: Outcome) -> None:
    match outcome:
        case PlannedVideo():
            meter.chunks("found", len(outcome.done_chunks))
        case FinishedChunk():
            meter.chunk(outcome.computed, outcome.num_frames, outcome.stage_seconds)
        case _:
            return


@contextmanager
def _opened(runtime: Runtime, task: ClaimedTask) -> Iterator[Path]:
    """Yield the task's video as a file of this machine: its blob, or where it was said to lie.

    A path is judged again, since links may have changed; what was judged is what is read.
    """
    if task.video_key is not None:
        with runtime.blobs.open_local(task.video_key) as path:
            yield path
        return
    descriptor = open_below(task.video_ref or "", runtime.path_roots)
    try:
        yield Path(f"/dev/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _compute(runtime: Runtime, work: TaskInput, keeper: LeaseKeeper) -> Outcome:
    outcome = runtime.engine.run(work, keeper.on_progress, keeper.should_stop)
    if not isinstance(outcome, Unable):
        return outcome
    own, task = dict(outcome.computed_with), work.task
    if not runtime.queue.decline(task.id, task.token, computed_with=own):
        return outcome
    _log.warning("job_rebased", before=task.computed_with, after=own)
    work = replace(work, task=replace(task, computed_with=own))
    return runtime.engine.run(work, keeper.on_progress, keeper.should_stop)


def _end_early(queue: TaskQueue, task: ClaimedTask, reason: StopReason | None) -> Ending:
    match reason:
        case StopReason.CANCELED:
            queue.cancel_now(task.id, task.token)
            return Ending.CANCELED
        case StopReason.DRAINING | None:
            queue.release(task.id, task.token)
            return Ending.RELEASED
        case StopReason.FENCED | StopReason.STALLED:
            _log.warning(reason.value)
            return Ending.DROPPED
        case _:
            assert_never(reason)


def _resource_failed(queue: TaskQueue, task: ClaimedTask, error: BaseException) -> Ending:
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    if full or isinstance(error, (DiskFull, StorageFull)):
        # The queue gives a full disk its attempt back and lets the task wait for space.
        message = "The worker's disk is full; the job goes on once some space is free."
        _fail(queue, task, DiskFull(message))
        return Ending.DISK_FULL
    if isinstance(error, MemoryError):
        message = "Memory ran out on the machine; the job is tried again."
        return _fail(queue, task, OutOfMemory(message))
    _log.error("file_error", error=str(error))
    queue.fail(
        task.id,
        task.token,
        code=INTERNAL_ERROR_CODE,
        message=INTERNAL_ERROR_MESSAGE,
        retryable=True,
    )
    return Ending.FAILED


def _fail(queue: TaskQueue, task: ClaimedTask, error: PipelineError | RequestError) -> Ending:
    _log.warning("task_failed", code=error.code, error=str(error))
    queue.fail(task.id, task.token, code=error.code, message=str(error), retryable=error.retryable)
    return Ending.FAILED


def _commit(runtime: Runtime, task: ClaimedTask, outcome: Outcome) -> Ending:
    queue = runtime.queue
    match outcome:
        case PlannedVideo():
            plan = Plan(
                outcome.num_chunks,
                outcome.facts,
                outcome.done_chunks,
                outcome.computed_with,
                outcome.recipe,
            )
            queue.complete_plan(task.id, task.token, plan)
        case FinishedChunk(computed, computed_with):
            if not queue.complete_chunk(
                task.id, task.token, computed=computed, computed_with=computed_with
            ):
                _log.warning("chunk_computed_otherwise", computed_with=dict(computed_with))
                return Ending.RELEASED
        case Unable(computed_with):
            _log.info("chunk_declined", own=dict(computed_with), wanted=task.computed_with)
            return Ending.DECLINED
        case FinishedVideo():
            _commit_result(runtime, task, outcome)
        case ProbedVideo():
            _commit_probe(runtime, task, outcome)
        case _:
            assert_never(outcome)
    return Ending.DONE


def _commit_result(runtime: Runtime, task: ClaimedTask, video: FinishedVideo) -> None:
    key = None
    if video.evidence is not None:
        key = store_activations(runtime.blobs, task.job_id, video.evidence)
    try:
        runtime.queue.complete_join(task.id, task.token, result=video.result, activations_key=key)
    except LeaseLost:
        if key is not None:
            runtime.blobs.delete(key)
        raise


def _commit_probe(runtime: Runtime, task: ClaimedTask, video: ProbedVideo) -> None:
    key = None
    if video.thumbnails is not None:
        key = store_thumbnails(runtime.blobs, task.video_id, video.thumbnails)
    try:
        runtime.queue.complete_probe(task.id, task.token, facts=video.facts, thumbnails_key=key)
    except LeaseLost:
        if key is not None:
            runtime.blobs.delete(key)
        raise
