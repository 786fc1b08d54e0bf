"""Measures the way from a video file to features: published recipe, two streams, real size.

Run as ``python -m bench.path [--data DIR] [--json PATH]``. Weights are random and of the
published size: what is measured is time and memory, not meaning. The run happens in a process of
its own, so that drawing the input does not count.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

from bench.report import BenchReport
from models.backbones.registry import random_weights
from models.catalog import published_recipe
from models.decode import VideoSource
from models.errors import InputError
from models.features import ExtractorSettings, FeatureExtractor
from models.synthetic import VideoSpec, draw_frames, encode_video, plan_video
from models.types import ByteArray, MediaWarning, Progress, VideoFacts

CLIP_SECONDS = 60.0
CLIP_FPS = 25.0
CLIP_WIDTH_PX = 340
CLIP_HEIGHT_PX = 256
SEED = 1
SHORTEST_DRAWN_SECONDS = 30.0  # room for three kinds of actions
KIBIBYTES_PER_MEBIBYTE = 1024


@dataclass(frozen=True, slots=True)
class RunSettings:
    """One run.

    Attributes:
        path: of the video.
        seconds: of it that are computed, from its start.
        num_threads: of flow and backbones.
        precision: of the backbones.
    """

    path: Path
    seconds: float
    num_threads: int
    precision: str


@dataclass
class StageClock:
    """Adds up the time spent in each stage; a progress callback.

    Decoding runs ahead in its own process, so its share is the time spent waiting for it.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _since: float = 0.0

    def __call__(self, progress: Progress) -> None:
        """Book the time since the last call on the stage that was then begun."""
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = progress.stage, now


class Excerpt:
    """The first seconds of an open video."""

    def __init__(self, source: VideoSource, seconds: float) -> None:
        self._source = source
        duration = min(seconds, source.facts.duration_seconds)
        self.facts: VideoFacts = replace(source.facts, duration_seconds=duration)

    @property
    def warnings(self) -> tuple[MediaWarning, ...]:
        """What was wrong so far."""
        return self._source.warnings

    def read(self, start_frame: int, stop_frame: int) -> ByteArray:
        """Return grid frames, as `VideoSource.read` does."""
        return self._source.read(start_frame, stop_frame)


def peak_resident_mb(process: str = "self") -> float | None:
    """Return the most memory a living process has held; None where /proc does not tell."""
    try:
        lines = Path("/proc", process, "status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) / KIBIBYTES_PER_MEBIBYTE if found else None


def child_processes() -> list[str]:
    """Return the ids of this process's children; empty where /proc does not tell."""
    return [
        child
        for listing in Path("/proc/self/task").glob("*/children")
        for child in listing.read_text().split()
    ]


def run_once(settings: RunSettings) -> dict[str, float | str | None]:
    """Extract features of one video and return the figures."""
    recipe = published_recipe()
    started = time.perf_counter()
    extractor = FeatureExtractor(
        recipe,
        random_weights(recipe),
        ExtractorSettings(num_threads=settings.num_threads, precision=settings.precision),
    )
    loading_seconds = time.perf_counter() - started
    idle_mb = peak_resident_mb()
    clock = StageClock()
    cpu_started = time.process_time()
    started = time.perf_counter()
    with VideoSource(settings.path, fps=recipe.fps, short_side_px=recipe.short_side_px) as source:
        opening_seconds = time.perf_counter() - started
        excerpt = Excerpt(source, settings.seconds)
        features = extractor.extract(excerpt, on_progress=clock)
        decoder_mb = sum(peak_resident_mb(child) or 0.0 for child in child_processes())
    wall_seconds = time.perf_counter() - started
    cpu_seconds = time.process_time() - cpu_started
    worker_mb = peak_resident_mb()
    return {
        "realtime_factor": features.duration_seconds / wall_seconds,
        "peak_rss_mb": worker_mb,
        "peak_rss_with_decoder_mb": None if worker_mb is None else worker_mb + decoder_mb,
        "rss_after_loading_mb": idle_mb,
        "video_seconds": features.duration_seconds,
        "wall_seconds": wall_seconds,
        # Of the worker without its decoder; tells a busy machine from slow code.
        "cpu_seconds": cpu_seconds,
        "loading_seconds": loading_seconds,
        "opening_seconds": opening_seconds,
        **{f"{stage}_seconds": seconds for stage, seconds in clock.seconds.items()},
        "num_snippets": len(features.values),
        "num_threads": settings.num_threads,
        **features.computed_with,
    }


def draw_input(folder: Path, seconds: float) -> Path:
    """Draw and encode the default input."""
    spec = VideoSpec(
        seed=SEED,
        duration_seconds=max(seconds, SHORTEST_DRAWN_SECONDS),
        fps=CLIP_FPS,
        width_px=CLIP_WIDTH_PX,
        height_px=CLIP_HEIGHT_PX,
    )
    path = folder / "drawn.mp4"
    encode_video(draw_frames(plan_video(spec)), path, fps=CLIP_FPS, codec="h264")
    return path


def first_usable(folder: Path) -> Path:
    """Return the first file under a folder, by name, that opens as a video.

    Raises:
        SystemExit: there is none.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            with VideoSource(path, fps=CLIP_FPS, short_side_px=None) as source:
                if source.facts.duration_seconds >= 1:
                    return path
        except InputError:
            continue
    message = f"no usable video under {folder}"
    raise SystemExit(message)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="python -m bench.path", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of videos; the first usable is taken")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--seconds", type=float, default=CLIP_SECONDS, help="of the video")
    parser.add_argument("--threads", type=int, default=2, help="of flow and backbones")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        if options.data is not None:
            path = first_usable(options.data)
            origin = f"the first {options.seconds:g} s of {path.name}"
        else:
            path = draw_input(Path(scratch), options.seconds)
            origin = (
                f"a drawn video, {options.seconds:g} s, {CLIP_WIDTH_PX}x{CLIP_HEIGHT_PX} px, "
                f"{CLIP_FPS:g} fps, H.264"
            )
        settings = RunSettings(path, options.seconds, options.threads, options.precision)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            figures = pool.submit(run_once, settings).result()
    source = f"{origin}; random weights of the published size"
    BenchReport("path", source, figures).publish(options.json)


if __name__ == "__main__":
    main()
