"""Rows of segments: written with results, gone with jobs, made up for earlier releases."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from sqlalchemy import MetaData, func, select, text, update

from models.exports import selected, stamped
from models.overrides import LocalizeOverrides
from service.ingest.library import delete_video
from service.jobs.commands import get_job, get_result
from service.jobs.records import JobRecord, ResultRecord
from service.jobs.removal import delete_job
from service.jobs.schema import migration_config
from service.jobs.store import create_engine_for, migrate, reading, transaction
from service.search import indexing
from service.search.filters import SegmentFilter
from service.search.finding import count_facets, find_segments
from service.search.indexing import index_earlier_results, sum_up_counts
from service.search.records import CountKind, SegmentCountRecord, SegmentRecord
from service.webhooks.events import rfc3339

RECORDED = datetime(2026, 3, 1, 9, 0, 0, 123_999, tzinfo=UTC)


def found(core, **wanted):
    page = find_segments(core.for_tenant("default"), SegmentFilter(**wanted), page_size=200)
    assert page.next_page_token is None
    return page.segments


def facets(core):
    counted = count_facets(core.for_tenant("default"))
    return {kind: {one.value: one.count for one in values} for kind, values in counted.items()}


def forget_rows(core):
    """As an earlier release left it: results without rows."""
    with transaction(core.engine) as session:
        for table in (SegmentRecord, SegmentCountRecord):
            for row in session.execute(select(table)).scalars():
                session.delete(row)
        session.execute(update(ResultRecord).values(searchable=False))


@pytest.fixture
def result(native):
    """Times that round every way, scores at both ends, names of strangers."""
    drawn = [("walk", 0.0, 0.0, 0.0005), ("run", 1.0, 1.2345, 2.9999), ("fall", 0.5, 3.0015, 9.0)]
    drawn += [("=cmd()", 0.123457, 8.0, 8.4), ("walk", 0.7, 4.04, 5.08)]
    segments = [
        {"label": label, "score": score, "start": start, "end": end, "start_ms": 0, "end_ms": 0,
         "start_frame": 0, "end_frame": 1, "raw_score": score - 0.3}
        for label, score, start, end in drawn
    ]  # fmt: skip
    return {**native, "segments": segments}


@pytest.mark.parametrize(
    "options", [{}, {"labels": ["walk", "fall"]}, {"min_score": 0.5}, {"labels": ["no"]}]
)
@pytest.mark.parametrize("recorded_at", [None, RECORDED])
def test_exactly_the_segments_of_the_result_are_found(
    core, add_job, run_job, result, options, recorded_at
):
    job_id = add_job(options=options, recorded_at=recorded_at, camera="dock", tag="t")
    run_job(result=result)
    view, stored = get_result(core, job_id)
    shown = selected(stored, LocalizeOverrides.from_json(options))
    shown = stamped(shown, view.job.recorded_at, view.job.camera)["segments"]
    rows = sorted(found(core), key=lambda one: one.row.position)
    assert [one.row.position for one in rows] == list(range(len(shown)))
    for one, expected in zip(rows, shown, strict=True):
        assert one.row.label == expected["label"]
        assert one.score == expected["score"]
        assert one.row.raw_score == pytest.approx(expected["raw_score"])
        assert abs(one.row.start_ms - expected["start"] * 1000) <= 0.5
        assert abs(one.end_ms - expected["end"] * 1000) <= 0.5
        if recorded_at is not None:
            assert rfc3339(one.start_time) == expected["start_time"]
            assert rfc3339(one.end_time) == expected["end_time"]
        else:
            assert (one.start_time, one.end_time) == (None, None)
        assert one.id == f"seg_{job_id.removeprefix('job_')}_{one.row.position}"
    counted = facets(core)
    assert set(counted[CountKind.LABEL]) == {one["label"] for one in shown}
    assert counted[CountKind.CAMERA] == ({"dock": len(shown)} if shown else {})


def test_those_without_a_time_come_last_and_are_in_no_window(core, add_job, run_job, clock):
    # Recorded in 1900, and still before what nobody knows the time of.
    old = add_job(recorded_at=datetime(1900, 1, 1, tzinfo=UTC))
    unknown, later_unknown = add_job(), add_job()
    new = add_job(recorded_at=datetime(2199, 12, 31, tzinfo=UTC))
    run_job()
    jobs = [one.job.id for one in found(core)]
    assert jobs == [new, new, old, old, later_unknown, later_unknown, unknown, unknown]
    assert {one.job.id for one in found(core, until=datetime(2200, 1, 1, tzinfo=UTC))} == {old, new}
    assert {one.job.id for one in found(core, since=datetime(1900, 1, 1, tzinfo=UTC))} == {old, new}


def test_what_is_deleted_is_found_and_counted_no_longer(core, add_job, run_job):
    first, second = add_job(camera="dock", tag="x"), add_job(b"other", camera="gate", tag="x")
    run_job()
    assert facets(core)[CountKind.TAG] == {"x": 4}
    assert delete_job(core, first)
    assert {one.job.id for one in found(core)} == {second}
    assert facets(core) == {
        CountKind.LABEL: {"walk": 1, "run": 1},
        CountKind.CAMERA: {"gate": 2},
        CountKind.TAG: {"x": 2},
    }
    video_id = get_job(core, second).video.id
    assert delete_video(core.for_tenant("default"), video_id, force=True)
    assert found(core) == []
    with reading(core.engine) as session:
        for table in (SegmentRecord, SegmentCountRecord):
            assert session.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_rows_go_with_their_job_whoever_deletes_it(core, add_job, run_job):
    job_id = add_job()
    run_job()
    with transaction(core.engine) as session:
        session.delete(session.get(JobRecord, job_id))
    with reading(core.engine) as session:
        assert session.execute(select(SegmentRecord.id)).all() == []


def test_a_result_is_there_with_its_rows_or_not_at_all(core, add_job, run_job, monkeypatch):
    add_job()

    def broken(*_):
        raise RuntimeError

    monkeypatch.setattr("service.jobs.queue.lifecycle.end_job", broken)
    with pytest.raises(RuntimeError):
        run_job()
    with reading(core.engine) as session:
        assert session.execute(select(SegmentRecord.id)).all() == []
        assert session.execute(select(ResultRecord.job_id)).all() == []


def test_a_result_that_is_none_ends_its_job_all_the_same(core, add_job, run_job):
    job_id = add_job()
    run_job(result={"segments": [{"label": "walk"}]})
    assert get_job(core, job_id).job.status == "succeeded"
    assert found(core) == []


def test_labels_that_no_database_takes_are_found_all_the_same(core, add_job, run_job, native):
    segments = [
        {**native["segments"][0], "label": label} for label in ("a\x00b", "\ud800", "ü" * 900)
    ]
    job_id = add_job()
    with transaction(core.engine) as session:
        job = session.get_one(JobRecord, job_id)
        result = ResultRecord(job_id=job_id, document={"segments": segments}, token=1)
        assert indexing.index_result(session, job, result) == 3
    assert {one.row.label for one in found(core)} == {"a\N{REPLACEMENT CHARACTER}b", "?", "ü" * 900}


def test_results_of_earlier_releases_are_made_up_for(core, add_job, run_job, monkeypatch):
    jobs = [add_job(bytes([number]), camera="dock") for number in range(7)]
    run_job()
    before = [(one.id, one.row.moment_ms) for one in found(core)]
    counted = facets(core)
    forget_rows(core)
    with transaction(core.engine) as session:
        session.get(JobRecord, jobs[0]).delete_requested = True
    monkeypatch.setattr(indexing, "RESULTS_PER_TURN", 3)
    turns = []
    while done := index_earlier_results(core.engine):
        turns.append(done)
    assert turns == [3, 3, 1]
    with transaction(core.engine) as session:
        session.get(JobRecord, jobs[0]).delete_requested = False
    gone = jobs[0].replace("job", "seg")
    assert [(one.id, one.row.moment_ms) for one in found(core)] == [
        one for one in before if not one[0].startswith(gone)
    ]
    assert facets(core)[CountKind.CAMERA] == {"dock": counted[CountKind.CAMERA]["dock"] - 2}


def test_a_turn_writes_so_many_rows_and_leaves_the_rest(core, add_job, run_job, monkeypatch):
    for number in range(5):
        add_job(bytes([number]))
    run_job()
    forget_rows(core)
    monkeypatch.setattr(indexing, "SEGMENTS_PER_TURN", 3)
    assert [index_earlier_results(core.engine) for _ in range(4)] == [2, 2, 1, 0]
    assert len(found(core)) == 10


def test_an_earlier_result_that_trips_us_holds_up_no_other(core, add_job, run_job):
    bad, good = add_job(), add_job(b"other")
    run_job()
    forget_rows(core)
    with transaction(core.engine) as session:
        session.get(ResultRecord, bad).document = {"segments": [{"label": 3}]}
    assert index_earlier_results(core.engine) == 2
    assert index_earlier_results(core.engine) == 0
    assert {one.job.id for one in found(core)} == {good}


KILLED = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.orm import Session
from service.jobs.store import create_engine_for
from service.search.indexing import index_earlier_results

left = int(sys.argv[2])
def die(session):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
event.listen(Session, "before_commit", die)
while index_earlier_results(create_engine_for(sys.argv[1])):
    pass
"""


