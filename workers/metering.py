"""What a worker counts of its work, written to the database every few seconds.

Gathering first keeps a worker with many small tasks from paying a transaction for each figure. A
worker that is killed loses a few seconds' worth of figures, and nothing else.
"""

import time
from collections.abc import Callable, Mapping

import structlog

from service.errors import OutageError
from service.metrics.counting import Counter, Labels, labelled

WRITE_SECONDS = 5.0

Counts = Mapping[tuple[Counter, Labels], float]

_log = structlog.get_logger(__name__)


class TaskMeter:
    """Gathers figures and hands them on.

    Args:
        write: takes what was gathered; a worker's is `service.metrics.counting.write_counts`.
        clock: seconds.
    """

    def __init__(
        self, write: Callable[[Counts], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._counts: dict[tuple[Counter, Labels], float] = {}
        self._written_at = clock()

    def task(self, kind: str, ending: str, seconds: float) -> None:
        """Count a task that ended."""
        self._add(Counter.TASKS, labelled(kind=kind, ending=ending), 1)
        self._add(Counter.TASK_SECONDS, labelled(kind=kind), seconds)

    def chunk(self, computed: bool, num_frames: int, stage_seconds: Mapping[str, float]) -> None:
        """Count a chunk whose features are in the store now."""
        self.chunks("computed" if computed else "found", 1)
        if computed:
            self._add(Counter.FRAMES, (), num_frames)
        for stage, seconds in stage_seconds.items():
            self.stage(stage, seconds)

    def chunks(self, features: str, number: int) -> None:
        """Count chunks whose features were ``computed``, or ``found`` in the store."""
        self._add(Counter.CHUNKS, labelled(features=features), number)

    def stage(self, stage: str, seconds: float) -> None:
        """Count time spent in a stage."""
        self._add(Counter.STAGE_SECONDS, labelled(stage=stage), seconds)

    def flush(self, now: bool = False) -> None:
        """Hand on what was gathered, if that is due; a database that is away can wait."""
        moment = self._clock()
        if not self._counts or (not now and moment - self._written_at < WRITE_SECONDS):
            return
        self._written_at = moment
        try:
            self._write(self._counts)
        except OutageError as error:
            _log.info("counts_wait", code=error.code)
            return
        self._counts = {}

    def _add(self, counter: Counter, labels: Labels, amount: float) -> None:
        if amount:
            key = counter, labels
            self._counts[key] = self._counts.get(key, 0.0) + amount


def unmetered() -> TaskMeter:
    """Return a meter whose figures nobody wants."""
    return TaskMeter(lambda _counts: None)
