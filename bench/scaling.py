"""Simulates up to 32 workers on measured stage times: throughput, and one long video alone.

Run as ``python -m bench.scaling --stages PATH [--json P] [--plot P] [--page P]``; the stages are
what ``python -m bench.spread --json PATH`` wrote. Nothing runs here but arithmetic: workers claim
tasks in the order in which the queue gives them out, every transaction waits for the one
database, a worker opens a video it has not open, and a job is planned, cut into chunks and joined
as in the service. Chunk times scatter around the measured one; the seed fixes how.
"""

import argparse
import heapq
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import BenchReport
from bench.scaling_document import write_figures

WORKERS = (1, 2, 4, 8, 16, 32)
CHUNK_HOURS = 64 / 3600
SCATTER = 0.1
"""Standard deviation of the logarithm of a chunk's time; pictures differ that much."""

HEARTBEAT_EVERY = 1.0
"""Source: `workers.lease.LeaseSettings.progress_seconds`."""

NOTICE_SECONDS = 0.5
"""Half the second after which a worker without a broker asks again; a hint takes about as long."""

GPU_CHUNK_SECONDS = 0.8
"""1,600 frames at the goal of 2,000 frames per second (not measured by this bench)."""

LONG_HOURS = 10.0
MIX_VIDEOS = 400
SHORT_MINUTES = (0.5, 10.0)
LONG_SHARE = 0.05
LONG_RANGE_HOURS = (1.0, 6.0)
SEED = 1


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds that the stages of a job take; see `bench.spread` for how they are measured.

    Attributes:
        chunk: computing one chunk, its video being open.
        claim, complete, heartbeat: one transaction each; they exclude each other.
        opening, opening_per_hour: a video that the worker has not open: once, and per its hour.
        joining, joining_per_hour: head and segments, features being stored.
    """

    chunk: float
    claim: float
    complete: float
    heartbeat: float
    opening: float
    opening_per_hour: float
    joining: float
    joining_per_hour: float

    @classmethod
    def of_spread(cls, figures: Mapping[str, Any]) -> "Stages":
        """Take the figures of `bench.spread`.

        A chunk is taken as it is beside another worker's; a join as what it takes beyond what
        grows with the video's length.
        """
        hours = float(figures["video_seconds"]) / 3600
        per_hour = float(figures["joining_seconds_per_video_hour"])
        return cls(
            chunk=float(figures["beside_chunk_seconds"]),
            claim=float(figures["claim_seconds"]),
            complete=float(figures["complete_seconds"]),
            heartbeat=float(figures["heartbeat_seconds"]),
            opening=float(figures["opening_seconds"]),
            opening_per_hour=float(figures["opening_seconds_per_video_hour"]),
            joining=max(0.0, float(figures["alone_join_seconds"]) - per_hour * hours),
            joining_per_hour=per_hour,
        )


@dataclass(slots=True)
class Job:
    """One video of the simulation and what is left to do for it."""

    hours: float
    to_claim: int = 0
    to_finish: int = 0
    stage: str = "plan"
    ended_at: float = math.inf

    @property
    def num_chunks(self) -> int:
        """Chunks of its video."""
        return max(1, math.ceil(self.hours / CHUNK_HOURS))

    def take(self) -> str | None:
        """Take its next task: its kind, or None while there is none to take."""
        if self.stage in {"plan", "join"}:
            kind, self.stage = self.stage, "waiting"
            return kind
        if self.stage == "chunks" and self.to_claim:
            self.to_claim -= 1
            return "chunk"
        return None

    @property
    def ended(self) -> bool:
        """Whether it has its result."""
        return self.stage == "ended"

    def finish(self, kind: str, now: float) -> bool:
        """Note the end of a task; return whether there is something new to take."""
        if kind == "plan":
            self.to_claim = self.to_finish = self.num_chunks
            self.stage = "chunks"
        elif kind == "chunk":
            self.to_finish -= 1
            if self.to_finish > 0:
                return False
            self.stage = "join"
        else:
            self.stage = "ended"
            self.ended_at = now
            return False
        return True


@dataclass(slots=True)
class Outcome:
    """What one simulated run came to.

    Attributes:
        makespan: from the first claim to the last result, seconds.
        chunk, opening, joining: worker seconds that went into each.
        waiting: worker seconds spent on transactions, their turn included.
        database_busy: seconds in which the database did something.
    """

    num_workers: int
    makespan: float = 0.0
    chunk: float = 0.0
    opening: float = 0.0
    joining: float = 0.0
    waiting: float = 0.0
    database_busy: float = 0.0

    def shares(self) -> dict[str, float]:
        """Return what became of the workers' time; the rest of it they had nothing to do."""
        total = self.num_workers * self.makespan
        parts = {
            "chunks": self.chunk / total,
            "opening": self.opening / total,
            "joining": self.joining / total,
            "transactions": self.waiting / total,
        }
        return {**parts, "idle": max(0.0, 1.0 - sum(parts.values()))}


