from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from service.errors import IdempotencyConflict, InvalidRequest, InvalidTransition, JobNotFound
from service.jobs.commands import get_job, request_cancel, seconds_since_worker
from service.jobs.lifecycle import Plan
from service.jobs.listing import JobFilter, list_jobs
from service.jobs.queue import TaskQueue
from service.jobs.records import Record, VideoRecord
from service.jobs.removal import delete_job, purge_job, sweep_orphans
from service.jobs.states import JobStatus
from service.jobs.store import reading
from service.storage import store_activations

LEASE = 60.0


def files_below(core):
    root = core.features_folder.parent
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def rows(core):
    with reading(core.engine) as session:
        return {
            name: session.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in Record.metadata.tables.items()
            if name not in {"workers", "tenants", "counts"}  # figures without names
        }


def store_features(core, job_id):
    sha256 = get_job(core, job_id).video.sha256
    assert sha256 is not None
    folder = core.features_folder / sha256[:2] / sha256 / "recipe"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chunk-00000.safetensors").write_bytes(b"features")


def finish(core, queue, job_id, native):
    task = queue.claim(owner="w", lease_seconds=LEASE)
    queue.complete_plan(task.id, task.token, Plan(1, {}, {0}))
    store_features(core, job_id)
    join = queue.claim(owner="w", lease_seconds=LEASE)
    key = store_activations(core.blobs, job_id, b"evidence")
    queue.complete_join(join.id, join.token, result=native, activations_key=key)


def test_deleting_leaves_no_row_and_no_file(core, queue, add_job, native):
    job_id = add_job()
    finish(core, queue, job_id, native)
    assert len(files_below(core)) == 3
    assert delete_job(core, job_id) is True
    assert files_below(core) == []
    assert set(rows(core).values()) == {0}
    with pytest.raises(JobNotFound):
        get_job(core, job_id)
    with pytest.raises(JobNotFound):
        delete_job(core, job_id)
    assert purge_job(core, job_id) is True


def test_features_stay_while_another_job_has_the_same_video(core, queue, add_job, native):
    first, second = add_job(b"same"), add_job(b"same")
    finish(core, queue, first, native)
    assert delete_job(core, first)
    assert [name.split("/")[0] for name in files_below(core)] == ["features", "videos"]
    assert delete_job(core, second)
    assert files_below(core) == []


def test_a_job_in_work_vanishes_at_once_and_is_deleted_when_let_go(core, queue, clock, add_job):
    job_id = add_job()
    task = queue.claim(owner="w", lease_seconds=LEASE)
    store_features(core, job_id)
    assert delete_job(core, job_id) is False
    with pytest.raises(JobNotFound):
        get_job(core, job_id)
    assert list_jobs(core, JobFilter(), page_size=10, page_token=None).views == []
    assert queue.expired_jobs(older_than_days=30) == []
    assert purge_job(core, job_id) is False
    assert queue.heartbeat(task.id, task.token, lease_seconds=LEASE) is True
    queue.cancel_now(task.id, task.token)
    assert queue.expired_jobs(older_than_days=30) == [job_id]
    assert purge_job(core, job_id) is True
    assert files_below(core) == []
    assert set(rows(core).values()) == {0}


def test_a_deletion_broken_off_is_taken_up_again(core, queue, add_job, native, monkeypatch):
    job_id = add_job()
    finish(core, queue, job_id, native)

    def broken(self, key):
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(type(core.blobs), "delete", broken)
        with pytest.raises(OSError):  # noqa: PT011 - the very one raised above
            delete_job(core, job_id)
    assert queue.expired_jobs(older_than_days=30) == [job_id]
    assert purge_job(core, job_id)
    assert (files_below(core), set(rows(core).values())) == ([], {0})


