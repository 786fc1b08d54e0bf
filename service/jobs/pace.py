"""The time left of a job, told from the headway it made lately.

Lately, because workers come and go: four of them make four times the headway, and a job that
went back to the queue made none for reasons that are over. What was found done, as chunks whose
features are stored, is no headway either.
"""

import math
from datetime import datetime

from service.jobs.records import JobRecord

MIN_SECONDS = 1.0
"""A shorter stretch says nothing: several workers report within moments of each other."""

MEMORY_SECONDS = 30.0
"""After this long two thirds of the pace are what was measured since."""


def begin(job: JobRecord, now: datetime) -> None:
    """Measure from here on; the pace from before is forgotten."""
    job.pace_at, job.pace_progress = now, job.progress
    job.pace_per_second = job.eta_seconds = None


def skip(job: JobRecord, gained: float) -> None:
    """Leave out progress that took nobody any time."""
    if job.pace_progress is not None:
        job.pace_progress += gained
    if job.pace_per_second:
        job.eta_seconds = _left_seconds(job.progress, job.pace_per_second)


def measure(job: JobRecord, now: datetime) -> None:
    """Bring the pace, and with it the time left, up to date."""
    if job.pace_at is None or job.pace_progress is None:
        begin(job, now)
        return
    spent_seconds = (now - job.pace_at).total_seconds()
    if spent_seconds < MIN_SECONDS:
        return
    lately = max(0.0, job.progress - job.pace_progress) / spent_seconds
    pace = job.pace_per_second
    if pace is None:
        if lately == 0.0:
            # Nothing is known yet: the first headway is measured from the beginning.
            return
        pace = lately
    else:
        pace += (1 - math.exp(-spent_seconds / MEMORY_SECONDS)) * (lately - pace)
    job.pace_at, job.pace_progress, job.pace_per_second = now, job.progress, pace
    job.eta_seconds = _left_seconds(job.progress, pace)


def _left_seconds(progress: float, pace_per_second: float) -> float:
    return round((1 - progress) / pace_per_second, 1)
