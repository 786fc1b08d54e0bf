"""Events in order, each once, however transactions commit."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jobs import events, lifecycle
from service.jobs.commands import request_cancel
from service.jobs.events import EventTail, IdOrder, all_progress, existing_jobs, replay
from service.jobs.lifecycle import Plan
from service.jobs.records import JobRecord
from service.jobs.removal import delete_job
from service.jobs.store import reading, transaction

LEASE = 60.0


def started(core, **options):
    tail = EventTail(core, **options)
    for _ in range(100):
        assert tail.read() == []
        if tail.position is not None:
            return tail
    pytest.fail("the tail did not find the present")


def place(tail):
    return tail.position


def drain(tail, rounds=3):
    return [event for _ in range(rounds) for event in tail.read()]


def test_the_tail_tells_what_happens_from_now_on(core, queue, add_job):
    before = add_job(b"before")
    tail = started(core)
    job_id = add_job(b"after")
    request_cancel(core, before)
    request_cancel(core, job_id)
    seen = drain(tail)
    assert [(event.job_id, event.type) for event in seen] == [
        (job_id, "job.queued"),
        (before, "job.cancel_requested"),
        (before, "job.canceled"),
        (job_id, "job.cancel_requested"),
        (job_id, "job.canceled"),
    ]
    assert [event.id for event in seen] == sorted({event.id for event in seen})
    assert {event.tenant_id for event in seen} == {"default"}
    assert drain(tail) == []


def test_the_operators_details_stay_with_the_operator(core, queue, add_job):
    tail = started(core)
    add_job()
    task = queue.claim(owner="host-of-the-worker/cpu", lease_seconds=LEASE)
    queue.complete_plan(task.id, task.token, Plan(1, {}, set()))
    chunk = queue.claim(owner="host-of-the-worker/cpu", lease_seconds=LEASE)
    queue.complete_chunk(chunk.id, chunk.token, computed=True, computed_with={})
    join = queue.claim(owner="host-of-the-worker/cpu", lease_seconds=LEASE)
    queue.fail(join.id, join.token, code="x", message="secret", retryable=False)
    seen = drain(tail)
    assert [(event.type, event.details) for event in seen] == [
        ("job.queued", {}),
        ("job.processing", {}),
        ("chunk.done", {"index": 0, "computed": True}),
        ("job.failed", {"code": "x"}),
    ]


def test_a_replay_stops_where_the_tail_stands(core, add_job):
    job_id = add_job()
    tail = started(core)
    request_cancel(core, job_id)
    with reading(core.for_tenant("default").engine) as session:
        found, after = replay(session, after=0, until=tail.position, job_id=job_id)
        assert [event.type for event in found] == ["job.queued"]
        assert after == tail.position
    drain(tail)
    with reading(core.for_tenant("default").engine) as session:
        pages, after = [], 0
        while after < tail.position:
            found, after = replay(session, after=after, until=tail.position, job_id=None, limit=1)
            pages.append([event.type for event in found])
        assert [event for page in pages for event in page] == [
            "job.queued",
            "job.cancel_requested",
            "job.canceled",
        ]
    with reading(core.for_tenant("other").engine) as session:
        assert replay(session, after=0, until=tail.position, job_id=None)[0] == []
        assert replay(session, after=0, until=tail.position, job_id=job_id)[0] == []


def test_progress_is_told_of_jobs_in_work(core, queue, add_job):
    waiting = add_job(b"1")
    working = queue.claim(owner="w", lease_seconds=LEASE).job_id
    other = add_job(b"2")
    with reading(core.engine) as session:
        assert [one.job_id for one in all_progress(session)] == [working]
        assert existing_jobs(session, [waiting, other, "job_x"]) == {waiting, other}
    delete_job(core, other)
    with reading(core.engine) as session:
        assert existing_jobs(session, [waiting, other]) == {waiting}


@given(st.data())
def test_ids_are_admitted_in_order_and_all_of_them(data):
    """Transactions take ids, run, and commit or roll back in any order; nothing is passed over."""
    order = IdOrder(0, clock=lambda: 0.0)
    running, visible, number, next_id = {}, [], 1, 1
    committed, admitted = set(), []
    for _ in range(data.draw(st.integers(1, 60))):
        action = data.draw(st.sampled_from(["begin", "write", "commit", "rollback", "read"]))
        if action == "begin":
            running[number] = []
            number += 1
        elif action == "read":
            oldest = min(running, default=number)
            ids = [one for one in sorted(visible) if one > order.position][:5]
            count = order.admit(ids, oldest)
            admitted += ids[:count]
            if count < len(ids) and not order.doubts:
                order.doubt(ids[-1], number)
        elif running:
            chosen = data.draw(st.sampled_from(sorted(running)))
            if action == "write":
                running[chosen].append(next_id)
                next_id += 1
            else:
                ids = running.pop(chosen)
                if action == "commit":
                    visible += ids
                    committed |= set(ids)
    for _ in range(200):
        ids = [one for one in sorted(visible) if one > order.position][:5]
        count = order.admit(ids, number)
        admitted += ids[:count]
        if count < len(ids) and not order.doubts:
            order.doubt(ids[-1], number)
    assert admitted == sorted(committed)


def test_a_gap_is_given_up_after_a_while():
    moment = [0.0]
    order = IdOrder(0, clock=lambda: moment[0])
    assert order.admit([2, 3], oldest=1) == 0
    order.doubt(3, 9)
    moment[0] = events.GAP_SECONDS - 1
    assert order.admit([2, 3], oldest=1) == 0
    moment[0] = events.GAP_SECONDS + 1
    assert order.admit([2, 3, 5], oldest=1) == 2
    assert order.position == 3


def test_a_commit_out_of_order_is_waited_for(engine, core, add_job, clock):
    if engine.dialect.name != "postgresql":
        pytest.skip("on SQLite writers take turns")
    slow, quick = add_job(b"slow"), add_job(b"quick")
    tail = started(core)
    with transaction(engine) as late:
        lifecycle.add_event(late, late.get_one(JobRecord, slow), "job.processing", clock.moment)
        late.flush()
        request_cancel(core, quick)
        assert drain(tail) == [], "something with a lower id may still come"
    assert [(event.job_id, event.type) for event in drain(tail)] == [
        (slow, "job.processing"),
        (quick, "job.cancel_requested"),
        (quick, "job.canceled"),
    ]


def test_what_is_rolled_back_holds_nothing_up(engine, core, add_job, clock):
    job_id = add_job()
    tail = started(core)

    def fail():
        with transaction(engine) as session:
            lifecycle.add_event(
                session, session.get_one(JobRecord, job_id), "job.processing", clock.moment
            )
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    request_cancel(core, job_id)
    assert [event.type for event in drain(tail)] == ["job.cancel_requested", "job.canceled"]


def test_a_tail_does_not_start_in_front_of_a_running_transaction(engine, core, add_job, clock):
    if engine.dialect.name != "postgresql":
        pytest.skip("on SQLite writers take turns")
    job_id = add_job()
    with transaction(engine) as late:
        lifecycle.add_event(late, late.get_one(JobRecord, job_id), "job.processing", clock.moment)
        late.flush()
        add_job(b"later")
        tail = EventTail(core)
        assert drain(tail) == []
        assert place(tail) is None
    assert drain(tail) == []
    with reading(core.for_tenant("default").engine) as session:
        found, _ = replay(session, after=0, until=place(tail), job_id=job_id)
    assert [event.type for event in found] == ["job.queued", "job.processing"]


def test_writers_at_the_same_time_lose_and_double_nothing(engine, core, add_job):
    tail = started(core)
    job_ids = [add_job(bytes([number])) for number in range(24)]
    ended = threading.Event()
    seen = []

    def follow():
        while not ended.is_set():
            seen.extend(tail.read())

    def cancel(mine):
        for job_id in mine:
            request_cancel(core, job_id)

    reader = threading.Thread(target=follow)
    writers = [threading.Thread(target=cancel, args=(job_ids[n::4],)) for n in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join(60)
    ended.set()
    reader.join(60)
    seen += drain(tail)
    assert len(seen) == 3 * len(job_ids)
    assert [event.id for event in seen] == sorted({event.id for event in seen})
