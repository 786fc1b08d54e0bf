"""The time left: from the headway made lately, by however many."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from service.jobs import pace
from service.jobs.commands import get_job
from service.jobs.lifecycle import Plan

LEASE = 600.0
START = datetime(2026, 1, 1, tzinfo=UTC)


def job(progress=0.0):
    return SimpleNamespace(
        progress=progress, pace_at=None, pace_progress=None, pace_per_second=None, eta_seconds=None
    )


def run(one, seconds, per_second, start, step=2.0):
    """Let headway be reported in steps; return the moment of the last."""
    for number in range(1, round(seconds / step) + 1):
        one.progress = min(1.0, one.progress + per_second * step)
        pace.measure(one, start + timedelta(seconds=number * step))
    return start + timedelta(seconds=seconds)


def test_a_steady_pace_is_told_exactly():
    one = job()
    pace.begin(one, START)
    run(one, 100, 0.005, START)
    assert one.eta_seconds == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(("before", "after"), [(0.001, 0.004), (0.004, 0.001)])
def test_workers_that_join_or_leave_are_noticed_within_two_minutes(before, after):
    one = job()
    pace.begin(one, START)
    moment = run(one, 60, before, START)
    run(one, 120, after, moment)
    assert one.eta_seconds == pytest.approx((1 - one.progress) / after, rel=0.1)


def test_time_in_the_queue_does_not_count():
    one = job()
    pace.begin(one, START)
    moment = run(one, 60, 0.005, START) + timedelta(hours=5)
    pace.begin(one, moment)
    assert one.eta_seconds is None, "nothing is known yet"
    run(one, 60, 0.005, moment)
    assert one.eta_seconds == pytest.approx(80, abs=0.1)


def test_reports_within_a_moment_are_measured_together():
    one = job()
    pace.begin(one, START)
    for number in range(1, 401):
        # Four workers report one after the other, a hundred times.
        one.progress += 0.001
        pace.measure(one, START + timedelta(seconds=number * 0.25))
    assert one.eta_seconds == pytest.approx((1 - one.progress) / 0.004, rel=0.02)


def test_a_stall_makes_the_rest_longer():
    one = job()
    pace.begin(one, START)
    moment = run(one, 60, 0.005, START)
    before = one.eta_seconds
    run(one, 60, 0.0, moment)
    assert one.eta_seconds > 5 * before


def test_chunks_found_in_the_store_are_no_headway(core, queue, clock, add_job):
    job_id = add_job()
    task = queue.claim(owner="w", lease_seconds=LEASE)
    clock.advance(30)
    queue.complete_plan(task.id, task.token, Plan(20, {}, set(range(8))))
    assert get_job(core, job_id).job.eta_seconds is None
    found = queue.claim(owner="w", lease_seconds=LEASE)
    clock.advance(2)
    queue.complete_chunk(found.id, found.token, computed=False, computed_with={})
    for _ in range(5):
        task = queue.claim(owner="w", lease_seconds=LEASE)
        clock.advance(50)
        queue.complete_chunk(task.id, task.token, computed=True, computed_with={})
    # Six chunks of 50 s each are left, and what comes after them.
    assert get_job(core, job_id).job.eta_seconds == pytest.approx(6 * 50, rel=0.2)


def test_a_job_that_waits_has_no_time_left(core, queue, clock, add_job):
    job_id = add_job()
    task = queue.claim(owner="w", lease_seconds=LEASE)
    queue.complete_plan(task.id, task.token, Plan(2, {}))
    task = queue.claim(owner="w", lease_seconds=LEASE)
    clock.advance(10)
    queue.heartbeat(task.id, task.token, lease_seconds=LEASE, stage="flow", fraction=0.5)
    assert get_job(core, job_id).job.eta_seconds not in {None, 0.0}
    queue.release(task.id, task.token)
    assert get_job(core, job_id).job.eta_seconds is None
