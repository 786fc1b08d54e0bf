"""Pure ASGI layers around the application: who may call it, safe headers, one log line each.

Loopback is no protection against web pages: a page of any site can make its visitor's browser
call 127.0.0.1, by DNS rebinding (hence the check of Host) or directly (hence that of Origin).
"""

import re
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.access import who_asked
from service.api.problems import problem_response
from service.errors import HostRefused, OriginRefused, RequestError

SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Answers describe private videos: nothing on the way may keep them.
    "Cache-Control": "no-store",
}

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
    """

    def __init__(
        self, app: ASGIApp, allowed_hosts: tuple[str, ...], allowed_origins: tuple[str, ...]
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.strip("[]").lower() for host in allowed_hosts)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an HTTP request on, or answer it with a problem document."""
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                await problem_response(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> RequestError | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        name = _host_name(hosts[0]) if len(hosts) == 1 else ""
        if "*" not in self._hosts and name not in self._hosts:
            message = (
                "The request names a host that this service does not answer for; an operator "
                "adds it to KINETAG_ALLOWED_HOSTS."
            )
            return HostRefused(message)
        if scope["method"] in {"GET", "HEAD"} and OPEN_PATHS.fullmatch(scope["path"]):
            return None
        origins = headers.getlist("origin")
        own = {f"{scheme}://{host.lower()}" for scheme in ("http", "https") for host in hosts}
        foreign = any(origin.lower() not in own | self._origins for origin in origins)
        # Browsers leave Origin out of simple GETs, and say then where they come from.
        if not origins and headers.get("sec-fetch-site") == "cross-site":
            foreign = True
        if foreign:
            message = (
                "A web page of another origin made this request; an operator adds the page's "
                "origin to KINETAG_ALLOWED_ORIGINS if it may."
            )
            return OriginRefused(message)
        return None


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
