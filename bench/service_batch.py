"""What a batch costs beside the work itself: `python -m bench.service_batch [--items N]`.

Makes a batch, its jobs and their ends in the rows, as API, sweeper and workers would, on an
embedded database; no video is looked at. Prints milliseconds per item, and how long others wait.
"""

import argparse
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select, update

from service.batches import commands, views
from service.batches.commands import NewBatch, NewItem
from service.batches.feeding import FeedLimits, feed_batches
from service.batches.states import ItemKind
from service.jobs.commands import JobCore, NewJob, create_job, open_core
from service.jobs.records import JobRecord
from service.jobs.states import JobStatus
from service.jobs.store import reading, transaction
from service.jobs.videos import NewVideo
from service.settings import Settings

MODEL = "kinetag-demo@1"
GOAL_MS = 5.0
"""Of the product's card: bookkeeping of a 10,000-file batch, per file."""


@dataclass(slots=True)
class Figures:
    """Seconds of each part."""

    make: float = 0.0
    feed: float = 0.0
    view: float = 0.0
    result: float = 0.0
    other_jobs: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    count = parser.parse_args().items
    with tempfile.TemporaryDirectory() as folder:
        core = open_core(Settings(data_dir=Path(folder)))
        figures = measure(core, count)
    total = figures.make + figures.feed
    print(f"{count} items, SQLite with every commit synced")
    print(f"making the batch        {figures.make * 1000 / count:8.3f} ms per item")
    print(f"jobs made, ends noted   {figures.feed * 1000 / count:8.3f} ms per item")
    print(f"together                {total * 1000 / count:8.3f} ms per item (goal {GOAL_MS:g})")
    print(f"looking at the batch    {figures.view * 1000:8.1f} ms")
    waits = sorted(figures.other_jobs)
    if waits:
        print(f"another job beside it   {waits[len(waits) // 2] * 1000:8.1f} ms median, "
              f"{waits[-1] * 1000:.1f} ms at worst")  # fmt: skip


def measure(core: JobCore, count: int) -> Figures:
    """Carry one batch from its request to its end."""
    figures = Figures()
    items = tuple(
        NewItem(f"{index:06}.mp4", ItemKind.URL, source=f"http://example.com/{index}.mp4")
        for index in range(count)
    )
    began = time.perf_counter()
    batch_id, _ = commands.create_batch(core, NewBatch(MODEL, items))
    figures.make = time.perf_counter() - began
    stop = threading.Event()
    beside = threading.Thread(target=_make_jobs_beside, args=(core, figures, stop))
    beside.start()
    limits = FeedLimits()
    while True:
        began = time.perf_counter()
        moved = feed_batches(core, limits)
        figures.feed += time.perf_counter() - began
        if not moved:
            break
        _end_jobs(core)
    stop.set()
    beside.join()
    began = time.perf_counter()
    view = views.get_batch(core, batch_id)
    figures.view = time.perf_counter() - began
    if view.progress.counts["succeeded"] != count:
        message = f"not all items ended: {view.progress.counts}"
        raise RuntimeError(message)
    with reading(core.engine) as session:
        jobs = session.scalar(select(func.count()).where(JobRecord.queue == "batch"))
    if jobs != count:
        message = f"{jobs} jobs for {count} items"
        raise RuntimeError(message)
    return figures


def _end_jobs(core: JobCore) -> None:
    """Let all jobs of the batch succeed; what that costs is the workers'."""
    with transaction(core.engine) as session:
        session.execute(
            update(JobRecord)
            .where(JobRecord.status == JobStatus.QUEUED, JobRecord.queue == "batch")
            .values(status=JobStatus.SUCCEEDED, completed_at=core.clock.now(session))
            .execution_options(synchronize_session=False)
        )


def _make_jobs_beside(core: JobCore, figures: Figures, stop: threading.Event) -> None:
    """Submit a job now and then, as somebody else would."""
    while not stop.wait(0.1):
        began = time.perf_counter()
        video = NewVideo("x.mp4", source="url", source_ref="http://example.com/x.mp4")
        create_job(core, NewJob(video, MODEL))
        figures.other_jobs.append(time.perf_counter() - began)


if __name__ == "__main__":
    main()
