"""Draws a run's log: its losses by step, and what held-out tags said.

Needs matplotlib (the ``plots`` extra), imported only when a picture is asked for.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.atomic import write_bytes_atomic
from models.training.run import LogRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe-Ito, distinguishable with colour-blind eyes.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#6E6E6E", "#B59F00")
PART_PREFIX = "loss_"
DOTS_PER_INCH = 110


def draw_curves(path: Path, title: str, log: Sequence[LogRecord], chosen_step: int) -> None:
    """Write the picture of a run.

    Args:
        path: ends in .png or .svg.
        title: one line above it.
        log: records of `models.training.train.train_head`.
        chosen_step: of the last stage.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415

    offsets = _stage_offsets(log)
    losses = [record for record in log if "loss" in record]
    judged = [record for record in log if "held_out_video_map" in record]
    heights = [2, 2, 1] if judged else [2, 2]
    figure = Figure(figsize=(9.0, 1.6 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    axes: list[Axes] = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    axes[0].set_title(title, loc="left", fontsize=11)
    steps = [offsets[int(record["stage"])] + record["step"] for record in losses]
    axes[0].plot(steps, [r["loss"] for r in losses], color="#222222", lw=1.6)
    axes[0].set_ylabel("loss, weighted sum")
    _draw_parts(axes[1], losses, steps)
    last = max(offsets)
    if judged:
        places = [offsets[last] + record["step"] for record in judged]
        scores = [record["held_out_video_map"] for record in judged]
        axes[2].plot(places, scores, "o-", color="#0072B2", ms=4)
        axes[2].set_ylabel("held-out\nvideo mAP")
        axes[2].set_ylim(-0.05, 1.1)
    for one in axes:
        one.grid(alpha=0.25)
        for stage, before in offsets.items():
            if stage > 0:
                _mark(one, before, f"stage {stage + 1}" if one is axes[0] else "")
    _mark(axes[-1], offsets[last] + chosen_step, "kept")
    axes[-1].set_xlabel("optimiser step")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lstrip(".") or "png", dpi=DOTS_PER_INCH)
    write_bytes_atomic(path, buffer.getvalue())


def _stage_offsets(log: Sequence[LogRecord]) -> dict[int, float]:
    """Return for each stage how many steps lie before it."""
    offsets, before = {}, 0.0
    for stage in sorted({int(record["stage"]) for record in log if "stage" in record}):
        offsets[stage] = before
        before += max(r["step"] for r in log if r.get("stage") == stage)
    return offsets or {0: 0.0}


def _draw_parts(axes: "Axes", losses: Sequence[LogRecord], steps: Sequence[float]) -> None:
    """Draw each part against its own largest value, so that small ones can be seen."""
    names = sorted({name for record in losses for name in record if name.startswith(PART_PREFIX)})
    for place, name in enumerate(names):
        shown = [(s, r[name]) for s, r in zip(steps, losses, strict=True) if name in r]
        largest = max(abs(value) for _, value in shown) or 1.0
        label = f"{name.removeprefix(PART_PREFIX).replace('_', ' ')} (1 = {largest:.3g})"
        axes.plot(
            [s for s, _ in shown],
            [value / largest for _, value in shown],
            color=PALETTE[place % len(PALETTE)],
            ls="-" if place < len(PALETTE) else "--",
            lw=1.3,
            label=label,
        )
    axes.set_ylabel("parts, unweighted,\neach by its largest")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _mark(axes: "Axes", step: float, text: str) -> None:
    axes.axvline(step, color="#9A9A9A", lw=1, ls="--")
    axes.annotate(
        text,
        (step, 1),
        xycoords=("data", "axes fraction"),
        fontsize=8,
        color="#555555",
        xytext=(3, -10),
        textcoords="offset points",
    )
