"""What routes are given: a context bound to the caller's tenant, and checked path parameters.

A route says which scope it needs by the type of its context, ``context: JobsRead``, and its
router is made with ``route_class=SecuredRoute``, so that the scope is checked before the body is
read. A route without a scope is for everybody: only health, documentation and pages are. A route
is closed to embed tokens unless its context is one of those named ``…Shown``.
"""

import re
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.openapi.models import HTTPBearer
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from starlette.routing import BaseRoute

from service.accounts.scopes import ALL_SCOPES, Scope
from service.api.access import Gate
from service.api.bodylimits import bounded
from service.api.embeds import Shown
from service.embedding.signing import MAX_TEXT_CHARACTERS
from service.embedding.subjects import Subject
from service.embedding.tokens import Grant
from service.errors import Forbidden, JobNotFound
from service.jobs.commands import JobCore
from service.jobs.records import DEFAULT_TENANT
from service.jobs.resegmenting import EvidenceCache
from service.jobs.tenancy import tenant_wanted
from service.settings import Settings

__all__ = ["Scope"]

ID_BODY = "_[0-9A-HJKMNP-TV-Z]{26}"
DRAWN_AT_ONCE = 2
"""Pictures of pixels by one process: each may take 200 MB while it is drawn."""
JOB_ID = re.compile("job" + ID_BODY)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request.

    Attributes:
        key_id: of the API key; None where none was needed.
        grant: what he is limited to who comes with an embed token or a ticket; None of others.
    """

    tenant_id: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    grant: Grant | None = None


ANYBODY = Caller(DEFAULT_TENANT, ALL_SCOPES)
"""A caller without a key where none is needed: the default tenant, every scope."""


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What one API process, or one request, works with.

    Attributes:
        core: in a request, bound to the caller's tenant.
        stopping: set when the process is to end, so that waiting requests are answered.
        evidence: used last by this process.
        drawing: to be held while a picture of pixels is drawn.
    """

    settings: Settings
    core: JobCore
    stopping: threading.Event = field(default_factory=threading.Event)
    caller: Caller = ANYBODY
    evidence: EvidenceCache = field(default_factory=EvidenceCache)
    drawing: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(DRAWN_AT_ONCE)
    )

    @property
    def seen_through(self) -> Subject | None:
        """What an embed token limits this request to; None where there is no such limit.

        A route that is `CameraShown` must limit what it lists to this camera.
        """
        return None if self.caller.grant is None else self.caller.grant.subject


def api_context(request: Request) -> ApiContext:
    """Return the context that the application's lifespan made, of no tenant."""
    context: ApiContext = request.app.state.context
    return context


def gate_of(request: Request) -> Gate:
    """Return what lets requests in."""
    gate: Gate = request.app.state.gate
    return gate


class Needs(SecurityBase):
    """A dependency that gives the context of a caller who has a scope.

    It is a security scheme of FastAPI's, so that the OpenAPI document tells of the key.

    Args:
        scope: that the caller needs.
        shown: what the route shows to who comes with an embed token or a ticket.
    """

    def __init__(self, scope: Scope, shown: Shown = Shown.NOTHING) -> None:
        self.scope = scope
        self.shown = shown
        self.scheme_name = "apiKey"
        self.model = HTTPBearer(
            bearerFormat="kinetag_ID_SECRET",
            description="An API key, as kinetag keys create or POST /v1/keys made it. Not needed "
            "where the API can be reached from its own machine alone, unless KINETAG_REQUIRE_KEYS "
            "says so. X-API-Key is understood too.",
        )

    async def __call__(self, request: Request) -> ApiContext:
        """Return the context, bound to the caller's tenant.

        Raises:
            Unauthorized: there is no key where one is needed, or one that does not hold.
            Forbidden: the key lacks the scope.
            RateLimited: the tenant asks too often.
        """
        admission = await gate_of(request).admit(request, self.scope, self.shown)
        holder = admission.holder
        context = api_context(request)
        caller = Caller(holder.tenant_id, holder.scopes, holder.key_id, admission.grant)
        return replace(context, core=context.core.for_tenant(holder.tenant_id), caller=caller)