def test_indexing_goes_on_after_a_kill(core, add_job, run_job, database_url):
    for number in range(6):
        add_job(bytes([number]), tag="t")
    run_job()
    before, counted = [one.id for one in found(core)], facets(core)
    forget_rows(core)
    for commits in (2, 3):
        # One result a transaction: killed within one, all before it stay, and it is as new.
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, database_url, str(commits)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert 0 < len(found(core)) < len(before)
    while index_earlier_results(core.engine):
        pass
    assert [one.id for one in found(core)] == before
    assert facets(core) == counted


def test_several_sweepers_index_each_result_once(core, add_job, run_job):
    for number in range(8):
        add_job(bytes([number]))
    run_job()
    forget_rows(core)
    barrier = threading.Barrier(3)

    def sweep():
        barrier.wait()
        while index_earlier_results(core.engine):
            pass

    threads = [threading.Thread(target=sweep) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found(core)) == 16
    assert facets(core)[CountKind.LABEL] == {"walk": 8, "run": 8}


def test_counts_are_summed_up_while_jobs_end_and_go(core, add_job, run_job, monkeypatch):
    monkeypatch.setattr(indexing, "MANY_COUNTS", 3)
    jobs = [add_job(bytes([number]), camera="dock") for number in range(6)]
    run_job()
    assert sum_up_counts(core.engine) == 18
    assert sum_up_counts(core.engine) == 0
    failures = []

    def run(act, *arguments):
        try:
            act(*arguments)
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(delete_job, core, job)) for job in jobs[:3]]
    threads += [threading.Thread(target=run, args=(sum_up_counts, core.engine)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert facets(core) == {
        CountKind.LABEL: {"walk": 3, "run": 3},
        CountKind.CAMERA: {"dock": 6},
        CountKind.TAG: {},
    }


@pytest.fixture(params=["sqlite", "postgresql"])
def ninth(request, tmp_path):
    """A database of the release before, without rows."""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server")(f"ninth_{id(tmp_path)}")
    else:
        url = f"sqlite:///{tmp_path / 'kinetag.db'}"
    engine = create_engine_for(url)
    configuration = migration_config()
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0009")
    yield engine
    engine.dispose()


def test_an_archive_of_the_release_before_becomes_searchable(ninth, native):
    now = datetime.now(UTC)
    if ninth.dialect.name == "sqlite":
        now = now.replace(tzinfo=None)
    tables = MetaData()
    tables.reflect(ninth)
    common = {"tenant_id": "default", "created_at": now}
    with ninth.begin() as connection:
        connection.execute(
            tables.tables["videos"].insert(),
            {"id": "vid_1", "name": "a.mp4", "source": "upload", "status": "ready", "kept": True,
             **common},
        )  # fmt: skip
        connection.execute(
            tables.tables["jobs"].insert(),
            {"id": "job_1", "video_id": "vid_1", "kind": "localize", "queue": "interactive",
             "status": "succeeded", "progress": 1.0, "cancel_requested": False,
             "delete_requested": False, "model": "m@1", "options": {"min_score": 0.5},
             "camera": "dock", "completed_at": now, "recorded_at": now - timedelta(days=1),
             **common},
        )  # fmt: skip
        connection.execute(
            tables.tables["results"].insert(),
            {"job_id": "job_1", "document": native, "token": 1, "created_at": now},
        )
        connection.execute(
            tables.tables["webhooks"].insert(),
            {"id": "whk_1", "url": "https://hooks.example/", "events": ["job.failed"],
             "labels": ["fall"], "secret": "whsec_x", "enabled": True, **common},
        )  # fmt: skip
    migrate(ninth)
    assert index_earlier_results(ninth) == 1
    with transaction(ninth) as session:
        labels = session.execute(select(SegmentRecord.label)).scalars().all()
        webhooks = session.execute(text("SELECT id, labels, cameras FROM webhooks")).all()
    assert labels == ["walk"]
    assert len(webhooks) == 1
    assert index_earlier_results(ninth) == 0
