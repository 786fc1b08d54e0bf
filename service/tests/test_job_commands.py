"""Making jobs in a race, on both kinds of database: one per key, none without its video."""

import threading

import pytest
from sqlalchemy import func, select

from service.errors import (
    DatabaseUnavailable,
    IdempotencyConflict,
    InvalidTransition,
    JobQuotaExceeded,
    VideoInUse,
    VideoNotFound,
)
from service.ingest.library import delete_video
from service.jobs import commands
from service.jobs.commands import NewJob, create_job, get_job, get_jobs, request_cancel, retry_job
from service.jobs.listing import JobFilter, list_jobs
from service.jobs.records import JobRecord, TaskRecord, VideoRecord
from service.jobs.states import JobKind, JobQueue
from service.jobs.store import new_id, reading
from service.jobs.videos import NewContent, NewVideo
from service.storage import video_key

LEASE = 60.0
RACERS = 8


def by_path(**fields):
    return NewJob(NewVideo("v", source="path", source_ref="/v"), "m@1", **fields)


def race(count, act):
    barrier, results, failures = threading.Barrier(count), [], []

    def body(number):
        try:
            barrier.wait(30)
            results.append(act(number))
        except Exception as error:  # noqa: BLE001 - judged by the test
            failures.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results, failures


def count(core, record):
    with reading(core.engine) as session:
        return session.execute(select(func.count()).select_from(record)).scalar_one()


def upload(core, tmp_path, content=b"video"):
    key = video_key(new_id("vid"))
    source = tmp_path / key.replace("/", "-")
    source.write_bytes(content)
    core.blobs.put_file(key, source)
    return NewVideo("v", content=NewContent((content.hex() * 64)[:64], len(content), key))


def test_one_key_in_a_race_makes_one_job(core, tmp_path):
    videos = [upload(core, tmp_path) for _ in range(RACERS)]

    def make(number):
        return create_job(core, NewJob(videos[number], "m@1", idempotency_key="k"))

    results, failures = race(RACERS, make)
    assert not failures
    assert len({view.job.id for view, _ in results}) == 1
    assert sum(new for _, new in results) == 1
    assert [count(core, record) for record in (JobRecord, VideoRecord, TaskRecord)] == [1, 1, 1]
    assert len(list(core.blobs.keys("videos"))) == 1, "the others' bytes are dropped"


def test_one_key_for_different_requests_in_a_race_is_refused_to_all_but_one(core):
    results, failures = race(
        RACERS, lambda number: create_job(core, by_path(tag=str(number), idempotency_key="k"))
    )
    assert len(results) == 1
    assert {type(failure) for failure in failures} == {IdempotencyConflict}
    assert count(core, JobRecord) == 1


def test_a_video_is_deleted_or_used_but_never_both(core, tmp_path):
    for turn in range(6):
        with_video, _ = create_job(
            core, NewJob(upload(core, tmp_path, bytes([turn])), "m@1", kind=JobKind.PROBE)
        )
        video_id = with_video.video.id

        def act(number, video_id=video_id):
            if number == 0:
                return delete_video(core, video_id, force=False)
            return create_job(core, NewJob(video_id, "m@1"))

        _, failures = race(2, act)
        # One of them comes first, and the other is told so.
        assert {type(failure) for failure in failures} <= {VideoNotFound, VideoInUse}
        with reading(core.engine) as session:
            shown = session.execute(
                select(JobRecord).where(
                    JobRecord.video_id == video_id, JobRecord.delete_requested.is_(False)
                )
            ).scalars()
            for job in shown:
                assert session.get_one(VideoRecord, job.video_id).blob_key is not None


def test_what_is_refused_before_the_commit_leaves_nothing(core, tmp_path):
    def refuse(session, _core):
        assert session.execute(select(func.count()).select_from(JobRecord)).scalar_one() == 1
        raise JobQuotaExceeded

    with pytest.raises(JobQuotaExceeded):
        create_job(core, NewJob(upload(core, tmp_path), "m@1"), refuse)
    assert [count(core, record) for record in (JobRecord, VideoRecord, TaskRecord)] == [0, 0, 0]
    assert list(core.blobs.keys("videos")) == []


@pytest.mark.parametrize("committed", [True, False])
def test_no_row_loses_its_blob_when_the_answer_to_its_commit_is_lost(
    core, tmp_path, monkeypatch, committed
):
    insert = commands._create

    def broken(*arguments):
        if committed:
            insert(*arguments)
        raise DatabaseUnavailable

    monkeypatch.setattr(commands, "_create", broken)
    with pytest.raises(DatabaseUnavailable):
        create_job(core, NewJob(upload(core, tmp_path), "m@1"))
    stored = len(list(core.blobs.keys("videos")))
    # Of PostgreSQL nobody knows; what stays for nothing there is swept after a day.
    in_doubt = committed or core.engine.dialect.name == "postgresql"
    assert stored == int(in_doubt)


def test_a_job_is_retried_as_often_as_asked_for(core, queue):
    first = create_job(core, by_path(queue=JobQueue.BATCH, camera="c", webhook={"url": "u"}))[0]
    with pytest.raises(InvalidTransition):
        retry_job(core, first.job.id)
    request_cancel(core, first.job.id)
    again = retry_job(core, first.job.id)
    assert again.job.retry_of == first.job.id
    same = ("video_id", "queue", "camera", "webhook", "model", "options", "tag")
    assert {name: getattr(again.job, name) for name in same} == {
        name: getattr(first.job, name) for name in same
    }
    assert queue.claim(owner="w", lease_seconds=LEASE).job_id == again.job.id
    assert retry_job(core, first.job.id).job.id != again.job.id


def test_probes_are_nowhere_to_be_seen(core):
    probe = create_job(core, by_path(kind=JobKind.PROBE))[0].job.id
    shown = create_job(core, by_path())[0].job.id
    assert [view.job.id for view in get_jobs(core, [probe, shown])] == [shown]
    page = list_jobs(core, JobFilter(), page_size=5)
    assert [view.job.id for view in page.views] == [shown]
    assert get_job(core, shown).batch_id is None
