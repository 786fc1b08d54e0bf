"""Measures a worker's memory against the length of the video: it must not grow.

    python -m bench.memory [--json P] [--lengths published:60,published:1800:5] [--every K]

Each length runs in a process of its own, all the way from the file to segments, with random
weights of the recipe's size and with a decode child, as a worker does. ``published`` is the
two-stream recipe on 340x256, ``narrow`` an RGB network of an eighth of the width on 64x48.

``--every K``, or a third part of a length, makes long videos affordable: of every K chunks of 64 s
the first one is computed, at full cost, and the last one of the video in any case. The features of
the others lie in the store beforehand, as after a resume, so the run seeks over their frames.
Memory is used inside chunks and by what is kept of all of them, and both are there. The figures
say how many chunks were computed.

Peaks are the kernel's (VmHWM); the course over time is sampled, so that a first and a last tenth
of a run can be compared.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bench.long_video import require_length, write_long_video
from bench.path import child_processes, peak_resident_mb
from bench.report import BenchReport
from bench.untaught import RECIPES, untaught_localizer
from models.feature_store import ChunkFeatures, LocalFeatureStore
from models.pipeline import Localizer
from models.types import VideoFacts

DEFAULT_LENGTHS = "published:60,published:600,published:1800,narrow:3600,narrow:36000"
PICTURES = {"published": (340, 256), "narrow": (64, 48)}
SAMPLE_SECONDS = 0.25
SECONDS_PER_MINUTE, SECONDS_PER_HOUR = 60, 3600
PARTS = 10
KIBIBYTES_PER_MEBIBYTE = 1024
SEED = 0
# Goals of the design, printed beside the figures.
LARGEST_MB = 1536.0
FLAT_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    Attributes:
        recipe: name in RECIPES.
        seconds: of video.
        every: one chunk of so many is computed.
        num_threads: of flow and backbones.
    """

    recipe: str
    seconds: float
    every: int
    num_threads: int

    @property
    def name(self) -> str:
        """For tables: the recipe and the length."""
        hours = self.seconds / SECONDS_PER_HOUR
        length = f"{hours:g} h" if hours >= 1 else f"{self.seconds / SECONDS_PER_MINUTE:g} min"
        return f"{self.recipe} {length}"

    @classmethod
    def parse(cls, word: str, every: int, num_threads: int) -> "Run":
        """Read ``RECIPE:SECONDS[:EVERY]``.

        Raises:
            ValueError: it is not of that form.
        """
        recipe, seconds, *rest = word.split(":")
        if recipe not in RECIPES or len(rest) > 1:
            message = f"{word!r} is no RECIPE:SECONDS[:EVERY] with one of {', '.join(RECIPES)}"
            raise ValueError(message)
        return cls(recipe, float(seconds), int(rest[0]) if rest else every, num_threads)


