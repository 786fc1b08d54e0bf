"""Resumable uploads behind HTTP: locks, crashes, expiry, space, tenants; on each database."""

import hashlib
import os
import shutil
import time

import pytest
from sqlalchemy import select

from service.accounts.tenants import ensure_tenant
from service.errors import (
    OffsetConflict,
    StorageFull,
    UploadExpired,
    UploadLocked,
    UploadNotFound,
)
from service.ingest import uploads
from service.ingest.files import open_file
from service.ingest.records import UploadRecord
from service.ingest.sweeping import TOMBSTONE_SECONDS, sweep_uploads
from service.ingest.tus import read_metadata
from service.ingest.uploads import LOCK_SECONDS, UploadDesk
from service.jobs.records import VideoRecord
from service.jobs.store import reading
from service.storage import video_key

EXPIRES_SECONDS = 1000.0
PLENTY = 1 << 40
NOTHING = read_metadata(None)


@pytest.fixture
def desk(core, tmp_path):
    return UploadDesk(core, tmp_path / "data" / "uploads", EXPIRES_SECONDS)


def begin(desk, length=10, spare=PLENTY):
    return uploads.begin_upload(desk, NOTHING, length, spare).id


def write(desk, upload_id, content):
    """Append as a request does, and note it."""
    lock = uploads.lock_upload(desk, upload_id)
    with open_file(desk.path(upload_id), lock.upload.offset_bytes) as file:
        file.write([content])
        uploads.free_lock(desk, lock, file.sync())


def offset(desk, upload_id):
    return uploads.look_at_upload(desk, upload_id).offset_bytes


def videos(desk):
    with reading(desk.core.engine) as session:
        return list(session.execute(select(VideoRecord)).scalars())


def test_one_lock_at_a_time_and_none_forever(desk, clock):
    upload_id = begin(desk)
    first = uploads.lock_upload(desk, upload_id)
    with pytest.raises(UploadLocked):
        uploads.lock_upload(desk, upload_id)
    assert uploads.keep_lock(desk, first, 3)
    clock.advance(LOCK_SECONDS - 1)
    uploads.keep_lock(desk, first, 4)
    clock.advance(LOCK_SECONDS - 1)
    with pytest.raises(UploadLocked):
        uploads.lock_upload(desk, upload_id)
    clock.advance(2)
    second = uploads.lock_upload(desk, upload_id)
    with pytest.raises(UploadLocked):
        uploads.keep_lock(desk, first, 9)
    uploads.free_lock(desk, first, 9)
    assert not uploads.keep_lock(desk, second, None)
    assert second.upload.offset_bytes == 4


def test_a_frozen_writer_still_keeps_others_from_its_file(desk, clock):
    upload_id = begin(desk)
    lock = uploads.lock_upload(desk, upload_id)
    with open_file(desk.path(upload_id), 0) as frozen:
        clock.advance(LOCK_SECONDS + 1)
        later = uploads.lock_upload(desk, upload_id)
        with pytest.raises(UploadLocked):
            open_file(desk.path(upload_id), 0)
        frozen.write([b"late"])
        with pytest.raises(UploadLocked):
            uploads.complete_upload(desk, lock, "0" * 64)
    uploads.free_lock(desk, later, None)
    # What it wrote was never promised: the next writer begins where the row says.
    assert offset(desk, upload_id) == 0
    write(desk, upload_id, b"0123456789")
    assert uploads.settle_upload(desk, upload_id).upload.completed_at is not None
    assert desk.core.blobs.get_bytes(videos(desk)[0].blob_key) == b"0123456789"


def test_the_offset_is_what_is_on_disk(desk):
    upload_id = begin(desk)
    write(desk, upload_id, b"hello")
    assert offset(desk, upload_id) == 5
    # More on disk than was noted, as after a crash: the rest is not promised.
    with desk.path(upload_id).open("ab") as file:
        file.write(b"???")
    assert offset(desk, upload_id) == 5
    write(desk, upload_id, b"W")
    assert desk.path(upload_id).read_bytes() == b"helloW"
    # Less than was noted, as after a repair of the file system.
    desk.path(upload_id).write_bytes(b"he")
    assert offset(desk, upload_id) == 2


@pytest.mark.parametrize("crash", ["before the blob", "before the rows", "before the end"])
def test_whatever_a_crash_cuts_off_is_made_up_for(desk, crash):
    upload_id = begin(desk)
    write(desk, upload_id, b"0123456789")
    with reading(desk.core.engine) as session:
        key = video_key(session.get_one(UploadRecord, upload_id).video_id)
    if crash == "before the rows":
        desk.core.blobs.put_file(key, desk.path(upload_id))
    elif crash == "before the end":
        # A remote storage has the bytes, and the file is still here.
        copy = desk.path("copy")
        shutil.copy(desk.path(upload_id), copy)
        desk.core.blobs.put_file(key, copy)
    assert uploads.look_at_upload(desk, upload_id).unsettled
    view = uploads.settle_upload(desk, upload_id)
    again = uploads.settle_upload(desk, upload_id)
    assert (view.offset_bytes, view.unsettled) == (10, False)
    assert again.upload.completed_at == view.upload.completed_at
    [video] = videos(desk)
    assert video.id == view.upload.video_id
    assert video.sha256 == hashlib.sha256(b"0123456789").hexdigest()
    assert desk.core.blobs.get_bytes(video.blob_key) == b"0123456789"
    assert list(desk.folder.iterdir()) == []


