"""Fetches videos that were given by URL: the only tasks that the sweeper's process carries out.

A few threads, each with one task, its lease and its heartbeats. What a killed process left behind
is removed by whoever takes the task over, and in any case with the stale temporary files.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from models.errors import Cancelled
from models.types import Progress
from service.accounts.quotas import check_quota_bytes
from service.errors import (
    EmptyUpload,
    InternalError,
    LeaseLost,
    OutageError,
    ServiceError,
    StorageFull,
    UrlUnreachable,
)
from service.jobs.claims import ClaimedTask
from service.jobs.commands import JobCore
from service.jobs.line import ClaimRequest, anything_waits
from service.jobs.queue import MAX_ATTEMPTS, TaskQueue
from service.jobs.states import TaskKind
from service.jobs.store import new_id, reading
from service.jobs.videos import NewContent
from service.outbound import Outbound
from service.outbound_fetch import Fetched, Fetcher, FetchLimits
from service.settings import Settings
from service.storage import free_bytes, free_floor_bytes, mapped_storage_errors, video_key
from workers.lease import LeaseKeeper, LeaseSettings, StopReason

THREADS = 4
LOOK_SECONDS = 1.0
OUTAGE_PAUSE_SECONDS = 5.0
STOP_SECONDS = 2.0
SPACE_LOOK_BYTES = 64 << 20
"""Free space is looked at after each so many bytes."""
STAGE = "fetching"
UNEXPECTED = "An unexpected error stopped fetching the video; the sweeper's log has the details."

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FetchingSettings:
    """How fetches are carried out.

    Attributes:
        folder: of unfinished files, on the file system of the blobs.
        floor_bytes: free space below which nothing is fetched.
        owner: name written into leases.
    """

    folder: Path
    floor_bytes: int
    owner: str
    limits: FetchLimits
    lease: LeaseSettings
    threads: int = THREADS
    look_seconds: float = LOOK_SECONDS

    @classmethod
    def of(cls, settings: Settings, owner: str) -> "FetchingSettings":
        """Return those of a deployment."""
        return cls(
            folder=settings.temporary_folder,
            floor_bytes=free_floor_bytes(settings),
            owner=owner,
            limits=FetchLimits(settings.max_upload_bytes, total_seconds=settings.fetch_seconds),
            lease=LeaseSettings(
                lease_seconds=settings.lease_seconds,
                heartbeat_seconds=settings.heartbeat_seconds,
                # The fetch bounds itself, and storing a large file reports no progress.
                stall_seconds=2 * settings.fetch_seconds,
            ),
        )


class FetchService:
    """Carries out fetch tasks until it is stopped; its threads end with the process."""

    def __init__(self, core: JobCore, outbound: Outbound, settings: FetchingSettings) -> None:
        self._core = core
        self._queue = TaskQueue(core.engine, core.clock)
        self._outbound = outbound
        self._settings = settings
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(index,), name=f"fetch {index}", daemon=True)
            for index in range(settings.threads)
        ]

    def start(self) -> None:
        """Begin to fetch."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Give back what is under way, and wait a moment for that."""
        self._stopping.set()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _serve(self, index: int) -> None:
        owner = f"{self._settings.owner}-{index}"
        while not self._stopping.is_set():
            wait = self._settings.look_seconds
            try:
                if self.run_one(owner):
                    continue
            except LeaseLost:
                _log.warning("fetch_fenced")
            except OutageError as error:
                # A task that was claimed comes back when its lease runs out.
                _log.warning("fetch_outage", code=error.code, error=str(error))
                wait = OUTAGE_PAUSE_SECONDS
            self._stopping.wait(wait)

    def run_one(self, owner: str) -> bool:
        """Carry out the next fetch; return whether there was one.

        Raises:
            LeaseLost: the task was given to somebody else meanwhile.
            OutageError: the database or the storage did not answer.
        """
        if not self._anything_waits(owner):
            return False
        task = self._queue.claim(
            owner=owner, lease_seconds=self._settings.lease.lease_seconds, kinds=(TaskKind.FETCH,)
        )
        if task is None:
            return False
        with structlog.contextvars.bound_contextvars(
            job_id=task.job_id, task_id=task.id, kind=task.kind, token=task.token
        ):
            _log.info("fetch_started", attempt=task.attempt)
            self._carry(task)
        return True

    def _anything_waits(self, owner: str) -> bool:
        # Looking takes no write lock, and mostly there is nothing to do.
        with reading(self._core.engine) as session:
            now = self._core.clock.now(session)
            request = ClaimRequest(owner, None, now, now, MAX_ATTEMPTS, (TaskKind.FETCH,))
            return anything_waits(session, request)

    def _carry(self, task: ClaimedTask) -> None:
        keeper = LeaseKeeper(
            self._queue, (task.id, task.token), self._settings.lease, self._stopping.is_set
        )
        target = self._settings.folder / f"fetch-{task.id}-{task.token}"
        try:
            with keeper, mapped_storage_errors():
                self._fetch(task, target, keeper)
        except Cancelled:
            self._end_early(task, keeper.reason)
        except (LeaseLost, OutageError) as error:
            if not isinstance(error, StorageFull):
                raise
            # A full disk may be emptied; the tenant's own quota is for him to see to.
            self._fail(task, error, retryable=error.code == StorageFull.code)
        except UrlUnreachable as error:
            self._fail(task, error, retryable=error.passing)
        except ServiceError as error:
            self._fail(task, error, retryable=False)
        except Exception:  # noqa: BLE001 - the last net: a bug fails its job, not the thread
            _log.exception("unexpected_error")
            self._fail(task, InternalError(UNEXPECTED), retryable=True)
        finally:
            target.unlink(missing_ok=True)

    def _fetch(self, task: ClaimedTask, target: Path, keeper: LeaseKeeper) -> None:
        if task.video_key is not None or task.video_ref is None:
            # Another job of the same video brought its bytes.
            self._queue.complete_fetch(task.id, task.token)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f"fetch-{task.id}-*"):
            left.unlink(missing_ok=True)
        fetcher = Fetcher(self._outbound, self._settings.limits, self._pause(keeper))
        watch = _Watch(self._core, task, self._settings, keeper)
        watch.require_space()
        fetched = fetcher.fetch(task.video_ref, target, watch)
        if fetched.size_bytes == 0:
            message = "The file at this URL is empty (0 bytes); check what it leads to."
            raise EmptyUpload(message)
        watch.require_quota(fetched.size_bytes)
        self._store(task, target, fetched)
        _log.info("fetch_ended", size_bytes=fetched.size_bytes)

    def _store(self, task: ClaimedTask, target: Path, fetched: Fetched) -> None:
        key = video_key(new_id("vid"))
        self._core.blobs.put_file(key, target)
        content = NewContent(fetched.sha256, fetched.size_bytes, key)
        try:
            stored = self._queue.complete_fetch(task.id, task.token, content=content)
        except LeaseLost:
            self._core.blobs.delete(key)
            raise
        if stored is not None and stored.blob_key != key:
            self._core.blobs.delete(key)

    def _pause(self, keeper: LeaseKeeper) -> Callable[[float], None]:
        def pause(seconds: float) -> None:
            self._stopping.wait(seconds)
            _stop_if_asked(keeper)

        return pause

    def _end_early(self, task: ClaimedTask, reason: StopReason | None) -> None:
        _log.info("fetch_stopped", reason=reason)
        if reason is StopReason.CANCELED:
            self._queue.cancel_now(task.id, task.token)
        elif reason in {StopReason.DRAINING, None}:
            self._queue.release(task.id, task.token)

    def _fail(self, task: ClaimedTask, error: ServiceError, *, retryable: bool) -> None:
        _log.warning("fetch_failed", code=error.code, error=str(error), retryable=retryable)
        self._queue.fail(
            task.id, task.token, code=error.code, message=str(error), retryable=retryable
        )


