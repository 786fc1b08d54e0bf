"""Measures the service: polls beside a busy worker, event readers, uploads, other thresholds.

    python -m bench.service [--only polls,readers,uploads,resegment] [--json PATH] [--data DIR]

A real `kinetag up` on a fresh data folder; its worker runs at niceness 10, as it does by default.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import httpx2

from bench.long_video import write_long_video
from bench.report import BenchReport, Figure
from bench.service.equipment import (
    Deployment,
    await_stage,
    cpu_seconds,
    memory_mb,
    running_service,
    submit,
)
from bench.service.polls import poll_steadily
from bench.service.readers import open_readers
from bench.service.uploads import measure_uploads

COMPUTING = {"decoding", "flow", "features"}
POLL_RATE = 300.0
POLL_SECONDS = 30.0
NUM_READERS = 200
READER_SECONDS = 600.0
UPLOAD_BYTES = 512 * 1024 * 1024
UPLOAD_ROUNDS = 5
STORED_SECONDS = 600.0
RESEGMENTS = 20
JOB_SECONDS = 1800.0
WIDTH_PX, HEIGHT_PX = 170, 128  # the bundled recipe's own short side


def _video(folder: Path, seconds: float) -> Path:
    path = folder / f"long-{seconds:g}.mp4"
    if not path.exists():
        write_long_video(path, seconds, WIDTH_PX, HEIGHT_PX)
    return path


def bench_polls(service: Deployment, client: httpx2.Client, folder: Path) -> dict[str, Figure]:
    """Poll a job that is being computed, and one more time while nothing is."""
    location = submit(client, _video(folder, 1800.0))
    await_stage(client, location, COMPUTING, READER_SECONDS)
    poll_steadily(service.address, location, POLL_RATE, 2.0)  # warm
    before = cpu_seconds(service.pids["api"])
    busy = poll_steadily(service.address, location, POLL_RATE, POLL_SECONDS)
    spent = cpu_seconds(service.pids["api"]) - before
    still_busy = client.get(location).json()["stage"] in COMPUTING
    client.post(f"{location}/cancel")
    await_stage(client, location, {"canceled"}, JOB_SECONDS)
    idle = poll_steadily(service.address, location, POLL_RATE, POLL_SECONDS / 3)
    client.delete(location)
    return {
        **{f"polls_{name}": round(value, 3) for name, value in asdict(busy).items()},
        "polls_worker_busy_throughout": still_busy,
        "polls_api_cpu_ms_each": round(spent * 1000 / busy.sent, 3),
        "polls_idle_worker_p99_ms": round(idle.p99_ms, 3),
    }


def bench_readers(service: Deployment, client: httpx2.Client, folder: Path) -> dict[str, Figure]:
    """Open the streams of one job that runs and ends meanwhile."""
    location = submit(client, _video(folder, 120.0))
    found = open_readers(
        service.address,
        f"{location}/events",
        NUM_READERS,
        lambda: memory_mb(service.pids["api"]),
        READER_SECONDS,
    )
    client.delete(location)
    return {f"readers_{name}": round(value, 1) for name, value in asdict(found).items()}


def bench_uploads(service: Deployment, client: httpx2.Client, folder: Path) -> dict[str, Figure]:
    """Upload new files, raw and by tus, against copies with fsync."""
    del client
    found = measure_uploads(service.address, folder, UPLOAD_BYTES, UPLOAD_ROUNDS)
    return {
        "uploads_size_mb": round(UPLOAD_BYTES / 1e6),
        "uploads_rounds": UPLOAD_ROUNDS,
        **{f"uploads_{name}": round(value, 3) for name, value in asdict(found).items()},
    }


def bench_resegment(service: Deployment, client: httpx2.Client, folder: Path) -> dict[str, Figure]:
    """Ask a finished job of ten minutes for other thresholds, and run a second job on it."""
    del service
    video = _video(folder, STORED_SECONDS)
    location = submit(client, video)
    await_stage(client, location, {"succeeded"}, JOB_SECONDS)
    first = _timed(partial(_resegment, client, location, 0.5))
    others = [
        _timed(partial(_resegment, client, location, value))
        for value in (0.05 + 0.04 * number for number in range(RESEGMENTS))
    ]
    started = time.perf_counter()
    again = submit(client, video, options='{"min_score": 0.25}')
    await_stage(client, again, {"succeeded"}, JOB_SECONDS)
    spent = time.perf_counter() - started
    return {
        "resegment_video_seconds": STORED_SECONDS,
        "resegment_first_ms": round(first * 1000, 2),
        "resegment_median_ms": round(statistics.median(others) * 1000, 2),
        "resegment_worst_ms": round(max(others) * 1000, 2),
        "second_job_on_stored_features_seconds": round(spent, 2),
    }


def _resegment(client: httpx2.Client, location: str, threshold: float) -> None:
    body = {"class_threshold": threshold}
    client.post(f"{location}/resegment", json=body).raise_for_status()


def _timed(act: Callable[[], None]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


PARTS: dict[str, Callable[[Deployment, httpx2.Client, Path], dict[str, Figure]]] = {
    "polls": bench_polls,
    "readers": bench_readers,
    "uploads": bench_uploads,
    "resegment": bench_resegment,
}


def main() -> None:
    """Measure what was asked for and report."""
    parser = argparse.ArgumentParser(prog="python -m bench.service", description="The service.")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--data", type=Path, help="folder whose disk takes the data")
    parser.add_argument("--json", type=Path, help="write the report here too")
    options = parser.parse_args()
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory(prefix="kinetag-bench-", dir=options.data) as scratch:
        folder = Path(scratch)
        with (
            running_service(folder / "data", "--device", "cpu") as service,
            httpx2.Client(base_url=service.url, timeout=120) as client,
        ):
            for name in options.only.split(","):
                figures.update(PARTS[name](service, client, folder))
                print(f"bench.service: {name} done", flush=True)
    BenchReport("service", "drawn videos, random bytes", figures).publish(options.json)


if __name__ == "__main__":
    main()
