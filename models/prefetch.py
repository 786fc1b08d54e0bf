"""Runs an iterator one item ahead in a thread, so that reading and computing overlap."""

from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def prefetched(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Yield the items in order; the next one is made while the caller uses the last.

    An error of the iterator is raised in its place. When the caller stops early, the item under
    way is waited for and dropped, and the iterator is closed.
    """
    with ThreadPoolExecutor(1) as pool:
        end = object()
        ahead: Future[Item | object] = pool.submit(next, items, end)
        try:
            while (item := ahead.result()) is not end:
                ahead = pool.submit(next, items, end)
                yield item  # type: ignore[misc]  # not the end, so an item
        finally:
            ahead.cancel()
            pool.shutdown()
            close = getattr(items, "close", None)
            if close is not None:
                close()
