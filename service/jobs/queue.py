"""The queue: every query by which workers and the sweeper move tasks.

A task is claimed under a lease and a fencing token. Whatever a worker commits carries its
token; when the task was given to somebody else in the meantime, `LeaseLost` is raised, nothing
is written, and the worker drops its work. Messages about tasks are hints: claiming decides.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from service.errors import LeaseLost
from service.jobs import arithmetic, lifecycle, pace, sweeping
from service.jobs.claims import ClaimedTask, claim_task, held, note_worker
from service.jobs.lifecycle import JobFailure, Plan
from service.jobs.line import ClaimRequest, has_status
from service.jobs.records import JobRecord, ResultRecord, TaskRecord, VideoRecord
from service.jobs.states import COMPUTED_KINDS, JobEvent, TaskEvent, TaskKind, TaskStatus
from service.jobs.store import Clock, clock_for, reading, transaction
from service.jobs.videos import NewContent, StoredContent, store_content
from service.search.indexing import index_result

MAX_ATTEMPTS = 3
"""Source: a task that took three workers down is taken for poison (docs/decisions.md)."""

FIRST_BACKOFF_SECONDS = 5.0
MAX_BACKOFF_SECONDS = 300.0
DISK_FULL_CODE = "disk_full"
DISK_FULL_BACKOFF_SECONDS = 60.0
CRASHED = JobFailure(
    "crashed",
    f"The worker died {MAX_ATTEMPTS} times while it worked on this video, so it was given up; "
    "the video may be damaged in a way that Kinetag cannot survive.",
)


__all__ = ["ClaimedTask", "Plan", "TaskQueue", "retry_wait_seconds"]


class TaskQueue:
    """Claims, leases, completion, failure and sweeping of tasks; safe from any process.

    Args:
        engine: made by `service.jobs.store.create_engine_for`.
        clock: taken instead of the one that all processes of this database share.
        max_attempts: after this many attempts a task is given up.
    """

    def __init__(
        self, engine: Engine, clock: Clock | None = None, max_attempts: int = MAX_ATTEMPTS
    ) -> None:
        self._engine = engine
        self._clock = clock or clock_for(engine)
        self._max_attempts = max_attempts
        self._served: str | None = None

    def claim(
        self,
        *,
        owner: str,
        task_id: str | None = None,
        lease_seconds: float,
        kinds: Sequence[TaskKind] = COMPUTED_KINDS,
    ) -> ClaimedTask | None:
        """Take a task: the one asked for, or the next in line; None if there is none.

        Only tasks of ``kinds`` are given. Asking for what workers compute also marks the owner as
        a worker that is alive.
        """
        with transaction(self._engine) as session:
            now = self._clock.now(session)
            if TaskKind.CHUNK in kinds:
                note_worker(session, owner, now)
            lease_until = now + timedelta(seconds=lease_seconds)
            request = ClaimRequest(
                owner, task_id, now, lease_until, self._max_attempts, kinds, self._served
            )
            task = claim_task(session, request)
        if task is not None:
            self._served = task.tenant_id
        return task

    def heartbeat(
        self,
        task_id: str,
        token: int,
        *,
        lease_seconds: float,
        stage: str | None = None,
        fraction: float | None = None,
    ) -> bool:
        """Renew a lease and report how far the task is.

        Returns:
            Whether the job is to be canceled; the worker then stops and calls `cancel_now`.

        Raises:
            LeaseLost: the task is no longer this worker's.
        """
        with transaction(self._engine) as session:
            now = self._clock.now(session)
            job, task = held(session, task_id, token)
            task.lease_until = now + timedelta(seconds=lease_seconds)
            if fraction is not None:
                task.fraction = min(1.0, max(0.0, fraction))
            if stage is not None:
                job.stage = stage
                arithmetic.note_headway(job, task, now)
            lifecycle.update_progress(session, job, now)
            if task.kind != TaskKind.FETCH:
                note_worker(session, str(task.owner), now)
            return job.cancel_requested

    def complete_plan(self, task_id: str, token: int, plan: Plan) -> None:
        """Store what is known of the video and cut the job into chunks.

        Raises:
            LeaseLost: the task is no longer this worker's.
        """
        with transaction(self._engine) as session:
            now = self._clock.now(session)
            job, task = held(session, task_id, token)
            _finish(task)
            job.num_chunks = plan.num_chunks
            arithmetic.adopt(job, plan.computed_with, now)
            job.recipe = plan.recipe
            lifecycle.note_facts(session, job, plan.facts)
            lifecycle.add_chunk_tasks(session, job, plan, now)
            self._go_on(session, job, now, worked=False)
            pace.begin(job, now)

    def complete_fetch(
        self, task_id: str, token: int, *, content: NewContent | None = None
    ) -> StoredContent | None:
        """Note that the bytes of a job's video lie in the blob store; its next task follows.

        Args:
            task_id: of the fetch.
            token: of the claim.
            content: what was fetched; None when the video was found to have its bytes already.

        Returns:
            Where the bytes lie; where that is not the blob that was brought, the caller deletes
            the one it brought. None without content.

        Raises:
            LeaseLost: the task is no longer this owner's; the caller deletes the blob it brought.
        """
        with transaction(self._engine) as session:
            now = self._clock.now(session)
            job, task = held(session, task_id, token)
            stored = None
            video = session.get_one(VideoRecord, job.video_id, with_for_update=True)
            if content is not None and video.blob_key is None:
                stored = store_content(session, content, now)
                video.sha256, video.size_bytes = content.sha256, content.size_bytes
                video.blob_key = stored.blob_key
            elif content is not None:
                # Another job of the video was quicker; the URL may give other bytes by now.
                stored = StoredContent(str(video.blob_key), used=False)
            _finish(task)
            lifecycle.update_progress(session, job, now)
            if job.cancel_requested:
                lifecycle.end_job(session, job, JobEvent.CANCELED, now)
            else:
                lifecycle.add_task(session, job, lifecycle.first_task(job, video), now)
            return stored

    def complete_probe(
        self,
        task_id: str,
        token: int,
        *,
        facts: dict[str, Any],
        thumbnails_key: str | None = None,
    ) -> None:
        """Store what is known of a video and its thumbnails, and end the job.

        Raises:
            LeaseLost: the task is no longer this worker's, or its job was to be canceled, which
                it then is; the worker deletes the blob it stored.
        """
        with transaction(self._engine) as session:
            now = self._clock.now(session)
            job, task = held(session, task_id, token)
            canceled = job.cancel_requested
            if canceled:
                lifecycle.end_job(session, job, JobEvent.CANCELED, now)
            else:
                _finish(task)
                video = lifecycle.note_facts(session, job, facts)
                video.thumbnails_key = thumbnails_key or video.thumbnails_key
                lifecycle.end_job(session, job, JobEvent.SUCCEEDED, now)
        if canceled:
            message = f"Job {job.id} was to be canceled; drop its thumbnails."
            raise LeaseLost(message)

    def complete_chunk(
        self, task_id: str, token: int, *, computed: bool, computed_with: Mapping[str, str]
    ) -> bool:
        """Note that the features of a chunk lie in the store; the last one makes the join task.

        Args:
            task_id: of the chunk.
            token: of the claim.
            computed: whether they had to be computed.
            computed_with: how they were computed.

        Returns:
            False when the job was re-based meanwhile: the chunk, computed otherwise, does not
            count and waits to be computed anew; no attempt is spent.

        Raises:
            LeaseLost: the task is no longer this worker's.
        """
        with transaction(self._engine) as session:
            now = self._clock.now(session)
            job, task = held(session, task_id, token)
            if not arithmetic.agrees(job, computed_with, now):
                _put_back(session, job, task, now, "computed otherwise")
                return False
            _finish(task)
            task.computed = computed
            lifecycle.add_event(
                session, job, "chunk.done", now, index=task.index, token=token, computed=computed
            )
            self._go_on(session, job, now, worked=computed)
            return True

    def decline(self, task_id: str, token: int, *, computed_with: Mapping[str, str]) -> bool:
        """Say that this worker cannot compute a chunk as its job asks, and how it would.

        The chunk goes back without spending an attempt, and its owner is offered none of this
        job for a while. When nobody who can compute as asked was seen for long enough, the job
        is re-based instead, and the chunk stays with its worker.

        Returns:
            Whether the job was re-based: the worker then goes on, in its own arithmetic.

        Raises:
            LeaseLost: the task is no longer this worker's.
        """
        with transaction(self._engine) as session:
            now = self._clock.now(session)
            job, task = held(session, task_id, token)
            if not job.cancel_requested and arithmetic.may_rebase(session, job, task, now):
                arithmetic.rebase(session, job, computed_with, now)
                return True
            arithmetic.decline(session, job, task, now)
            _put_back(session, job, task, now, "declined: computes otherwise")
            return False

    def _go_on(self, session: Session, job: JobRecord, now: datetime, *, worked: bool) -> None:
        lifecycle.update_progress(session, job, now, worked=worked)
        # The job stays processing: its next task waits for a moment only.
        if job.cancel_requested:
            lifecycle.end_job(session, job, JobEvent.CANCELED, now)
        elif not _open_tasks_left(session, job.id):
            lifecycle.add_task(session, job, TaskKind.JOIN, now)

    def complete_join(
        self,
        task_id: str,
        token: int,
        *,
        result: dict[str, Any],
        activations_key: str | None = None,
    ) -> None:
        """Store the one result of a job, with what searches find of it, and end the job.

        Args:
            task_id: of the join.
            token: of the claim.
            result: the native result object.
            activations_key: blob that holds the activations as JSON, if they are kept; see
                `service.storage.activations_key`.

        Raises:
            LeaseLost: the task is no longer this worker's, or its job was to be canceled, which
                it then is; the worker deletes the blob it stored.
        """
        with transaction(self._engine) as session:
            now = self._clock.now(session)
            job, task = held(session, task_id, token)
            canceled = job.cancel_requested
            if canceled:
                lifecycle.end_job(session, job, JobEvent.CANCELED, now)
            else:
                _finish(task)
                row = ResultRecord(
                    job_id=job.id,
                    document=result,
                    token=token,
                    activations_key=activations_key,
                    created_at=now,
                )
                session.add(row)
                index_result(session, job, row)
                lifecycle.end_job(session, job, JobEvent.SUCCEEDED, now)
        if canceled:
            message = "The job was canceled before its result was stored."
            raise LeaseLost(message)

    def fail(self, task_id: str, token: int, *, code: str, message: str, retryable: bool) -> None:
        """Report that a task could not be done: it is tried again later, or its job fails.

        A full disk costs no attempt: waiting is all that helps.

        Raises:
            LeaseLost: the task is no longer this worker's.
        """
        with transaction(self._engine) as session:
            now = self._clock.now(session)
            job, task = held(session, task_id, token)
            disk_full = code == DISK_FULL_CODE
            if retryable and (disk_full or task.attempts < self._max_attempts):
                wait = DISK_FULL_BACKOFF_SECONDS if disk_full else retry_wait_seconds(task.attempts)
                task.attempts -= int(disk_full)
                task.run_after = now + timedelta(seconds=wait)
                _give_back(session, job, task, now, f"failed: {code}")
            elif job.cancel_requested:
                lifecycle.settle_job(session, job, now)
            else:
                failure = JobFailure(code, message)
                lifecycle.move_task(task, TaskEvent.FAILED)
                lifecycle.end_job(session, job, JobEvent.FAILED, now, failure)
                if lifecycle.is_about_video(TaskKind(task.kind), failure):
                    lifecycle.refuse_video(session, job, failure)

    def release(self, task_id: str, token: int) -> None:
        """Give a task back without spending an attempt: the worker is draining.

        Raises:
            LeaseLost: the task is no longer this worker's.
        """
        with transaction(self._engine) as session:
            now = self._clock.now(session)
            job, task = held(session, task_id, token)
            _put_back(session, job, task, now, "released")

    def cancel_now(self, task_id: str, token: int) -> None:
        """End a job as canceled, as its worker was asked to by `heartbeat`.

        Raises:
            LeaseLost: the task is no longer this worker's.
        """
        with transaction(self._engine) as session:
            now = self._clock.now(session)
            job, _ = held(session, task_id, token)
            lifecycle.end_job(session, job, JobEvent.CANCELED, now)

    def expire_leases(self) -> int:
        """Take back every task whose lease ran out; return how many.

        One that used up its attempts this way fails its job as ``crashed``.
        """
        with reading(self._engine) as session:
            now = self._clock.now(session)
            overdue = list(
                session.execute(
                    select(TaskRecord.id, TaskRecord.token).where(
                        has_status(TaskStatus.LEASED), TaskRecord.lease_until <= now
                    )
                )
            )
        return sum(self._expire(task_id, token) for task_id, token in overdue)

    def _expire(self, task_id: str, token: int) -> bool:
        with transaction(self._engine) as session:
            now = self._clock.now(session)
            try:
                job, task = held(session, task_id, token)
            except LeaseLost:
                return False
            if task.lease_until is None or task.lease_until > now:
                return False
            if task.attempts >= self._max_attempts and not job.cancel_requested:
                lifecycle.move_task(task, TaskEvent.FAILED)
                lifecycle.end_job(session, job, JobEvent.FAILED, now, CRASHED)
            else:
                task.run_after = now
                _give_back(session, job, task, now, "lease expired")
        return True

    def due_hints(self, limit: int) -> list[str]:
        """Return ids of claimable tasks that no message was published about lately."""
        with reading(self._engine) as session:
            now = self._clock.now(session)
            return sweeping.due_hints(session, now, self._max_attempts, limit)

    def mark_hinted(self, ids: list[str]) -> None:
        """Note that messages about these tasks were published."""
        with transaction(self._engine) as session:
            sweeping.mark_hinted(session, ids, self._clock.now(session))

    def expired_jobs(self, *, older_than_days: float, limit: int = 100) -> list[str]:
        """Return ids of jobs to be deleted: past retention, or deleted by their user.

        Jobs that a worker still holds are left out until it lets go or its lease runs out.
        """
        with reading(self._engine) as session:
            horizon = self._clock.now(session) - timedelta(days=older_than_days)
            return sweeping.expired_jobs(session, horizon, limit)


def retry_wait_seconds(attempts: int) -> float:
    """Return how long a task waits after its ``attempts``-th attempt failed: doubling, capped."""
    return float(min(FIRST_BACKOFF_SECONDS * 2.0 ** (attempts - 1), MAX_BACKOFF_SECONDS))


def _finish(task: TaskRecord) -> None:
    lifecycle.move_task(task, TaskEvent.COMPLETED)
    task.fraction = 1.0


def _give_back(
    session: Session, job: JobRecord, task: TaskRecord, now: datetime, reason: str
) -> None:
    lifecycle.move_task(task, TaskEvent.RETURNED)
    lifecycle.add_event(
        session,
        job,
        "task.returned",
        now,
        task_id=task.id,
        kind=task.kind,
        index=task.index,
        token=task.token,
        reason=reason,
    )
    lifecycle.settle_job(session, job, now)


def _put_back(
    session: Session, job: JobRecord, task: TaskRecord, now: datetime, reason: str
) -> None:
    """Give a task back without spending the attempt."""
    task.attempts -= 1
    task.run_after = now
    _give_back(session, job, task, now, reason)


def _open_tasks_left(session: Session, job_id: str) -> bool:
    session.flush()
    statement = select(func.count()).where(
        TaskRecord.job_id == job_id, TaskRecord.status.in_(lifecycle.OPEN_TASKS)
    )
    return session.execute(statement).scalar_one() > 0
