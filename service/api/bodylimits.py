"""How long a JSON body may be that is read whole into memory, and how long it may take."""

import asyncio

from fastapi import HTTPException, Request
from starlette.types import Message

from service.errors import UploadTimeout, UploadTooLarge

MAX_JSON_BYTES = 1024 * 1024
"""More than a thousand labels of 255 characters fit in."""

MESSAGE = f"The body is longer than the {MAX_JSON_BYTES} bytes that are read here."

TOO_SLOW = "The body did not arrive in time; send it again."


def bounded(request: Request, patience_seconds: float) -> Request:
    """Return a request whose body neither grows beyond what is read into memory nor takes longer.

    Raises:
        UploadTooLarge: it is announced to be longer.
        HTTPException: 413, from reading it, when it turns out to be; 408 when it takes too long.
    """
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > MAX_JSON_BYTES:
        raise UploadTooLarge(MESSAGE)
    left_bytes = MAX_JSON_BYTES
    deadline: float | None = asyncio.get_running_loop().time() + patience_seconds

    async def receive() -> Message:
        nonlocal left_bytes, deadline
        try:
            async with asyncio.timeout_at(deadline):
                message = await request.receive()
        except TimeoutError as error:
            raise HTTPException(UploadTimeout.status) from error
        if not message.get("more_body", False):
            deadline = None
        left_bytes -= len(message.get("body", b""))
        if left_bytes < 0:
            raise HTTPException(UploadTooLarge.status)
        return message

    return Request(request.scope, receive)
