"""Measures the way from a video file to features: published recipe, two streams, real size.

    python -m bench.path [--data DIR] [--json PATH]

Weights are random and of the published size: what is measured is time and memory, not meaning.
Every run happens in a process of its own, so that drawing the input does not count. Between two
runs of today's code stands one of the first release, and one of the first release with OpenCV's
flow in the place of the kernel: the ratios are of real-time factors, ours being the mean of two.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from bench.first_release import FirstRelease
from bench.report import BenchReport, Figure
from models.backbones.registry import random_weights
from models.catalog import published_recipe
from models.decode import VideoSource
from models.errors import InputError
from models.features import ExtractorSettings, FeatureExtractor
from models.synthetic import VideoSpec, draw_frames, encode_video, plan_video
from models.types import ByteArray, MediaWarning, VideoFacts

CLIP_SECONDS = 64.0  # one whole chunk
OPENCV_SECONDS = 5.12
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
        precision: of the backbones; see `ExtractorSettings`.
        device: of flow and backbones.
    """

    path: Path
    seconds: float
    num_threads: int
    precision: str
    device: str = "cpu"


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


def run_once(settings: RunSettings) -> dict[str, Figure]:
    """Extract features of one video and return the figures."""
    recipe = published_recipe()
    started = time.perf_counter()
    extractor = FeatureExtractor(
        recipe,
        random_weights(recipe),
        ExtractorSettings(
            device=settings.device, num_threads=settings.num_threads, precision=settings.precision
        ),
    )
    loading_seconds = time.perf_counter() - started
    idle_mb = peak_resident_mb()
    cpu_started = time.process_time()
    started = time.perf_counter()
    with VideoSource(settings.path, fps=recipe.fps, short_side_px=recipe.short_side_px) as source:
        opening_seconds = time.perf_counter() - started
        excerpt = Excerpt(source, settings.seconds)
        features = extractor.extract(excerpt)
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
        # Of all lanes together; the rest of the wall is waiting for frames and the ends of chunks.
        **{f"{stage}_lane_seconds": seconds for stage, seconds in extractor.busy_seconds.items()},
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


def _in_a_process(settings: RunSettings) -> dict[str, Figure]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return dict(pool.submit(run_once, settings).result())


def _compare(
    first: FirstRelease, settings: RunSettings, before: Mapping[str, Figure]
) -> dict[str, Figure]:
    """Run the first release, with its kernel and with OpenCV's flow, and today's code once more."""
    released = first.run(settings.path, settings.seconds, settings.num_threads, "native")
    # OpenCV takes most of a second per pair; a few windows tell its speed.
    short = min(settings.seconds, OPENCV_SECONDS)
    opencv = first.run(settings.path, short, settings.num_threads, "opencv")
    after = _in_a_process(settings)
    factors = [float(str(one["realtime_factor"])) for one in (before, after)]
    ours = sum(factors) / len(factors)
    first_factor = released["seconds"] / released["wall_seconds"]
    opencv_factor = opencv["seconds"] / opencv["wall_seconds"]
    return {
        "realtime_factor": ours,
        "realtime_factor_runs": list(factors),
        "ratio_first_release": ours / first_factor,
        "ratio_opencv_fp32": ours / opencv_factor,
        "first_release_realtime_factor": first_factor,
        "opencv_fp32_realtime_factor": opencv_factor,
        "opencv_fp32_seconds": opencv["seconds"],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="python -m bench.path", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of videos; the first usable is taken")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--seconds", type=float, default=CLIP_SECONDS, help="of the video")
    parser.add_argument("--threads", type=int, default=2, help="of flow and backbones")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--alone", action="store_true", help="without the first release")
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
        settings = RunSettings(
            path, options.seconds, options.threads, options.precision, options.device
        )
        figures = _in_a_process(settings)
        first = None if options.alone else FirstRelease.export(Path(scratch))
        if first is not None:
            figures = {**figures, **_compare(first, settings, figures)}
    source = f"{origin}; random weights of the published size"
    BenchReport("path", source, figures).publish(options.json)


if __name__ == "__main__":
    main()
