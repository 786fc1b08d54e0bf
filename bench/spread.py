"""Measures one long video on one one-thread worker against two of them, with real processes.

Run as ``python -m bench.spread [--json PATH]``. Two services run side by side, each a complete
`kinetag up`: one with a single worker, one with two. The same drawn video goes to them in turn,
never to both at once, so that whatever else the machine does disturbs both alike; the figure is
the median of the ratios. Stage times (plan, chunk, join, the pause between two tasks, one claim
in the database) are those that `bench.scaling` computes with.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import select

from bench.report import BenchReport
from bench.stages import MODEL, claim_seconds, joining_seconds, opening_seconds
from models.recipe import CHUNK_FRAMES
from models.synthetic import VideoSpec, draw_frames, encode_video, plan_video
from service.jobs.records import EventRecord
from service.jobs.store import create_engine_for, reading

ROOT = Path(__file__).resolve().parents[1]
FPS = 25.0
WIDTH_PX, HEIGHT_PX = 170, 128  # the bundled recipe's own short side: nothing is resized
CHUNK_SECONDS = CHUNK_FRAMES / FPS
WARM_UP_CHUNKS = 2
START_SECONDS = 120.0
JOB_SECONDS = 900.0
STOP_SECONDS = 45.0
LOOK_SECONDS = 0.1
ENDED = {"succeeded", "failed", "canceled"}
SEED = 1


class BenchError(Exception):
    """The service did not do its part; the message says which."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One event of a job: its type, details, and seconds since the epoch."""

    kind: str
    details: dict[str, Any]
    at_seconds: float


@dataclass(slots=True)
class Deployment:
    """One running `kinetag up` with workers of one thread each."""

    folder: Path
    num_workers: int
    url: str
    model: str

    def run(self, video: Path, number: int) -> list[Moment]:
        """Submit a video and wait for its result; return what happened.

        Raises:
            BenchError: the job did not succeed.
        """
        # Features are stored by content: bytes of its own make every run compute again.
        copy = self.folder / f"run-{number}.mp4"
        shutil.copyfile(video, copy)
        with copy.open("ab") as file:
            file.write(_free_box(number))
        with httpx2.Client(base_url=self.url, timeout=120) as client:
            with copy.open("rb") as file:
                answer = client.post(
                    "/v1/jobs", files={"video": (copy.name, file)}, data={"model": self.model}
                )
            copy.unlink()
            location = answer.raise_for_status().headers["location"]
            deadline = time.monotonic() + JOB_SECONDS
            job: dict[str, Any] = {"status": "queued"}
            while job["status"] not in ENDED and time.monotonic() < deadline:
                job = client.get(location, params={"wait": 5}).raise_for_status().json()
        if job["status"] != "succeeded":
            message = f"the job ended as {job['status']}: {job.get('error')}"
            raise BenchError(message)
        return self._moments(location.rpartition("/")[2])

    def _moments(self, job_id: str) -> list[Moment]:
        engine = create_engine_for(f"sqlite:///{self.folder / 'kinetag.db'}")
        try:
            with reading(engine) as session:
                rows = session.execute(
                    select(EventRecord).where(EventRecord.job_id == job_id).order_by(EventRecord.id)
                ).scalars()
                return [Moment(row.type, row.details, row.created_at.timestamp()) for row in rows]
        finally:
            engine.dispose()


