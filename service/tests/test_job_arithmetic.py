"""One arithmetic per job: stated by the plan, declined where it cannot be done, re-based."""

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import select, text

from service.errors import LeaseLost
from service.jobs.arithmetic import DECLINE_SECONDS, REBASE_SECONDS
from service.jobs.commands import get_job, request_cancel
from service.jobs.lifecycle import Plan
from service.jobs.queue import MAX_ATTEMPTS
from service.jobs.records import DeclineRecord, EventRecord, JobRecord, TaskRecord
from service.jobs.removal import purge_job
from service.jobs.schema import MIGRATIONS
from service.jobs.store import create_engine_for, migrate, reading, transaction

LEASE = 60.0
BF16 = {"precision": "bf16", "cpu": "AVX512"}
FP32 = {"precision": "fp32", "cpu": "AVX2"}


def claim(queue, owner, task_id=None):
    return queue.claim(owner=owner, task_id=task_id, lease_seconds=LEASE)


def done(queue, task, computed_with):
    return queue.complete_chunk(task.id, task.token, computed=True, computed_with=computed_with)


def decline(queue, task, own=FP32):
    return queue.decline(task.id, task.token, computed_with=own)


def planned(queue, add_job, num_chunks=3, stored=(), computed_with=BF16):
    job_id = add_job()
    task = claim(queue, "planner")
    plan = Plan(num_chunks, {"duration": 9.0}, set(stored), computed_with)
    queue.complete_plan(task.id, task.token, plan)
    return job_id


def chunks(core, job_id):
    with reading(core.engine) as session:
        rows = session.execute(
            select(TaskRecord)
            .where(TaskRecord.job_id == job_id, TaskRecord.kind == "chunk")
            .order_by(TaskRecord.index)
        ).scalars()
        return [(row.status, row.attempts) for row in rows]


def events(core, job_id, kind):
    with reading(core.engine) as session:
        statement = select(EventRecord.details).where(
            EventRecord.job_id == job_id, EventRecord.type == kind
        )
        return list(session.execute(statement).scalars())


def test_every_claim_of_a_chunk_says_how_it_is_to_be_computed(queue, add_job):
    add_job()
    plan = claim(queue, "planner")
    assert plan.computed_with is None
    queue.complete_plan(plan.id, plan.token, Plan(2, {}, set(), BF16))
    first, second = claim(queue, "a"), claim(queue, "b")
    assert first.computed_with == second.computed_with == BF16
    assert done(queue, first, BF16)
    assert done(queue, second, BF16)
    assert claim(queue, "b").kind == "join"


def test_declined_chunk_costs_no_attempt_and_goes_to_others(core, queue, add_job):
    job_id = planned(queue, add_job, num_chunks=1)
    task = claim(queue, "unable")
    assert decline(queue, task) is False
    assert chunks(core, job_id) == [("ready", 0)]
    assert claim(queue, "unable") is None, "offered again at once: it would spin"
    assert claim(queue, "unable", task.id) is None, "a hint makes no difference"
    with pytest.raises(LeaseLost):
        done(queue, task, BF16)
    able = claim(queue, "able")
    assert (able.index, able.attempt, able.token) == (0, 1, 2)
    assert done(queue, able, BF16)
    assert claim(queue, "unable").kind == "join", "a join needs no arithmetic"
    assert events(core, job_id, "job.rebased") == []


def test_declining_one_job_leaves_the_others_open(queue, add_job):
    planned(queue, add_job, num_chunks=1)
    decline(queue, claim(queue, "unable"))
    second = add_job(b"two")
    assert claim(queue, "unable").job_id == second


def test_nobody_declines_for_ever(core, queue, clock, add_job):
    """A worker that cannot is asked again each minute, and takes the job over in the end."""
    job_id = planned(queue, add_job, num_chunks=2, stored={0})
    started = clock.moment
    asked = 0
    while (task := claim(queue, "unable")) is None or not decline(queue, task):
        asked += task is not None
        clock.advance(1)
        assert (clock.moment - started).total_seconds() <= REBASE_SECONDS
    assert asked == REBASE_SECONDS // DECLINE_SECONDS
    assert get_job(core, job_id).job.computed_with == FP32
    assert done(queue, task, FP32)
    again = claim(queue, "unable")
    assert (again.index, again.computed_with) == (0, FP32), "what was done otherwise is open again"
    (event,) = events(core, job_id, "job.rebased")
    assert event == {"before": BF16, "after": FP32, "reopened": [0]}


def test_headway_of_an_able_worker_keeps_the_job_as_it_is(core, queue, clock, add_job):
    job_id = planned(queue, add_job)
    able = claim(queue, "able")
    for step in range(20):
        clock.advance(LEASE - 1)
        queue.heartbeat(
            able.id, able.token, lease_seconds=LEASE, stage="features", fraction=step / 20
        )
        if (task := claim(queue, "unable")) is not None:
            assert decline(queue, task) is False
    assert get_job(core, job_id).job.computed_with == BF16


def test_slow_chunk_under_a_valid_lease_is_not_taken_for_gone(core, queue, clock, add_job):
    job_id = planned(queue, add_job)
    able = claim(queue, "able")
    queue.heartbeat(able.id, able.token, lease_seconds=LEASE, stage="flow", fraction=0.1)
    for _ in range(10):  # alive, but without news
        clock.advance(LEASE - 1)
        queue.heartbeat(able.id, able.token, lease_seconds=LEASE)
        if (task := claim(queue, "unable")) is not None:
            assert decline(queue, task) is False
    assert get_job(core, job_id).job.computed_with == BF16
    other = claim(queue, "unable")
    assert other.id != able.id
    clock.advance(LEASE + 1)  # and now dead, though nobody has swept its lease
    assert decline(queue, other) is True
    assert get_job(core, job_id).job.computed_with == FP32