class SecuredRoute(APIRoute):
    """A route whose caller is let in, or not, before the body of the request is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler behind the gate."""
        handle = super().get_route_handler()
        needs = tuple(_needs(self.dependant))
        scopes = needed_scopes(self.dependant)
        read_whole = self.body_field is not None

        async def handle_admitted(request: Request) -> Response:
            gate = gate_of(request)
            for need in needs:
                await gate.admit(request, need.scope, need.shown)
            slot = gate.take_upload_slot(request)
            patience_seconds = api_context(request).settings.upload_stall_seconds
            try:
                # The figures of the whole deployment are no tenant's.
                with tenant_wanted(Scope.METRICS not in scopes):
                    if read_whole:
                        request = bounded(request, patience_seconds)
                    return await handle(request)
            finally:
                gate.give_upload_slot_back(slot)

        return handle_admitted


def needed_scopes(dependant: Dependant) -> tuple[Scope, ...]:
    """Return the scopes that a route needs, in no particular order."""
    return tuple({need.scope for need in _needs(dependant)})


def shown_routes(routes: Iterable[BaseRoute]) -> tuple[SecuredRoute, ...]:
    """Return the routes that show anything to an embed token or a ticket."""
    return tuple(
        route for route in routes if isinstance(route, SecuredRoute) and what_is_shown(route)
    )


def what_is_shown(route: SecuredRoute) -> frozenset[Shown]:
    """Return what a route shows to an embed token or a ticket; empty if it is closed to them."""
    shown = frozenset(need.shown for need in _needs(route.dependant))
    return frozenset() if Shown.NOTHING in shown else shown


def _needs(dependant: Dependant) -> Iterator[Needs]:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Needs):
            yield dependency.call
        yield from _needs(dependency)


def seen_camera(context: ApiContext, asked: str | None) -> str | None:
    """Return the camera that a `CameraShown` route limits its list to; None for no limit.

    Args:
        context: of the request.
        asked: the camera it asks for; None for all.

    Raises:
        Forbidden: it asks for another camera than that of its embed token.
    """
    subject = context.seen_through
    if subject is None:
        return asked
    if subject.camera is None or asked not in {None, subject.camera}:
        message = "This embed token shows one camera; ask for that one, or for none by name."
        raise Forbidden(message)
    return subject.camera


async def is_trusted(request: Request) -> bool:
    """Say whether somebody asks who would be let in, whatever for; for open addresses."""
    return await gate_of(request).trusts(request)


async def known_job_id(job_id: Annotated[str, Path(description="As given in `id`.")]) -> str:
    """Return a job id that can exist.

    Raises:
        JobNotFound: no job can have it.
    """
    if not JOB_ID.fullmatch(job_id):
        message = "There is no job of this id; ids look like job_01J9…, as POST /v1/jobs returns."
        raise JobNotFound(message)
    return job_id


async def ticket_text(
    ticket: Annotated[
        str | None,
        Query(
            max_length=MAX_TEXT_CHARACTERS,
            description="Of POST …/ticket, instead of a key: for players that can send no header.",
        ),
    ] = None,
) -> str | None:
    """Describe the parameter; it is the gate that looks at it."""
    return ticket


Unbound = Annotated[ApiContext, Depends(api_context)]
"""For routes that are about the process and about nobody's data."""

Trusted = Annotated[bool, Depends(is_trusted)]
JobsRead = Annotated[ApiContext, Depends(Needs(Scope.JOBS_READ))]
JobsWrite = Annotated[ApiContext, Depends(Needs(Scope.JOBS_WRITE))]
VideosRead = Annotated[ApiContext, Depends(Needs(Scope.VIDEOS_READ))]
JobShown = Annotated[ApiContext, Depends(Needs(Scope.JOBS_READ, Shown.JOB))]
VideoShown = Annotated[ApiContext, Depends(Needs(Scope.VIDEOS_READ, Shown.VIDEO))]
BytesShown = Annotated[ApiContext, Depends(Needs(Scope.VIDEOS_READ, Shown.BYTES))]
CameraShown = Annotated[ApiContext, Depends(Needs(Scope.JOBS_READ, Shown.CAMERA))]
VideosWrite = Annotated[ApiContext, Depends(Needs(Scope.VIDEOS_WRITE))]
Webhooks = Annotated[ApiContext, Depends(Needs(Scope.WEBHOOKS))]
EmbedMint = Annotated[ApiContext, Depends(Needs(Scope.EMBED_MINT))]
Metrics = Annotated[ApiContext, Depends(Needs(Scope.METRICS))]
Admin = Annotated[ApiContext, Depends(Needs(Scope.ADMIN))]
JobId = Annotated[str, Depends(known_job_id)]
