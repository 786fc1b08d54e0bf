"""Draws an evaluation: precision-recall curves, average precision by overlap, kinds of errors.

Needs matplotlib (the ``plots`` extra), imported only when a picture is asked for. The file's
ending says the format, ``.png`` or ``.svg``; the same figures give the same bytes.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.atomic import write_bytes_atomic
from models.errors import ContractViolation
from models.evaluation.errors import BACKGROUND_TIOU, KINDS, LENGTHS, ErrorAnalysis
from models.evaluation.matching import Matches
from models.evaluation.scoring import (
    PERCENT,
    EvaluationResult,
    average_precision,
    precision_recall,
    tiou_name,
)
from models.timeline import DOTS_PER_INCH, FAINT, INK
from models.types import DoubleArray, IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
MAX_CURVES = 4
MAX_LABEL = 34
COLUMNS = 5
PANEL_INCHES = 2.1
ROW_INCHES = 0.27
# From the top of the picture to the title, to the legend, and to the panels below a legend.
TITLE_INCHES, LEGEND_INCHES, HEAD_INCHES = 0.12, 0.36, 0.62
MANY_CLASSES = 25
# Lightness falls with the threshold, so order survives in grey; ends of matplotlib's cividis,
# which colour-blind eyes see as others do.
FIRST_SHADE, LAST_SHADE = 0.92, 0.05
# Okabe-Ito, in the order of `KINDS`; background is grey, as it is about nothing.
KIND_COLORS = ("#009E73", "#56B4E9", "#E69F00", "#0072B2", "#CC79A7", "#9A9A9A")
KIND_INKS = ("white", INK, INK, "white", INK, INK)
MISSED_COLOR = "#D55E00"
MIN_WRITTEN_SHARE = 0.06


def draw_precision_recall(
    matches: Matches, path: Path, tious: Sequence[float] | None = None
) -> None:
    """Draw a small panel per class with a curve per threshold.

    Args:
        matches: with at least one class.
        path: ending in .png or .svg.
        tious: thresholds among those of ``matches``; by default up to four spread over them.

    Raises:
        ContractViolation: another ending, or a threshold that was not evaluated.
    """
    rows_of_tious = _chosen(matches.tious, tious)
    num_rows = -(-len(matches.classes) // COLUMNS)
    columns = min(COLUMNS, len(matches.classes))
    height = num_rows * (PANEL_INCHES + 0.15) + HEAD_INCHES
    figure = _figure(max(columns, 3) * PANEL_INCHES + 0.3, height)
    panels = figure.subplots(num_rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    colors = _shades(len(rows_of_tious))
    for panel, one in zip(panels, matches.classes, strict=False):
        num_truths = int(one.truths_per_video.sum())
        precision, recall = precision_recall(one)
        values = average_precision(one.verdicts, num_truths, matches.protocol.envelope)
        for row, color in zip(rows_of_tious, colors, strict=True):
            _draw_curve(panel, recall[row], precision[row], color)
        shown = " ".join(f"{PERCENT * values[row]:.0f}" for row in rows_of_tious)
        label = shorten(one.label, MAX_LABEL, placeholder="...")
        panel.set_title(f"{label}\nAP {shown}   n {num_truths}", fontsize=7, color=INK)
        panel.set(xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        _plain(panel)
    for panel in panels[len(matches.classes) :]:
        panel.set_visible(False)
    for panel in panels[max(0, len(matches.classes) - columns) : len(matches.classes)]:
        panel.tick_params(labelbottom=True)
    figure.supxlabel("recall", fontsize=9, color=INK)
    figure.supylabel("precision", fontsize=9, color=INK)
    figure.tight_layout(rect=(0, 0, 1, 1 - HEAD_INCHES / height))
    names = [f"tIoU {tiou_name(matches.tious[row])}" for row in rows_of_tious]
    _title(figure, f"{matches.protocol.title}: precision and recall; AP in percent by tIoU")
    _legend(figure, names, colors, height)
    _save(figure, path)


def draw_map(result: EvaluationResult, path: Path) -> None:
    """Draw mean average precision over the thresholds, and each class's bar with its range.

    Raises:
        ContractViolation: the ending is neither .png nor .svg.
    """
    num_classes = len(result.classes)
    height = max(3.4, num_classes * ROW_INCHES + 1.3)
    figure = _figure(10.5, height)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    tious = np.asarray(result.tiou_thresholds)
    values = PERCENT * result.map_per_tiou
    left.plot(tious, values, color="#0072B2", marker="o", markersize=4, linewidth=1.6)
    for tiou, value in zip(tious, values, strict=True):
        left.annotate(
            f"{value:.1f}", (tiou, value), (4, 4), textcoords="offset points", fontsize=7, color=INK
        )
    top = min(1.05 * PERCENT, max(5.0, 1.15 * float(values.max())))
    left.set(ylim=(0, top), xlabel="tIoU", ylabel="mAP, percent")
    left.set_xticks(tious, [tiou_name(tiou) for tiou in tious], fontsize=7)
    left.margins(x=0.09)
    left.set_title(f"mean over {num_classes} classes", fontsize=9, color=INK)
    _plain(left)
    if num_classes > MANY_CLASSES:
        left.set_box_aspect(1)
        left.set_anchor("N")
    _draw_class_bars(right, result)
    _title(
        figure,
        f"{result.protocol.title}: {result.num_videos} videos, "
        f"{int(result.num_ground_truth.sum())} instances; "
        f"average mAP {PERCENT * result.average_map:.1f}",
    )
    figure.tight_layout(rect=(0, 0, 1, 1 - LEGEND_INCHES / height))
    _save(figure, path)


def draw_errors(analysis: ErrorAnalysis, path: Path) -> None:
    """Draw the kinds of the judged detections per class as stacked bars, missed ones beside them.

    The rows below the classes are the instance lengths, without background.

    Raises:
        ContractViolation: the ending is neither .png nor .svg.
    """
    names = ["all", *analysis.classes]
    kinds = np.vstack([analysis.kinds.sum(axis=0), analysis.kinds])
    missed = np.append(analysis.missed.sum(), analysis.missed)
    instances = np.append(analysis.instances.sum(), analysis.instances)
    lengths = [
        f"{name}  {text}" for name, text in zip(LENGTHS, analysis.length_texts(), strict=True)
    ]
    rows = len(names) + len(lengths)
    height = rows * ROW_INCHES + 2.6
    figure = _figure(10.5, height)
    panels = figure.subplots(
        2, 2, sharey="row", width_ratios=(2.4, 1), height_ratios=(len(names), len(lengths))
    )
    _draw_kinds(panels[0, 0], names, kinds)
    _draw_missed(panels[0, 1], missed, instances)
    _draw_kinds(panels[1, 0], lengths, analysis.length_kinds)
    _draw_missed(panels[1, 1], analysis.length_missed, analysis.length_instances)
    panels[0, 0].set_title("best-scored detections by class (G per class)", fontsize=9, color=INK)
    panels[0, 1].set_title("instances nobody found", fontsize=9, color=INK)
    panels[1, 0].set_title("the same by length of the instance concerned", fontsize=9, color=INK)
    panels[1, 0].set_xlabel("share of detections, percent", fontsize=8, color=INK)
    panels[1, 1].set_xlabel("share of instances, percent", fontsize=8, color=INK)
    figure.tight_layout(rect=(0, 0, 1, 1 - HEAD_INCHES / height))
    _title(
        figure,
        f"Errors at tIoU {analysis.tiou:g} (background: below {BACKGROUND_TIOU:g}); "
        "matching P-ANET",
    )
    _legend(figure, [*KINDS, "missed"], [*KIND_COLORS, MISSED_COLOR], height)
    _save(figure, path)


def _figure(width_inches: float, height_inches: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    figure = Figure(figsize=(width_inches, height_inches), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: "Figure", path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        message = f"a picture's name must end in {' or '.join(FORMATS)}, got {path.name}"
        raise ContractViolation(message)
    from matplotlib import rc_context  # noqa: PLC0415 - an extra

    buffer = io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {}
    # A fixed salt and no date: the same figures give the same file.
    with rc_context({"svg.hashsalt": "kinetag", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=kind, metadata=metadata)
    write_bytes_atomic(path, buffer.getvalue())


def _chosen(evaluated: Sequence[float], wanted: Sequence[float] | None) -> list[int]:
    if wanted is None:
        spread = np.linspace(0, len(evaluated) - 1, min(MAX_CURVES, len(evaluated)))
        return [round(float(one)) for one in spread]
    rows = []
    for tiou in wanted:
        close = np.flatnonzero(np.isclose(tiou, evaluated))
        if not close.size:
            message = f"tIoU {tiou:g} was not evaluated; evaluated were {list(evaluated)}"
            raise ContractViolation(message)
        rows.append(int(close[0]))
    return rows


def _shades(count: int) -> list[Any]:
    from matplotlib import colormaps  # noqa: PLC0415 - an extra

    positions = np.linspace(LAST_SHADE, FIRST_SHADE, count) if count > 1 else [LAST_SHADE]
    return [colormaps["cividis"](float(one)) for one in positions][::-1]


def _draw_curve(panel: "Axes", recall: DoubleArray, precision: DoubleArray, color: Any) -> None:  # noqa: ANN401 - any matplotlib colour
    start = precision[:1]
    panel.plot(
        np.concatenate([np.zeros(len(start)), recall]),
        np.concatenate([start, precision]),
        color=color,
        linewidth=1.3,
    )


def _draw_class_bars(axis: "Axes", result: EvaluationResult) -> None:
    """Draw one bar per class, its mean over the thresholds, with the value at each as a tick."""
    means = PERCENT * result.average_precision.mean(axis=1)
    order = np.argsort(means, kind="stable")
    places = np.arange(len(order))
    axis.barh(places, means[order], height=0.72, color="#CBE3F3")
    for row, color in zip(
        result.average_precision.T, _shades(len(result.tiou_thresholds)), strict=True
    ):
        axis.plot(PERCENT * row[order], places, "|", color=color, markersize=8, markeredgewidth=1.6)
    labels = [f"{result.classes[i]}  (n {result.num_ground_truth[i]})" for i in order]
    axis.set_yticks(places, labels, fontsize=7)
    axis.set(xlim=(0, 100), ylim=(-0.6, len(order) - 0.4), xlabel="average precision, percent")
    first, last = (tiou_name(result.tiou_thresholds[i]) for i in (0, -1))
    axis.set_title(
        f"bar: mean over tIoU; marks: each tIoU, {first} (light) to {last} (dark)",
        fontsize=9,
        color=INK,
    )
    _plain(axis, grid="x")


def _draw_kinds(axis: "Axes", names: Sequence[str], kinds: IntArray) -> None:
    totals = kinds.sum(axis=1)
    shares = PERCENT * kinds / np.maximum(totals, 1)[:, None]
    places = np.arange(len(names))
    left = np.zeros(len(names))
    for column, color, ink in zip(shares.T, KIND_COLORS, KIND_INKS, strict=True):
        axis.barh(places, column, left=left, height=0.8, color=color, edgecolor="white")
        for place, value, start in zip(places.tolist(), column, left, strict=True):
            if value >= PERCENT * MIN_WRITTEN_SHARE:
                middle = start + value / 2
                axis.text(
                    middle, place, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=ink
                )
        left += column
    labels = [f"{name}  ({total})" for name, total in zip(names, totals, strict=True)]
    axis.set_yticks(places, labels, fontsize=7)
    axis.set(xlim=(0, 100), ylim=(len(names) - 0.5, -0.5))
    _plain(axis, grid="x")


def _draw_missed(axis: "Axes", missed: IntArray, instances: IntArray) -> None:
    shares = PERCENT * missed / np.maximum(instances, 1)
    places = np.arange(len(missed))
    axis.barh(places, shares, height=0.8, color=MISSED_COLOR)
    for place, value, count, total in zip(places.tolist(), shares, missed, instances, strict=True):
        axis.text(value + 2, place, f"{count} of {total}", va="center", fontsize=6.5, color=INK)
    axis.set(xlim=(0, 138), xticks=(0, 25, 50, 75, 100))
    axis.tick_params(left=False)
    _plain(axis, grid="x")


def _plain(axis: "Axes", grid: Literal["both", "x"] = "both") -> None:
    axis.tick_params(labelsize=7, colors=INK)
    axis.grid(axis=grid, color=FAINT, alpha=0.25, linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _title(figure: "Figure", text: str) -> None:
    # In inches from the top, as a share would fall into the panels of a tall picture.
    top = 1 - TITLE_INCHES / figure.get_figheight()
    figure.text(0.01, top, text, ha="left", va="top", fontsize=11, color=INK)


def _legend(
    figure: "Figure", names: Sequence[str], colors: Sequence[Any], height_inches: float
) -> None:
    """Draw one legend for all panels in a line below the title."""
    from matplotlib.patches import Patch  # noqa: PLC0415 - an extra

    figure.legend(
        handles=[Patch(color=color, label=name) for name, color in zip(names, colors, strict=True)],
        loc="upper left",
        bbox_to_anchor=(0.005, 1 - LEGEND_INCHES / height_inches),
        ncols=len(names),
        fontsize=8,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.3,
    )