def test_orphans_are_swept_after_a_day_and_nothing_else(core, queue, clock, add_job, native):
    job_id = add_job()
    finish(core, queue, job_id, native)
    core.blobs.put_bytes("videos/vid_orphan", b"x")
    core.blobs.put_bytes("results/job_gone/activations_x.json", b"x")
    store_activations(core.blobs, job_id, b"late")
    before = files_below(core)
    clock.moment = datetime.now(UTC)
    assert sweep_orphans(core) == 0
    clock.moment += timedelta(days=1, minutes=1)
    assert sweep_orphans(core) == 3
    assert len(files_below(core)) == len(before) - 3
    assert sweep_orphans(core) == 0


def test_an_empty_database_is_no_reason_to_empty_the_storage(core, clock):
    core.blobs.put_bytes("videos/vid_of_another_database", b"x")
    clock.moment = datetime.now(UTC) + timedelta(days=2)
    assert sweep_orphans(core) == 0
    assert len(list(core.blobs.keys("videos"))) == 1


def test_pages_cover_all_jobs_newest_first(core, add_job):
    ids = [add_job(bytes([number])) for number in range(5)]
    request_cancel(core, ids[1])
    seen, token = [], None
    while True:
        page = list_jobs(core, JobFilter(), page_size=2, page_token=token)
        seen.extend(view.job.id for view in page.views)
        token = page.next_page_token
        if token is None:
            break
        assert len(page.views) == 2
    assert seen == ids[::-1]
    canceled = list_jobs(core, JobFilter(status=JobStatus.CANCELED), page_size=9, page_token=None)
    assert [view.job.id for view in canceled.views] == [ids[1]]


def test_pages_are_complete_where_jobs_share_a_moment(core, clock, add_job, monkeypatch):
    monkeypatch.setattr(clock, "advance", lambda seconds: None)
    ids = {add_job(bytes([number])) for number in range(4)}
    first = list_jobs(core, JobFilter(), page_size=3, page_token=None)
    second = list_jobs(core, JobFilter(), page_size=3, page_token=first.next_page_token)
    assert {view.job.id for view in first.views + second.views} == ids


@pytest.mark.parametrize(
    "token", ["x", "%%%", "bm90IGEgZGF0ZXxqb2I", "MjAyNi0wMS0wMXxqb2I", "\x00"]
)
def test_a_foreign_page_token_is_refused(core, token):
    with pytest.raises(InvalidRequest):
        list_jobs(core, JobFilter(), page_size=3, page_token=token)


def test_an_ended_job_cannot_be_canceled(core, queue, add_job, native):
    job_id = add_job()
    finish(core, queue, job_id, native)
    with pytest.raises(InvalidTransition, match="succeeded"):
        request_cancel(core, job_id)
    other = add_job(b"other")
    assert request_cancel(core, other).job.status == "canceled"
    assert request_cancel(core, other).job.status == "canceled"
    with pytest.raises(JobNotFound):
        request_cancel(core, "job_unknown")


def test_an_idempotency_key_makes_one_job(core, add_job):
    first = add_job(idempotency_key="k", tag="a")
    assert add_job(idempotency_key="k", tag="a") == first
    with pytest.raises(IdempotencyConflict):
        add_job(idempotency_key="k", tag="b")
    assert add_job(idempotency_key="other", tag="b") != first


def test_workers_are_seen_by_claims_and_heartbeats(core, engine, clock, add_job):
    queue = TaskQueue(engine, clock)
    assert seconds_since_worker(core) is None
    queue.claim(owner="w", lease_seconds=LEASE)
    add_job()
    task = queue.claim(owner="w", lease_seconds=LEASE)
    clock.advance(20)
    assert seconds_since_worker(core) == 20
    queue.heartbeat(task.id, task.token, lease_seconds=LEASE)
    assert seconds_since_worker(core) == 0


def test_the_video_row_goes_with_its_job(core, add_job):
    job_id = add_job()
    delete_job(core, job_id)
    with reading(core.engine) as session:
        assert session.execute(select(VideoRecord)).first() is None
