"""Batches from rows to the end: made, fed, reconciled, canceled, retried, removed."""

import json
import os
import zipfile
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from service.accounts.limits import Quotas
from service.batches import commands, feeding, unpacking, views
from service.batches.commands import NewBatch, NewItem
from service.batches.feeding import FeedLimits, feed_batches
from service.batches.records import BatchItemRecord, BatchRecord
from service.batches.states import BatchSource, ItemKind, ItemStatus
from service.batches.unpacking import Unpacker
from service.errors import (
    BatchNotFound,
    IdempotencyConflict,
    InvalidRequest,
    InvalidTransition,
    PathRefused,
    StorageFull,
)
from service.jobs.commands import get_result, request_cancel
from service.jobs.records import (
    ContentRecord,
    EventRecord,
    JobRecord,
    TenantRecord,
    VideoRecord,
)
from service.jobs.removal import delete_job, purge_job
from service.jobs.store import new_id, reading, transaction
from service.jobs.videos import NewContent, NewVideo, insert_video
from service.storage import video_key
from service.webhooks.delivery import claim_delivery
from service.webhooks.endpoints import list_deliveries
from service.webhooks.fanout import relay_events

MODEL = "kinetag-demo@1"


def _urls(count):
    return tuple(
        NewItem(f"{index}.mp4", ItemKind.URL, source=f"http://127.0.0.1/{index}.mp4")
        for index in range(count)
    )


