"""The states of jobs and tasks and what leads from one to the next: pure tables.

``cancel_requested`` and ``delete_requested`` are flags of a job, not states of it.
"""

from collections.abc import Mapping
from enum import StrEnum

from service.errors import InvalidTransition


class JobStatus(StrEnum):
    """Where a job stands, in the words users see."""

    QUEUED = "queued"
    """No worker holds any of its tasks."""
    PROCESSING = "processing"
    """At least one worker has taken it up."""
    SUCCEEDED = "succeeded"
    """It has a result."""
    FAILED = "failed"
    """It has an error code and message."""
    CANCELED = "canceled"
    """A user stopped it before it had a result."""


class JobEvent(StrEnum):
    """What can happen to a job."""

    CLAIMED = "claimed"
    """A worker took one of its tasks."""
    RETURNED = "returned"
    """The last leased task went back: released, expired, or to be tried again."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class JobKind(StrEnum):
    """What a job is for."""

    LOCALIZE = "localize"
    """Finds the actions of a video: [fetch,] plan, chunks, join."""
    PROBE = "probe"
    """Looks at a video and draws its thumbnails, unseen by users: [fetch,] probe."""


class JobQueue(StrEnum):
    """Which jobs go first: interactive ones."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class VideoStatus(StrEnum):
    """Whether a video can be worked with."""

    PENDING = "pending"
    """Nobody has looked at it yet."""
    READY = "ready"
    FAILED = "failed"
    """It cannot be fetched or is no video; it has an error code and message."""


class TaskKind(StrEnum):
    """The steps of a job."""

    FETCH = "fetch"
    """Get the bytes of a video that was given by URL; done by the sweeper, not by workers."""
    PROBE = "probe"
    """Look at the video and draw its thumbnails."""
    PLAN = "plan"
    """Look at the video and cut it into chunks."""
    CHUNK = "chunk"
    """Extract the features of one chunk."""
    JOIN = "join"
    """Turn all features into one result."""


class TaskStatus(StrEnum):
    """Where a task stands."""

    READY = "ready"
    """Claimable once ``run_after`` has passed."""
    LEASED = "leased"
    """Held by one owner until ``lease_until``; claimable again afterwards."""
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"
    """Its job ended before it did."""


class TaskEvent(StrEnum):
    """What can happen to a task."""

    CLAIMED = "claimed"
    RETURNED = "returned"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    REOPENED = "reopened"
    """A done chunk is to be computed anew: its job was given another arithmetic."""


COMPUTED_KINDS = (TaskKind.PROBE, TaskKind.PLAN, TaskKind.CHUNK, TaskKind.JOIN)
"""What workers claim."""

ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED})
"""Job states that nothing leaves."""

JOB_TRANSITIONS: Mapping[tuple[JobStatus, JobEvent], JobStatus] = {
    (JobStatus.QUEUED, JobEvent.CLAIMED): JobStatus.PROCESSING,
    (JobStatus.QUEUED, JobEvent.FAILED): JobStatus.FAILED,
    (JobStatus.QUEUED, JobEvent.CANCELED): JobStatus.CANCELED,
    (JobStatus.PROCESSING, JobEvent.CLAIMED): JobStatus.PROCESSING,
    (JobStatus.PROCESSING, JobEvent.RETURNED): JobStatus.QUEUED,
    (JobStatus.PROCESSING, JobEvent.SUCCEEDED): JobStatus.SUCCEEDED,
    (JobStatus.PROCESSING, JobEvent.FAILED): JobStatus.FAILED,
    (JobStatus.PROCESSING, JobEvent.CANCELED): JobStatus.CANCELED,
}

TASK_TRANSITIONS: Mapping[tuple[TaskStatus, TaskEvent], TaskStatus] = {
    (TaskStatus.READY, TaskEvent.CLAIMED): TaskStatus.LEASED,
    (TaskStatus.READY, TaskEvent.CANCELED): TaskStatus.CANCELED,
    # A lease that ran out is taken over without passing through ready.
    (TaskStatus.LEASED, TaskEvent.CLAIMED): TaskStatus.LEASED,
    (TaskStatus.LEASED, TaskEvent.RETURNED): TaskStatus.READY,
    (TaskStatus.LEASED, TaskEvent.COMPLETED): TaskStatus.DONE,
    (TaskStatus.LEASED, TaskEvent.FAILED): TaskStatus.FAILED,
    (TaskStatus.LEASED, TaskEvent.CANCELED): TaskStatus.CANCELED,
    (TaskStatus.DONE, TaskEvent.REOPENED): TaskStatus.READY,
}


def next_state(status: JobStatus, event: JobEvent) -> JobStatus:
    """Return the state a job is in after an event.

    Raises:
        InvalidTransition: the event cannot happen in this state.
    """
    try:
        return JOB_TRANSITIONS[status, event]
    except KeyError:
        message = f"A job that is {status} cannot be {event}."
        raise InvalidTransition(message) from None


def next_task_state(status: TaskStatus, event: TaskEvent) -> TaskStatus:
    """Return the state a task is in after an event.

    Raises:
        InvalidTransition: the event cannot happen in this state.
    """
    try:
        return TASK_TRANSITIONS[status, event]
    except KeyError:
        message = f"A task that is {status} cannot be {event}."
        raise InvalidTransition(message) from None
