import pytest
from sqlalchemy import select

from service.errors import LeaseLost
from service.jobs.commands import NewJob, create_job, get_job, get_result, request_cancel
from service.jobs.lifecycle import Plan
from service.jobs.queue import MAX_ATTEMPTS, TaskQueue, retry_wait_seconds
from service.jobs.records import ContentRecord, EventRecord, ResultRecord, TaskRecord
from service.jobs.states import TaskKind
from service.jobs.store import reading
from service.jobs.videos import NewContent, NewVideo, StoredContent

LEASE = 60.0


def claim(queue, owner="a", task_id=None):
    return queue.claim(owner=owner, task_id=task_id, lease_seconds=LEASE)


def plan(queue, num_chunks=2, done=()):
    task = claim(queue)
    assert task.kind == "plan"
    queue.complete_plan(task.id, task.token, Plan(num_chunks, {"duration": 9.0}, set(done)))


def statuses(core, job_id):
    with reading(core.engine) as session:
        rows = session.execute(
            select(TaskRecord.kind, TaskRecord.index, TaskRecord.status)
            .where(TaskRecord.job_id == job_id)
            .order_by(TaskRecord.id)
        )
        return {(kind, index): status for kind, index, status in rows}


def event_types(core, job_id):
    with reading(core.engine) as session:
        return list(
            session.execute(
                select(EventRecord.type)
                .where(EventRecord.job_id == job_id)
                .order_by(EventRecord.id)
            ).scalars()
        )


def test_a_job_from_upload_to_result(core, queue, add_job, native):
    job_id = add_job()
    assert get_job(core, job_id).job.status == "queued"
    task = claim(queue)
    assert (task.kind, task.index, task.token, task.attempt) == ("plan", 0, 1, 1)
    assert task.payload == {"facts": None, "num_chunks": None}
    assert (task.video_name, task.model, task.job_id) == ("cam.mp4", "kinetag-demo@1", job_id)
    assert get_job(core, job_id).job.status == "processing"
    queue.complete_plan(task.id, task.token, Plan(2, {"vfr": True}))
    assert get_job(core, job_id).video.facts == {"vfr": True}
    first, second = claim(queue), claim(queue, "b")
    assert {first.index, second.index} == {0, 1}
    assert first.payload == {"facts": {"vfr": True}, "num_chunks": 2}
    queue.complete_chunk(first.id, first.token, computed=True, computed_with={})
    assert claim(queue) is None, "the join must wait for the last chunk"
    queue.complete_chunk(second.id, second.token, computed=False, computed_with={})
    join = claim(queue)
    assert join.kind == "join"
    queue.complete_join(join.id, join.token, result=native)
    view, document = get_result(core, job_id)
    assert (view.job.status, view.job.progress, view.job.eta_seconds) == ("succeeded", 1.0, None)
    assert document == native
    assert claim(queue) is None
    types = event_types(core, job_id)
    assert (types[0], types[-1]) == ("job.queued", "job.succeeded")
    assert types.count("task.claimed") == 4


def test_stored_chunks_are_not_given_out(core, queue, add_job):
    job_id = add_job()
    plan(queue, num_chunks=3, done=(0, 2))
    task = claim(queue)
    assert (task.kind, task.index) == ("chunk", 1)
    queue.complete_chunk(task.id, task.token, computed=True, computed_with={})
    assert claim(queue).kind == "join"
    with reading(core.engine) as session:
        computed = dict(
            session.execute(
                select(TaskRecord.index, TaskRecord.computed).where(TaskRecord.kind == "chunk")
            ).all()
        )
    assert computed == {0: False, 1: True, 2: False}
    assert get_job(core, job_id).job.num_chunks == 3


def test_join_follows_the_plan_when_all_chunks_are_stored(queue, add_job):
    add_job()
    plan(queue, num_chunks=2, done=(0, 1))
    assert claim(queue).kind == "join"


def test_older_jobs_go_first(queue, add_job):
    first, second = add_job(b"one"), add_job(b"two")
    assert [claim(queue).job_id, claim(queue).job_id] == [first, second]


