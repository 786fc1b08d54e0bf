"""Lease keeping by an injected clock: when it renews, when it lets go, and for which reason."""

from dataclasses import dataclass, field

import pytest

from models.types import Progress
from service.errors import DatabaseUnavailable, LeaseLost
from workers.lease import LeaseKeeper, LeaseSettings, StopReason

SETTINGS = LeaseSettings(
    lease_seconds=60, heartbeat_seconds=15, progress_seconds=1, stall_seconds=300
)


@dataclass
class ScriptedQueue:
    """Answers heartbeats from a list; the last answer repeats."""

    answers: list[object] = field(default_factory=lambda: [False])
    calls: list[tuple[object, ...]] = field(default_factory=list)

    def heartbeat(self, task_id, token, *, lease_seconds, stage=None, fraction=None):
        self.calls.append((task_id, token, stage, fraction))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Bench:
    def __init__(self, *answers, draining=False):
        self.now = 1000.0
        self.draining = draining
        self.queue = ScriptedQueue(list(answers) or [False])
        self.keeper = LeaseKeeper(
            self.queue, ("task_1", 2), SETTINGS, lambda: self.draining, clock=lambda: self.now
        )

    def beat(self, seconds):
        self.now += seconds
        self.keeper.beat()


def test_idle_work_is_renewed_at_the_heartbeat_only():
    bench = Bench()
    bench.beat(14.9)
    assert bench.queue.calls == []
    bench.beat(0.2)
    assert bench.queue.calls == [("task_1", 2, None, None)]
    bench.beat(14.9)
    assert len(bench.queue.calls) == 1


def test_news_of_progress_goes_out_early_but_not_twice():
    bench = Bench()
    bench.keeper.on_progress(Progress("flow", 0.25))
    bench.beat(0.5)
    assert bench.queue.calls == []
    bench.beat(0.6)
    assert bench.queue.calls == [("task_1", 2, "flow", 0.25)]
    bench.beat(5)
    assert len(bench.queue.calls) == 1


def test_lease_is_let_go_when_progress_stalls():
    bench = Bench()
    for _ in range(20):
        bench.keeper.on_progress(Progress("flow", 0.25))
        bench.beat(15)
    assert not bench.keeper.should_stop()
    renewed = len(bench.queue.calls)
    bench.beat(15)
    assert bench.keeper.reason is StopReason.STALLED
    assert len(bench.queue.calls) == renewed


def test_moving_work_never_stalls():
    bench = Bench()
    for step in range(100):
        bench.keeper.on_progress(Progress("flow", step / 100))
        bench.beat(250)
    assert not bench.keeper.should_stop()


def test_cancel_request_stops_the_work():
    bench = Bench(False, True)
    bench.beat(15)
    assert not bench.keeper.should_stop()
    bench.beat(15)
    assert bench.keeper.should_stop()
    assert bench.keeper.reason is StopReason.CANCELED


def test_lost_lease_stops_the_work_and_is_not_asked_for_again():
    bench = Bench(LeaseLost("taken"))
    bench.beat(15)
    assert bench.keeper.reason is StopReason.FENCED
    bench.beat(15)
    assert len(bench.queue.calls) == 1


@pytest.mark.parametrize(("outage_seconds", "reason"), [(45, None), (90, StopReason.FENCED)])
def test_database_outage_is_sat_out_as_long_as_the_lease_holds(outage_seconds, reason):
    bench = Bench(DatabaseUnavailable("away"))
    for _ in range(outage_seconds // 15):
        bench.beat(15)
    assert bench.keeper.reason is reason


def test_drain_stops_the_work_but_keeps_the_lease_alive():
    bench = Bench()
    bench.draining = True
    bench.beat(1)
    assert bench.keeper.reason is StopReason.DRAINING
    bench.beat(15)
    assert len(bench.queue.calls) == 1


def test_losing_the_lease_outranks_a_drain():
    bench = Bench(LeaseLost("taken"))
    bench.draining = True
    bench.beat(1)
    bench.beat(15)
    assert bench.keeper.reason is StopReason.FENCED
