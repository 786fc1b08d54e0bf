"""Makes the segments that are searched: skewed as archives are, through the service's own code.

Cameras and labels are few that are frequent and many that are rare, and a camera sees some labels
only. Jobs are made in the order of their recordings with some disorder, one in twenty without a
wall-clock time.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.random import Generator
from sqlalchemy import Engine, insert
from sqlalchemy.orm import Session

from service.jobs.records import JobRecord, ResultRecord, TenantRecord, VideoRecord
from service.jobs.states import JobStatus
from service.jobs.store import new_id, transaction
from service.search.indexing import index_result, sum_up_counts

NUM_CAMERAS = 50
NUM_LABELS = 40
NUM_TAGS = 12
SEGMENTS_PER_JOB = 50
LABELS_PER_CAMERA = 0.6
UNDATED_SHARE = 0.05
UNTAGGED_SHARE = 0.2
BEGIN = datetime(2023, 11, 1, tzinfo=UTC)
DAYS = 3 * 365
DISORDER_DAYS = 10.0
JOBS_PER_TRANSACTION = 250
TENANTS = {"default": 0.8, "ten_another": 0.2}
"""Who has which share; questions are asked for the first."""

CAMERAS = tuple(f"camera-{number:02d}" for number in range(NUM_CAMERAS))
LABELS = tuple(f"action {number:02d}" for number in range(NUM_LABELS))
TAGS = tuple(f"store-{number:02d}" for number in range(NUM_TAGS))


@dataclass(frozen=True, slots=True)
class World:
    """Who sees what how often.

    Attributes:
        cameras: float64[NUM_CAMERAS], sums to 1.
        labels: float64[NUM_CAMERAS, NUM_LABELS], what each camera sees; rows sum to 1.
    """

    cameras: np.ndarray
    labels: np.ndarray

    @classmethod
    def drawn(cls, random: Generator) -> "World":
        """Return one whose frequencies fall as Zipf says."""
        cameras = _zipf(NUM_CAMERAS)
        sees = random.random((NUM_CAMERAS, NUM_LABELS)) < LABELS_PER_CAMERA
        sees[:, 0] = sees[0, :] = True
        # The second camera never sees the second label, frequent as both are.
        sees[1, 1] = False
        labels = sees * _zipf(NUM_LABELS)
        return cls(cameras, labels / labels.sum(axis=1, keepdims=True))


def make_segments(engine: Engine, num_segments: int, seed: int = 7) -> None:
    """Fill a database that has the newest schema and no jobs."""
    random = np.random.default_rng(seed)
    world = World.drawn(random)
    num_jobs = max(1, num_segments // SEGMENTS_PER_JOB)
    counts = np.maximum(1, random.geometric(1 / SEGMENTS_PER_JOB, num_jobs))
    counts = np.maximum(1, np.round(counts * num_segments / counts.sum())).astype(int)
    with transaction(engine) as session:
        session.add(TenantRecord(id="ten_another", name="another", created_at=BEGIN))
    for first in range(0, num_jobs, JOBS_PER_TRANSACTION):
        with transaction(engine) as session:
            for index in range(first, min(num_jobs, first + JOBS_PER_TRANSACTION)):
                day = DAYS * index / num_jobs + random.normal(0, DISORDER_DAYS)
                made = drawn_job(world, random, day)
                add_job(session, made, drawn_result(world, random, made, int(counts[index])))
        # As the sweeper does every minute.
        sum_up_counts(engine)


def add_job(session: Session, job: JobRecord, result: ResultRecord, *, index: bool = True) -> None:
    """Insert a job that succeeded with its video and, unless asked not to, index its result."""
    session.execute(
        insert(VideoRecord),
        {
            "id": job.video_id,
            "tenant_id": job.tenant_id,
            "name": f"{job.camera} {job.id[-6:]}.mp4",
            "status": "ready",
            "facts": {"duration": 600.0},
            "source": "upload",
            "kept": True,
            "created_at": job.created_at,
        },
    )
    session.add(job)
    session.flush()
    if index:
        index_result(session, job, result)


def drawn_result(
    world: World, random: Generator, job: JobRecord, num_segments: int
) -> ResultRecord:
    """Return the result of a job, not inserted, as far as searches look at it."""
    camera = CAMERAS.index(str(job.camera))
    labels = random.choice(NUM_LABELS, num_segments, p=world.labels[camera])
    starts = np.sort(random.random(num_segments)) * 590
    lengths = np.minimum(600.0, random.lognormal(1.1, 0.9, num_segments))
    scores = random.beta(5, 2, num_segments)
    segments = [
        {
            "label": LABELS[label],
            "score": round(float(score), 6),
            "raw_score": round(float(score) * 1.2 - 0.1, 6),
            "start": round(float(start), 3),
            "end": round(float(start + length), 3),
        }
        for label, score, start, length in zip(labels, scores, starts, lengths, strict=True)
    ]
    return ResultRecord(
        job_id=job.id, document={"segments": segments}, token=1, created_at=job.created_at
    )


def drawn_job(world: World, random: Generator, day: float) -> JobRecord:
    """Return a job of one of the tenants, recorded so many days after the beginning."""
    tenant = str(random.choice(list(TENANTS), p=list(TENANTS.values())))
    camera = int(random.choice(NUM_CAMERAS, p=world.cameras))
    recorded_at = BEGIN + timedelta(days=day)
    tagged = random.random() >= UNTAGGED_SHARE
    return JobRecord(
        id=new_id("job"),
        tenant_id=tenant,
        video_id=new_id("vid"),
        status=JobStatus.SUCCEEDED,
        progress=1.0,
        model="kinetag-demo@1",
        options={},
        camera=CAMERAS[camera],
        # A camera hangs in one store.
        tag=TAGS[camera % NUM_TAGS] if tagged else None,
        recorded_at=None if random.random() < UNDATED_SHARE else recorded_at,
        created_at=recorded_at + timedelta(hours=1),
        started_at=recorded_at + timedelta(hours=1),
        completed_at=recorded_at + timedelta(hours=2),
    )


def _zipf(number: int) -> np.ndarray:
    weights = 1.0 / np.arange(1, number + 1)
    share: np.ndarray = weights / weights.sum()
    return share
