"""`kinetag sweeper`: what must happen although nobody asks. Expired leases, hints, retention.

Every step stands alone: one that fails is logged and tried again at its next turn, and never
keeps the others from theirs. Hints are published here and nowhere else, after the rows they are
about were committed.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import structlog
from kombu.exceptions import KombuError, OperationalError

from service.errors import OutageError

HINT_BATCH = 100
MAX_RELAY_PAUSE_SECONDS = 30.0
STALE_TEMPORARY_SECONDS = 24 * 3600.0
"""Source: reliability notes A3, orphans are swept after 24 hours."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Duty:
    """Something done again and again.

    Attributes:
        name: for logs.
        every_seconds: from one turn to the next.
        act: one turn.
        due_at: moment of the next turn, on the sweeper's clock.
    """

    name: str
    every_seconds: float
    act: Callable[[], object]
    due_at: float = 0.0


class Service(Protocol):
    """Something with threads of its own, because single turns of it may take long."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End soon, leaving nothing half-done that the database does not know of."""


class Sweeper:
    """Runs duties, each at its own pace; as a context manager, its services beside them."""

    def __init__(
        self,
        duties: Sequence[Duty],
        clock: Callable[[], float] = time.monotonic,
        services: Sequence[Service] = (),
    ) -> None:
        self._duties = duties
        self._clock = clock
        self._services = services

    def __enter__(self) -> Self:
        for service in self._services:
            service.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for service in self._services:
            service.stop()

    def sweep(self) -> float:
        """Do whatever is due; return the seconds until something is due again."""
        for duty in self._duties:
            if duty.due_at > self._clock():
                continue
            try:
                duty.act()
            except (OutageError, OSError) as error:
                _log.warning("duty_failed", duty=duty.name, error=str(error))
            except Exception:  # noqa: BLE001 - the last net: a bug in one duty stops no other
                _log.exception("duty_crashed", duty=duty.name)
            duty.due_at = self._clock() + duty.every_seconds
        return max(0.0, min(duty.due_at for duty in self._duties) - self._clock())


class HintRelay:
    """Publishes hints about claimable tasks; a broker that is away is asked less and less often.

    Args of the constructor:
        due: limit -> ids of tasks without a recent hint.
        publish: sends one message per id.
        mark: notes that messages were sent.
    """

    def __init__(
        self,
        due: Callable[[int], list[str]],
        publish: Callable[[list[str]], object],
        mark: Callable[[list[str]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._due = due
        self._publish = publish
        self._mark = mark
        self._clock = clock
        self._pause_seconds = 0.0
        self._quiet_until = 0.0

    def relay(self) -> int:
        """Publish what is due; return how many. Without hints, workers poll: nothing is lost."""
        if self._clock() < self._quiet_until:
            return 0
        ids = self._due(HINT_BATCH)
        if not ids:
            return 0
        try:
            self._publish(ids)
        except (OperationalError, KombuError, OSError) as error:
            self._pause_seconds = min(max(1.0, self._pause_seconds * 2), MAX_RELAY_PAUSE_SECONDS)
            self._quiet_until = self._clock() + self._pause_seconds
            _log.warning("broker_away", error=str(error), retry_in_seconds=self._pause_seconds)
            return 0
        self._pause_seconds = 0.0
        self._mark(ids)
        return len(ids)


def remove_stale_temporaries(
    folder: Path, now_seconds: float, older_than_seconds: float = STALE_TEMPORARY_SECONDS
) -> int:
    """Remove what crashed uploads and runs left in the temporary folder; return how many.

    Args:
        folder: holds only temporary files and folders; may be missing.
        now_seconds: the present, as seconds since the epoch.
        older_than_seconds: younger entries may still be in use.
    """
    if not folder.is_dir():
        return 0
    removed = 0
    for entry in folder.iterdir():
        try:
            if now_seconds - entry.lstat().st_mtime < older_than_seconds:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        except FileNotFoundError:
            continue
        removed += 1
    return removed