@pytest.fixture
def archive_folder(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


@pytest.fixture
def limits(archive_folder):
    return FeedLimits(open_jobs=4, path_roots=(str(archive_folder),))


@pytest.fixture
def add_video(core, tmp_path):
    """Store a video of the given bytes; return its id."""

    def add(content, **fields):
        video_id = new_id("vid")
        source = tmp_path / "source"
        source.write_bytes(content)
        core.blobs.put_file(video_key(video_id), source)
        stored = NewContent((content.hex() * 64)[:64], len(content), video_key(video_id))
        new = NewVideo("cam.mp4", stored, kept=True, video_id=video_id, **fields)
        with transaction(core.engine) as session:
            insert_video(session, core.tenant_id, new, core.clock.now(session))
        return video_id

    return add


def _make(core, items, **fields):
    return commands.create_batch(core, NewBatch(MODEL, tuple(items), **fields))[0]


def _counts(core, batch_id):
    counts = views.get_batch(core, batch_id).progress.counts
    return {status: count for status, count in counts.items() if count}


def _items(core, batch_id):
    return views.list_items(core, batch_id, status=None, page_size=200, page_token=None).items


def _events(core, batch_id):
    with reading(core.engine) as session:
        rows = session.execute(
            select(EventRecord.details)
            .where(EventRecord.batch_id == batch_id, EventRecord.type == "batch.finished")
            .order_by(EventRecord.id)
        )
        return list(rows.scalars())


def _end_jobs(core, status="succeeded"):
    """End all open jobs in the rows, as workers would."""
    failed = {"error_code": "unreadable_video", "error_message": "No video."}
    with transaction(core.engine) as session:
        session.execute(
            update(JobRecord)
            .where(JobRecord.status.in_(["queued", "processing"]))
            .values(
                status=status,
                completed_at=core.clock.now(session),
                **(failed if status == "failed" else {}),
            )
        )


def test_a_batch_is_fed_bit_by_bit_to_its_end(core, limits, add_video, run_job):
    ids = [add_video(f"{index:02}".encode()) for index in range(10)]
    batch_id = _make(core, [NewItem("same.mp4", ItemKind.VIDEO, video_id=one) for one in ids])
    assert _counts(core, batch_id) == {"waiting": 10}
    feed_batches(core, limits)
    assert _counts(core, batch_id) == {"open": 4, "waiting": 6}
    rounds = 0
    while views.get_batch(core, batch_id).batch.status == "processing":
        run_job(num_chunks=1)
        core.clock.advance(60)
        feed_batches(core, limits)
        rounds += 1
    assert rounds == 3
    view = views.get_batch(core, batch_id)
    assert (view.batch.status, view.progress.fraction) == ("finished", 1.0)
    assert view.progress.done_bytes == view.progress.size_bytes == 20
    items = _items(core, batch_id)
    assert [item.name for item in items[:3]] == ["same.mp4", "same.mp4#2", "same.mp4#3"]
    assert {item.attempts for item in items} == {1}
    results = dict(views.batch_results(core, batch_id))
    assert list(results) == [item.name for item in items]
    assert results["same.mp4"]["segments"]
    (event,) = _events(core, batch_id)
    assert (event["status"], event["succeeded"], event["failed"]) == ("finished", 10, 0)
    assert feed_batches(core, limits) == 0, "an ended batch was fed"
    with reading(core.engine) as session:
        assert session.scalar(select(func.count()).select_from(JobRecord)) == 10


def test_the_time_left_comes_from_the_pace(core, limits, add_video):
    ids = [add_video(f"{index:02}".encode()) for index in range(8)]
    batch_id = _make(core, [NewItem("a.mp4", ItemKind.VIDEO, video_id=one) for one in ids])
    feed_batches(core, limits)
    assert views.get_batch(core, batch_id).progress.eta_seconds is None
    with reading(core.engine) as session:
        jobs = list(session.execute(select(JobRecord.id)).scalars())
    for job_id in jobs[:3]:
        core.clock.advance(100)
        with transaction(core.engine) as session:
            job = session.get_one(JobRecord, job_id)
            job.status, job.completed_at = "succeeded", core.clock.now(session)
        feed_batches(core, limits)
    progress = views.get_batch(core, batch_id).progress
    assert progress.fraction == pytest.approx(3 / 8)
    assert progress.eta_seconds == pytest.approx(5 * 100, rel=0.01)


def test_what_was_done_before_is_taken_and_not_done_again(
    core, limits, add_video, run_job, add_job
):
    add_job(content=b"aa")
    add_job(content=b"bb", options={"min_score": 0.5})
    run_job(num_chunks=1)
    items = [
        NewItem("done.mp4", ItemKind.VIDEO, video_id=add_video(b"aa")),
        NewItem("otherwise.mp4", ItemKind.VIDEO, video_id=add_video(b"bb")),
        NewItem("new.mp4", ItemKind.VIDEO, video_id=add_video(b"cc")),
    ]
    batch_id = _make(core, items)
    feed_batches(core, limits)
    done, otherwise, new = _items(core, batch_id)
    assert (done.status, done.reused, done.attempts) == ("succeeded", True, 0)
    assert {otherwise.status, new.status} == {"open"}
    assert views.get_batch(core, batch_id).progress.reused == 1
    # Deleting the batch leaves a job that it did not make.
    commands.delete_batch(core, batch_id)
    assert get_result(core, done.job_id)


def test_failures_keep_their_reason_and_can_be_retried(core, limits, add_video, run_job):
    ids = [add_video(b"aa"), add_video(b"bb")]
    batch_id = _make(core, [NewItem("a.mp4", ItemKind.VIDEO, video_id=one) for one in ids])
    with pytest.raises(InvalidTransition):
        commands.retry_batch(core, batch_id)
    feed_batches(core, limits)
    _end_jobs(core, "failed")
    feed_batches(core, limits)
    assert views.get_batch(core, batch_id).batch.status == "finished"
    first = _items(core, batch_id)[0]
    assert (first.error_code, first.error_message) == ("unreadable_video", "No video.")
    failed = views.list_items(
        core, batch_id, status=ItemStatus.FAILED, page_size=1, page_token=None
    )
    assert failed.next_page_token
    assert commands.retry_batch(core, batch_id) == 2
    feed_batches(core, limits)
    again = _items(core, batch_id)[0]
    assert (again.status, again.attempts, again.error_code) == ("open", 2, None)
    with reading(core.engine) as session:
        assert session.get_one(JobRecord, again.job_id).retry_of == first.job_id
    _end_jobs(core)
    feed_batches(core, limits)
    assert [event["failed"] for event in _events(core, batch_id)] == [2, 0]


def test_a_canceled_batch_stops_and_keeps_what_it_has(core, limits, add_video, queue):
    ids = [add_video(f"{index:02}".encode()) for index in range(6)]
    batch_id = _make(core, [NewItem("a.mp4", ItemKind.VIDEO, video_id=one) for one in ids])
    feed_batches(core, limits)
    held = queue.claim(owner="worker", lease_seconds=60)
    commands.cancel_batch(core, batch_id)
    feed_batches(core, limits)
    assert _counts(core, batch_id) == {"canceled": 5, "open": 1}
    assert views.get_batch(core, batch_id).batch.status == "processing"
    queue.cancel_now(held.id, held.token)
    feed_batches(core, limits)
    assert views.get_batch(core, batch_id).batch.status == "canceled"
    assert [event["status"] for event in _events(core, batch_id)] == ["canceled"]
    commands.cancel_batch(core, batch_id)
    assert commands.retry_batch(core, batch_id) == 6
    feed_batches(core, limits)
    assert _counts(core, batch_id) == {"open": 4, "waiting": 2}


def test_jobs_that_users_cancel_or_delete_end_their_items(core, limits, add_video):
    ids = [add_video(f"{index:02}".encode()) for index in range(3)]
    batch_id = _make(core, [NewItem("a.mp4", ItemKind.VIDEO, video_id=one) for one in ids])
    feed_batches(core, limits)
    first, second, third = _items(core, batch_id)
    request_cancel(core, first.job_id)
    delete_job(core, second.job_id)
    _end_jobs(core)
    delete_job(core, third.job_id)
    feed_batches(core, limits)
    states = [(item.status, item.error_code) for item in _items(core, batch_id)]
    assert states == [("canceled", None), ("failed", "job_not_found"), ("failed", "job_not_found")]
    assert views.get_batch(core, batch_id).batch.status == "finished"


def test_a_deleted_batch_is_gone_at_once_and_its_rows_soon(core, limits, add_video, queue):
    ids = [add_video(f"{index:02}".encode()) for index in range(6)]
    batch_id = _make(core, [NewItem("a.mp4", ItemKind.VIDEO, video_id=one) for one in ids])
    feed_batches(core, limits)
    commands.delete_batch(core, batch_id)
    for look in (views.get_batch, commands.cancel_batch, commands.delete_batch):
        with pytest.raises(BatchNotFound):
            look(core, batch_id)
    assert views.list_batches(core, page_size=10, page_token=None).views == []
    feed_batches(core, limits)
    for job_id in queue.expired_jobs(older_than_days=30):
        assert purge_job(core, job_id)
    with reading(core.engine) as session:
        for table in (BatchRecord, BatchItemRecord, JobRecord, EventRecord):
            assert session.scalar(select(func.count()).select_from(table)) == 0, table


def test_old_batches_go(core, limits):
    batch_id = _make(core, [])
    feed_batches(core, limits)
    assert views.get_batch(core, batch_id).batch.status == "finished"
    core.clock.moment += timedelta(days=31)
    feed_batches(core, limits)
    with pytest.raises(BatchNotFound):
        views.get_batch(core, batch_id)


def test_a_full_quota_makes_a_batch_wait(core, limits, add_video):
    narrow = core.__class__(
        core.engine, core.clock, core.blobs, core.features_folder, Quotas(queued_jobs=3)
    )
    ids = [add_video(f"{index:02}".encode()) for index in range(5)]
    batch_id = _make(narrow, [NewItem("a.mp4", ItemKind.VIDEO, video_id=one) for one in ids])
    feed_batches(narrow, limits)
    assert _counts(core, batch_id) == {"open": 3, "waiting": 2}
    _end_jobs(core)
    feed_batches(narrow, limits)
    assert _counts(core, batch_id) == {"succeeded": 3, "open": 2}


def test_the_same_request_twice_is_one_batch(core):
    items = _urls(3)
    first, new = commands.create_batch(core, NewBatch(MODEL, items, idempotency_key="k"))
    assert new
    assert commands.create_batch(core, NewBatch(MODEL, items, idempotency_key="k")) == (
        first,
        False,
    )
    with pytest.raises(IdempotencyConflict):
        commands.create_batch(core, NewBatch(MODEL, items[:2], idempotency_key="k"))


def test_tenants_do_not_see_each_other(core, limits, add_video, run_job):
    with transaction(core.engine) as session:
        session.add(TenantRecord(id="other", name="other", created_at=core.clock.now(session)))
    mine, other = core.for_tenant("default"), core.for_tenant("other")
    item = NewItem("a.mp4", ItemKind.VIDEO, video_id=add_video(b"aa"))
    with pytest.raises(InvalidRequest):
        _make(other, [item])
    batch_id = _make(mine, [item])
    for look in (views.get_batch, commands.cancel_batch, commands.retry_batch):
        with pytest.raises(BatchNotFound):
            look(other, batch_id)
    with pytest.raises(BatchNotFound):
        views.list_items(other, batch_id, status=None, page_size=5, page_token=None)
    assert views.list_batches(other, page_size=5, page_token=None).views == []
    feed_batches(core, limits)
    run_job(num_chunks=1)
    feed_batches(core, limits)
    assert _counts(mine, batch_id) == {"succeeded": 1}


def test_batches_are_listed_newest_first_with_pages(core):
    made = []
    for _ in range(3):
        core.clock.advance(1)
        made.append(_make(core, []))
    page = views.list_batches(core, page_size=2, page_token=None)
    rest = views.list_batches(core, page_size=2, page_token=page.next_page_token)
    assert [view.batch.id for view in page.views + rest.views] == made[::-1]
    assert rest.next_page_token is None
    for token in ("?", "AAAA", "8J+YgA", "MTIzNDU2Nzg5MDEyMw"):
        with pytest.raises(InvalidRequest):
            views.list_batches(core, page_size=2, page_token=token)
        with pytest.raises(InvalidRequest):
            views.list_items(core, made[0], status=None, page_size=2, page_token=token)


def test_a_folder_becomes_items_and_bad_ones_have_rows(core, limits, archive_folder, run_job):
    (archive_folder / "cam").mkdir()
    (archive_folder / "cam/a.mp4").write_bytes(b"aa")
    (archive_folder / "empty.mp4").write_bytes(b"")
    (archive_folder / "line\nbreak.mp4").write_bytes(b"bb")
    (archive_folder / "note.txt").write_bytes(b"cc")
    (archive_folder / os.fsdecode(b"bad\xff.mp4")).write_bytes(b"dd")
    (archive_folder / "outside.mp4").symlink_to("/etc/hostname")
    reference = {"path": str(archive_folder)}
    batch_id = _make(core, [], source=BatchSource.FOLDER, source_ref=reference)
    assert views.get_batch(core, batch_id).batch.status == "preparing"
    feed_batches(core, limits)
    found = {item.name: (item.status, item.error_code) for item in _items(core, batch_id)}
    assert found.pop("empty.mp4")[0] == "failed"
    assert found == {
        "bad%FF.mp4": ("failed", "path_refused"),
        "cam/a.mp4": ("open", None),
        "line%0Abreak.mp4": ("open", None),
        "outside.mp4": ("failed", "path_refused"),
    }
    with reading(core.engine) as session:
        video = session.execute(
            select(VideoRecord).where(VideoRecord.source_ref.like("%/cam/a.mp4"))
        ).scalar_one()
    assert (video.source, video.blob_key) == ("path", None)


@pytest.mark.parametrize("path", ["/etc", "relative", "{root}/../x", "{root}/absent", "{root}/f"])
def test_folders_that_may_not_be_read_fail_the_batch(core, limits, archive_folder, path):
    (archive_folder / "f").write_bytes(b"")
    reference = {"path": path.format(root=archive_folder)}
    batch_id = _make(core, [], source=BatchSource.FOLDER, source_ref=reference)
    feed_batches(core, limits)
    batch = views.get_batch(core, batch_id).batch
    assert (batch.status, batch.error_code) == ("failed", PathRefused.code)
    assert [event["status"] for event in _events(core, batch_id)] == ["failed"]


@pytest.fixture
def add_archive(core, tmp_path):
    """Store a ZIP of (name, bytes); return its video id."""

    def add(*members, compression=zipfile.ZIP_STORED):
        path = tmp_path / "archive.zip"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members:
                archive.writestr(name, content)
        video_id = new_id("vid")
        content = NewContent(os.urandom(32).hex(), path.stat().st_size, video_key(video_id))
        core.blobs.put_file(content.blob_key, path)
        with transaction(core.engine) as session:
            new = NewVideo("archive.zip", content, video_id=video_id)
            insert_video(session, core.tenant_id, new, core.clock.now(session))
        return video_id

    return add


def _unpacker(core, limits, tmp_path, spare=10**9):
    return Unpacker(core, limits, tmp_path / "tmp", lambda: spare)


def _mp4(text):
    return b"\0\0\0\x18ftypisom" + text


def test_an_archive_becomes_videos_one_by_one(core, limits, tmp_path, add_archive, run_job):
    archive_id = add_archive(
        ("cam/a.mp4", _mp4(b"a")),
        ("cam/a copy.mp4", _mp4(b"a")),
        ("../../b.mp4", _mp4(b"b")),
        ("readme.txt", b"Hello, this is a text and no video at all."),
        ("cam/", b""),
        ("__MACOSX/cam/._a.mp4", b"x"),
        ("empty.mp4", b""),
    )
    reference = {"video_id": archive_id, "owned": True}
    batch_id = _make(core, [], source=BatchSource.ARCHIVE, source_ref=reference)
    unpacker = _unpacker(core, limits, tmp_path)
    assert not unpacker.step(), "a batch that is not prepared was unpacked"
    feed_batches(core, limits)
    assert _counts(core, batch_id) == {"waiting": 4, "failed": 1}
    while unpacker.step():
        pass
    feed_batches(core, limits)
    run_job(num_chunks=1)
    feed_batches(core, limits)
    items = {item.name: (item.status, item.error_code) for item in _items(core, batch_id)}
    assert items == {
        "cam/a.mp4": ("succeeded", None),
        "cam/a copy.mp4": ("succeeded", None),
        "../../b.mp4": ("succeeded", None),
        "readme.txt": ("failed", "archive_refused"),
        "empty.mp4": ("failed", "archive_refused"),
    }
    videos = [key for key, _ in core.blobs.keys("videos")]
    assert len(videos) == 3, "the archive and two contents"
    assert list((tmp_path / "tmp").iterdir()) == []
    # The archive stays for a retry, and goes with the batch; videos go with their jobs.
    commands.delete_batch(core, batch_id)
    feed_batches(core, limits)
    assert video_key(archive_id) not in [key for key, _ in core.blobs.keys("videos")]


def test_an_archive_goes_in_the_transaction_that_removes_its_batch(
    core, limits, add_archive, monkeypatch
):
    reference = {"video_id": add_archive(("a.mp4", _mp4(b"a"))), "owned": True}
    batch_id = _make(core, (), source=BatchSource.ARCHIVE, source_ref=reference)
    commands.delete_batch(core, batch_id)

    def killed(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(feeding, "throw_away", killed)
    with pytest.raises(KeyboardInterrupt):
        feed_batches(core, limits)
    with reading(core.engine) as session:
        for table in (BatchRecord, VideoRecord, ContentRecord):
            assert session.scalar(select(func.count()).select_from(table)) == 0, table


def test_a_member_whose_unpacker_died_is_taken_again(core, limits, tmp_path, add_archive):
    archive_id = add_archive(("a.mp4", _mp4(b"a")), ("b.mp4", _mp4(b"b")))
    reference = {"video_id": archive_id, "owned": True}
    batch_id = _make(core, [], source=BatchSource.ARCHIVE, source_ref=reference)
    feed_batches(core, limits)
    died = unpacking.take_member(core, limits)
    assert died is not None
    unpacker = _unpacker(core, limits, tmp_path)
    assert unpacker.step()
    assert not unpacker.step(), "a member was taken from somebody who has it"
    core.clock.advance(unpacking.LEASE_SECONDS + 1)
    assert unpacker.step()
    with pytest.raises(unpacking.LostError):
        unpacking.renew(core, died)
    unpacking.give_back(core, died)
    assert _counts(core, batch_id) == {"open": 2}
    unpacker.close()


def test_a_member_that_kills_whoever_unpacks_it_is_given_up(core, limits, tmp_path, add_archive):
    archive_id = add_archive(("a.mp4", _mp4(b"a")), ("b.mp4", _mp4(b"b")))
    reference = {"video_id": archive_id, "owned": True}
    batch_id = _make(core, [], source=BatchSource.ARCHIVE, source_ref=reference)
    feed_batches(core, limits)
    taken = [unpacking.take_member(core, limits) for _ in range(2)]
    assert taken[0] is not None
    assert taken[1] is not None
    unpacking.give_back(core, taken[1])
    for _ in range(unpacking.MAX_LOSSES - 1):
        core.clock.advance(unpacking.LEASE_SECONDS + 1)
        again = unpacking.take_member(core, limits)
        assert again is not None
        assert again.name == taken[0].name
    core.clock.advance(unpacking.LEASE_SECONDS + 1)
    unpacking.take_member(core, limits)
    (failed,) = views.list_items(
        core, batch_id, status=ItemStatus.FAILED, page_size=10, page_token=None
    ).items
    assert (failed.name, failed.error_code) == (taken[0].name, "crashed")
    unpacker = _unpacker(core, limits, tmp_path)
    assert unpacker.step(), "the others go on"
    unpacker.close()


def test_a_full_disk_makes_members_wait_and_cancel_ends_them(core, limits, tmp_path, add_archive):
    archive_id = add_archive(("a.mp4", _mp4(b"a")))
    reference = {"video_id": archive_id, "owned": True}
    batch_id = _make(core, [], source=BatchSource.ARCHIVE, source_ref=reference)
    feed_batches(core, limits)
    unpacker = _unpacker(core, limits, tmp_path, spare=0)
    with pytest.raises(StorageFull):
        unpacker.step()
    assert _counts(core, batch_id) == {"waiting": 1}
    taken = unpacking.take_member(core, limits)
    assert taken is not None
    commands.cancel_batch(core, batch_id)
    with pytest.raises(unpacking.LostError):
        unpacking.renew(core, taken)
    feed_batches(core, limits)
    assert views.get_batch(core, batch_id).batch.status == "canceled"
    unpacker.close()


def test_a_batchs_own_webhook_is_told_of_its_end_and_its_jobs_only_if_asked(
    core, limits, add_video, run_job
):
    url = "https://receiver.example/hook"
    batches = {
        events: _make(
            core,
            [NewItem("a.mp4", ItemKind.VIDEO, video_id=add_video(name))],
            webhook={"url": url, **({"events": list(events)} if events else {})},
        )
        for events, name in (((), b"aa"), (("batch.finished", "job.succeeded"), b"bb"))
    }
    feed_batches(core, limits)
    run_job(num_chunks=1)
    feed_batches(core, limits)
    relay_events(core)
    told = []
    while found := claim_delivery(core, avoided_hosts=(), lease_seconds=60):
        assert found.url == url
        told.append((found.receiver, json.loads(found.body)))
    of_batches = {receiver: body["data"] for receiver, body in told if "batch_" in receiver}
    assert set(of_batches) == set(batches.values())
    data = of_batches[batches[()]]
    assert (data["status"], data["succeeded"], data["failed"]) == ("finished", 1, 0)
    assert data["links"]["self"] == f"/v1/batches/{batches[()]}"
    of_jobs = [body["type"] for receiver, body in told if "job_" in receiver]
    assert of_jobs == ["job.succeeded"]
    log = list_deliveries(core, subject_id=batches[()], page_size=5, page_token=None)
    assert [one.type for one in log.deliveries] == ["batch.finished"]
    with pytest.raises(BatchNotFound):
        list_deliveries(core, subject_id="batch_0", page_size=5, page_token=None)


class KilledError(BaseException):
    """Stands for SIGKILL: nothing that catches errors catches it."""


class Killer:
    """Breaks off at the n-th commit, just before it or just after it."""

    def __init__(self, original):
        self._original = original
        self.steps = 0
        self.at = 0

    @contextmanager
    def transaction(self, engine):
        with self._original(engine) as session:
            yield session
            self._step()
        self._step()

    def _step(self):
        self.steps += 1
        if self.steps == self.at:
            raise KilledError


def _carry_on(core, limits):
    """Feed as often as it takes, killed or not; return whether it was killed."""
    killed = False
    for _ in range(6):
        try:
            feed_batches(core, limits)
        except KilledError:
            killed = True
        _end_jobs(core)
    return killed


def test_feeding_killed_anywhere_goes_on(core, limits, add_video, monkeypatch):
    """Break off before and after every commit; nothing is made or told of twice."""
    killer = Killer(transaction)
    monkeypatch.setattr("service.batches.feeding.transaction", killer.transaction)
    ids = [add_video(f"{index:02}".encode()) for index in range(5)]
    items = [NewItem("a.mp4", ItemKind.VIDEO, video_id=one) for one in ids]
    killed = True
    while killed:
        killer.at, killer.steps = killer.at + 1, 0
        # Other options each time, or everything would be found done.
        batch_id = _make(core, items, options={"min_score": killer.at / 100})
        killed = _carry_on(core, limits)
        assert views.get_batch(core, batch_id).batch.status == "finished"
        assert _counts(core, batch_id) == {"succeeded": 5}
        assert len(_events(core, batch_id)) == 1
        with reading(core.engine) as session:
            assert session.scalar(select(func.count()).select_from(JobRecord)) == 5 * killer.at
    assert killer.at > 6
