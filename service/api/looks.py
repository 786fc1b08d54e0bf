"""Looks at jobs, gathered: polls that come while the database is asked share the next question.

A poll alone is answered as quickly as ever. The more come at once, the less each costs: one hop
to a thread and one query for all of them, so that a crowd of pollers does not queue up.
"""

import asyncio
import contextvars
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from service.jobs.commands import JobCore, JobView, get_jobs, job_not_found

MAX_TOGETHER = 200
"""Jobs in one question: well below what databases take as parameters."""


@dataclass(frozen=True, slots=True)
class _Wish:
    core: JobCore
    job_id: str
    answer: asyncio.Future[JobView]


class JobLooks:
    """Looks at jobs for one event loop."""

    def __init__(self) -> None:
        self._wishes: list[_Wish] = []
        self._task: asyncio.Task[None] | None = None

    async def look(self, core: JobCore, job_id: str) -> JobView:
        """Return a job.

        Args:
            core: bound to the tenant that asks.
            job_id: of one of its jobs.

        Raises:
            JobNotFound: there is none, or it was deleted.
            DatabaseUnavailable: the database did not answer.
        """
        answer: asyncio.Future[JobView] = asyncio.get_running_loop().create_future()
        self._wishes.append(_Wish(core, job_id, answer))
        if self._task is None or self._task.done():
            # In a context of its own: it is no part of the request that happened to come first.
            self._task = asyncio.create_task(
                self._answer_all(), name="job-looks", context=contextvars.Context()
            )
        return await answer

    async def _answer_all(self) -> None:
        while self._wishes:
            asked, self._wishes = self._wishes[:MAX_TOGETHER], self._wishes[MAX_TOGETHER:]
            try:
                found = await run_in_threadpool(_find, asked)
            except Exception as error:  # noqa: BLE001 - raised again in everyone who waits for it
                _fail(asked, error)
                continue
            for wish in asked:
                view = found.get((wish.core.tenant_id, wish.job_id))
                if wish.answer.done():
                    continue
                if view is None:
                    wish.answer.set_exception(job_not_found(wish.job_id))
                else:
                    wish.answer.set_result(view)


def _find(asked: Sequence[_Wish]) -> dict[tuple[str, str], JobView]:
    """Return what there is, by tenant and job: each tenant is asked for by itself."""
    by_tenant: defaultdict[str, list[_Wish]] = defaultdict(list)
    for wish in asked:
        by_tenant[wish.core.tenant_id].append(wish)
    return {
        (tenant_id, view.job.id): view
        for tenant_id, wishes in by_tenant.items()
        for view in get_jobs(wishes[0].core, {wish.job_id for wish in wishes})
    }


def _fail(asked: Sequence[_Wish], error: Exception) -> None:
    for wish in asked:
        if not wish.answer.done():
            wish.answer.set_exception(error)
