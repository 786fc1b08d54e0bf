"""Brings batches on, beside the sweeper's other duties: one thread feeds, one unpacks archives.

Both read from rows what there is to do; killed at any point they leave rows from which the next
turn goes on. Several sweepers share the work.
"""

import threading
from collections.abc import Callable

import structlog

from service.batches.feeding import FeedLimits, feed_batches
from service.batches.unpacking import Unpacker
from service.errors import OutageError
from service.jobs.commands import JobCore
from service.settings import Settings
from service.storage import free_bytes, free_floor_bytes

IDLE_SECONDS = 1.0
"""Between two looks for something to do; ended jobs and new batches are noticed so late."""

PAUSE_SECONDS = 10.0
"""After an outage or a full disk."""

STOP_SECONDS = 10.0

_log = structlog.get_logger(__name__)


class BatchService:
    """A `workers.sweeper.Service`: feeds and unpacks until it is stopped."""

    def __init__(self, core: JobCore, settings: Settings) -> None:
        self._core = core
        self._limits = FeedLimits.of(settings)
        self._unpacker = Unpacker(
            core, self._limits, settings.temporary_folder, lambda: _spare_bytes(settings)
        )
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(turn,), name=name, daemon=True)
            for name, turn in (("batches", self._feed), ("archives", self._unpack))
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the step at hand; a member that takes longer is taken up again later."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def _repeat(self, turn: Callable[[], bool]) -> None:
        while not self._stopping.is_set():
            try:
                pause_seconds = 0.0 if turn() else IDLE_SECONDS
            except (OutageError, OSError) as error:
                _log.warning("batches_wait", error=str(error))
                pause_seconds = PAUSE_SECONDS
            except Exception:  # noqa: BLE001 - a bug in one batch must not stop all of them
                _log.exception("batches_failed")
                pause_seconds = PAUSE_SECONDS
            self._stopping.wait(pause_seconds)

    def _feed(self) -> bool:
        return feed_batches(self._core, self._limits) > 0

    def _unpack(self) -> bool:
        return self._unpacker.step()


def _spare_bytes(settings: Settings) -> int:
    return free_bytes(settings.data_dir) - free_floor_bytes(settings)