Step = tuple[str, float]
"""``work`` or ``transaction``, and its seconds."""


class Simulation:
    """Workers, one database and the jobs."""

    def __init__(self, stages: Stages, jobs: list[Job], num_workers: int) -> None:
        self._stages = stages
        self._jobs = jobs
        self._rng = np.random.default_rng(SEED)
        self._now = 0.0
        self._database_free_at = 0.0
        self._first_open = 0
        self._outcome = Outcome(num_workers)

    def run(self) -> Outcome:
        """Run until all jobs have ended."""
        ticket = itertools.count()
        workers = [self._worker() for _ in range(self._outcome.num_workers)]
        events = [(0.0, next(ticket), worker) for worker in workers]
        idle: list[Iterator[Step | None]] = []
        while events:
            self._now, _, worker = heapq.heappop(events)
            step = next(worker)
            if step is None:
                idle.append(worker)
                continue
            if step[0] == "wake":
                # A new stage is what idle workers wait for; its own worker goes on at once.
                heapq.heappush(events, (self._now, next(ticket), worker))
                for other in idle:
                    heapq.heappush(events, (self._now + NOTICE_SECONDS, next(ticket), other))
                idle.clear()
                continue
            heapq.heappush(events, (self._end_of(step), next(ticket), worker))
        self._outcome.makespan = max(job.ended_at for job in self._jobs)
        return self._outcome

    def _end_of(self, step: Step) -> float:
        kind, seconds = step
        if kind == "work":
            return self._now + seconds
        end = self._occupy_database(seconds)
        self._outcome.waiting += end - self._now
        return end

    def _occupy_database(self, seconds: float) -> float:
        """Return the end of a transaction; they exclude each other, first come first served."""
        self._database_free_at = max(self._database_free_at, self._now) + seconds
        self._outcome.database_busy += seconds
        return self._database_free_at

    def _worker(self) -> Iterator[Step | None]:
        """Yield one worker's steps; None: it has nothing to do until something changes."""
        opened: Job | None = None
        while True:
            yield "transaction", self._stages.claim
            taken = self._take()
            if taken is None:
                opened = None
                yield None
                continue
            job, kind = taken
            if opened is not job:
                opened = job
                seconds = self._stages.opening + self._stages.opening_per_hour * job.hours
                self._outcome.opening += seconds
                yield from self._work(seconds)
            if kind == "chunk":
                seconds = self._chunk_seconds(job)
                self._outcome.chunk += seconds
                yield from self._work(seconds)
            elif kind == "join":
                seconds = self._stages.joining + self._stages.joining_per_hour * job.hours
                self._outcome.joining += seconds
                yield from self._work(seconds)
                opened = None
            yield "transaction", self._stages.complete
            if job.finish(kind, self._now):
                yield "wake", 0.0

    def _work(self, seconds: float) -> Iterator[Step]:
        """Yield slices of a second; after each, progress is reported, which nobody waits for."""
        while seconds > 0:
            yield "work", min(seconds, HEARTBEAT_EVERY)
            seconds -= HEARTBEAT_EVERY
            if seconds > 0:
                self._occupy_database(self._stages.heartbeat)

    def _chunk_seconds(self, job: Job) -> float:
        scatter = float(self._rng.lognormal(-(SCATTER**2) / 2, SCATTER))
        return self._stages.chunk * scatter * min(1.0, job.hours / CHUNK_HOURS)

    def _take(self) -> tuple[Job, str] | None:
        """Return the next task of the oldest job that has one."""
        while self._first_open < len(self._jobs) and self._jobs[self._first_open].ended:
            self._first_open += 1
        for job in self._jobs[self._first_open :]:
            kind = job.take()
            if kind is not None:
                return job, kind
        return None