@contextmanager
def deployed(folder: Path, num_workers: int, model: str) -> Iterator[Deployment]:
    """Run `kinetag up` until the block ends.

    Raises:
        BenchError: it did not start.
    """
    command = [
        sys.executable, "-m", "kinetag", "up", "--data", str(folder), "--port", "0",
        "--broker", "none", "--device", "cpu", "--workers", str(num_workers), "--threads", "1",
    ]  # fmt: skip
    log = folder.with_suffix(".log")
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Deployment(folder, num_workers, _await_url(process, folder, log), model)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_url(process: "subprocess.Popen[bytes]", folder: Path, log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    ready = folder / "run" / "up.json"
    while time.monotonic() < deadline and process.poll() is None:
        if ready.exists():
            return str(json.loads(ready.read_text())["url"])
        time.sleep(LOOK_SECONDS)
    message = f"kinetag up did not start: {log.read_text(errors='replace')[-2000:]}"
    raise BenchError(message)


def _free_box(number: int) -> bytes:
    """Return an MP4 box that readers skip.

    Source: ISO/IEC 14496-12, 8.1.2: size, type ``free``, any content.
    """
    content = f"kinetag bench {number:08d}".encode()
    return (8 + len(content)).to_bytes(4, "big") + b"free" + content


def warm_up(deployment: Deployment, video: Path) -> None:
    """Run jobs until every worker has loaded the model and computed a chunk.

    Raises:
        BenchError: some worker never took part.
    """
    owners: set[str] = set()
    for attempt in range(3):
        moments = deployment.run(video, 1_000 * deployment.num_workers + attempt)
        owners |= {str(one.details["owner"]) for one in moments if one.kind == "task.claimed"}
        if len(owners) >= deployment.num_workers:
            return
    message = f"only {sorted(owners)} of {deployment.num_workers} workers took part"
    raise BenchError(message)


def chunks_per_worker(moments: Sequence[Moment]) -> list[int]:
    """Return how many chunks each worker finished, most first."""
    holders: dict[int, str] = {}
    owners: Counter[str] = Counter()
    for one in moments:
        if one.kind == "task.claimed" and one.details["kind"] == "chunk":
            holders[int(one.details["index"])] = str(one.details["owner"])
        elif one.kind == "chunk.done":
            owners[holders[int(one.details["index"])]] += 1
    return sorted(owners.values(), reverse=True)


def wall_seconds(moments: Sequence[Moment]) -> float:
    """Return the time from the first claim to the result: without upload and polling."""
    claimed = min(one.at_seconds for one in moments if one.kind == "task.claimed")
    return moments[-1].at_seconds - claimed


@dataclass(slots=True)
class StageTimes:
    """Seconds per stage, one entry per occurrence."""

    plan: list[float] = field(default_factory=list)
    chunk: list[float] = field(default_factory=list)
    join: list[float] = field(default_factory=list)
    pause: list[float] = field(default_factory=list)

    def add(self, moments: Sequence[Moment]) -> None:
        """Take the stages of one job.

        A plan ends where its worker claims the next task; the pause between two tasks is that
        from a chunk's end to its worker's next claim.
        """
        under_way: dict[tuple[str, int], Moment] = {}
        ended: dict[str, float] = {}
        for one in moments:
            if one.kind == "task.claimed":
                owner, kind = str(one.details["owner"]), str(one.details["kind"])
                if owner in ended:
                    self.pause.append(one.at_seconds - ended.pop(owner))
                plan = under_way.pop(("plan", 0), None)
                if plan is not None:
                    self.plan.append(one.at_seconds - plan.at_seconds)
                under_way[kind, int(one.details["index"])] = one
            elif one.kind == "chunk.done":
                begun = under_way.pop(("chunk", int(one.details["index"])))
                self.chunk.append(one.at_seconds - begun.at_seconds)
                ended[str(begun.details["owner"])] = one.at_seconds
            elif one.kind == "job.succeeded":
                self.join.append(one.at_seconds - under_way[("join", 0)].at_seconds)

    def medians(self, prefix: str) -> dict[str, float]:
        """Return the median of each stage under names that begin with a prefix."""
        stages = {"plan": self.plan, "chunk": self.chunk, "join": self.join, "pause": self.pause}
        return {f"{prefix}_{name}_seconds": statistics.median(one) for name, one in stages.items()}


def draw_input(path: Path, num_chunks: int) -> None:
    """Draw and encode a video of this many full chunks."""
    spec = VideoSpec(
        seed=SEED,
        duration_seconds=num_chunks * CHUNK_SECONDS,
        fps=FPS,
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
    )
    encode_video(draw_frames(plan_video(spec)), path, fps=FPS, codec="h264")


def measure(folder: Path, model: str, num_chunks: int, repeats: int) -> dict[str, Any]:
    """Run one and two workers in turn and return the figures."""
    video, short = folder / "long.mp4", folder / "short.mp4"
    draw_input(video, num_chunks)
    draw_input(short, WARM_UP_CHUNKS)
    walls: dict[int, list[float]] = {1: [], 2: []}
    stages = {1: StageTimes(), 2: StageTimes()}
    division: list[list[int]] = []
    with ExitStack() as stack:
        services = [
            stack.enter_context(deployed(folder / f"data-{count}", count, model))
            for count in (1, 2)
        ]
        for service in services:
            warm_up(service, short)
        for repeat in range(repeats):
            for service in services:
                moments = service.run(video, repeat)
                walls[service.num_workers].append(wall_seconds(moments))
                stages[service.num_workers].add(moments)
                if service.num_workers > 1:
                    division.append(chunks_per_worker(moments))
    ratios = [one / two for one, two in zip(walls[1], walls[2], strict=True)]
    return {
        "ratio_two_workers": statistics.median(ratios),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "one_worker_seconds": statistics.median(walls[1]),
        "two_workers_seconds": statistics.median(walls[2]),
        "chunks_per_worker": division,
        "num_chunks": num_chunks,
        "video_seconds": num_chunks * CHUNK_SECONDS,
        # Two workers wait for one memory: a chunk beside another may take longer than alone.
        **stages[1].medians("alone"),
        **stages[2].medians("beside"),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="python -m bench.spread", description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--model", default=MODEL, help="NAME[@VERSION][:SPEED]")
    parser.add_argument("--chunks", type=int, default=8, help="of the video; even")
    parser.add_argument("--repeats", type=int, default=3, help="of both")
    options = parser.parse_args(arguments)
    load_average = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        figures = {
            "load_average": load_average,
            **measure(folder, options.model, options.chunks, options.repeats),
            **claim_seconds(folder),
            **opening_seconds(folder),
            **joining_seconds(folder),
        }
    source = (
        f"a drawn video of {options.chunks} chunks, {WIDTH_PX}x{HEIGHT_PX} px, {FPS:g} fps, "
        f"model {options.model}, one thread per worker"
    )
    BenchReport("spread", source, figures).publish(options.json)


if __name__ == "__main__":
    main()
