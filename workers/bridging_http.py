"""Tells Grafana and Frigate of segments over HTTP, each in its own words.

Their addresses come from the operator, so private networks are allowed; everything else that
`service.outbound` refuses stays refused.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookies import CookieError, SimpleCookie
from typing import Any

import structlog

from service.bridges.frigate import creation
from service.bridges.grafana import ANNOTATIONS, annotation, is_among, query_of
from service.bridges.segments import BridgeSegment
from service.errors import UrlRefused, UrlUnreachable
from service.outbound import Outbound, Reply, is_passing
from workers.bridging import OutsideAwayError, Remember

ANSWER_SECONDS = 10.0
PART = 1
"""A segment may take three requests, each as long as `ANSWER_SECONDS`."""
MAX_LIST_BYTES = 4 * 1024 * 1024
OK, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 200, 401, 403, 404
LOGIN = "/api/login"
COOKIE = "frigate_token"
"""Source: Frigate, AuthConfig.cookie_name; a bearer token is its value."""

JSON_HEADERS = ((b"Content-Type", b"application/json"), (b"Accept", b"application/json"))

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WebPeer:
    """One web application.

    Attributes:
        title: for messages.
        base: its address, without a slash at the end.
        outbound: returns what requests are sent by.
    """

    title: str
    base: str
    outbound: Callable[[], Outbound]
    seconds: float = ANSWER_SECONDS

    def ask(
        self,
        method: bytes,
        path: str,
        token: str | None,
        document: object = None,
        max_bytes: int = 1024,
    ) -> Reply:
        """Send a request, JSON both ways; the answer may be an error's.

        Raises:
            OutsideAwayError: there is no answer, or one that says to come back later.
        """
        headers = [*JSON_HEADERS]
        if token is not None:
            headers.append((b"Authorization", b"Bearer " + token.encode("latin-1", "replace")))
        body = b"" if document is None else json.dumps(document, allow_nan=False).encode()
        try:
            reply = self.outbound().ask(
                method,
                f"{self.base}{path}",
                headers,
                body,
                seconds=self.seconds,
                max_bytes=max_bytes,
            )
        except (UrlRefused, UrlUnreachable) as error:
            message = f"{self.title}: {error}"
            raise OutsideAwayError(message) from error
        if is_passing(reply.status):
            message = f"{self.title} answered {reply.status}."
            raise OutsideAwayError(message)
        return reply


class GrafanaOutlet:
    """An `workers.bridging.Outlet` that makes annotations.

    Grafana gives every annotation an id of its own, so a repeat would make a second one. After a
    start or a failure, when the last job may be told again, it is therefore asked first what is
    there; the text ends in the segment's id.
    """

    name = "grafana"
    part = PART

    def __init__(self, peer: WebPeer, token: str | None) -> None:
        self._peer = peer
        self._token = token
        self._doubted: str | None = None
        self._is_first = True

    def open(self, memory: Mapping[str, Any], remember: Remember, tenant_id: str) -> None:
        """See `workers.bridging.Outlet`; there is no connection to keep."""
        del memory, remember, tenant_id
        self._doubted, self._is_first = None, True
        self._judge(self._peer.ask(b"GET", f"{ANNOTATIONS}?limit=1", self._token))

    def expect(self, camera: str) -> None:
        """See `workers.bridging.Outlet`."""

    def tell(self, segments: Sequence[BridgeSegment]) -> None:
        """See `workers.bridging.Outlet`; without a moment there is nothing to annotate."""
        for segment in segments:
            if segment.ended_at is None:
                continue
            if self._is_first:
                # The cursor moves after every job: no other one can have been told in part.
                self._doubted, self._is_first = segment.job_id, False
            body = annotation(segment)
            if segment.job_id == self._doubted and self._is_there(body):
                continue
            reply = self._peer.ask(b"POST", ANNOTATIONS, self._token, body)
            self._judge(reply, segment)

    def idle(self) -> None:
        """See `workers.bridging.Outlet`."""

    def close(self, *, stopping: bool) -> None:
        """See `workers.bridging.Outlet`."""
        del stopping

    def _is_there(self, body: Mapping[str, Any]) -> bool:
        reply = self._peer.ask(b"GET", query_of(body), self._token, max_bytes=MAX_LIST_BYTES)
        self._judge(reply)
        with contextlib.suppress(ValueError):
            found = json.loads(reply.body)
            return isinstance(found, list) and is_among(body, found)
        return False

    def _judge(self, reply: Reply, segment: BridgeSegment | None = None) -> None:
        if reply.status == OK:
            return
        if reply.status in {UNAUTHORIZED, FORBIDDEN}:
            message = (
                f"Grafana refuses the token ({reply.status}); KINETAG_GRAFANA_TOKEN needs a "
                "service account that may create and read annotations."
            )
            raise OutsideAwayError(message)
        if segment is None or reply.status == NOT_FOUND:
            message = f"Grafana answered {reply.status}; check KINETAG_GRAFANA_URL."
            raise OutsideAwayError(message)
        # It will never take this one; those behind it must not wait for that.
        _log.error("annotation_refused", status=reply.status, segment_id=segment.id)


@dataclass(frozen=True, slots=True)
class FrigateSettings:
    """How Frigate is told.

    Attributes:
        user, password: of an admin; None on the port inside that asks for none.
        near_live_seconds: only segments that ended so lately are told.
        cameras: our names -> Frigate's.
    """

    near_live_seconds: float = 120.0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    cameras: Mapping[str, str] = field(default_factory=dict)


class FrigateOutlet:
    """An `workers.bridging.Outlet` that makes events of Frigate, of the present only.

    Frigate stamps such an event with the moment it is made and cannot be told another. So what did
    not happen just now is passed over, and nothing piles up while Frigate is away.
    """

    name = "frigate"
    part = PART

    def __init__(self, peer: WebPeer, settings: FrigateSettings) -> None:
        self._peer = peer
        self._settings = settings
        self._token: str | None = None
        self._unknown: set[str] = set()

    def open(self, memory: Mapping[str, Any], remember: Remember, tenant_id: str) -> None:
        """See `workers.bridging.Outlet`; logs in where there is a user."""
        del memory, remember, tenant_id
        self._token = self._log_in()

    def expect(self, camera: str) -> None:
        """See `workers.bridging.Outlet`."""

    def tell(self, segments: Sequence[BridgeSegment]) -> None:
        """See `workers.bridging.Outlet`."""
        for segment in segments:
            now = datetime.now(UTC)
            if segment.camera is None or segment.ended_at is None:
                continue
            age = (now - segment.ended_at).total_seconds()
            # A clock of a camera that is a little ahead is forgiven, one of another day is not.
            if abs(age) <= self._settings.near_live_seconds:
                self._create(segment, now)

    def idle(self) -> None:
        """See `workers.bridging.Outlet`."""

    def close(self, *, stopping: bool) -> None:
        """See `workers.bridging.Outlet`."""
        del stopping
        self._token = None

    def _create(self, segment: BridgeSegment, now: datetime) -> None:
        path, body = creation(segment, now, self._settings.cameras)
        reply = self._peer.ask(b"POST", path, self._token, body)
        if reply.status == UNAUTHORIZED and self._settings.user is not None:
            self._token = self._log_in()  # its tokens end after a day
            reply = self._peer.ask(b"POST", path, self._token, body)
        if reply.status == OK:
            return
        if reply.status in {UNAUTHORIZED, FORBIDDEN}:
            message = (
                f"Frigate refuses ({reply.status}): KINETAG_FRIGATE_USER needs the admin role, or "
                "use the port inside its network that asks for no login."
            )
            raise OutsideAwayError(message)
        camera = segment.camera or ""
        if camera not in self._unknown:
            self._unknown.add(camera)
            _log.error("frigate_event_refused", status=reply.status, camera=camera)

    def _log_in(self) -> str | None:
        if self._settings.user is None:
            return None
        login = {"user": self._settings.user, "password": self._settings.password or ""}
        reply = self._peer.ask(b"POST", LOGIN, None, login)
        if reply.status == OK:
            with contextlib.suppress(CookieError):
                cookies = SimpleCookie(reply.headers.get("set-cookie", ""))
                if COOKIE in cookies:
                    return cookies[COOKIE].value
        message = (
            f"Frigate does not let {self._settings.user} in ({reply.status}); check "
            "KINETAG_FRIGATE_USER and KINETAG_FRIGATE_PASSWORD."
        )
        raise OutsideAwayError(message)