def test_worker_that_was_just_there_is_waited_for(core, queue, clock, add_job):
    """A restart: it moved on until a moment ago and put its chunk down."""
    job_id = planned(queue, add_job)
    able, other = claim(queue, "able"), claim(queue, "unable")
    clock.advance(REBASE_SECONDS + 1)
    queue.heartbeat(able.id, able.token, lease_seconds=LEASE, stage="flow", fraction=0.0)
    queue.release(able.id, able.token)
    clock.advance(REBASE_SECONDS - 1)
    assert decline(queue, other) is False
    assert get_job(core, job_id).job.computed_with == BF16
    clock.advance(1)
    assert decline(queue, claim(queue, "unable")) is True


def test_chunk_held_across_a_rebase_is_put_back(core, queue, clock, add_job):
    """Its holder's lease ran out and nobody took it: the commit is not fenced, only wrong."""
    job_id = planned(queue, add_job, num_chunks=2)
    late, other = claim(queue, "able"), claim(queue, "unable")
    clock.advance(REBASE_SECONDS)
    assert decline(queue, other) is True
    assert done(queue, late, BF16) is False
    assert chunks(core, job_id) == [("ready", 0), ("leased", 1)]
    assert done(queue, other, FP32) is True
    last = claim(queue, "unable")
    assert (last.index, last.attempt, last.computed_with) == (0, 1, FP32)
    assert done(queue, last, FP32) is True
    assert claim(queue, "unable").kind == "join"


def test_reopened_chunk_has_all_its_attempts(core, queue, clock, add_job):
    """One that was done at its last attempt would otherwise never be given out again."""
    job_id = planned(queue, add_job, num_chunks=2)
    for attempt in range(1, MAX_ATTEMPTS):
        lost = claim(queue, "able")
        assert (lost.index, lost.attempt) == (0, attempt)
        clock.advance(LEASE + 1)
        queue.expire_leases()
    last = claim(queue, "able")
    assert (last.index, last.attempt) == (0, MAX_ATTEMPTS)
    assert done(queue, last, BF16)
    other = claim(queue, "unable")
    clock.advance(REBASE_SECONDS)
    assert decline(queue, other)
    assert chunks(core, job_id) == [("ready", 0), ("leased", 1)]
    assert claim(queue, "unable").index == 0


def test_after_a_rebase_everybody_is_asked_again(core, queue, clock, add_job):
    planned(queue, add_job)
    decline(queue, claim(queue, "b"))
    clock.advance(REBASE_SECONDS - 1)
    decline(queue, claim(queue, "c"), {"precision": "fp16"})
    assert claim(queue, "b") is not None, "its minute is over"
    clock.advance(1)
    task = claim(queue, "d")
    assert decline(queue, task)
    with reading(core.engine) as session:
        assert list(session.execute(select(DeclineRecord)).scalars()) == []
    assert claim(queue, "c").computed_with == FP32


def test_declining_a_canceled_job_cancels_it(core, queue, clock, add_job):
    job_id = planned(queue, add_job)
    task = claim(queue, "unable")
    clock.advance(REBASE_SECONDS)
    request_cancel(core, job_id)
    assert decline(queue, task) is False
    assert get_job(core, job_id).job.status == "canceled"


def test_progress_does_not_go_back_with_a_rebase(core, queue, clock, add_job):
    job_id = planned(queue, add_job, num_chunks=3, stored={0, 1})
    before = get_job(core, job_id).job.progress
    task = claim(queue, "unable")
    clock.advance(REBASE_SECONDS)
    assert decline(queue, task)
    assert done(queue, task, FP32)
    assert get_job(core, job_id).job.progress >= before > 0.5


def test_declines_go_with_their_job(core, queue, add_job):
    job_id = planned(queue, add_job)
    decline(queue, claim(queue, "unable"))
    request_cancel(core, job_id)
    assert purge_job(core, job_id)
    with reading(core.engine) as session:
        assert list(session.execute(select(DeclineRecord)).scalars()) == []


def test_job_planned_before_arithmetic_was_kept_takes_that_of_its_next_chunk(core, queue, add_job):
    job_id = planned(queue, add_job)
    with transaction(core.engine) as session:
        job = session.get_one(JobRecord, job_id)
        job.computed_with, job.able_at = None, None
    first, second = claim(queue, "a"), claim(queue, "b")
    assert first.computed_with is None
    assert done(queue, first, FP32)
    assert done(queue, second, BF16) is False
    assert claim(queue, "a").computed_with == FP32


def test_first_schema_with_jobs_is_brought_to_the_newest(tmp_path):
    engine = create_engine_for(f"sqlite:///{tmp_path / 'old.db'}")
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0001")
        connection.execute(
            text(
                "INSERT INTO videos (id, name, sha256, size_bytes, blob_key, created_at)"
                " VALUES ('vid', 'a', :sha256, 1, 'videos/vid', '2026-01-01')"
            ),
            {"sha256": "0" * 64},
        )
        connection.execute(
            text(
                "INSERT INTO jobs (id, video_id, status, progress, cancel_requested,"
                " delete_requested, model, options, created_at) VALUES"
                " ('job', 'vid', 'queued', 0, 0, 0, 'm@1', '{}', '2026-01-01')"
            )
        )
    migrate(engine)
    with reading(engine) as session:
        job = session.get_one(JobRecord, "job")
        assert (job.computed_with, job.able_at, job.model) == (None, None, "m@1")
    engine.dispose()
