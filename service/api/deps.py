"""What routes are given: a context bound to the caller's tenant, and checked path parameters.

A route says which scope it needs by the type of its context: ``context: JobsRead``.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Path, Request

from service.errors import Forbidden, JobNotFound
from service.jobs.commands import JobCore
from service.jobs.records import DEFAULT_TENANT
from service.settings import Settings

ID_BODY = "_[0-9A-HJKMNP-TV-Z]{26}"
JOB_ID = re.compile("job" + ID_BODY)


class Scope(StrEnum):
    """What an API key may be allowed to do."""

    JOBS_READ = "jobs:read"
    """Jobs, batches, results, events, models."""
    JOBS_WRITE = "jobs:write"
    """Make, cancel, retry and delete jobs and batches."""
    VIDEOS_READ = "videos:read"
    """Videos, their bytes and thumbnails."""
    VIDEOS_WRITE = "videos:write"
    """Upload and delete videos."""
    WEBHOOKS = "webhooks:manage"
    """Webhooks and their deliveries."""
    METRICS = "metrics:read"
    """/metrics, which knows no tenants."""
    ADMIN = "admin"
    """Keys; includes every other scope."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request.

    Attributes:
        key_id: of the API key; None where none was needed.
    """

    tenant_id: str
    scopes: frozenset[Scope]
    key_id: str | None = None


ANYBODY = Caller(DEFAULT_TENANT, frozenset(Scope))
"""A caller without a key where none is needed: the default tenant, every scope."""


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What one API process, or one request, works with.

    Attributes:
        core: in a request, bound to the caller's tenant.
        stopping: set when the process is to end, so that waiting requests are answered.
    """

    settings: Settings
    core: JobCore
    stopping: threading.Event = field(default_factory=threading.Event)
    caller: Caller = ANYBODY


def api_context(request: Request) -> ApiContext:
    """Return the context that the application's lifespan made, of no tenant."""
    context: ApiContext = request.app.state.context
    return context


def needs(scope: Scope) -> Callable[[Request], ApiContext]:
    """Return a dependency that gives the context of a caller who has a scope.

    Raises:
        Forbidden: from the dependency, the caller lacks it.
    """

    def bound_context(request: Request) -> ApiContext:
        context = api_context(request)
        caller: Caller = getattr(request.state, "caller", ANYBODY)
        if scope not in caller.scopes and Scope.ADMIN not in caller.scopes:
            message = f"This API key lacks the scope {scope}; use one that has it."
            raise Forbidden(message)
        return replace(context, core=context.core.for_tenant(caller.tenant_id), caller=caller)

    return bound_context


def known_job_id(job_id: Annotated[str, Path(description="As given in `id`.")]) -> str:
    """Return a job id that can exist.

    Raises:
        JobNotFound: no job can have it.
    """
    if not JOB_ID.fullmatch(job_id):
        message = "There is no job of this id; ids look like job_01J9…, as POST /v1/jobs returns."
        raise JobNotFound(message)
    return job_id


Unbound = Annotated[ApiContext, Depends(api_context)]
"""For routes that are about the process and about nobody's data."""

JobsRead = Annotated[ApiContext, Depends(needs(Scope.JOBS_READ))]
JobsWrite = Annotated[ApiContext, Depends(needs(Scope.JOBS_WRITE))]
VideosRead = Annotated[ApiContext, Depends(needs(Scope.VIDEOS_READ))]
VideosWrite = Annotated[ApiContext, Depends(needs(Scope.VIDEOS_WRITE))]
Webhooks = Annotated[ApiContext, Depends(needs(Scope.WEBHOOKS))]
Metrics = Annotated[ApiContext, Depends(needs(Scope.METRICS))]
Admin = Annotated[ApiContext, Depends(needs(Scope.ADMIN))]
JobId = Annotated[str, Depends(known_job_id)]
