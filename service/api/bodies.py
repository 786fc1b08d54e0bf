"""What requests say about their bodies, and how much of them is taken."""

import asyncio
import sys
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from service.api.deps import ApiContext
from service.api.receiving import SteadyBody, UploadLimits
from service.errors import UploadTooLarge
from service.ingest.space import free_above_floor_bytes, promised_bytes

DRAIN_BYTES = 8 * 1024 * 1024
"""Read and dropped after a refusal, so that a small client sees the answer, not a broken pipe."""

DRAIN_SECONDS = 2.0


def content_length(request: Request) -> int | None:
    """Return the length that a body is announced with; None without a usable one."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def media_type(request: Request) -> str:
    """Return the body's media type, lower case and without parameters; "" without one."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def upload_limits(context: ApiContext) -> UploadLimits:
    """Return the limits of a body that brings a video; asks the database, so not in the loop."""
    settings = context.settings
    promised = promised_bytes(context.core)
    return UploadLimits(
        max_bytes=settings.max_upload_bytes,
        stall_seconds=settings.upload_stall_seconds,
        spare_bytes=lambda: free_above_floor_bytes(settings) - promised,
    )


async def read_document(
    stream: AsyncIterator[bytes], max_bytes: int, stall_seconds: float
) -> bytes:
    """Return a body that is read whole into memory.

    Raises:
        UploadTooLarge: it is longer than ``max_bytes``.
        UploadTimeout: it stops arriving, or arrives by drops.
    """
    body = bytearray()
    limits = UploadLimits(sys.maxsize, stall_seconds, spare_bytes=lambda: sys.maxsize)
    async for chunk in SteadyBody(stream, limits):
        body += chunk
        if len(body) > max_bytes:
            message = f"The JSON document is longer than {max_bytes} bytes; send less at once."
            raise UploadTooLarge(message)
    return bytes(body)


async def drain(request: Request, stream: AsyncIterator[bytes]) -> None:
    """Read what is left of a small body whose request was refused."""
    announced = content_length(request) or 0
    # Who waits for "100 Continue" has sent nothing, and reading would ask for it.
    if "expect" in request.headers or announced > DRAIN_BYTES:
        return
    drained = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in stream:
                drained += len(chunk)
                if drained > DRAIN_BYTES:
                    return
    except (TimeoutError, ClientDisconnect):
        return
