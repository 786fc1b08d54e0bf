"""The outermost layer of a request: its id, its figures, its span.

The id is the client's ``X-Request-ID`` where that is harmless, or one of ours; it stands in every
log line of the request and in the answer.
"""

import re
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.guards import SAFE_HEADERS
from service.api.problems import problem_response
from service.errors import InternalError
from service.jobs.store import new_id
from service.metrics.requests import RequestMetrics
from service.tracing import span

_log = structlog.get_logger(__name__)

HEADER = "X-Request-ID"
HARMLESS = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class Observed:
    """Wraps every HTTP request.

    Args:
        app: the application behind it, all of its other layers included.
        metrics: that requests are counted in.
    """

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        request_id = _request_id(Headers(scope=scope))
        status = received_bytes = 0

        async def counted() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            return message

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            self._metrics.opened(),
            span("request", method=scope["method"]) as attributes,
        ):
            try:
                await self._app(scope, counted, marked)
            except Exception as error:
                if status:
                    raise
                # Here and not further out, where the answer would have neither id nor headers.
                _log.exception("internal_error", path=scope["path"], kind=type(error).__name__)
                await internal_error_response()(scope, receive, marked)
            finally:
                route = _template(scope)
                seconds = time.monotonic() - started
                self._metrics.answered(scope["method"], route, status, seconds, received_bytes)
                attributes(route=route or "", status=status, request_id=request_id)


def internal_error_response() -> Response:
    """Return what is answered where the service itself is at fault."""
    message = "Something went wrong inside the service; its log says what, under the request's id."
    return problem_response(InternalError(message), headers=SAFE_HEADERS)


def _request_id(headers: Headers) -> str:
    given = headers.get(HEADER, "")
    return given if HARMLESS.fullmatch(given) else new_id("req")


def _template(scope: Scope) -> str | None:
    """Return the address as declared, ``/v1/jobs/{job_id}``; None where none matched."""
    route = scope.get("route")
    path: str | None = getattr(route, "path_format", None) or getattr(route, "path", None)
    return path