class MemoryCourse:
    """Samples resident memory of this process and its children in a thread of its own."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float, float]] = []
        self.decoder_peak_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryCourse":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        started = time.monotonic()
        while not self._stop.wait(SAMPLE_SECONDS):
            children = child_processes()
            own = resident_mb("self")
            others = sum(resident_mb(child) for child in children)
            peaks = sum(peak_resident_mb(child) or 0.0 for child in children)
            self.decoder_peak_mb = max(self.decoder_peak_mb, peaks)
            self.samples.append((time.monotonic() - started, own, own + others))

    def part_mb(self, part: int) -> float:
        """Return the most memory, children included, of one of PARTS equal parts of the run."""
        if not self.samples:
            return 0.0
        end = self.samples[-1][0]
        low, high = part * end / PARTS, (part + 1) * end / PARTS
        inside = [both for at, _, both in self.samples if low <= at <= high]
        return max(inside, default=0.0)


def resident_mb(process: str) -> float:
    """Return the memory a process holds now; 0 where it is gone."""
    try:
        lines = Path("/proc", process, "status").read_text().splitlines()
    except OSError:
        return 0.0
    found = [int(line.split()[1]) for line in lines if line.startswith("VmRSS:")]
    return found[0] / KIBIBYTES_PER_MEBIBYTE if found else 0.0


def measure(run: Run, path: Path, store_folder: Path) -> dict[str, Any]:
    """Localize one video and return the figures; runs in a process of its own."""
    localizer = untaught_localizer(RECIPES[run.recipe](), run.num_threads)
    loaded_mb = resident_mb("self")
    store = LocalFeatureStore(store_folder)
    started = time.perf_counter()
    with MemoryCourse() as course, localizer.open(path) as source:
        computed = fill_store(localizer, source.facts, store, run.every)
        result = localizer.localize(source, store)
    wall_seconds = time.perf_counter() - started
    worker_mb = peak_resident_mb() or 0.0
    return {
        "video_seconds": result.video.duration_seconds,
        "chunks": localizer.num_chunks(result.video),
        "chunks_computed": computed,
        "rss_mb": worker_mb,
        "rss_with_decoder_mb": worker_mb + course.decoder_peak_mb,
        "decoder_mb": course.decoder_peak_mb,
        "rss_after_loading_mb": loaded_mb,
        "first_tenth_mb": course.part_mb(0),
        "second_tenth_mb": course.part_mb(1),
        "last_tenth_mb": course.part_mb(PARTS - 1),
        "num_segments": len(result.segments),
        "wall_seconds": wall_seconds,
        **result.computed_with,
    }


def fill_store(
    localizer: Localizer, facts: VideoFacts, store: LocalFeatureStore, every: int
) -> int:
    """Store random features for all but every ``every``-th chunk; return how many are left out."""
    recipe = localizer.recipe
    count = localizer.num_chunks(facts)
    grid = recipe.grid(facts.duration_seconds)
    rng = np.random.default_rng(SEED)
    computed = 0
    for chunk in range(count):
        if chunk % every == 0 or chunk == count - 1:
            computed += 1
            continue
        first = chunk * recipe.chunk_snippets
        rows = min(recipe.chunk_snippets, grid.num_snippets - first)
        values = rng.standard_normal((rows, recipe.feature_width), np.float32)
        features = ChunkFeatures(values, dict(localizer.computed_with))
        store.store_chunk(facts.sha256, recipe.digest, chunk, features)
    return computed


def growth(peaks_mb: Mapping[str, float], recipe: str) -> float | None:
    """Return how far the largest peak of a recipe lies above its first length's, as a share."""
    peaks = [peak for name, peak in peaks_mb.items() if name.startswith(recipe)]
    return max(peaks) / peaks[0] - 1 if len(peaks) > 1 else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument(
        "--lengths", default=DEFAULT_LENGTHS, help="RECIPE:SECONDS[:EVERY],...; short first"
    )
    parser.add_argument("--every", type=int, default=1, help="compute one chunk of so many")
    parser.add_argument("--threads", type=int, default=2, help="of flow and backbones")
    options = parser.parse_args(arguments)
    try:
        words = options.lengths.split(",")
        runs = [Run.parse(word, options.every, options.threads) for word in words]
    except ValueError as error:
        parser.error(str(error))
    figures = {run.name: run_apart(run) for run in runs}
    worker = {name: one["rss_mb"] for name, one in figures.items()}
    both = {name: one["rss_with_decoder_mb"] for name, one in figures.items()}
    BenchReport(
        "memory",
        "drawn clips repeated to length, random weights",
        {
            "rss_mb": worker,
            "rss_with_decoder_mb": both,
            "largest_mb": max(worker.values()),
            "largest_goal_mb": LARGEST_MB,
            **{f"growth_{recipe}": growth(worker, recipe) for recipe in RECIPES},
            **{f"growth_{recipe}_with_decoder": growth(both, recipe) for recipe in RECIPES},
            "growth_goal": FLAT_SHARE,
            "chunks_computed": {
                name: f"{one['chunks_computed']} of {one['chunks']}"
                for name, one in figures.items()
            },
            "runs": figures,
        },
    ).publish(options.json)


def run_apart(run: Run) -> dict[str, Any]:
    """Make the video of one run and measure it in a new process."""
    width, height = PICTURES[run.recipe]
    with tempfile.TemporaryDirectory(prefix="kinetag-bench-") as folder:
        path = Path(folder) / "long.mp4"
        write_long_video(path, run.seconds, width, height)
        require_length(path, run.seconds)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(measure, run, path, Path(folder) / "features").result()


if __name__ == "__main__":
    main()
