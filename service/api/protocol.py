"""How the server reads HTTP: bounded heads within a bounded time, and bodies without copies.

uvicorn leaves both bounds to a proxy. Without one, anybody who reaches the port could fill the
memory with endless headers, or keep connections that never ask for anything, without any key.
"""

import asyncio

from starlette.responses import Response
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.problems import problem_response
from service.errors import HeadTooLarge, InvalidRequest, ServiceError

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's line and headers together, and of what follows its body."""

HEAD_SECONDS = 30.0
"""For the head of a connection's first request, and of each further one from its first byte on."""

MALFORMED_STATUS = 400


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits for heads; bodies have theirs where they are read."""

    _head_bytes = 0
    """Of the parsed headers of the request that arrives."""
    _unparsed_bytes = 0
    """Received since the parser last had something to hand on."""
    _deadline: asyncio.TimerHandle | None = None
    _lingering = False
    """Whether our side of the connection is closed and the other's is not yet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, not for ever."""
        super().connection_made(transport)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._clear_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse some bytes, unless more came than any head may have."""
        if self._lingering:
            return
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._unparsed_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(HeadTooLarge())

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._head_bytes = 0
        if self._deadline is None:
            self._set_deadline()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or one that follows a body."""
        self._count(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a head in time."""
        self._clear_deadline()
        self._unparsed_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body as it is; uvicorn would copy it twice.

        Large uploads spend a good part of their time in those copies (bench.service).
        """
        self._unparsed_bytes = 0
        cycle = self.cycle
        if cycle.body or cycle.response_complete or self.parser.should_upgrade():
            super().on_body(body)
            return
        cycle.body = body  # type: ignore[assignment]  # read as bytes, then replaced
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End a request."""
        self._unparsed_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Say that the rest of the request is not wanted, if some is left; called by the answer.

        Closing at once would reset the connection, and many clients lose the answer with that; so
        only our side is closed, and what still comes is dropped until the keep-alive time is over.
        Source: RFC 9112, 9.6.
        """
        # With pipelining the present request may be a later one, which is not answered yet.
        if self.cycle.response_complete and self.cycle.more_body and self.transport.can_write_eof():
            self._lingering = True
            self.transport.write_eof()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """Answer what cannot be parsed, as uvicorn calls it, with a problem document."""
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge())
        else:
            error = InvalidRequest("This is no HTTP request that can be read.")
            self._refuse(error, MALFORMED_STATUS)

    def _count(self, *pieces: bytes) -> None:
        self._head_bytes += sum(map(len, pieces))
        if self._head_bytes > MAX_HEAD_BYTES:
            # The parser makes an error of it, and uvicorn calls send_400_response.
            raise HeadTooLarge

    def _set_deadline(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, error: ServiceError, status: int | None = None) -> None:
        answer = problem_response(error, {} if status is None else {"status": status})
        answer.status_code = status or answer.status_code
        self.transport.write(_rendered(answer))
        self.transport.close()


def _rendered(answer: Response) -> bytes:
    lines = [b"HTTP/1.1 %d Refused" % answer.status_code]
    lines += [b"%s: %s" % header for header in answer.raw_headers]
    return b"\r\n".join([*lines, b"connection: close", b"", bytes(answer.body)])
