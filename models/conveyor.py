"""Work that overlaps: a few threads, fed in order, never more ahead than was asked for.

A conveyor is built by nesting generators: each `ahead` keeps its share of work under way while
its consumer is busy, and stops taking new items when that share is full (back-pressure).
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Lanes:
    """Threads that take work in the order it was given; a context manager.

    Leaving the context drops work that has not begun and waits for work that has.

    Args:
        count: threads, at least 1.

    Attributes:
        busy_seconds: kind of work -> seconds that lanes spent on it, added up over lanes.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.busy_seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="lane")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, kind: str, work: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Queue ``work(item)``; its seconds are booked under ``kind``."""
        return self._pool.submit(self._timed, kind, work, item)

    def _timed(self, kind: str, work: Callable[[Item], Result], item: Item) -> Result:
        started = time.perf_counter()
        try:
            return work(item)
        finally:
            seconds = time.perf_counter() - started
            with self._lock:
                self.busy_seconds[kind] = self.busy_seconds.get(kind, 0.0) + seconds


def ahead(
    lanes: Lanes,
    kind: str,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    depth: int,
) -> Generator[Result, None, None]:
    """Yield ``work(item)`` of every item, in order, with up to ``depth`` of them under way.

    Items are taken in the consumer's thread, work runs in lanes. An error of an item or of its
    work is raised in its place; closing the generator drops what has not begun.
    """
    under_way: deque[Future[Result]] = deque()
    try:
        for item in items:
            under_way.append(lanes.submit(kind, work, item))
            if len(under_way) >= depth:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()
