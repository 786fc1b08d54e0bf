"""Probe tasks with the real decoder: facts, thumbnails, failures, videos by path."""

import os
from datetime import UTC, datetime, timedelta

import av
import numpy as np
import pytest

from models.errors import UnreadableVideo
from service.jobs.commands import JobCore, NewJob, create_job
from service.jobs.lifecycle import Plan
from service.jobs.queue import TaskQueue
from service.jobs.records import DEFAULT_TENANT, JobRecord, Record, TenantRecord, VideoRecord
from service.jobs.store import create_engine_for, new_id, reading, transaction
from service.jobs.videos import NewContent, NewVideo
from service.storage import LocalBlobStore, video_key
from workers.devicelock import DeviceLock
from workers.engine import EngineSettings, LocalizerEngine
from workers.lease import LeaseSettings
from workers.runtime import Ending, Runtime, run_task

FPS, SECONDS = 25, 4


class HandClock:
    def __init__(self):
        self.moment = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self, session):
        return self.moment


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(FPS * SECONDS):
            image = np.full((48, 64, 3), index * 2, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


class World:
    def __init__(self, folder):
        self.database = create_engine_for(f"sqlite:///{folder / 'kinetag.db'}")
        Record.metadata.create_all(self.database)
        self.clock = HandClock()
        with transaction(self.database) as session:
            now = self.clock.moment
            session.add(TenantRecord(id=DEFAULT_TENANT, name=DEFAULT_TENANT, created_at=now))
        self.blobs = LocalBlobStore(folder / "data")
        self.core = JobCore(self.database, self.clock, self.blobs, folder / "features")
        self.roots = folder / "archive"
        self.roots.mkdir()
        self.runtime = Runtime(
            queue=TaskQueue(self.database, self.clock),
            engine=LocalizerEngine(EngineSettings((), folder / "features")),
            lock=DeviceLock(folder, "one"),
            blobs=self.blobs,
            draining=lambda: False,
            owner="me",
            lease=LeaseSettings(heartbeat_seconds=5, tick_seconds=0.02),
            path_roots=(str(self.roots),),
        )

    def upload(self, content):
        key = video_key(new_id("vid"))
        self.blobs.put_bytes(key, content)
        stored = NewContent("0" * 64, len(content), key)
        return self.add(NewVideo(name="cam.mp4", content=stored, kept=True))

    def name(self, path):
        new = NewVideo(name="cam.mp4", source="path", source_ref=str(path), kept=True)
        return self.add(new)

    def add(self, video):
        return create_job(self.core, NewJob(video=video, model="", kind="probe"))[0].video.id

    def run(self):
        return run_task(self.runtime, None)

    def video(self, video_id):
        with reading(self.database) as session:
            return session.get_one(VideoRecord, video_id)

    def strips(self):
        return [key for key, _ in self.blobs.keys("thumbnails")]


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.database.dispose()


def test_a_probe_stores_facts_and_thumbnails(world, clip):
    video_id = world.upload(clip)
    assert world.run() is Ending.DONE
    video = world.video(video_id)
    assert video.status == "ready"
    facts = video.facts
    assert facts["duration"] == pytest.approx(SECONDS)
    assert (facts["width"], facts["height"], facts["codec"]) == (64, 48, "mpeg4")
    assert facts["container"].startswith("mov,mp4")
    shape = facts["thumbnails"]
    assert (shape["tile_width"], shape["tile_height"], shape["count"]) == (64, 48, 2 * SECONDS)
    assert video.thumbnails_key.startswith(f"thumbnails/{video_id}/")
    assert world.blobs.get_bytes(video.thumbnails_key).startswith(b"\xff\xd8\xff")
    assert world.run() is Ending.IDLE


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"no video at all", "unreadable_video"), (b"GIF89a" + bytes(99), "container_unsupported")],
)
def test_what_is_no_video_fails_the_video_with_its_code(content, code, world):
    video_id = world.upload(content)
    assert world.run() is Ending.FAILED
    video = world.video(video_id)
    assert (video.status, video.error_code) == ("failed", code)
    assert video.error_message
    assert world.strips() == []


def test_a_video_whose_pictures_cannot_be_drawn_still_has_facts(world, clip, monkeypatch):
    def broken(source):
        message = "No picture."
        raise UnreadableVideo(message)

    monkeypatch.setattr("models.thumbnails.draw_thumbnails", broken)
    video_id = world.upload(clip)
    assert world.run() is Ending.DONE
    assert world.video(video_id).status == "ready"
    assert world.video(video_id).thumbnails_key is None


def test_a_path_is_read_where_it_lies_and_hashed(world, clip):
    path = world.roots / "0900.mp4"
    path.write_bytes(clip)
    video_id = world.name(path)
    assert world.run() is Ending.DONE
    video = world.video(video_id)
    assert len(video.sha256) == 64
    assert video.blob_key is None
    assert path.read_bytes() == clip


def test_a_path_is_judged_again_when_it_is_read(world, clip, tmp_path):
    """Between request and reading, a link to somewhere else took the file's place."""
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(clip)
    path = world.roots / "0900.mp4"
    path.write_bytes(clip)
    video_id = world.name(path)
    path.unlink()
    path.symlink_to(outside)
    assert world.run() is Ending.FAILED
    assert world.video(video_id).error_code == "path_refused"


def test_a_path_that_is_gone_says_so(world):
    video_id = world.name(world.roots / "gone.mp4")
    assert world.run() is Ending.FAILED
    assert world.video(video_id).error_code == "path_refused"


def test_descriptors_of_paths_are_closed(world, clip):
    path = world.roots / "0900.mp4"
    path.write_bytes(clip)
    world.name(path)
    world.run()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a listing that opens no Path
    for _ in range(3):
        world.name(path)
        assert world.run() is Ending.DONE
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208 - as above


def test_a_late_owner_s_thumbnails_are_dropped(world, clip, monkeypatch):
    video_id = world.upload(clip)
    drawn = LocalizerEngine.run

    def slow(self, work, on_progress, should_stop):
        outcome = drawn(self, work, on_progress, should_stop)
        # Meanwhile the lease runs out, and somebody else takes the task over.
        world.clock.moment += timedelta(seconds=61)
        assert world.runtime.queue.claim(owner="other", lease_seconds=60.0) is not None
        return outcome

    monkeypatch.setattr(LocalizerEngine, "run", slow)
    assert world.run() is Ending.DROPPED
    assert world.strips() == []
    assert world.video(video_id).status == "pending"


def test_planning_keeps_what_is_known_of_the_thumbnails(world, clip):
    video_id = world.upload(clip)
    world.run()
    shape = world.video(video_id).facts["thumbnails"]
    job_id = create_job(world.core, NewJob(video=video_id, model="m@1"))[0].job.id
    queue = world.runtime.queue
    task = queue.claim(owner="w", lease_seconds=60.0)
    queue.complete_plan(task.id, task.token, Plan(1, {"duration": 4.0}))
    assert world.video(video_id).facts == {"duration": 4.0, "thumbnails": shape}
    with reading(world.database) as session:
        assert session.get_one(JobRecord, job_id).num_chunks == 1
