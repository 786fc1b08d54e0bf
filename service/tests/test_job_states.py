import itertools

import pytest

from service.errors import InvalidTransition
from service.jobs.states import (
    ENDED,
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    JobEvent,
    JobStatus,
    TaskEvent,
    TaskStatus,
    next_state,
    next_task_state,
)

JOB_TABLE = [
    ("queued", "claimed", "processing"),
    ("queued", "returned", None),
    ("queued", "succeeded", None),
    ("queued", "failed", "failed"),
    ("queued", "canceled", "canceled"),
    ("processing", "claimed", "processing"),
    ("processing", "returned", "queued"),
    ("processing", "succeeded", "succeeded"),
    ("processing", "failed", "failed"),
    ("processing", "canceled", "canceled"),
]

TASK_TABLE = [
    ("ready", "claimed", "leased"),
    ("ready", "returned", None),
    ("ready", "completed", None),
    ("ready", "failed", None),
    ("ready", "canceled", "canceled"),
    ("leased", "claimed", "leased"),
    ("leased", "returned", "ready"),
    ("leased", "completed", "done"),
    ("leased", "failed", "failed"),
    ("leased", "canceled", "canceled"),
    ("ready", "reopened", None),
    ("leased", "reopened", None),
    ("done", "reopened", "ready"),
]


@pytest.mark.parametrize(("status", "event", "expected"), JOB_TABLE)
def test_next_state(status, event, expected):
    if expected is None:
        with pytest.raises(InvalidTransition, match=f"{status} cannot be {event}"):
            next_state(JobStatus(status), JobEvent(event))
    else:
        assert next_state(JobStatus(status), JobEvent(event)) == expected


@pytest.mark.parametrize(("status", "event", "expected"), TASK_TABLE)
def test_next_task_state(status, event, expected):
    if expected is None:
        with pytest.raises(InvalidTransition):
            next_task_state(TaskStatus(status), TaskEvent(event))
    else:
        assert next_task_state(TaskStatus(status), TaskEvent(event)) == expected


def test_nothing_leaves_an_ended_state():
    for status, event in itertools.product(ENDED, JobEvent):
        with pytest.raises(InvalidTransition):
            next_state(status, event)
    over = (TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.CANCELED)
    for task_status, task_event in itertools.product(over, TaskEvent):
        if (task_status, task_event) == (TaskStatus.DONE, TaskEvent.REOPENED):
            continue
        with pytest.raises(InvalidTransition):
            next_task_state(task_status, task_event)


def test_tables_name_every_transition_there_is():
    assert {(a, b) for a, b, c in JOB_TABLE if c} == set(JOB_TRANSITIONS)
    assert {(a, b) for a, b, c in TASK_TABLE if c} == set(TASK_TRANSITIONS)


def test_every_state_is_reached():
    assert set(JOB_TRANSITIONS.values()) == set(JobStatus)
    assert set(TASK_TRANSITIONS.values()) == set(TaskStatus)
