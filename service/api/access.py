"""Who asks, and may he: decided before a byte of the body is read.

A key comes in ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``, never in the address, which
logs and browsers keep. A key that does not hold is refused wherever it comes, also where none is
needed. An embed token comes as a key does, and opens what a route shows to its subject alone; a
ticket comes in the address, of one video's bytes.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from service.accounts.keyring import Holder, Keyring
from service.accounts.limits import Quotas
from service.accounts.rates import RequestRates, UploadSlots
from service.accounts.scopes import Scope, allows
from service.accounts.secrets import parse_key
from service.api.embeds import Shown, require_no_stranger, require_origin, ticket_of
from service.embedding.subjects import shows_job, shows_video
from service.embedding.tokens import Grant, is_token
from service.embedding.viewers import Viewer, Viewers
from service.errors import (
    DatabaseUnavailable,
    Forbidden,
    NotFound,
    RateLimited,
    ServiceError,
    Unauthorized,
    UploadQuotaExceeded,
)
from service.jobs.commands import JobCore
from service.jobs.tenancy import tenant_wanted
from service.settings import Settings, keys_required

REALM = 'Bearer realm="kinetag"'
RECHECK_SECONDS = 0.4
"""How often the key of a request that goes on is looked at again; see `MEMORY_SECONDS`."""

SMALL_BODY_BYTES = 1024 * 1024
"""A body above this, or of a length not told, counts as an upload."""

UPLOAD_RETRY_SECONDS = 5

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Admission:
    """A request that was let in.

    Attributes:
        key_text: key, token or ticket as it was sent; to be checked again while the request goes
            on.
        viewer: who comes with an embed token or a ticket; None of who comes with a key or without.
        headers: to go with the answer.
        checked_at: on the monotonic clock, in seconds.
    """

    holder: Holder
    key_text: str | None = field(repr=False)
    viewer: Viewer | None
    headers: Mapping[str, str]
    checked_at: float

    @property
    def grant(self) -> Grant | None:
        """What it is limited to; None for no limit but that of its scopes."""
        return None if self.viewer is None else self.viewer.grant


class Gate:
    """Lets requests in, for one API process.

    Args:
        settings: of the deployment.
        core: unbound.
    """

    def __init__(self, settings: Settings, core: JobCore) -> None:
        self._core = core
        self.keyring = Keyring(core, Quotas.of(settings))
        self.viewers = Viewers(core, Quotas.of(settings), keys_required=keys_required(settings))
        self._rates = RequestRates()
        self._uploads = UploadSlots()
        self._keys_required = keys_required(settings)

    async def admit(
        self, request: Request, scope: Scope, shown: Shown = Shown.NOTHING
    ) -> Admission:
        """Let a request in, once, if its caller has a scope.

        Args:
            request: to a route.
            scope: that the route needs.
            shown: what it shows to who comes with an embed token or a ticket.

        Raises:
            Unauthorized: there is no key where one is needed, or one that does not hold.
            NotFound: what the token or ticket shows is gone.
            OriginRefused: a page uses a token or ticket that does not name its origin.
            RateLimited: the tenant asks too often.
            Forbidden: the key lacks the scope, or the token does not show this.
        """
        admission: Admission | None = getattr(request.state, "admission", None)
        try:
            if admission is None:
                admission = await self._identify(request, shown)
                request.state.admission = admission
            _require_scope(admission.holder, scope)
            if admission.viewer is not None:
                await self._require_shown(request, admission.viewer, shown)
        except ServiceError as error:
            self._audit_denial(request, error, admission)
            raise
        return admission

    def take_upload_slot(self, request: Request) -> str | None:
        """Count an admitted request as an upload, if it is one.

        Returns:
            What `give_upload_slot_back` wants at its end; None if it does not count.

        Raises:
            UploadQuotaExceeded: the tenant sends as many as it may.
        """
        admission: Admission | None = getattr(request.state, "admission", None)
        if admission is None or admission.holder.quotas.uploads is None:
            return None
        if not _is_upload(request.headers):
            return None
        holder = admission.holder
        if self._uploads.take(holder.tenant_id, admission.holder.quotas.uploads):
            return holder.tenant_id
        error = UploadQuotaExceeded(
            f"{holder.quotas.uploads} uploads are under way, which is all you may send at once; "
            "send this one when another has ended."
        )
        error.headers = {"Retry-After": str(UPLOAD_RETRY_SECONDS)}
        self._audit_denial(request, error, admission)
        raise error

    def give_upload_slot_back(self, slot: str | None) -> None:
        """Note that an upload has ended."""
        if slot is not None:
            self._uploads.give_back(slot)

    async def still_holds(self, admission: Admission) -> bool:
        """Say whether the key of a request that goes on still holds."""
        if admission.key_text is None:
            return True
        now = time.monotonic()
        if now - admission.checked_at < RECHECK_SECONDS:
            return True
        admission.checked_at = now
        try:
            if admission.viewer is None:
                await self._holder(admission.key_text)
            else:
                await self._viewer(admission.key_text)
        except (Unauthorized, NotFound):
            return False
        except DatabaseUnavailable:
            # Nobody new comes in meanwhile, but who is in is not thrown out by an outage.
            return True
        return True

    async def trusts(self, request: Request) -> bool:
        """Say whether somebody asks who would be let in, whatever for; viewers are not."""
        try:
            text = self._key_text(request.headers)
            if text is not None:
                # A token is no key, so it is refused here.
                await self._holder(text)
        except (Unauthorized, DatabaseUnavailable):
            return False
        return True

    async def _identify(self, request: Request, shown: Shown) -> Admission:
        text = presented_key(request.headers)
        if text is None and shown is Shown.BYTES:
            text = ticket_of(request)
            signed = text is not None
        else:
            signed = text is not None and is_token(text)
        if text is not None and signed:
            viewer = await self._viewer(text)
            require_origin(request.headers, viewer.grant)
            return Admission(
                viewer.holder, text, viewer, self._counted(viewer.holder), time.monotonic()
            )
        text = self._key_text(request.headers)
        require_no_stranger(request)
        holder = await self._holder(text)
        return Admission(holder, text, None, self._counted(holder), time.monotonic())

    def _counted(self, holder: Holder) -> Mapping[str, str]:
        """Count a request of a tenant; return what tells him of his rate."""
        headers: Mapping[str, str] = {}
        if holder.quotas.requests_per_second is not None:
            allowance = self._rates.spend(holder.tenant_id, holder.quotas.requests_per_second)
            headers = allowance.headers()
            if not allowance.granted:
                wait_seconds = max(1, math.ceil(allowance.wait_seconds))
                error = RateLimited(
                    f"You may send {holder.quotas.requests_per_second:g} requests per second; "
                    f"come back in {wait_seconds} s, or ask with ?wait= instead of often."
                )
                error.headers = {**headers, "Retry-After": str(wait_seconds)}
                raise error
        return headers

    async def _require_shown(self, request: Request, viewer: Viewer, shown: Shown) -> None:
        """Make sure that a route shows something to a viewer, and that it is his to see.

        Raises:
            Forbidden: it does not, or it is not; he does not learn whether it exists.
        """
        if await run_in_threadpool(self._shows, request.path_params, viewer, shown):
            return
        message = (
            "This embed token or ticket opens no such address: it shows one job, or one camera's "
            "jobs, or one video's bytes."
        )
        raise Forbidden(message)

    def _shows(self, named: Mapping[str, Any], viewer: Viewer, shown: Shown) -> bool:
        if viewer.video_id is not None:
            return shown is Shown.BYTES and named["video_id"] == viewer.video_id
        core = self._core.for_tenant(viewer.holder.tenant_id)
        subject = viewer.grant.subject
        if subject is None:
            return False
        match shown:
            case Shown.JOB:
                return shows_job(core, subject, named["job_id"])
            case Shown.VIDEO:
                return shows_video(core, subject, named["video_id"])
            case Shown.CAMERA:
                return subject.camera is not None
        return False

    async def _viewer(self, text: str | None) -> Viewer:
        known = self.viewers.remembered(text or "")
        if known is not None:
            return known
        return await run_in_threadpool(self.viewers.look_up, text or "")

    async def _holder(self, text: str | None) -> Holder:
        known = self.keyring.remembered(text)
        if known is not None:
            return known
        return await run_in_threadpool(self.keyring.look_up, text)

    def _key_text(self, headers: Headers) -> str | None:
        text = presented_key(headers)
        if text is None and self._keys_required:
            message = (
                "An API key is needed; send it as Authorization: Bearer KEY. An operator makes "
                "one with kinetag keys create."
            )
            raise Unauthorized(message)
        return text

    def _audit_denial(
        self, request: Request, error: ServiceError, admission: Admission | None
    ) -> None:
        holder = admission.holder if admission is not None else None
        key_id = holder.key_id if holder is not None else _claimed_id(request.headers)
        _log.warning(
            "request_denied",
            code=error.code,
            method=request.method,
            path=request.url.path,
            client=request.client.host if request.client is not None else None,
            tenant_id=holder.tenant_id if holder is not None else None,
            key_id=key_id,
        )


def who_asked(scope: AsgiScope) -> dict[str, str | None]:
    """Return tenant and key of a request that was let in, for its log line; {} of another."""
    admission: Admission | None = scope.get("state", {}).get("admission")
    if admission is None:
        return {}
    who = {"tenant_id": admission.holder.tenant_id, "key_id": admission.holder.key_id}
    if admission.viewer is not None:
        who["by"] = "embed_token" if admission.viewer.video_id is None else "ticket"
    return who


def presented_key(headers: Headers) -> str | None:
    """Return the key that came with a request; None if none did.

    Raises:
        Unauthorized: there are several, or what there is is no key.
    """
    sent = [("bearer", "", text) for text in headers.getlist("x-api-key")]
    sent += [_credentials(text) for text in headers.getlist("authorization")]
    if not sent:
        return None
    scheme, _, text = sent[0]
    if len(sent) > 1 or scheme != "bearer":
        message = "Send one key, as Authorization: Bearer KEY or as X-API-Key: KEY."
        raise Unauthorized(message)
    return text.strip()


def _claimed_id(headers: Headers) -> str | None:
    """Return the public part of a key that was refused, for the log."""
    try:
        key = parse_key(presented_key(headers) or "")
    except Unauthorized:
        return None
    return None if key is None else key.key_id


def _credentials(header: str) -> tuple[str, str, str]:
    scheme, space, text = header.strip().partition(" ")
    return scheme.lower(), space, text


def _require_scope(holder: Holder, scope: Scope) -> None:
    if allows(holder.scopes, scope):
        return
    error = Forbidden(f"This API key lacks the scope {scope}; use one that has it.")
    # Source: RFC 6750, section 3.1.
    error.headers = {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope}"'}
    raise error


def _is_upload(headers: Headers) -> bool:
    length = headers.get("content-length")
    if length is None:
        return "transfer-encoding" in headers
    return not (length.isascii() and length.isdigit()) or int(length) > SMALL_BODY_BYTES


class AdmissionWatch:
    """ASGI layer: what holds as long as a request goes on.

    It tells rates with every answer, ends a request whose key was revoked, because who once opened
    a stream of events would go on reading it, and lets no query forget whose rows it is about.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watched = _WatchedRequest(scope, receive, send)
        try:
            with tenant_wanted():
                await self._app(scope, watched.receive, watched.send)
        except Exception:
            # What the application makes of the cut is of no interest; the server closes the
            # connection, so the client sees that the answer is not whole.
            if not watched.revoked:
                raise


