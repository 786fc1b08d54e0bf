"""Which classes of a scene get a lane, and what is left of segments and curves at its width."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.plots.palette import color_slots
from models.plots.scene import Mark, Scene
from models.types import DoubleArray, FloatArray

MAX_LANES = 40
FEW_CLASSES = 8
"""Of so few classes those without a segment have a lane too: their curves say why."""
EMPTY_LANES = 4
"""Classes whose curves are shown where nothing was found and there are many."""
MERGE_GAP_PX = 0.75
MERGE_WIDTH_PX = 2.0
MIN_WIDTH_PX = 1.5


@dataclass(frozen=True, slots=True)
class Lane:
    """One class: its label, the slot of its colour, its segments, its column of the curves."""

    label: str
    slot: int
    marks: tuple[Mark, ...]
    column: int | None


@dataclass(frozen=True, slots=True)
class Bar:
    """A segment, or several that are too close to be told apart, in pixels along the lane.

    ``score`` is the best, ``count`` how many there are, seconds are those of all together.
    """

    x: float
    width: float
    start: float
    end: float
    score: float
    count: int


@dataclass(frozen=True, slots=True)
class LaneChoice:
    """The lanes that are drawn, and the labels with segments that are not."""

    lanes: tuple[Lane, ...]
    left_out: tuple[str, ...]


def choose_lanes(
    scene: Scene, labels: Sequence[str] | None = None, max_lanes: int = MAX_LANES
) -> LaneChoice:
    """Return the lanes of a scene, in the order of its classes.

    Args:
        scene: to be drawn.
        labels: exactly these, also where nothing was found of them; None chooses: classes with
            segments, all classes where there are few, and where nothing was found the classes
            that came closest. Where there are too many, those with the best scores are kept.
        max_lanes: at most so many.
    """
    known = dict.fromkeys((*scene.classes, *scene.marks))
    slots = color_slots(known)
    num_columns = 0 if scene.curves is None else scene.curves.values.shape[1]
    columns = {label: at for at, label in enumerate(scene.classes[:num_columns])}
    if labels is not None:
        asked = set(labels)
        wanted = [label for label in known if label in asked]
        wanted += [label for label in dict.fromkeys(labels) if label not in known]
    else:
        wanted = _interesting(scene, list(known), columns)
    kept = _best(scene, wanted, max_lanes)
    lanes = tuple(
        Lane(label, slots.get(label, 0), scene.marks.get(label, ()), columns.get(label))
        for label in wanted
        if label in kept
    )
    return LaneChoice(lanes, tuple(label for label in wanted if label not in kept))


def _interesting(scene: Scene, known: list[str], columns: dict[str, int]) -> list[str]:
    if len(known) <= FEW_CLASSES:
        return known
    found = [label for label in known if scene.marks.get(label)]
    if found or scene.curves is None or len(scene.curves.values) == 0:
        return found
    peaks = scene.curves.values.max(axis=0)
    closest = sorted(columns, key=lambda label: -float(peaks[columns[label]]))[:EMPTY_LANES]
    return [label for label in known if label in closest]


def _best(scene: Scene, wanted: Sequence[str], max_lanes: int) -> set[str]:
    if len(wanted) <= max_lanes:
        return set(wanted)

    def merit(label: str) -> float:
        return max((mark.score for mark in scene.marks.get(label, ())), default=-1.0)

    return set(sorted(wanted, key=lambda label: (-merit(label), label))[:max_lanes])


def bars(marks: Sequence[Mark], pixels_per_second: float, width_px: float) -> list[Bar]:
    """Return what a lane draws of its segments, the best of overlapping ones last.

    Segments narrower than two pixels that are less than a pixel apart become one bar, so that
    thousands cost no more than the picture is wide. A bar is at least 1.5 pixels wide.
    """
    found: list[Bar] = []
    narrow: list[Mark] = []

    def close() -> None:
        if narrow:
            found.append(_bar(narrow, pixels_per_second, width_px))
            narrow.clear()

    for mark in marks:
        if (mark.end - mark.start) * pixels_per_second >= MERGE_WIDTH_PX:
            found.append(_bar([mark], pixels_per_second, width_px))
            continue
        if narrow:
            reach = max(one.end for one in narrow[-2:])
            if (mark.start - reach) * pixels_per_second >= MERGE_GAP_PX:
                close()
        narrow.append(mark)
    close()
    return sorted(found, key=lambda bar: (bar.score, bar.x))


def _bar(marks: Sequence[Mark], pixels_per_second: float, width_px: float) -> Bar:
    start, end = marks[0].start, max(mark.end for mark in marks)
    width = min(max((end - start) * pixels_per_second, MIN_WIDTH_PX), width_px)
    x = min(start * pixels_per_second, width_px - width)
    return Bar(x, width, start, end, max(mark.score for mark in marks), len(marks))


def thinned(
    seconds: DoubleArray, values: FloatArray, num_points: int
) -> tuple[DoubleArray, DoubleArray]:
    """Return float64[N] instants and values of a curve, N <= num_points, so that peaks survive.

    Each point is the highest of its steps, and stands in the middle of them.
    """
    num_steps = len(values)
    edges = np.unique(np.arange(num_points + 1) * num_steps // num_points)
    places = (seconds[edges[:-1]] + seconds[edges[1:] - 1]) / 2
    peaks = np.maximum.reduceat(values, edges[:-1])
    return np.asarray(places, np.float64), np.asarray(peaks, np.float64)
