"""/v1/jobs: make, look at, list, wait for, cancel, retry, delete."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, FastAPI, Header, Query, Request
from starlette.responses import Response

from service.api.deps import (
    ApiContext,
    CameraShown,
    JobId,
    JobShown,
    JobsWrite,
    SecuredRoute,
    seen_camera,
)
from service.api.jobbodies import REQUEST_DOCUMENTATION, JobQuery
from service.api.looks import JobLooks
from service.api.schemas import PROBLEMS, JobBody, JobList
from service.api.submission import check_printable, hold_quotas, preferred_wait_seconds, submit
from service.jobs import commands, listing, removal
from service.jobs.commands import JobView
from service.jobs.states import ENDED

MAX_WAIT_SECONDS = 60.0
MAX_KEY_CHARACTERS = 200
"""Of an Idempotency-Key; the column has room for what other addresses put before theirs."""

LOOK_SECONDS = 0.3
"""How often a waiting request looks at the database."""

POLL_HINT_SECONDS = 2

IdempotencyKey = Annotated[
    str | None,
    Header(max_length=MAX_KEY_CHARACTERS, description="The same key never makes a second job."),
]


@asynccontextmanager
async def _looks_of(app: FastAPI) -> AsyncIterator[None]:
    app.state.looks = JobLooks()
    yield


router = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    responses=PROBLEMS,
    lifespan=_looks_of,
    route_class=SecuredRoute,
)


@router.post("", status_code=202, response_model=JobBody, openapi_extra=REQUEST_DOCUMENTATION)
async def post_job(
    request: Request,
    response: Response,
    context: JobsWrite,
    idempotency_key: IdempotencyKey = None,
    prefer: Annotated[str | None, Header(description="wait=SECONDS")] = None,
) -> JobBody:
    """Queue the localization of a video: a form brings it, JSON names it.

    Accepted means: on disk and in the database.
    """
    view = await submit(context, request, idempotency_key)
    wait_seconds = min(preferred_wait_seconds(prefer), MAX_WAIT_SECONDS)
    if wait_seconds > 0:
        view = await _wait_for_end(context, request, view.job.id, wait_seconds)
        response.headers["Preference-Applied"] = f"wait={wait_seconds:g}"
    _say_where(response, view)
    return JobBody.of(view)


@router.get("")
def get_jobs(
    context: CameraShown,
    wanted: Annotated[JobQuery, Query()],
) -> JobList:
    """List jobs, newest first; a page token stays valid, and jobs made meanwhile shift nothing."""
    shown = replace(wanted.filter(), camera=seen_camera(context, wanted.camera))
    page = listing.list_jobs(
        context.core, shown, page_size=wanted.page_size, page_token=wanted.page_token
    )
    jobs = [JobBody.of(view) for view in page.views]
    return JobList(jobs=jobs, next_page_token=page.next_page_token)


@router.get("/{job_id}")
async def get_job(
    request: Request,
    response: Response,
    context: JobShown,
    job_id: JobId,
    wait: Annotated[
        float,
        Query(ge=0, le=MAX_WAIT_SECONDS, description="Answer when the job has ended, or then."),
    ] = 0.0,
) -> JobBody:
    """Look at a job, at once or, with ``wait``, when it has ended or the time is over."""
    view = await _wait_for_end(context, request, job_id, wait)
    if view.job.status not in ENDED:
        response.headers["Retry-After"] = str(POLL_HINT_SECONDS)
    return JobBody.of(view)


@router.delete("/{job_id}", status_code=204)
def delete_job(context: JobsWrite, job_id: JobId) -> Response:
    """Delete a job with its video, features, activations and result.

    204: all of it is gone. 202: a worker still holds it and was told to stop; the job is out of
    sight, and the rest is deleted as soon as the worker lets go.
    """
    return Response(status_code=204 if removal.delete_job(context.core, job_id) else 202)


@router.post("/{job_id}/cancel", status_code=202)
def cancel_job(context: JobsWrite, job_id: JobId) -> JobBody:
    """Stop a job; canceling a canceled one is no error. A canceled job never succeeds."""
    return JobBody.of(commands.request_cancel(context.core, job_id))


@router.post("/{job_id}/retry", status_code=202)
def retry_job(
    response: Response,
    context: JobsWrite,
    job_id: JobId,
    idempotency_key: IdempotencyKey = None,
) -> JobBody:
    """Queue a job that failed or was canceled again, as a new one; features are found again."""
    check_printable(idempotency_key)
    view = commands.retry_job(context.core, job_id, idempotency_key, hold_quotas)
    _say_where(response, view)
    return JobBody.of(view)


def _say_where(response: Response, view: JobView) -> None:
    response.headers["Location"] = f"/v1/jobs/{view.job.id}"
    response.headers["Retry-After"] = str(POLL_HINT_SECONDS)


async def _wait_for_end(
    context: ApiContext, request: Request, job_id: str, wait_seconds: float
) -> JobView:
    """Return the job when it has ended, the time is over, or nobody waits any longer."""
    looks: JobLooks = request.app.state.looks
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_seconds
    while True:
        view = await looks.look(context.core, job_id)
        left_seconds = deadline - loop.time()
        if view.job.status in ENDED or left_seconds <= 0 or context.stopping.is_set():
            return view
        if await request.is_disconnected():
            return view
        await asyncio.sleep(min(LOOK_SECONDS, left_seconds))