class _WatchedRequest:
    """The two ways of one request; nothing goes either way once its key does not hold."""

    def __init__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        self._app = scope["app"]
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._receive = receive
        self._send = send
        self.revoked = False

    async def receive(self) -> Message:
        """Return the next part of the request; of a revoked key's, its end."""
        message = await self._receive()
        if message.get("more_body", False) and not await self._holds():
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        """Send the next part of the answer."""
        admission = self._admission
        if message["type"] == "http.response.start" and admission is not None:
            _add_headers(message, admission.headers)
        elif message.get("more_body", False) and not await self._holds():
            reason = "The key does not hold any longer."
            raise ConnectionAbortedError(reason)
        await self._send(message)

    @property
    def _admission(self) -> Admission | None:
        return self._state.get("admission")

    async def _holds(self) -> bool:
        admission = self._admission
        if admission is not None and not self.revoked:
            gate: Gate = self._app.state.gate
            self.revoked = not await gate.still_holds(admission)
            if self.revoked:
                _log.warning("request_cut", key_id=admission.holder.key_id)
        return not self.revoked


def _add_headers(message: Message, headers: Mapping[str, str]) -> None:
    present = {name for name, _ in message.get("headers", [])}
    message["headers"] = [
        *message.get("headers", []),
        *(
            (name.lower().encode(), text.encode())
            for name, text in headers.items()
            if name.lower().encode() not in present
        ),
    ]
