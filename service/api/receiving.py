"""Bodies on their way to disk: steadily, in batches, written and hashed while more arrives."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from service.errors import StorageFull, UploadTimeout, UploadTooLarge

BATCH_BYTES = 1024 * 1024
BATCH_SECONDS = 0.5
"""What is gathered, or for how long, before threads write and hash it if they are free."""

MAX_BATCH_BYTES = 4 * 1024 * 1024
"""What is gathered at most while they are not; so two such batches are in memory at most."""

SYNC_BYTES = 64 * 1024 * 1024
"""After so much the disk is asked to take it, so that the last sync has little left to do."""

SPACE_CHECK_BYTES = 64 * 1024 * 1024
MIN_BYTES_PER_SECOND = 1024
"""Slower than this on average, after the first stall time, is taken for a stalled upload."""

Sink = Callable[[Sequence[bytes]], None]
"""Takes some parts of a body, in their order; called from a thread."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How large and how slow an upload may be.

    Attributes:
        max_bytes: of the whole body.
        stall_seconds: without any byte.
        spare_bytes: returns the free space that an upload may still fill.
    """

    max_bytes: int
    stall_seconds: float
    spare_bytes: Callable[[], int]

    def require_space(self, more_bytes: int) -> None:
        """Refuse what would not fit on the disk.

        Raises:
            StorageFull: less space than that is left above the floor.
        """
        if self.spare_bytes() < more_bytes:
            message = (
                "There is not enough free disk space for this upload; delete videos and jobs that "
                "are no longer needed, or ask the operator for space."
            )
            raise StorageFull(message)


class SteadyBody:
    """The chunks of a body, as long as they keep coming and fit.

    Iterating raises:
        UploadTimeout: nothing, or next to nothing, arrives.
        UploadTooLarge: more arrives than the limit.
        StorageFull: free space falls below the floor.
    """

    def __init__(self, stream: AsyncIterator[bytes], limits: UploadLimits) -> None:
        self._stream = stream
        self._limits = limits
        self._patience: asyncio.Timeout | None = None
        self._last_seconds = 0.0
        self.received_bytes = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks."""
        started, checked_bytes = time.monotonic(), 0
        iterator = aiter(self._stream)
        while True:
            self._last_seconds = time.monotonic()
            try:
                async with asyncio.timeout(self._limits.stall_seconds) as self._patience:
                    chunk = await anext(iterator)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                message = f"Nothing arrived for {self._limits.stall_seconds:.0f} s; send it again."
                raise UploadTimeout(message) from error
            finally:
                self._patience = None
            self.received_bytes += len(chunk)
            if self.received_bytes > self._limits.max_bytes:
                raise too_large(self._limits.max_bytes)
            if self.received_bytes - checked_bytes >= SPACE_CHECK_BYTES:
                checked_bytes = self.received_bytes
                self._limits.require_space(0)
            self._require_pace(time.monotonic() - started)
            yield chunk

    def give_up_if_idle(self, seconds: float) -> None:
        """End the iteration, as after a stall, if nothing arrived for so long."""
        if self._patience is not None and time.monotonic() - self._last_seconds >= seconds:
            self._patience.reschedule(asyncio.get_running_loop().time())

    def _require_pace(self, spent_seconds: float) -> None:
        slow = self.received_bytes < MIN_BYTES_PER_SECOND * spent_seconds
        if slow and spent_seconds > self._limits.stall_seconds:
            message = f"Less than {MIN_BYTES_PER_SECOND} bytes per second arrive; send it again."
            raise UploadTimeout(message)


class BatchWriter:
    """Hands batches of a body to threads while the next batch arrives; one is under way at most.

    Args:
        sinks: what each batch is given to, all at once, each in a thread.
        sync: called from a thread now and then, beside the sinks.
    """

    def __init__(self, sinks: Sequence[Sink], sync: Callable[[], object]) -> None:
        self._sinks = sinks
        self._sync = sync
        self._parts: list[bytes] = []
        self._gathered_bytes = self._unsynced_bytes = 0
        self._batch: list[asyncio.Future[None]] = []
        self._syncing: asyncio.Future[object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> "BatchWriter":
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for threads that are still at it; what they raise after another error is dropped."""
        if self._timer is not None:
            self._timer.cancel()
        syncing = [] if self._syncing is None else [self._syncing]
        await asyncio.gather(*self._batch, *syncing, return_exceptions=True)

    async def put(self, chunk: bytes) -> None:
        """Take a chunk; however slowly they come, it is written within `BATCH_SECONDS` or so.

        Raises:
            StorageFull: an earlier one could not be written.
        """
        self._parts.append(chunk)
        self._gathered_bytes += len(chunk)
        idle = all(future.done() for future in self._batch)
        full = self._gathered_bytes >= (BATCH_BYTES if idle else MAX_BATCH_BYTES)
        if full:
            await self._hand_over()
        elif self._timer is None:
            self._start_timer()

    async def finish(self) -> None:
        """Wait until everything was written.

        Raises:
            StorageFull: it could not be.
        """
        await self._hand_over()
        await self._settle()
        if self._syncing is not None:
            await self._syncing

    async def _hand_over(self) -> None:
        await self._settle()
        self._begin_batch()

    async def _settle(self) -> None:
        # While this waits, the timer may begin another batch.
        while self._batch:
            batch = self._batch
            await asyncio.gather(*batch)
            if self._batch is batch:
                self._batch = []

    def _begin_batch(self) -> None:
        parts, self._parts = self._parts, []
        self._unsynced_bytes += self._gathered_bytes
        self._gathered_bytes = 0
        if parts:
            self._batch = [
                asyncio.ensure_future(asyncio.to_thread(sink, parts)) for sink in self._sinks
            ]
        if self._unsynced_bytes >= SYNC_BYTES and (self._syncing is None or self._syncing.done()):
            self._unsynced_bytes = 0
            self._syncing = asyncio.ensure_future(asyncio.to_thread(self._sync))

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if not self._parts:
            return
        if all(future.done() and not future.exception() for future in self._batch):
            self._begin_batch()
        else:
            self._start_timer()


def too_large(max_bytes: int) -> UploadTooLarge:
    """Return the refusal of a body that exceeds the limit."""
    return UploadTooLarge(
        f"The upload is larger than the {max_bytes} bytes this service takes; cut the video or "
        "ask the operator to raise KINETAG_MAX_UPLOAD_BYTES."
    )
