"""Status polls at a steady rate: latency counted from when each was due, not from when it left."""

import asyncio
import time
from dataclasses import dataclass

import numpy as np

OK_LINE = b"HTTP/1.1 200"
CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class PollFigures:
    """What the polls met with; a poll that failed has no latency and counts as failed."""

    sent: int
    failed: int
    median_ms: float
    p99_ms: float
    worst_ms: float
    rate: float


def poll_steadily(address: tuple[str, int], path: str, rate: float, seconds: float) -> PollFigures:
    """Send ``rate`` GETs per second over CONNECTIONS kept connections.

    An answer that comes late does not hold the next poll of another connection back; one of the
    same connection is late itself then, and its wait counts.
    """
    return asyncio.run(_poll(address, path, rate, seconds))


async def _poll(address: tuple[str, int], path: str, rate: float, seconds: float) -> PollFigures:
    host, port = address
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    began = time.perf_counter() + 0.5
    count = int(rate * seconds)
    latencies: list[float] = []
    failures: list[int] = []

    async def one_connection(first: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for number in range(first, count, CONNECTIONS):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            await reader.readexactly(length)
            if head.startswith(OK_LINE):
                latencies.append(time.perf_counter() - due)
            else:
                failures.append(number)
        writer.close()

    await asyncio.gather(*(one_connection(first) for first in range(CONNECTIONS)))
    spent = time.perf_counter() - began
    milliseconds = np.array(latencies) * 1000
    return PollFigures(
        sent=count,
        failed=len(failures),
        median_ms=float(np.median(milliseconds)),
        p99_ms=float(np.percentile(milliseconds, 99)),
        worst_ms=float(milliseconds.max()),
        rate=count / spent,
    )