def test_a_task_is_claimed_once(queue, add_job):
    add_job()
    [task_id] = queue.due_hints(10)
    assert claim(queue, "a", task_id) is not None
    assert claim(queue, "b", task_id) is None
    assert claim(queue, "b") is None
    assert claim(queue, "b", "task_unknown") is None


def test_a_late_owner_is_fenced(core, queue, clock, add_job):
    job_id = add_job()
    late = claim(queue, "late")
    clock.advance(LEASE + 1)
    new = claim(queue, "new", late.id)
    assert (new.id, new.token, new.attempt) == (late.id, 2, 2)
    for report in (
        lambda: queue.heartbeat(late.id, late.token, lease_seconds=LEASE),
        lambda: queue.complete_plan(late.id, late.token, Plan(9, {"late": 1}, set())),
        lambda: queue.fail(late.id, late.token, code="x", message="x", retryable=False),
        lambda: queue.release(late.id, late.token),
        lambda: queue.cancel_now(late.id, late.token),
    ):
        with pytest.raises(LeaseLost):
            report()
    view = get_job(core, job_id)
    assert (view.job.status, view.job.num_chunks, view.video.facts) == ("processing", None, None)
    queue.complete_plan(new.id, new.token, Plan(1, {}, {0}))
    assert get_job(core, job_id).job.num_chunks == 1


def test_a_result_is_stored_once(core, queue, clock, add_job, native):
    job_id = add_job()
    plan(queue, num_chunks=1, done=(0,))
    late = claim(queue, "late")
    clock.advance(LEASE + 1)
    new = claim(queue, "new")
    queue.complete_join(new.id, new.token, result=native, activations_key="results/a/new")
    with pytest.raises(LeaseLost):
        queue.complete_join(late.id, late.token, result={}, activations_key="results/a/late")
    with reading(core.engine) as session:
        row = session.execute(select(ResultRecord)).scalar_one()
    assert (row.job_id, row.token, row.activations_key) == (job_id, 2, "results/a/new")
    assert row.document == native


def test_heartbeat_keeps_the_lease_and_reports_progress(core, queue, clock, add_job):
    job_id = add_job()
    plan(queue, num_chunks=2)
    task = claim(queue)
    clock.advance(LEASE - 1)
    assert (
        queue.heartbeat(task.id, task.token, lease_seconds=LEASE, stage="flow", fraction=0.5)
        is False
    )
    clock.advance(LEASE - 1)
    assert queue.expire_leases() == 0
    job = get_job(core, job_id).job
    assert job.stage == "flow"
    assert job.progress == pytest.approx(0.02 + 0.95 * 0.25)
    # From the pace of the chunk alone: what the plan took says nothing of the rest.
    pace = 0.95 * 0.25 / (LEASE - 1)
    assert job.eta_seconds == pytest.approx((1 - job.progress) / pace, abs=0.1)


def test_progress_never_goes_back(core, queue, add_job):
    job_id = add_job()
    plan(queue, num_chunks=1)
    task = claim(queue)
    queue.heartbeat(task.id, task.token, lease_seconds=LEASE, fraction=0.8)
    before = get_job(core, job_id).job.progress
    queue.release(task.id, task.token)
    task = claim(queue)
    queue.heartbeat(task.id, task.token, lease_seconds=LEASE, fraction=0.1)
    assert get_job(core, job_id).job.progress == before


def test_an_expired_lease_goes_back_to_the_queue(core, queue, clock, add_job):
    job_id = add_job()
    task = claim(queue)
    queue.mark_hinted([task.id])
    assert queue.expire_leases() == 0
    clock.advance(LEASE + 1)
    assert queue.expire_leases() == 1
    assert queue.expire_leases() == 0
    assert get_job(core, job_id).job.status == "queued"
    assert queue.due_hints(10) == [task.id], "a returned task is hinted at again at once"
    with pytest.raises(LeaseLost):
        queue.heartbeat(task.id, task.token, lease_seconds=LEASE)
    again = claim(queue)
    assert (again.token, again.attempt) == (2, 2)


