"""How long a JSON body may be that is read whole into memory."""

from fastapi import HTTPException, Request
from starlette.types import Message

from service.errors import UploadTooLarge

MAX_JSON_BYTES = 1024 * 1024
"""More than a thousand labels of 255 characters fit in."""

MESSAGE = f"The body is longer than the {MAX_JSON_BYTES} bytes that are read here."


def bounded(request: Request) -> Request:
    """Return a request whose body cannot grow beyond what is read into memory.

    Raises:
        UploadTooLarge: it is announced to be longer.
        HTTPException: 413, from reading it, when it turns out to be.
    """
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > MAX_JSON_BYTES:
        raise UploadTooLarge(MESSAGE)
    left_bytes = MAX_JSON_BYTES

    async def receive() -> Message:
        nonlocal left_bytes
        message = await request.receive()
        left_bytes -= len(message.get("body", b""))
        if left_bytes < 0:
            raise HTTPException(UploadTooLarge.status)
        return message

    return Request(request.scope, receive)
