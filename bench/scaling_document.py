"""Writes the figures of `bench.scaling` into the page that explains them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.atomic import write_text_atomic

MARKER = "<!-- Below: written by bench.scaling, replaced by its next run. -->"
GOOD_EFFICIENCY = 0.8
HEADINGS = (
    "workers",
    "one 10 h video, s",
    "times as fast",
    "mix, video hours per hour",
    "times as fast",
    "mix, time in chunks",
    "mix, database busy",
)
SHARE_WORDS = {
    "opening": "opening the video (its index is read whole, by each worker)",
    "joining": "joining",
    "transactions": "transactions and their turn",
    "idle": "nothing to do: the plan and the join are one worker's",
}


def write_figures(
    page: Path, spread: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]
) -> None:
    """Replace what stands below the marker of a page.

    Args:
        page: must hold the marker.
        spread: JSON object of `bench.spread`.
        results: name of a kind of chunk -> figures of `bench.scaling`.
    """
    head, marker, _ = page.read_text().partition(MARKER)
    if not marker:
        message = f"{page} has no line {MARKER!r}"
        raise ValueError(message)
    parts = [_measured(spread), *(_simulated(name, one) for name, one in results.items())]
    write_text_atomic(page, head + marker + "\n\n" + "\n".join(parts))


def _measured(spread: Mapping[str, Any]) -> str:
    figures, machine = spread["figures"], spread["machine"]
    rows = [
        ("one worker, seconds", f"{figures['one_worker_seconds']:.1f}"),
        ("two workers, seconds", f"{figures['two_workers_seconds']:.1f}"),
        ("**ratio**, median of the runs", f"**{figures['ratio_two_workers']:.2f}**"),
        ("chunk alone / beside another worker's, seconds",
         f"{figures['alone_chunk_seconds']:.2f} / {figures['beside_chunk_seconds']:.2f}"),
        ("plan, join, seconds",
         f"{figures['alone_plan_seconds']:.2f}, {figures['alone_join_seconds']:.2f}"),
        ("from a chunk's end to the next claim, ms", f"{figures['alone_pause_seconds'] * 1e3:.0f}"),
        ("claim, complete, heartbeat (SQLite, synced), ms",
         ", ".join(f"{figures[f'{name}_seconds'] * 1e3:.1f}"
                   for name in ("claim", "complete", "heartbeat"))),
        ("opening a video, seconds: once + per hour of it",
         f"{figures['opening_seconds']:.2f} + {figures['opening_seconds_per_video_hour']:.2f}"),
        ("joining, seconds per hour of video",
         f"{figures['joining_seconds_per_video_hour']:.2f}"),
    ]  # fmt: skip
    return (
        f"### Measured: one worker and two\n\n`python -m bench.spread --json PATH` on "
        f"{machine['processor']}, {machine['num_processors']} cores "
        f"(load average {figures['load_average']:.1f} when it began): {spread['source']}; "
        f"chunks per worker {figures['chunks_per_worker']}.\n\n"
        f"| | |\n| --- | --- |\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)
    )


def _simulated(name: str, figures: Mapping[str, Any]) -> str:
    workers: Sequence[int] = figures["workers"]
    lines = [
        f"### Simulated: {name}\n",
        f"| {' | '.join(HEADINGS)} |",
        f"| {' | '.join(['---:'] * len(HEADINGS))} |",
    ]
    for at, count in enumerate(workers):
        cells = (
            count,
            f"{figures['long_seconds'][at]:.0f}",
            f"{figures['long_speedup'][at]:.1f}",
            _rounded(figures["mix_video_hours_per_hour"][at]),
            f"{figures['mix_speedup'][at]:.1f}",
            f"{figures['mix_shares'][at]['chunks']:.0%}",
            f"{figures['mix_database_busy'][at]:.1%}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines.append("")
    for key, words in (("long", "The 10 h video alone"), ("mix", "The mix")):
        lines.append(_limit(words, workers, figures[f"{key}_speedup"], figures[f"{key}_shares"]))
    return "\n".join(lines) + "\n"


def _rounded(value: float) -> str:
    """Return three digits, never as a power of ten."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def _limit(
    words: str,
    workers: Sequence[int],
    speedups: Sequence[float],
    shares: Sequence[Mapping[str, float]],
) -> str:
    """Return a sentence on where scaling ends and what takes the workers' time instead."""
    good = [
        count
        for count, speedup in zip(workers, speedups, strict=True)
        if speedup >= GOOD_EFFICIENCY * count
    ]
    lost = {name: shares[-1][name] for name in SHARE_WORDS}
    ranked = sorted(lost, key=lambda name: -lost[name])[:2]
    reasons = "; ".join(f"{lost[name]:.0%} {SHARE_WORDS[name]}" for name in ranked)
    return (
        f"* {words}: at least {GOOD_EFFICIENCY:.0%} of linear up to {good[-1]} workers. "
        f"At {workers[-1]}, {shares[-1]['chunks']:.0%} of their time is chunks; {reasons}."
    )