def test_three_dead_workers_fail_the_job(core, queue, clock, add_job):
    job_id = add_job()
    other = add_job(b"other")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        task = claim(queue, task_id=None)
        assert (task.job_id, task.attempt) == (job_id, attempt)
        clock.advance(LEASE + 1)
        assert queue.expire_leases() == 1
    job = get_job(core, job_id).job
    assert (job.status, job.error_code) == ("failed", "crashed")
    assert "3 times" in str(job.error_message)
    assert claim(queue).job_id == other


def test_a_task_out_of_attempts_is_not_claimed_before_it_is_swept(queue, clock, add_job):
    add_job()
    for _ in range(MAX_ATTEMPTS):
        assert claim(queue) is not None
        clock.advance(LEASE + 1)
    assert claim(queue) is None


def test_a_drained_worker_spends_no_attempt(queue, core, add_job):
    job_id = add_job()
    for turn in range(1, 2 * MAX_ATTEMPTS):
        task = claim(queue)
        assert (task.attempt, task.token) == (1, turn)
        queue.release(task.id, task.token)
    assert get_job(core, job_id).job.status == "queued"


def test_release_of_one_chunk_leaves_a_job_processing(queue, core, add_job):
    job_id = add_job()
    plan(queue, num_chunks=2)
    first, second = claim(queue), claim(queue)
    queue.release(first.id, first.token)
    assert get_job(core, job_id).job.status == "processing"
    queue.release(second.id, second.token)
    assert get_job(core, job_id).job.status == "queued"


def test_a_retryable_failure_waits_and_is_tried_again(core, queue, clock, add_job):
    job_id = add_job()
    for attempt in range(1, MAX_ATTEMPTS):
        task = claim(queue)
        assert task.attempt == attempt
        queue.fail(task.id, task.token, code="out_of_memory", message="No memory.", retryable=True)
        assert claim(queue) is None
        assert queue.due_hints(10) == []
        clock.advance(retry_wait_seconds(attempt))
    task = claim(queue)
    queue.fail(task.id, task.token, code="out_of_memory", message="No memory.", retryable=True)
    job = get_job(core, job_id).job
    assert (job.status, job.error_code, job.error_message) == (
        "failed",
        "out_of_memory",
        "No memory.",
    )


def test_bytes_that_came_second_for_a_url_are_stored_for_nobody(core, queue):
    request = NewJob(NewVideo("v", source="url", source_ref="https://example.com/v.mp4"), "m@1")
    first = create_job(core, request)[0]
    create_job(core, NewJob(first.video.id, "m@1"))
    fetches = [
        queue.claim(owner="w", lease_seconds=LEASE, kinds=(TaskKind.FETCH,)) for _ in range(2)
    ]
    stored = [
        queue.complete_fetch(
            task.id, task.token, content=NewContent(digit * 64, 1, f"videos/{digit}")
        )
        for task, digit in zip(fetches, "ab", strict=True)
    ]
    assert stored == [StoredContent("videos/a", used=True), StoredContent("videos/a", used=False)]
    with reading(core.engine) as session:
        assert list(session.execute(select(ContentRecord.blob_key)).scalars()) == ["videos/a"]


def test_a_final_failure_ends_the_other_tasks(core, queue, add_job):
    job_id = add_job()
    plan(queue, num_chunks=3)
    first, second = claim(queue, "a"), claim(queue, "b")
    queue.fail(first.id, first.token, code="empty_video", message="Nothing in it.", retryable=False)
    assert get_job(core, job_id).job.error_code == "empty_video"
    assert statuses(core, job_id) == {
        ("plan", 0): "done",
        ("chunk", first.index): "failed",
        ("chunk", second.index): "canceled",
        ("chunk", 2): "canceled",
    }
    with pytest.raises(LeaseLost):
        queue.complete_chunk(second.id, second.token, computed=True, computed_with={})
    assert claim(queue) is None


