"""Measures how the time of a run grows with the length of the video: it should be a straight line.

    python -m bench.length [--json P] [--plot FILE.svg] [--lengths S,S,...] [--threads N]

The narrow RGB recipe of bench.memory (an eighth of the width, 64x48, random weights) goes all the
way from the file to segments; nothing is stored beforehand. Lengths are run in turns from short to
long and back, and the faster of the two counts.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.long_video import write_long_video
from bench.memory import PICTURES
from bench.report import BenchReport
from bench.untaught import narrow_recipe, untaught_localizer
from models.feature_store import LocalFeatureStore
from models.pipeline import Localizer
from models.types import DoubleArray

DEFAULT_LENGTHS = "300,600,1200,2400,4800"
DEFAULT_PLOT = Path("docs/images/performance-length.svg")
SECONDS_PER_MINUTE = 60
PLOT_INCHES = (6.4, 4.0)


def processor_seconds() -> float:
    """Return the processor time of this process and of children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def run_once(localizer: Localizer, path: Path, folder: Path) -> tuple[float, float]:
    """Localize a video into an empty store; return wall seconds and processor seconds."""
    with tempfile.TemporaryDirectory(dir=folder) as features:
        started, used = time.perf_counter(), processor_seconds()
        with localizer.open(path) as source:
            localizer.localize(source, LocalFeatureStore(Path(features)))
        return time.perf_counter() - started, processor_seconds() - used


def fit_line(lengths: DoubleArray, seconds: DoubleArray) -> dict[str, float]:
    """Fit seconds = start + slope * length, relative errors counting alike at every length.

    Returns:
        Start and slope, how far a point lies off the line at most, and the exponent of a power law
        through the points without the start: 1 for a line.
    """
    matrix = np.stack([np.ones_like(lengths), lengths], axis=1) / seconds[:, None]
    (start, slope), *_ = np.linalg.lstsq(matrix, np.ones_like(seconds), rcond=None)
    line = start + slope * lengths
    growing = np.maximum(seconds - max(start, 0.0), 1e-9)
    exponent = np.polyfit(np.log(lengths), np.log(growing), 1)[0]
    return {
        "start_seconds": float(start),
        "seconds_per_video_minute": float(slope * SECONDS_PER_MINUTE),
        "largest_deviation": float(np.max(np.abs(seconds / line - 1))),
        "exponent": float(exponent),
    }


def draw_plot(
    path: Path, lengths: DoubleArray, seconds: DoubleArray, fit: dict[str, float]
) -> None:
    """Write the measured points and the line as SVG."""
    import matplotlib as mpl  # an extra; the figures do without

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "kinetag"  # the same figures give the same file
    figure, axes = plt.subplots(figsize=PLOT_INCHES, layout="constrained")
    minutes = lengths / SECONDS_PER_MINUTE
    start, slope = fit["start_seconds"], fit["seconds_per_video_minute"]
    ends = np.array([0.0, minutes[-1]])
    axes.plot(ends, start + slope * ends, color="0.6", label=f"{slope:.2f} s per minute of video")
    axes.plot(minutes, seconds, "o", color="tab:blue", label="measured")
    axes.set(xlabel="length of the video, minutes", ylabel="time of the run, seconds")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.length",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--plot", type=Path, help=f"where to draw, for instance {DEFAULT_PLOT}")
    parser.add_argument("--lengths", default=DEFAULT_LENGTHS, help="seconds of video, ascending")
    parser.add_argument("--threads", type=int, default=2, help="of flow and backbones")
    parser.add_argument(
        "--clock", choices=("wall", "processor"), default="wall", help="what is fitted and drawn"
    )
    options = parser.parse_args(arguments)
    lengths = [float(word) for word in options.lengths.split(",")]
    localizer = untaught_localizer(narrow_recipe(), options.threads)
    wall, used = dict.fromkeys(lengths, np.inf), dict.fromkeys(lengths, np.inf)
    with tempfile.TemporaryDirectory(prefix="kinetag-bench-") as scratch:
        folder = Path(scratch)
        for seconds in lengths:
            write_long_video(folder / f"{seconds:g}.mp4", seconds, *PICTURES["narrow"])
        run_once(localizer, folder / f"{lengths[0]:g}.mp4", folder)  # the first run warms up
        for seconds in (*lengths, *reversed(lengths)):
            once = run_once(localizer, folder / f"{seconds:g}.mp4", folder)
            wall[seconds] = min(wall[seconds], once[0])
            used[seconds] = min(used[seconds], once[1])
    chosen = wall if options.clock == "wall" else used
    points = np.array(lengths), np.array(list(chosen.values()))
    fit = fit_line(*points)
    if options.plot is not None:
        draw_plot(options.plot, *points, fit)
    BenchReport(
        "length",
        "drawn clips of 64x48 repeated to length, narrow RGB network, random weights",
        {
            "lengths_seconds": lengths,
            "wall_seconds": list(wall.values()),
            "processor_seconds": list(used.values()),
            "fitted": options.clock,
            **fit,
        },
    ).publish(options.json)


if __name__ == "__main__":
    main()
