"""What routes are given: the application's context and checked path parameters."""

import re
import threading
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Path, Request

from service.errors import JobNotFound
from service.jobs.commands import JobCore
from service.settings import Settings

JOB_ID = re.compile(r"job_[0-9A-HJKMNP-TV-Z]{26}")


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What one API process works with.

    Attributes:
        stopping: set when the process is to end, so that waiting requests are answered.
    """

    settings: Settings
    core: JobCore
    stopping: threading.Event = field(default_factory=threading.Event)


def api_context(request: Request) -> ApiContext:
    """Return the context that the application's lifespan made."""
    context: ApiContext = request.app.state.context
    return context


def known_job_id(job_id: Annotated[str, Path(description="As given in `id`.")]) -> str:
    """Return a job id that can exist.

    Raises:
        JobNotFound: no job can have it.
    """
    if not JOB_ID.fullmatch(job_id):
        message = "There is no job of this id; ids look like job_01J9…, as POST /v1/jobs returns."
        raise JobNotFound(message)
    return job_id


Context = Annotated[ApiContext, Depends(api_context)]
JobId = Annotated[str, Depends(known_job_id)]
