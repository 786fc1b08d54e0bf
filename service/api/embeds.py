"""What pages of other origins may do with an embed token or a ticket: which routes, from where.

A route is closed to them unless it says otherwise (`Shown`, in `service.api.deps`). The checks are
the `Gate`'s; here is what browsers have to be told before and after.
"""

from collections.abc import Sequence
from enum import StrEnum
from http import HTTPStatus

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Message, Scope, Send

from service.embedding.tokens import Grant, is_token
from service.embedding.viewers import Viewers
from service.errors import OriginRefused, Unauthorized

TICKET = "ticket"
"""The parameter of an address that carries a ticket."""

REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Prefer",
    "Range",
)
EXPOSED_HEADERS = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
)
PREFLIGHT_SECONDS = 600


class Shown(StrEnum):
    """What a route shows to who comes with an embed token, or with a ticket."""

    NOTHING = "nothing"
    """The route is closed to both."""
    JOB = "job"
    """The job that ``job_id`` of the address names, if it is one of the token's."""
    VIDEO = "video"
    """The video that ``video_id`` names, if it is that of such a job."""
    BYTES = "bytes"
    """The same video's bytes: by a ticket for it, and not by a token."""
    CAMERA = "camera"
    """What the route itself limits to ``context.seen_through.camera``, to tokens of a camera."""


def origins_of(headers: Headers) -> list[str]:
    """Return the origins of other sites that a request says it comes from; in practice one."""
    own = {
        f"{scheme}://{host.lower()}"
        for scheme in ("http", "https")
        for host in headers.getlist("host")
    }
    return [origin for origin in headers.getlist("origin") if origin.lower() not in own]


def require_origin(headers: Headers, grant: Grant) -> None:
    """Make sure that a page, if one asks, is among those that a token or ticket names.

    Raises:
        OriginRefused: it is not, or it does not say which it is.
    """
    foreign = origins_of(headers)
    site = headers.get("sec-fetch-site", "none")
    # Browsers leave Origin out where a page only displays what it loads, and say so much.
    hidden = not headers.getlist("origin") and site not in {"same-origin", "none"}
    if hidden or any(origin not in grant.origins for origin in foreign):
        message = (
            "The embed token or ticket does not name the origin of the page that uses it; make "
            "one that does, and load videos with crossorigin."
        )
        raise OriginRefused(message)


def let_viewers_alone_in(scope: Scope) -> None:
    """Note that a request got past for its token or ticket, and goes on by that or not at all."""
    scope.setdefault("state", {})["viewers_alone"] = True


def require_no_stranger(request: Request) -> None:
    """Make sure that a request that was admitted without a token or ticket did not need one.

    A ticket opens nothing but bytes, so elsewhere it is not looked at; where no key is needed
    either, its page would be anybody.

    Raises:
        OriginRefused: it did.
    """
    if getattr(request.state, "viewers_alone", False):
        message = (
            "A ticket opens the bytes of its video alone; send the embed token that it was made "
            "with, as Authorization: Bearer."
        )
        raise OriginRefused(message)


def ticket_of(request: Request) -> str | None:
    """Return the ticket in an address; None if there is none.

    Raises:
        Unauthorized: there are several.
    """
    given = request.query_params.getlist(TICKET)
    if len(given) > 1:
        message = "Send one ticket."
        raise Unauthorized(message)
    return given[0] if given else None


class ForeignPages:
    """Lets pages of other origins ask, on the routes that show something to tokens or tickets.

    Args:
        routes: those routes.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = routes

    def preflight(self, scope: Scope) -> Response | None:
        """Answer a browser that asks whether a page may ask; None where no page may.

        Whoever's page it is: that its token names it is seen in the request itself.
        Source: WHATWG Fetch, 4.8 (CORS-preflight fetch); Private Network Access, 3.1.2.
        """
        headers = Headers(scope=scope)
        method = headers.get("access-control-request-method", "")
        asks = scope["method"] == "OPTIONS" and len(headers.getlist("origin")) == 1
        if not asks or not self._offered(scope, method):
            return None
        answer = Response(status_code=HTTPStatus.NO_CONTENT)
        answer.headers.update(
            {
                "Access-Control-Allow-Origin": headers["origin"],
                "Access-Control-Allow-Methods": method,
                "Access-Control-Allow-Headers": ", ".join(REQUEST_HEADERS),
                "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
                "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            }
        )
        if headers.get("access-control-request-private-network") == "true":
            answer.headers["Access-Control-Allow-Private-Network"] = "true"
        return answer

    async def may_ask(self, scope: Scope, viewers: Viewers) -> bool:
        """Say whether a page's request brings a token or a ticket of ours that names the page.

        What it is worth is seen at the route's gate; here it is about who may read the refusal.

        Raises:
            DatabaseUnavailable: the database did not answer.
        """
        if not self._offered(scope, scope["method"]):
            return False
        request = Request(scope)
        text = _signed_text(request)
        if text is None:
            return False
        named = await run_in_threadpool(viewers.named_origins, text)
        foreign = origins_of(request.headers)
        return bool(foreign) and all(origin in named for origin in foreign)

    def _offered(self, scope: Scope, method: str) -> bool:
        asked = {**scope, "method": method}
        return any(route.matches(asked)[0] is Match.FULL for route in self._routes)


def readable_by(origin: str, send: Send) -> Send:
    """Return a way to send an answer that a page of this origin may read, without credentials."""

    async def send_readable(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED_HEADERS)
            headers.add_vary_header("Origin")
        await send(message)

    return send_readable


def _signed_text(request: Request) -> str | None:
    """Return the token in the header, or else the ticket in the address."""
    sent = request.headers.getlist("authorization")
    if not sent:
        given = request.query_params.getlist(TICKET)
        return given[0] if len(given) == 1 else None
    scheme, _, text = sent[0].partition(" ")
    text = text.strip()
    return text if len(sent) == 1 and scheme.lower() == "bearer" and is_token(text) else None
