"""`kinetag worker`: keeps one device busy. Torch-free; work happens in its children only.

It runs Celery's prefork worker when a broker is configured, and asks the database itself, so
that work goes on when hints stay out or there is no broker. What it finds it hands to a second
child over a pipe. Both children end in `workers.runtime` behind the device's lock.
"""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from service.errors import OutageError
from workers.child import NEXT_IN_LINE
from workers.devicelock import DeviceLock
from workers.processes import ProcessSpec, SupervisedProcess
from workers.watchdog import Watchdog

LOOK_SECONDS = 0.25
WATCH_SECONDS = 1.0
DRAIN_SECONDS = 24.0
"""Within the 25 s promised for a drain, itself below the usual grace of 30 s before KILL."""

EXECUTOR_IDLE_SECONDS = 60.0
"""With a broker the polled executor is the exception; idle, it gives its memory back."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """What one supervisor needs.

    Attributes:
        drain_flag: a file whose existence tells the children to finish.
        executor_command: command line of the polled executor.
        celery_command: command line of Celery's worker; None without a broker.
        poll_seconds: between looks into the database.
    """

    drain_flag: Path
    executor_command: tuple[str, ...]
    celery_command: tuple[str, ...] | None
    poll_seconds: float


class WorkerSupervisor:
    """The supervising loop of one device."""

    def __init__(
        self,
        settings: SupervisorSettings,
        lock: DeviceLock,
        has_claimable: Callable[[], bool],
        watchdog: Watchdog,
    ) -> None:
        self._settings = settings
        self._lock = lock
        self._has_claimable = has_claimable
        self._watchdog = watchdog
        self._stopping = threading.Event()
        self._executor = SupervisedProcess(
            ProcessSpec("executor", settings.executor_command, keep_stdin=True)
        )
        self._celery = (
            SupervisedProcess(ProcessSpec("celery", settings.celery_command))
            if settings.celery_command is not None
            else None
        )
        self._polled_at = 0.0
        self._fed_at = 0.0
        self._watched_at = 0.0

    def run(self) -> None:
        """Supervise until TERM or INT, then drain; main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._settings.drain_flag.unlink(missing_ok=True)
        if self._celery is not None:
            self._celery.start()
        _log.info("worker_started", celery=self._celery is not None)
        try:
            while not self._stopping.wait(LOOK_SECONDS):
                self._step(time.monotonic())
        finally:
            self._drain()

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping.set()

    def _step(self, now: float) -> None:
        if self._celery is not None:
            self._celery.watch()
        try:
            if now - self._watched_at >= WATCH_SECONDS:
                self._watched_at = now
                self._watchdog.look()
            if now - self._polled_at >= self._settings.poll_seconds:
                self._polled_at = now
                self._poll(now)
        except OutageError as error:
            _log.warning("database_away", error=str(error))

    def _poll(self, now: float) -> None:
        holder = self._lock.occupancy()
        if holder is None and self._has_claimable():
            self._feed(now)
        elif holder is not None and holder.pid == self._executor.pid:
            self._fed_at = now
        elif self._celery is not None and now - self._fed_at >= EXECUTOR_IDLE_SECONDS:
            self._executor.stop()

    def _feed(self, now: float) -> None:
        if self._executor.pid is None:
            self._executor.start()
        elif not self._executor.running:
            # It died at work, and its backoff may not be over yet.
            self._executor.watch()
        pipe = self._executor.stdin
        if pipe is None or not self._executor.running:
            return
        try:
            pipe.write(f"{NEXT_IN_LINE}\n".encode())
            pipe.flush()
        except BrokenPipeError:
            return
        self._fed_at = now

    def _drain(self) -> None:
        """Tell the children to finish, wait, and leave nothing running."""
        _log.info("worker_draining")
        self._settings.drain_flag.touch()
        deadline = time.monotonic() + DRAIN_SECONDS
        self._executor.signal_stop()
        if self._celery is not None:
            self._celery.stop(deadline)
        self._executor.stop(deadline)
        self._settings.drain_flag.unlink(missing_ok=True)
        _log.info("worker_stopped")
