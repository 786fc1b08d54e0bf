"""/healthz and /readyz: is the process alive, and is everything there that it stands on."""

import os

from fastapi import APIRouter
from starlette.responses import Response

from service.api.deps import ApiContext, Trusted, Unbound
from service.api.schemas import CheckBody, HealthBody, ReadyBody
from service.errors import DatabaseUnavailable, OutageError
from service.jobs.commands import seconds_since_worker
from service.storage import free_bytes, free_floor_bytes

router = APIRouter(tags=["health"])

NOT_READY = 503
NOTHING = "readyz"
"""A prefix below which no blob lies: listing it costs one request."""


@router.get("/healthz")
async def get_health() -> HealthBody:
    """Answer while the process lives; looks at nothing else."""
    return HealthBody()


@router.get("/readyz", responses={503: {"model": ReadyBody}})
def get_readiness(context: Unbound, trusted: Trusted, response: Response) -> ReadyBody:
    """Look at database, storage, free space and workers; strangers are told the outcome alone.

    503 when jobs cannot be accepted. A missing worker alone is 200 with ``degraded``: what is
    accepted waits for one and is not lost.
    """
    database, worker = _database_and_worker(context)
    needed = {"database": database, "storage": _storage(context), "disk": _disk(context)}
    ready = all(check.ok for check in needed.values())
    if not ready:
        response.status_code = NOT_READY
    status = "not_ready" if not ready else "ready" if worker.ok else "degraded"
    checks = {**needed, "worker": worker} if trusted else {}
    return ReadyBody(status=status, checks=checks)


def _database_and_worker(context: ApiContext) -> tuple[CheckBody, CheckBody]:
    try:
        silent_seconds = seconds_since_worker(context.core)
    except DatabaseUnavailable as error:
        return CheckBody(ok=False, detail=str(error)), CheckBody(ok=False, detail="unknown")
    if silent_seconds is None:
        worker = CheckBody(ok=False, detail="no worker was ever seen")
    else:
        seen = silent_seconds <= context.settings.worker_silence_seconds
        worker = CheckBody(ok=seen, detail=f"last seen {silent_seconds:.0f} s ago")
    return CheckBody(ok=True, detail="answers"), worker


def _storage(context: ApiContext) -> CheckBody:
    if not os.access(context.settings.data_dir, os.W_OK | os.X_OK):
        return CheckBody(ok=False, detail="not writable")
    if context.settings.storage_url is None:
        return CheckBody(ok=True, detail="writable")
    try:
        next(context.core.blobs.keys(NOTHING), None)
    except (OutageError, OSError):
        return CheckBody(ok=False, detail="the object storage does not answer, or refuses")
    return CheckBody(ok=True, detail="answers")


def _disk(context: ApiContext) -> CheckBody:
    try:
        free = free_bytes(context.settings.data_dir)
        floor = free_floor_bytes(context.settings)
    except OSError:
        return CheckBody(ok=False, detail="the data folder is gone")
    return CheckBody(ok=free >= floor, detail=f"{free} bytes free, floor {floor}")
