"""Kills a device's holder that works on for nobody: canceled, or its lease lost, and not stopping.

The holder's own threads notice these first and stop politely; this is for the one that cannot,
because native code holds the interpreter or a driver hangs.
"""

import os
import signal
import time
from collections.abc import Callable

import structlog

from workers.devicelock import DeviceLock, Occupancy

GRACE_SECONDS = 30.0

_log = structlog.get_logger(__name__)


class Watchdog:
    """Looks at one device; the supervisor calls `look` about once a second.

    Args of the constructor:
        lock: of the device.
        is_unwanted: (task id, token) -> whether nobody wants this work any more.
        on_killed: told (task id, token) after a kill.
        grace_seconds: how long unwanted work may take to stop by itself.
    """

    def __init__(
        self,
        lock: DeviceLock,
        is_unwanted: Callable[[str, int], bool],
        on_killed: Callable[[str, int], None],
        *,
        grace_seconds: float = GRACE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = lock
        self._is_unwanted = is_unwanted
        self._on_killed = on_killed
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._seen: tuple[Occupancy, float] | None = None

    def look(self) -> None:
        """Start, continue or end the grace of the present holder; kill it when that is over."""
        found = self._lock.occupancy()
        if found is None or not self._is_unwanted(found.task_id, found.token):
            self._seen = None
            return
        now = self._clock()
        if self._seen is None or self._seen[0] != found:
            self._seen = (found, now)
        elif now - self._seen[1] >= self._grace_seconds:
            self._seen = None
            _log.warning("holder_killed", pid=found.pid, task_id=found.task_id)
            os.kill(found.pid, signal.SIGKILL)
            self._on_killed(found.task_id, found.token)
