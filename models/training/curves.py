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

    figure = Figure(figsize=(9.0, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    offsets = _stage_offsets(log)
    judged = [record for record in log if "held_out_video_map" in record]
    axes = figure.subplots(
        2 if judged else 1, 1, sharex=True, height_ratios=[3, 1][: 1 + bool(judged)]
    )
    upper: Axes = axes[0] if judged else axes
    _draw_losses(upper, log, offsets)
    upper.set_title(title, loc="left", fontsize=11)
    last = max(offsets)
    chosen = offsets[last] + chosen_step
    if judged:
        lower: Axes = axes[1]
        steps = [offsets[last] + record["step"] for record in judged]
        lower.plot(steps, [r["held_out_video_map"] for r in judged], "o-", color="#0072B2", ms=4)
        lower.set_ylabel("held-out\nvideo mAP")
        lower.set_ylim(-0.05, 1.05)
        _mark(lower, chosen, "kept")
        lower.set_xlabel("optimiser step")
    else:
        upper.set_xlabel("optimiser step")
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


def _draw_losses(axes: "Axes", log: Sequence[LogRecord], offsets: dict[int, float]) -> None:
    losses = [record for record in log if "loss" in record]
    names = sorted({name for record in losses for name in record if name.startswith(PART_PREFIX)})
    steps = [offsets[int(record["stage"])] + record["step"] for record in losses]
    axes.plot(steps, [r["loss"] for r in losses], color="#222222", lw=2, label="loss (weighted)")
    for place, name in enumerate(names):
        shown = [(s, r[name]) for s, r in zip(steps, losses, strict=True) if name in r]
        color = PALETTE[place % len(PALETTE)]
        label = name.removeprefix(PART_PREFIX).replace("_", " ")
        axes.plot(*zip(*shown, strict=True), color=color, lw=1.2, label=label)
    for stage, before in offsets.items():
        if stage > 0:
            _mark(axes, before, f"stage {stage + 1}")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, ncols=2, frameon=False)


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
