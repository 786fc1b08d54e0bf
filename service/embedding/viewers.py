"""Tells at the door what the bearer of a token or ticket may see; `Keyring` does so for keys.

Signed and not expired is not enough: the API key behind it, the job and the video have to be there
still. A process remembers the answer for half a second, as it does with keys.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.accounts.keyring import MEMORY_SECONDS, Holder
from service.accounts.keys import key_state
from service.accounts.limits import Quotas
from service.accounts.records import ApiKeyRecord
from service.accounts.scopes import Scope
from service.embedding.signing import Signer
from service.embedding.subjects import shows_job, shows_video
from service.embedding.tickets import Ticket, read_ticket
from service.embedding.tokens import MAX_LIFETIME_SECONDS, Grant, is_token, read_token
from service.errors import (
    JobNotFound,
    TokenExpired,
    Unauthorized,
    VideoNotFound,
)
from service.ingest import library
from service.jobs.commands import JobCore
from service.jobs.records import TenantRecord
from service.jobs.store import reading
from service.jobs.tenancy import ALL_TENANTS

VIEWER_SCOPES = frozenset({Scope.JOBS_READ, Scope.VIDEOS_READ})
"""What a viewer may do at most; which of the addresses, and of which job, is decided there."""

MAX_LIFETIME = timedelta(seconds=MAX_LIFETIME_SECONDS)
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who comes with a token or a ticket.

    Attributes:
        holder: the tenant that lets him see something, its key, its quotas.
        grant: what he may see, from which pages, how long.
        video_id: the one video of a ticket; None of a token.
    """

    holder: Holder
    grant: Grant
    video_id: str | None = None


class Viewers:
    """Checks tokens and tickets for one API process.

    Args:
        core: unbound.
        quotas: the deployment's.
        keys_required: whether a request needs a key here, and so does what was made by one.
        monotonic: clock, in seconds.
    """

    def __init__(
        self,
        core: JobCore,
        quotas: Quotas,
        *,
        keys_required: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.signer = Signer(core, monotonic)
        self._core = core
        self._quotas = quotas
        self._keys_required = keys_required
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._remembered: dict[bytes, tuple[Viewer, float]] = {}

    def named_origins(self, text: str) -> tuple[str, ...]:
        """Return the origins that a token or ticket made here names; it may be worth nothing.

        Raises:
            DatabaseUnavailable: the database did not answer.
        """
        read = self._read(text)
        return () if read is None else read.grant.origins

    def remembered(self, text: str) -> Viewer | None:
        """Return who was let in with this a moment ago; None if it must be looked up."""
        viewer, until = self._remembered.get(_name(text), (None, 0.0))
        return viewer if self._monotonic() < until else None

    def look_up(self, text: str) -> Viewer:
        """Return who comes with a token or a ticket.

        Raises:
            Unauthorized: it was not made here, or it is not worth anything (any longer).
            TokenExpired: its time is over.
            JobNotFound: the job that it shows is gone.
            VideoNotFound: the video that it opens is gone.
            DatabaseUnavailable: the database did not answer.
        """
        read = self._read(text)
        if read is None:
            message = (
                "The embed token or ticket was not made here, or was changed; the page that shows "
                "this gets another by POST /v1/embed-tokens."
            )
            raise Unauthorized(message)
        asked_at = self._monotonic()
        with reading(self._core.engine) as session:
            now = self._core.clock.now(session)
            _require_time(read.grant, now)
            self._require_key(session, read.grant, now)
            tenant = session.get_one(TenantRecord, read.grant.tenant_id)
        holder = Holder(
            tenant.id, VIEWER_SCOPES, read.grant.key_id, self._quotas.changed_by(tenant.quotas)
        )
        viewer = Viewer(holder, read.grant, read.video_id)
        self._require_shown(viewer)
        left_seconds = (read.grant.expires_at - now).total_seconds()
        self._remember(text, viewer, asked_at + min(MEMORY_SECONDS, left_seconds))
        return viewer

    def _read(self, text: str) -> "_Read | None":
        if is_token(text):
            grant = read_token(self.signer, text)
            return None if grant is None else _Read(grant)
        ticket = read_ticket(self.signer, text)
        return None if ticket is None else _Read.of(ticket)

    def _require_key(self, session: Session, grant: Grant, now: datetime) -> None:
        if grant.key_id is None:
            if self._keys_required:
                message = "The token was made without an API key, and here one is needed."
                raise Unauthorized(message)
            return
        record = session.execute(
            select(ApiKeyRecord)
            .where(ApiKeyRecord.id == grant.key_id, ApiKeyRecord.tenant_id == grant.tenant_id)
            .execution_options(**ALL_TENANTS)
        ).scalar_one_or_none()
        state = "gone" if record is None else key_state(record, now)
        if state != "active":
            message = f"The API key that made this token is {state}; it is worth nothing now."
            raise Unauthorized(message)

    def _require_shown(self, viewer: Viewer) -> None:
        core = self._core.for_tenant(viewer.holder.tenant_id)
        subject = viewer.grant.subject
        if viewer.video_id is not None:
            library.get_video(core, viewer.video_id)
            if subject is not None and not shows_video(core, subject, viewer.video_id):
                message = "The job that this ticket was made for is gone."
                raise VideoNotFound(message)
            return
        job_id = None if subject is None else subject.job_id
        if subject is not None and job_id is not None and not shows_job(core, subject, job_id):
            message = f"The job {job_id} was deleted, or its retention is over."
            raise JobNotFound(message)

    def _remember(self, text: str, viewer: Viewer, until: float) -> None:
        with self._lock:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[_name(text)] = (viewer, until)


@dataclass(frozen=True, slots=True)
class _Read:
    """What a signed text says, whether or not it is still worth anything."""

    grant: Grant
    video_id: str | None = None

    @classmethod
    def of(cls, ticket: Ticket) -> "_Read":
        return cls(ticket.grant, ticket.video_id)


def _require_time(grant: Grant, now: datetime) -> None:
    if grant.expires_at <= now:
        message = (
            "The embed token or ticket has expired; the page that shows this gets another by "
            "POST /v1/embed-tokens."
        )
        raise TokenExpired(message)
    # A clock that was set back would make it last.
    if grant.expires_at > now + MAX_LIFETIME:
        message = "The embed token or ticket ends later than any made now could; get another."
        raise Unauthorized(message)


def _name(text: str) -> bytes:
    """Return what a text is remembered under: texts are long, and secret."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