def test_who_makes_up_for_a_crash_keeps_the_lock_however_long_it_takes(desk, clock, monkeypatch):
    upload_id = begin(desk)
    write(desk, upload_id, b"0123456789")
    monkeypatch.setattr(uploads, "LOCK_SECONDS", 0.5)
    hash_file = uploads.hash_file

    def slow(path):
        for _ in range(2):
            clock.advance(0.4)
            time.sleep(0.3)
            with pytest.raises(UploadLocked):
                uploads.lock_upload(desk, upload_id)
        return hash_file(path)

    monkeypatch.setattr(uploads, "hash_file", slow)
    assert uploads.settle_upload(desk, upload_id).upload.completed_at is not None


def test_an_old_file_is_young_when_it_becomes_a_blob(desk):
    upload_id = begin(desk)
    write(desk, upload_id, b"0123456789")
    os.utime(desk.path(upload_id), (1, 1))
    uploads.settle_upload(desk, upload_id)
    [(_, changed_at)] = desk.core.blobs.keys("videos")
    assert changed_at.year > 2000


def test_bytes_that_vanished_are_to_be_sent_again(desk):
    upload_id = begin(desk)
    write(desk, upload_id, b"hello")
    desk.path(upload_id).unlink()
    view = uploads.settle_upload(desk, upload_id)
    assert (view.offset_bytes, view.unsettled) == (0, False)
    write(desk, upload_id, b"0123456789")
    assert uploads.settle_upload(desk, upload_id).upload.completed_at is not None


def test_an_upload_at_rest_expires_and_leaves_nothing(desk, clock):
    resting, moving, complete = begin(desk), begin(desk), begin(desk)
    write(desk, resting, b"hello")
    write(desk, complete, b"0123456789")
    uploads.settle_upload(desk, complete)
    stranger = desk.path("upl_nobody")
    stranger.touch()
    clock.advance(EXPIRES_SECONDS - 1)
    write(desk, moving, b"x")
    clock.advance(2)
    for act in (uploads.look_at_upload, uploads.lock_upload, uploads.end_upload):
        with pytest.raises(UploadExpired):
            act(desk, resting)
    assert sweep_uploads(desk) == 1
    assert {path.name for path in desk.folder.iterdir()} == {moving, "upl_nobody"}
    with pytest.raises(UploadExpired):
        uploads.look_at_upload(desk, resting)
    assert len(videos(desk)) == 1
    clock.advance(TOMBSTONE_SECONDS)
    sweep_uploads(desk)
    for upload_id in (resting, complete):
        with pytest.raises(UploadNotFound):
            uploads.look_at_upload(desk, upload_id)
    assert len(videos(desk)) == 1


def test_files_that_no_row_knows_are_swept_once_they_are_old(desk, clock):
    begin(desk)
    stranger = desk.path("upl_nobody")
    stranger.touch()
    clock.moment = clock.moment.replace(year=2100)
    assert sweep_uploads(desk) == 2
    assert list(desk.folder.iterdir()) == []


def test_space_is_reserved_before_any_byte(desk, clock):
    first = begin(desk, 60, spare=100)
    with pytest.raises(StorageFull):
        begin(desk, 41, spare=100)
    assert [path.name for path in desk.folder.iterdir()] == [first]
    begin(desk, 40, spare=100)
    write(desk, first, b"x" * 50)
    # What has arrived is no longer free, nor is it to come.
    begin(desk, 50, spare=100)
    clock.advance(EXPIRES_SECONDS + 1)
    begin(desk, 100, spare=100)


def test_offsets_are_compared(desk):
    upload_id = begin(desk)
    upload = uploads.look_at_upload(desk, upload_id).upload
    uploads.require_offset(upload, 3, 3)
    with pytest.raises(OffsetConflict, match="stands at byte 3 of 10, not at 2"):
        uploads.require_offset(upload, 3, 2)


def test_another_tenants_upload_is_unknown(desk, core):
    tenant_id = ensure_tenant(core, "other").id
    mine = begin(desk)
    stranger = UploadDesk(core.for_tenant(tenant_id), desk.folder, EXPIRES_SECONDS)
    home = UploadDesk(core.for_tenant("default"), desk.folder, EXPIRES_SECONDS)
    for act in (
        uploads.look_at_upload,
        uploads.lock_upload,
        uploads.end_upload,
        uploads.settle_upload,
    ):
        with pytest.raises(UploadNotFound):
            act(stranger, mine)
    assert offset(home, mine) == 0
    theirs = begin(stranger)
    write(stranger, theirs, b"0123456789")
    uploads.settle_upload(stranger, theirs)
    assert [video.tenant_id for video in videos(desk)] == [tenant_id]
    with pytest.raises(UploadNotFound):
        uploads.look_at_upload(home, theirs)


def test_ids_cannot_be_guessed(desk):
    ids = {begin(desk) for _ in range(20)}
    assert len(ids) == 20
    # No common beginning that would tell the time.
    assert len({upload_id[4:8] for upload_id in ids}) > 15
