"""Pure ASGI layers around the application: who may call it, safe headers, one log line each.

Loopback is no protection against web pages: a page of any site can make its visitor's browser
call 127.0.0.1, by DNS rebinding (hence the check of Host) or directly (hence that of Origin). A
page of another origin gets past with an embed token or a ticket that names it, and no further than
`service.api.embeds` says.
"""

import re
import time
from collections.abc import Sequence

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.access import Gate, who_asked
from service.api.embeds import ForeignPages, let_viewers_alone_in, origins_of, readable_by
from service.api.problems import problem_response
from service.errors import HostRefused, OriginRefused, ServiceError

SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Answers describe private videos: nothing on the way may keep them.
    "Cache-Control": "no-store",
}

NO_FRAMES = "frame-ancestors 'none'"

OPEN_PATHS = re.compile(r"/(?:docs(?:/.*)?|embed/.*|web/.*)?")
"""Pages and their files: they know nobody's data, and links and frames of other sites lead to
them. Who may frame a page says its own policy."""

HOST_PATTERN = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")

_log = structlog.get_logger(__name__)


def _host_name(host: str) -> str:
    """Return the name in a Host header, lower case, without port and brackets; "" if malformed."""
    match = HOST_PATTERN.fullmatch(host)
    return match.group("name").strip("[]").lower() if match else ""


class CallerGuard:
    """Refuses requests for foreign host names and from pages of foreign origins.

    Args:
        app: the application behind it.
        allowed_hosts: names without port; ``*`` for any.
        allowed_origins: origins that may call besides the service's own.
        shown: routes that pages of any origin may call with an embed token or a ticket.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed_hosts: tuple[str, ...],
        allowed_origins: tuple[str, ...],
        shown: Sequence[BaseRoute] = (),
    ) -> None:
        self._app = app
        self._pages = ForeignPages(shown)
        self._hosts = frozenset(host.strip("[]").lower() for host in allowed_hosts)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an HTTP request on, or answer it with a problem document."""
        if scope["type"] == "http":
            refusal = self._host_refusal(scope)
            if refusal is None and self._is_foreign(scope):
                refusal = self._pages.preflight(scope) or await self._origin_refusal(scope)
                if refusal is None:
                    let_viewers_alone_in(scope)
                    send = readable_by(Headers(scope=scope)["origin"], send)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _host_refusal(self, scope: Scope) -> Response | None:
        hosts = Headers(scope=scope).getlist("host")
        name = _host_name(hosts[0]) if len(hosts) == 1 else ""
        if "*" in self._hosts or name in self._hosts:
            return None
        message = (
            "The request names a host that this service does not answer for; an operator "
            "adds it to KINETAG_ALLOWED_HOSTS."
        )
        return problem_response(HostRefused(message))

    def _is_foreign(self, scope: Scope) -> bool:
        """Say whether a page made this request to which nobody gave the run of the API."""
        if scope["method"] in {"GET", "HEAD"} and OPEN_PATHS.fullmatch(scope["path"]):
            return False
        headers = Headers(scope=scope)
        # Browsers leave Origin out of simple GETs, and say then where they come from.
        if not headers.getlist("origin") and headers.get("sec-fetch-site") == "cross-site":
            return True
        return any(origin.lower() not in self._origins for origin in origins_of(headers))

    async def _origin_refusal(self, scope: Scope) -> Response | None:
        gate: Gate = scope["app"].state.gate
        try:
            if await self._pages.may_ask(scope, gate.viewers):
                return None
        except ServiceError as error:
            return problem_response(error)
        message = (
            "A web page of another origin made this request; an operator adds the page's "
            "origin to KINETAG_ALLOWED_ORIGINS if it may, or the page shows a single job with an "
            "embed token that names it."
        )
        return problem_response(OriginRefused(message))


class SafeHeaders:
    """Adds SAFE_HEADERS to every answer and writes one log line per request, without query."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status = 0

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
                policy = headers["Content-Security-Policy"]
                if "frame-ancestors" in policy and NO_FRAMES not in policy:
                    # The older header knows no origins; the policy says who may frame this.
                    del headers["X-Frame-Options"]
            await send(message)

        try:
            await self._app(scope, receive, send_safely)
        finally:
            _log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_seconds=round(time.monotonic() - started, 3),
                **who_asked(scope),
            )
