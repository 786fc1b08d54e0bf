"""Draws one result as a picture: video strip, ground truth, segments, activation curves.

Needs matplotlib (the ``plots`` extra), imported only when a picture is asked for.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.atomic import write_bytes_atomic
from models.errors import ContractViolation
from models.types import ByteArray, DoubleArray, FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRIP_THUMBNAILS = 12
FIGURE_WIDTH_INCHES = 12.0
BAND_HEIGHT_INCHES = 0.46
# Width of one character of a label as a share of the picture.
CHARACTER_SHARE = 0.0056
DOTS_PER_INCH = 110
MAX_CURVES = 6
# Okabe-Ito, distinguishable with colour-blind eyes.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#6E6E6E", "#B59F00")
INK = "#222222"
FAINT = "#9A9A9A"


@dataclass(frozen=True, slots=True)
class TimelinePicture:
    """What a timeline shows.

    Attributes:
        title: one line above the picture.
        duration_seconds: length of the time axis, > 0.
        segments: native segment objects (label, start, end, score).
        ground_truth: objects with label, start, end; None where none is known.
        thumbnails: uint8[N, H, W, 3] RGB frames at the middle of N equal parts of the video.
        curve_seconds: float64[T], the instant of each activation.
        curves: label -> float[T] in [0, 1].
    """

    title: str
    duration_seconds: float
    segments: Sequence[Mapping[str, Any]]
    ground_truth: Sequence[Mapping[str, Any]] | None = None
    thumbnails: ByteArray | None = None
    curve_seconds: DoubleArray | None = None
    curves: Mapping[str, FloatArray] | None = None


def thumbnail_seconds(duration_seconds: float, count: int = STRIP_THUMBNAILS) -> DoubleArray:
    """Return float64[count]: the middles of ``count`` equal parts of the video."""
    return (np.arange(count, dtype=np.float64) + 0.5) * duration_seconds / count


def draw_timeline(picture: TimelinePicture, path: Path) -> None:
    """Write the picture as PNG.

    Raises:
        ContractViolation: the duration is not positive.
    """
    if not picture.duration_seconds > 0:
        message = f"duration_seconds must be > 0, got {picture.duration_seconds}"
        raise ContractViolation(message)
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    labels = _labels(picture)
    colors = {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(labels)}
    rows = _rows(picture, len(labels))
    heights = [height for _, height in rows]
    figure = Figure(figsize=(FIGURE_WIDTH_INCHES, sum(heights) + 1.1), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (kind, _) in zip(axes, rows, strict=True):
        if kind == "strip":
            _draw_strip(axis, picture)
        elif kind == "curves":
            _draw_curves(axis, picture, colors)
        else:
            items = picture.ground_truth if kind == "ground truth" else picture.segments
            _draw_band(axis, kind, items or (), colors, picture.duration_seconds)
        axis.set_xlim(0, picture.duration_seconds)
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
    axes[-1].set_xlabel("seconds", color=INK)
    figure.suptitle(picture.title, x=0.01, ha="left", fontsize=11, color=INK)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_bytes_atomic(path, buffer.getvalue())


def _labels(picture: TimelinePicture) -> list[str]:
    shown = [str(item["label"]) for item in (*(picture.ground_truth or ()), *picture.segments)]
    curves = picture.curves or {}
    if shown:
        return sorted(set(shown))
    by_peak = sorted(curves, key=lambda label: -float(np.max(curves[label], initial=0.0)))
    return by_peak[:MAX_CURVES]


def _rows(picture: TimelinePicture, num_labels: int) -> list[tuple[str, float]]:
    rows: list[tuple[str, float]] = []
    if picture.thumbnails is not None and len(picture.thumbnails):
        _, height_px, width_px, _ = picture.thumbnails.shape
        thumb_inches = 0.93 * FIGURE_WIDTH_INCHES / len(picture.thumbnails)
        rows.append(("strip", thumb_inches * height_px / width_px))
    if picture.ground_truth is not None:
        rows.append(("ground truth", BAND_HEIGHT_INCHES))
    rows.append(("segments", BAND_HEIGHT_INCHES * (1 if num_labels <= MAX_CURVES else 1.3)))
    if picture.curves:
        rows.append(("curves", 2.0))
    return rows


def _draw_strip(axis: "Axes", picture: TimelinePicture) -> None:
    thumbnails = picture.thumbnails
    if thumbnails is None:
        return
    part = picture.duration_seconds / len(thumbnails)
    for index, thumbnail in enumerate(thumbnails):
        axis.imshow(thumbnail, extent=(index * part, (index + 1) * part, 0, 1), aspect="auto")
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.tick_params(bottom=False)


def _draw_band(
    axis: "Axes",
    name: str,
    items: Sequence[Mapping[str, Any]],
    colors: Mapping[str, str],
    seconds: float,
) -> None:
    for item in items:
        start, end, label = float(item["start"]), float(item["end"]), str(item["label"])
        color = colors[label]
        axis.barh(0, end - start, left=start, height=0.9, color=color, edgecolor="white")
        score = item.get("score")
        text = label if score is None else f"{label}\n{score:.2f}"
        if (end - start) / seconds < len(label) * CHARACTER_SHARE:
            continue  # too narrow to write on; its colour and the legend tell the label
        axis.text(
            (start + end) / 2,
            0,
            text,
            ha="center",
            va="center",
            color="white",
            fontsize=7,
            clip_on=True,
        )
    axis.set_yticks([0], [name], color=INK)
    axis.set_ylim(-0.5, 0.5)
    axis.tick_params(left=False)


def _draw_curves(axis: "Axes", picture: TimelinePicture, colors: Mapping[str, str]) -> None:
    if picture.curves is None or picture.curve_seconds is None:
        return
    for label, values in picture.curves.items():
        shown = label in colors
        axis.plot(
            picture.curve_seconds,
            values,
            color=colors.get(label, FAINT),
            linewidth=1.6 if shown else 0.7,
            alpha=1.0 if shown else 0.5,
            label=label if shown else None,
        )
    axis.set_ylim(0, 1)
    axis.set_ylabel("activation", color=INK)
    if any(label in colors for label in picture.curves):
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=7, ncols=8, frameon=False)
