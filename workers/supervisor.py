"""`kinetag worker`: keeps one device busy. Torch-free; work happens in its children only.

It runs Celery's prefork worker when a broker is configured, and asks the database itself, so
that work goes on when hints stay out or there is no broker. What it finds it hands to a second
child over a pipe. Both children end in `workers.runtime` behind the device's lock.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from service.errors import OutageError
from workers.devicelock import DeviceLock
from workers.processes import ProcessSpec, SupervisedProcess
from workers.stopsignals import StopSignals

NEXT_IN_LINE = "*"
"""What the executor reads as: run whatever is next in line."""

LOOK_SECONDS = 0.25
DRAIN_SECONDS = 24.0
"""Within the 25 s promised for a drain, itself below the usual grace of 30 s before KILL."""

EXECUTOR_IDLE_SECONDS = 60.0
"""With a broker the polled executor is the exception; idle, it gives its memory back."""

HINT_GRACE_SECONDS = 3.0
"""A few turns of the relay that publishes hints."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Look:
    """Something the supervisor does now and then, on its main thread.

    Attributes:
        every_seconds: from one turn to the next.
        act: one turn; a database that is away is no reason to end.
        due_at: moment of the next turn.
    """

    every_seconds: float
    act: Callable[[], None]
    due_at: float = 0.0


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """What one supervisor needs.

    Attributes:
        drain_flag: a file whose existence tells the children to finish.
        executor_command: command line of the polled executor.
        celery_command: command line of Celery's worker; None without a broker.
        poll_seconds: between looks for claimable tasks.
        environment: variables added to the children's.
    """

    drain_flag: Path
    executor_command: tuple[str, ...]
    celery_command: tuple[str, ...] | None
    poll_seconds: float
    environment: Mapping[str, str] = field(default_factory=dict)


class WorkerSupervisor:
    """The supervising loop of one device."""

    def __init__(
        self,
        settings: SupervisorSettings,
        lock: DeviceLock,
        has_claimable: Callable[[], bool],
        looks: Sequence[Look] = (),
    ) -> None:
        self._settings = settings
        self._lock = lock
        self._has_claimable = has_claimable
        self._looks = (Look(settings.poll_seconds, self._poll), *looks)
        self._executor = SupervisedProcess(
            ProcessSpec(
                "executor", settings.executor_command, settings.environment, keep_stdin=True
            )
        )
        self._celery = (
            SupervisedProcess(ProcessSpec("celery", settings.celery_command, settings.environment))
            if settings.celery_command is not None
            else None
        )
        self._fed_at = 0.0
        self._patience = 0

    def run(self) -> None:
        """Supervise until TERM or INT, then drain; main thread only."""
        stop_signals = StopSignals()
        self._settings.drain_flag.unlink(missing_ok=True)
        if self._celery is not None:
            self._celery.start()
        _log.info("worker_started", celery=self._celery is not None)
        try:
            while not stop_signals.wait(LOOK_SECONDS):
                self._step(time.monotonic())
        finally:
            self._drain()

    def _step(self, now: float) -> None:
        if self._celery is not None:
            self._celery.watch()
        for look in self._looks:
            if look.due_at > now:
                continue
            look.due_at = now + look.every_seconds
            try:
                look.act()
            except OutageError as error:
                _log.warning("database_away", error=str(error))

    def _poll(self) -> None:
        now = time.monotonic()
        holder = self._lock.occupancy()
        if holder is None and self._has_claimable():
            if self._celery is None or self._hints_stay_out():
                self._feed(now)
            return
        self._patience = 0
        if holder is not None and holder.pid == self._executor.pid:
            self._fed_at = now
        elif self._celery is not None and now - self._fed_at >= EXECUTOR_IDLE_SECONDS:
            self._executor.stop()

    def _hints_stay_out(self) -> bool:
        """Give a hint that may be on its way a moment before it is taken for lost."""
        self._patience += 1
        if self._patience > 1:
            return True
        self._looks[0].due_at = time.monotonic() + HINT_GRACE_SECONDS
        return False

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