@pytest.mark.parametrize(
    ("code", "status"), [("no_video_stream", "failed"), ("weights_missing", "pending")]
)
def test_a_video_that_cannot_be_used_says_so_whoever_looked_first(
    core, queue, add_job, code, status
):
    job_id = add_job()
    task = claim(queue)
    queue.fail(task.id, task.token, code=code, message="Why.", retryable=False)
    video = get_job(core, job_id).video
    assert (video.status, video.error_code) == (status, code if status == "failed" else None)


def test_a_full_disk_spends_no_attempt(core, queue, clock, add_job):
    job_id = add_job()
    for _ in range(2 * MAX_ATTEMPTS):
        task = claim(queue)
        assert task.attempt == 1
        queue.fail(task.id, task.token, code="disk_full", message="Full.", retryable=True)
        clock.advance(60)
    assert get_job(core, job_id).job.status == "queued"


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 5), (2, 10), (3, 20), (7, 300), (50, 300)])
def test_retry_wait_doubles_up_to_a_cap(attempts, seconds):
    assert retry_wait_seconds(attempts) == seconds


def test_cancel_of_a_waiting_job_is_immediate(core, queue, add_job):
    job_id = add_job()
    assert request_cancel(core, job_id).job.status == "canceled"
    assert claim(queue) is None


def test_cancel_reaches_the_worker_by_its_heartbeat(core, queue, add_job):
    job_id = add_job()
    task = claim(queue)
    view = request_cancel(core, job_id)
    assert (view.job.status, view.job.cancel_requested) == ("processing", True)
    assert queue.heartbeat(task.id, task.token, lease_seconds=LEASE) is True
    queue.cancel_now(task.id, task.token)
    job = get_job(core, job_id).job
    assert (job.status, job.error_code) == ("canceled", None)
    assert set(statuses(core, job_id).values()) == {"canceled"}


@pytest.mark.parametrize("how", ["complete", "fail", "release", "expire", "retry"])
def test_a_cancel_is_kept_however_the_task_ends(core, queue, clock, add_job, how):
    job_id = add_job()
    task = claim(queue)
    request_cancel(core, job_id)
    if how == "complete":
        queue.complete_plan(task.id, task.token, Plan(2, {}))
    elif how == "release":
        queue.release(task.id, task.token)
    elif how == "expire":
        clock.advance(LEASE + 1)
        assert queue.expire_leases() == 1
    else:
        queue.fail(task.id, task.token, code="x", message="x", retryable=how == "retry")
    assert get_job(core, job_id).job.status == "canceled"
    assert claim(queue) is None
    assert not {"ready", "leased"} & set(statuses(core, job_id).values())


def test_a_canceled_job_never_succeeds(core, queue, add_job, native):
    job_id = add_job()
    plan(queue, num_chunks=1, done=(0,))
    join = claim(queue)
    request_cancel(core, job_id)
    with pytest.raises(LeaseLost, match="canceled"):
        queue.complete_join(join.id, join.token, result=native)
    assert get_job(core, job_id).job.status == "canceled"
    with reading(core.engine) as session:
        assert session.execute(select(ResultRecord)).first() is None


def test_hints_are_repeated_only_after_a_while(queue, clock, add_job):
    add_job()
    ids = queue.due_hints(10)
    assert len(ids) == 1
    queue.mark_hinted(ids)
    assert queue.due_hints(10) == []
    clock.advance(61)
    assert queue.due_hints(10) == ids
    add_job(b"other")
    assert len(queue.due_hints(1)) == 1
    claim(queue, task_id=ids[0])
    assert ids[0] not in queue.due_hints(10)


def test_retention_names_only_old_ended_jobs(core, queue, clock, add_job, run_job):
    old = add_job()
    run_job()
    clock.advance(20 * 86400)
    add_job(b"waiting")
    held = add_job(b"canceled")
    request_cancel(core, held)
    clock.advance(11 * 86400)
    assert queue.expired_jobs(older_than_days=30) == [old]
    assert set(queue.expired_jobs(older_than_days=10)) == {old, held}


def test_attempts_can_be_set(engine, clock, add_job):
    queue = TaskQueue(engine, clock, max_attempts=1)
    add_job()
    claim(queue)
    clock.advance(LEASE + 1)
    assert claim(queue) is None
    assert queue.expire_leases() == 1
