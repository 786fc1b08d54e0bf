"""Many open event streams: what they cost the API in memory, and whether each gets every event."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

END_EVENTS = (b"event: job.succeeded", b"event: job.failed", b"event: job.canceled")


@dataclass(frozen=True, slots=True)
class ReaderFigures:
    """What the open readers cost.

    Attributes:
        before_mb: resident memory of the API without any reader.
        open_mb: the most with all of them open.
        finished: how many of them saw the job's last event.
    """

    readers: int
    before_mb: float
    open_mb: float
    finished: int


def open_readers(
    address: tuple[str, int], path: str, count: int, memory: Callable[[], float], seconds: float
) -> ReaderFigures:
    """Open so many streams of one job and read them to the job's end.

    Args:
        address: of the API.
        path: of the stream.
        count: how many.
        memory: returns the API's resident memory in MB.
        seconds: at most.
    """
    return asyncio.run(_read(address, path, count, memory, seconds))


async def _read(
    address: tuple[str, int], path: str, count: int, memory: Callable[[], float], seconds: float
) -> ReaderFigures:
    host, port = address
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/event-stream\r\n\r\n"
    ).encode()
    before = memory()
    most = before

    async def one_reader() -> bool:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        ended = False
        while line := await reader.readline():
            ended = ended or line.startswith(END_EVENTS)
        writer.close()
        return ended

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, memory())
            await asyncio.sleep(0.2)

    watcher = asyncio.create_task(watch())
    async with asyncio.timeout(seconds):
        finished = await asyncio.gather(*(one_reader() for _ in range(count)))
    watcher.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watcher
    return ReaderFigures(count, before, most, sum(finished))
