import pytest

from service.errors import DatabaseUnavailable
from service.metrics.counting import Counter, labelled
from workers.metering import WRITE_SECONDS, TaskMeter, unmetered


class Clock:
    moment = 0.0

    def __call__(self):
        return self.moment


@pytest.fixture
def written():
    return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def meter(written, clock):
    return TaskMeter(lambda counts: written.append(dict(counts)), clock)


def test_figures_are_gathered_and_written_now_and_then(meter, written, clock):
    for _ in range(3):
        meter.task("chunk", "done", 1.5)
        meter.chunk(computed=True, num_frames=1600, stage_seconds={"flow": 0.5, "features": 0.0})
        meter.flush()
    assert written == []
    clock.moment = WRITE_SECONDS
    meter.flush()
    meter.flush(now=True)
    assert written == [
        {
            (Counter.TASKS, labelled(kind="chunk", ending="done")): 3,
            (Counter.TASK_SECONDS, labelled(kind="chunk")): 4.5,
            (Counter.CHUNKS, labelled(features="computed")): 3,
            (Counter.FRAMES, ()): 4800,
            (Counter.STAGE_SECONDS, labelled(stage="flow")): 1.5,
        }
    ]


def test_found_chunks_are_no_frames(meter, written):
    meter.chunk(computed=False, num_frames=1600, stage_seconds={})
    meter.chunks("found", 4)
    meter.flush(now=True)
    assert written == [{(Counter.CHUNKS, labelled(features="found")): 5}]


def test_a_database_that_is_away_costs_no_figure(clock):
    calls = []

    def write(counts):
        calls.append(dict(counts))
        if len(calls) == 1:
            raise DatabaseUnavailable("away")

    meter = TaskMeter(write, clock)
    meter.task("plan", "done", 1.0)
    meter.flush(now=True)
    meter.task("plan", "done", 1.0)
    meter.flush(now=True)
    assert calls[1][Counter.TASKS, labelled(kind="plan", ending="done")] == 2


def test_nobody_need_listen():
    meter = unmetered()
    meter.task("plan", "done", 1.0)
    meter.flush(now=True)