def long_video() -> list[Job]:
    """Return one long video, alone."""
    return [Job(LONG_HOURS)]


def mixed_videos() -> list[Job]:
    """Return many short videos and a few long ones, in a fixed random order."""
    rng = np.random.default_rng(SEED)
    hours = np.where(
        rng.random(MIX_VIDEOS) < LONG_SHARE,
        rng.uniform(*LONG_RANGE_HOURS, MIX_VIDEOS),
        rng.uniform(*SHORT_MINUTES, MIX_VIDEOS) / 60,
    )
    return [Job(float(one)) for one in hours]


def simulate(stages: Stages) -> dict[str, Any]:
    """Return the figures of all numbers of workers, for the mix and for one long video."""
    alone = [Simulation(stages, long_video(), count).run() for count in WORKERS]
    mixed = [Simulation(stages, mixed_videos(), count).run() for count in WORKERS]
    mix_hours = sum(job.hours for job in mixed_videos())
    return {
        "workers": list(WORKERS),
        "long_seconds": [round(one.makespan, 1) for one in alone],
        "long_speedup": [round(alone[0].makespan / one.makespan, 2) for one in alone],
        "long_shares": [_rounded(one.shares()) for one in alone],
        "mix_video_hours_per_hour": [round(mix_hours * 3600 / one.makespan, 1) for one in mixed],
        "mix_speedup": [round(mixed[0].makespan / one.makespan, 2) for one in mixed],
        "mix_shares": [_rounded(one.shares()) for one in mixed],
        "mix_database_busy": [round(one.database_busy / one.makespan, 4) for one in mixed],
    }


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}


def draw(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw speed-up over workers, for the long video and for the mix, as SVG."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra; the figures do without

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "kinetag"
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend was chosen

    figure, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
    titles = {
        "long_speedup": f"one {LONG_HOURS:g} h video alone",
        "mix_speedup": f"{MIX_VIDEOS} videos, short and long",
    }
    for panel, (key, title) in zip(panels, titles.items(), strict=True):
        panel.plot(WORKERS, WORKERS, color="0.7", linestyle="--", label="linear")
        for name, figures in results.items():
            panel.plot(WORKERS, figures[key], marker="o", label=name)
        panel.set_xscale("log", base=2)
        panel.set_yscale("log", base=2)
        panel.set_xticks(WORKERS, [str(count) for count in WORKERS])
        panel.set_yticks(WORKERS, [str(count) for count in WORKERS])
        panel.set_xlabel("workers")
        panel.set_title(title)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("times as fast as one worker")
    panels[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulation."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--stages", type=Path, required=True, help="JSON of bench.spread")
    parser.add_argument("--page", type=Path, help="where to write them as text: docs/scaling.md")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--plot", type=Path, help="where to draw them, as SVG")
    options = parser.parse_args(arguments)
    spread = json.loads(options.stages.read_text())
    measured = Stages.of_spread(spread["figures"])
    kinds = {
        f"measured chunks, {measured.chunk:.3g} s each": measured,
        f"chunks of {GPU_CHUNK_SECONDS:g} s, a GPU's goal": replace(
            measured, chunk=GPU_CHUNK_SECONDS
        ),
    }
    results = {name: simulate(stages) for name, stages in kinds.items()}
    if options.plot is not None:
        draw(results, options.plot)
    if options.page is not None:
        write_figures(options.page, spread, results)
    source = f"stage times of {options.stages.name}, simulated with seed {SEED}"
    figures = {"stages": asdict(measured), **results}
    BenchReport("scaling", source, figures).publish(options.json)


if __name__ == "__main__":
    main()
