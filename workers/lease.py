"""Keeps one task's lease while its work makes headway, and carries the reasons to stop.

A background thread renews the lease; it stops renewing when the progress counter has not moved
for the stall timeout, so that a process stuck in a decoder or in CUDA loses its task although
its threads are alive.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

import structlog

from models.types import Progress
from service.errors import LeaseLost, OutageError

_log = structlog.get_logger(__name__)


class StopReason(StrEnum):
    """Why work on a task should end early."""

    CANCELED = "canceled"
    FENCED = "fenced"
    DRAINING = "draining"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Times of a lease, in seconds.

    Attributes:
        lease_seconds: how long one renewal holds.
        heartbeat_seconds: between renewals without news.
        progress_seconds: between renewals that carry news of progress.
        stall_seconds: without progress for this long, the lease is no longer renewed.
        tick_seconds: how often the thread looks at its clocks.

    Source: reliability notes A1 row 16 and A3 (60 s lease, 15 s heartbeat, 300 s stall).
    """

    lease_seconds: float = 60.0
    heartbeat_seconds: float = 15.0
    progress_seconds: float = 1.0
    stall_seconds: float = 300.0
    tick_seconds: float = 0.25


class HeartbeatQueue(Protocol):
    """The one call of the task queue that renewing needs."""

    def heartbeat(
        self,
        task_id: str,
        token: int,
        *,
        lease_seconds: float,
        stage: str | None = None,
        fraction: float | None = None,
    ) -> bool:
        """Renew and report; True when the job's cancelation was requested."""
        ...


class LeaseKeeper:
    """The lease of one claimed task, as a context manager around its work.

    The work calls `on_progress` and asks `should_stop`; both are cheap and thread-safe.
    """

    def __init__(
        self,
        queue: HeartbeatQueue,
        task: tuple[str, int],
        settings: LeaseSettings,
        draining: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._task_id, self._token = task
        self._settings = settings
        self._draining = draining
        self._clock = clock
        now = clock()
        self._renewed_at = now
        self._held_until = now + settings.lease_seconds
        self._moved_at = now
        self._progress: Progress | None = None
        self._reported: Progress | None = None
        self._reason: StopReason | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @property
    def reason(self) -> StopReason | None:
        """Why `should_stop` says so; None while the work may go on."""
        return self._reason

    def on_progress(self, progress: Progress) -> None:
        """Take note of headway; a repetition of the last value is none."""
        if progress != self._progress:
            self._progress = progress
            self._moved_at = self._clock()

    def should_stop(self) -> bool:
        """Whether the work should end at its next safe point."""
        return self._reason is not None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def beat(self) -> None:
        """One look at the clocks: renew when due, notice the reasons to stop."""
        now = self._clock()
        if self._reason is StopReason.FENCED:
            return
        if now - self._moved_at > self._settings.stall_seconds:
            self._stop(StopReason.STALLED)
            return
        if self._draining():
            self._stop(StopReason.DRAINING)
        since = now - self._renewed_at
        news = self._progress != self._reported and since >= self._settings.progress_seconds
        if news or since >= self._settings.heartbeat_seconds:
            self._renew(now)

    def _renew(self, now: float) -> None:
        progress = self._progress
        self._renewed_at = now
        try:
            cancel_requested = self._queue.heartbeat(
                self._task_id,
                self._token,
                lease_seconds=self._settings.lease_seconds,
                stage=progress.stage if progress is not None else None,
                fraction=progress.fraction if progress is not None else None,
            )
        except LeaseLost:
            self._stop(StopReason.FENCED)
        except OutageError as error:
            # A database that is away for a moment must not end good work; a lease that ran out
            # meanwhile may already be another worker's.
            _log.warning("heartbeat_failed", task_id=self._task_id, error=str(error))
            if now >= self._held_until:
                self._stop(StopReason.FENCED)
        else:
            self._reported = progress
            self._held_until = now + self._settings.lease_seconds
            if cancel_requested:
                self._stop(StopReason.CANCELED)

    def _stop(self, reason: StopReason) -> None:
        # Losing the lease outranks a wish to stop: nothing may be written any more.
        if self._reason is None or reason is StopReason.FENCED:
            self._reason = reason
            _log.info("stopping", task_id=self._task_id, reason=reason.value)

    def _keep(self) -> None:
        while not self._ended.wait(self._settings.tick_seconds):
            self.beat()
