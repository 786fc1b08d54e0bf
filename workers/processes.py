"""Child processes of a supervisor: started tied to it, restarted with backoff, stopped in order.

Owns spawning and signals; knows nothing of what the children do. Main thread only, because the
parent-death signal follows the spawning thread.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO

import structlog

from workers.parentdeath import tied_command

FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A child that lived this long starts again without backoff."""

STOP_SECONDS = 25.0
"""Source: Docker and Kubernetes give 10-30 s between TERM and KILL; 30 is the usual grace."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run and how to end it.

    Attributes:
        name: for logs.
        command: argument vector.
        environment: variables added to the inherited ones; secrets go here, never in ``command``.
        own_group: start a session of its own, so that a terminal's Ctrl-C reaches only the
            supervisor, and the whole group can be killed at once.
        stdin_text: written to standard input at each start, which is then closed.
        keep_stdin: leave standard input open for the supervisor to write lines.
        inherited_fds: open file descriptors the child keeps.
        silent: drop its standard output.
        stop_seconds: between TERM and KILL.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    own_group: bool = False
    stdin_text: str | None = None
    keep_stdin: bool = False
    inherited_fds: tuple[int, ...] = ()
    silent: bool = False
    stop_seconds: float = STOP_SECONDS


def inherited_environment(additions: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with some variables replaced, for a child."""
    return {**os.environ, **additions}  # noqa: TID251 - handed on whole, nothing is read


class SupervisedProcess:
    """One child that is kept running until `stop`."""

    def __init__(self, spec: ProcessSpec, clock: Callable[[], float] = time.monotonic) -> None:
        self.spec = spec
        self.restarts = 0
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._backoff_seconds = FIRST_BACKOFF_SECONDS
        self._restart_at: float | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def stdin(self) -> IO[bytes] | None:
        """The open standard input of a ``keep_stdin`` child."""
        return self._process.stdin if self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether the child was alive at the last look."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the child now; a no-op when it already runs."""
        if self.running:
            return
        piped = self.spec.stdin_text is not None or self.spec.keep_stdin
        self._process = subprocess.Popen(  # noqa: S603 - command lines are made by us
            tied_command(self.spec.command),
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if self.spec.silent else None,
            env=inherited_environment(self.spec.environment),
            start_new_session=self.spec.own_group,
            pass_fds=self.spec.inherited_fds,
        )
        self._started_at = self._clock()
        self._restart_at = None
        if self.spec.stdin_text is not None and self._process.stdin is not None:
            self._process.stdin.write(self.spec.stdin_text.encode())
            self._process.stdin.close()

    def watch(self) -> bool:
        """Restart the child if it died and its backoff is over.

        Returns:
            Whether a new process was started by this call.
        """
        if self._process is None or self.running:
            return False
        now = self._clock()
        if self._restart_at is None:
            if now - self._started_at >= STEADY_SECONDS:
                self._backoff_seconds = FIRST_BACKOFF_SECONDS
            self._restart_at = now + self._backoff_seconds
            _log.warning(
                "child_died",
                child=self.spec.name,
                status=self._process.returncode,
                restart_in_seconds=self._backoff_seconds,
            )
            self._backoff_seconds = min(self._backoff_seconds * 2, MAX_BACKOFF_SECONDS)
        if now < self._restart_at:
            return False
        self._close_stdin()
        self.start()
        self.restarts += 1
        return True

    def signal_stop(self) -> None:
        """Close its standard input and send TERM; does not wait."""
        if self._process is None:
            return
        self._close_stdin()
        if self.running:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, deadline: float | None = None) -> None:
        """TERM, wait until ``deadline`` (own clock) or the spec's time, then KILL; reaps it."""
        if self._process is None:
            return
        self.signal_stop()
        if deadline is None:
            deadline = self._clock() + self.spec.stop_seconds
        try:
            self._process.wait(max(0.0, deadline - self._clock()))
        except subprocess.TimeoutExpired:
            _log.warning("child_killed", child=self.spec.name, pid=self._process.pid)
            self.kill()
        self._process = None

    def kill(self) -> None:
        """KILL the child, and its group when it leads one; waits for it."""
        if self._process is None:
            return
        if self.running:
            if self.spec.own_group:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()

    def _close_stdin(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                return