class _Watch:
    """Looks at a transfer after each block: progress, space, quota, and whether to stop."""

    def __init__(
        self, core: JobCore, task: ClaimedTask, settings: FetchingSettings, keeper: LeaseKeeper
    ) -> None:
        self._core = core.for_tenant(task.tenant_id)
        self._settings = settings
        self._keeper = keeper
        self._next_look_bytes = 0

    def __call__(self, done_bytes: int, total_bytes: int | None) -> None:
        _stop_if_asked(self._keeper)
        fraction = done_bytes / total_bytes if total_bytes else 0.0
        # Rounded, so that the same whole per cent is no news.
        self._keeper.on_progress(Progress(STAGE, round(min(fraction, 1.0), 2)))
        if done_bytes >= self._next_look_bytes:
            self._next_look_bytes = done_bytes + SPACE_LOOK_BYTES
            self.require_space()
            self.require_quota(max(done_bytes, total_bytes or 0))

    def require_space(self) -> None:
        if free_bytes(self._settings.folder) < self._settings.floor_bytes:
            message = "Too little disk space is free to fetch the video; it goes on once some is."
            raise StorageFull(message)

    def require_quota(self, size_bytes: int) -> None:
        check_quota_bytes(self._core, size_bytes)


def _stop_if_asked(keeper: LeaseKeeper) -> None:
    if keeper.should_stop():
        raise Cancelled
