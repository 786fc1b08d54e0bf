"""The page of results: tables made of runs, under a page's own words, which stay as they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.real.runs import MOTION_MIL, MOTION_TAGS, PLAIN, RANDOM, SHUFFLED, WHOLE_TAGS
from bench.real.score import (
    FOUND_TIOU,
    MIN_TEST_INSTANCES,
    MIN_TRAIN_VIDEOS,
    RESAMPLES,
    Scored,
    found_share,
    frequent_classes,
    instance_counts,
    quiet_rates,
)
from bench.real.sets import RealSet
from models.atomic import write_text_atomic
from models.evaluation.bootstrap import BootstrapDifference

# What stands below this line of the page was written by a person and is kept.
READING_MARK = "<!-- Below: written by hand, kept by the bench. -->"
PERCENT = 100.0
INTRODUCTION = """# Real video: five heads from tags, side by side

`python -m bench.real --data DIR --write docs/results.md`. Protocol P-ANET (`kinetag evaluate
--protocol anet`): mAP in percent, mean ± standard deviation over {seeds} seeds; no setting and no
checkpoint is chosen by a test figure. Heads use their preset `small`. Differences: paired
bootstrap over test videos, {resamples} resamples, 95 % intervals of the average mAP over tIoU and
seeds. `seconds` are CPU seconds of one thread to train one head.
Machine: {machine}.
The data is not part of this repository.
"""


@dataclass(frozen=True, slots=True)
class SetOutcome:
    """All that was measured on one set.

    Attributes:
        real: the set.
        free: detectors that use no backbone, by name.
        columns: backbone -> detector -> its runs.
        differences: (backbone, head, opponent) -> the head's average mAP minus the opponent's.
        shuffled_on: backbone with which shuffled tags were trained.
    """

    real: RealSet
    free: Mapping[str, Scored]
    columns: Mapping[str, Mapping[str, Scored]]
    differences: Mapping[tuple[str, str, str], BootstrapDifference]
    shuffled_on: str


def page(outcomes: Sequence[SetOutcome], machine: str, seeds: int) -> str:
    """Return the tables as Markdown, without the part written by hand."""
    parts = [INTRODUCTION.format(seeds=seeds, resamples=RESAMPLES, machine=machine)]
    for outcome in outcomes:
        parts += [
            f"## {outcome.real.name}\n",
            _facts(outcome.real),
            _main_table(outcome),
            _difference_table(outcome),
            _chance_sentence(outcome),
            _class_table(outcome),
            _quiet_table(outcome),
        ]
    return "\n".join(part for part in parts if part)


def write_page(path: Path, tables: str) -> None:
    """Write the page, keeping what a person wrote below the mark."""
    reading = ""
    if path.exists():
        _, _, reading = path.read_text(encoding="utf-8").partition(READING_MARK)
    write_text_atomic(path, f"{tables.rstrip()}\n\n{READING_MARK}{reading or chr(10)}")


def _facts(real: RealSet) -> str:
    lines = []
    for split in ("train", "test", "quiet"):
        videos = real.split(split)
        if videos:
            minutes = sum(video.duration_seconds for video in videos) / 60
            count = sum(len(video.instances) for video in videos)
            empty = sum(not video.labels for video in videos)
            lines.append(
                f"- {split}: {len(videos)} videos, {minutes:.1f} min, {count} instances, "
                f"{empty} videos without a tag"
            )
    lines += [f"- {fact}" for fact in real.facts]
    return "\n".join(lines) + "\n"


def _rows(outcome: SetOutcome) -> Iterable[tuple[str, str, Scored]]:
    for name, one in outcome.free.items():
        yield name, "-", one
    for backbone, detectors in outcome.columns.items():
        for name, one in detectors.items():
            yield name, backbone, one


def _main_table(outcome: SetOutcome) -> str:
    real = outcome.real
    frequent = frequent_classes(real)
    extra = f"{len(frequent)} classes" if len(frequent) < len(real.classes) else ""
    heads = ["detector", "backbone", *(f"{tiou:g}" for tiou in real.tious), "average"]
    heads += ([extra] if extra else []) + ["seconds"]
    lines = ["| " + " | ".join(heads) + " |", "| --- | --- |" + " ---: |" * (len(heads) - 2)]
    for name, backbone, one in _rows(outcome):
        curves = np.array([result.map_per_tiou for result in one.results])
        cells = [spread(column) for column in curves.T] + [spread(curves.mean(axis=1))]
        if extra:
            cells.append(spread(one.class_average(frequent)))
        seconds = [run.cpu_seconds for run in one.runs]
        cells.append(f"{np.mean(seconds):.0f}" if max(seconds) > 0 else "-")
        lines.append("| " + " | ".join([name, backbone, *cells]) + " |")
    note = (
        f"\nThe column `{extra}` averages over {', '.join(frequent)}: at least "
        f"{MIN_TRAIN_VIDEOS} tagged training videos and {MIN_TEST_INSTANCES} test instances.\n"
    )
    return "\n".join(lines) + "\n" + (note if extra else "")


def _difference_table(outcome: SetOutcome) -> str:
    opponents = (PLAIN, MOTION_TAGS, MOTION_MIL)
    lines = [
        "Average mAP minus that of an opponent; bold where the interval leaves out 0:\n",
        "| head | backbone | " + " | ".join(f"minus {one}" for one in opponents) + " |",
        "| --- | --- |" + " ---: |" * len(opponents),
    ]
    for backbone, head in dict.fromkeys((key[0], key[1]) for key in outcome.differences):
        cells = [difference_cell(outcome.differences[backbone, head, one]) for one in opponents]
        lines.append("| " + " | ".join([head, backbone, *cells]) + " |")
    return "\n".join(lines) + "\n"


def difference_cell(one: BootstrapDifference) -> str:
    """Return a difference with its interval, in percent points."""
    text = f"{PERCENT * one.difference:+.1f} [{PERCENT * one.low:+.1f}, {PERCENT * one.high:+.1f}]"
    return f"**{text}**" if one.beyond_chance else text


def _chance_sentence(outcome: SetOutcome) -> str:
    column = outcome.columns[outcome.shuffled_on]
    shuffled = {
        name.removesuffix(SHUFFLED): one for name, one in column.items() if name.endswith(SHUFFLED)
    }
    if not shuffled:
        return ""
    told = ", ".join(
        f"{name} {PERCENT * one.average:.1f} (true tags {PERCENT * column[name].average:.1f})"
        for name, one in shuffled.items()
    )
    chance = PERCENT * outcome.free[RANDOM].average
    return (
        f"Shuffled tags, {outcome.shuffled_on} backbone, average mAP: {told}; "
        f"{RANDOM} find {chance:.1f}.\n"
    )


def _class_table(outcome: SetOutcome) -> str:
    real = outcome.real
    if len(real.classes) == 1:
        return ""
    counts = instance_counts(real)
    tagged = {c: sum(c in video.labels for video in real.split("train")) for c in real.classes}
    lines = [
        "Average precision per class (mean over tIoU and seeds):\n",
        "| detector | backbone | " + " | ".join(real.classes) + " |",
        "| --- | --- |" + " ---: |" * len(real.classes),
        "| tagged training videos, test instances | | "
        + " | ".join(f"{tagged[c]}, {counts[c]}" for c in real.classes)
        + " |",
    ]
    for name, backbone, one in _rows(outcome):
        if name.endswith(SHUFFLED):
            continue
        cells = [f"{PERCENT * float(np.mean(one.class_average([c]))):.0f}" for c in real.classes]
        lines.append("| " + " | ".join([name, backbone, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _quiet_table(outcome: SetOutcome) -> str:
    real = outcome.real
    quiet = real.split("quiet")
    if not quiet:
        return ""
    hours = sum(video.duration_seconds for video in quiet) / 3600
    lines = [
        (
            f"False segments per hour on {len(quiet)} videos in which nothing happens "
            f"({hours:.2f} h), with the per-class thresholds that are fitted to training tags, "
            f"and what these thresholds leave of the truth (tIoU {FOUND_TIOU:g}); `all` counts "
            "every proposal:\n"
        ),
        "| head | backbone | per hour | instances found | per hour, all |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for backbone, detectors in outcome.columns.items():
        for name, one in detectors.items():
            if name in (MOTION_MIL, WHOLE_TAGS) or name.endswith(SHUFFLED):
                continue
            rates = np.array([quiet_rates(real, run) for run in one.runs])
            found = [found_share(real, run) for run in one.runs]
            lines.append(
                f"| {name} | {backbone} | {rates[:, 0].mean():.0f} ± {deviation(rates[:, 0]):.0f} "
                f"| {PERCENT * np.mean(found):.0f} % | {rates[:, 1].mean():.0f} |"
            )
    return "\n".join(lines) + "\n"


def spread(values: Iterable[float]) -> str:
    """Return mean ± standard deviation in percent; the mean alone of a single value."""
    numbers = np.asarray(list(values), np.float64)
    if len(numbers) == 1:
        return f"{PERCENT * numbers[0]:.1f}"
    return f"{PERCENT * numbers.mean():.1f} ± {PERCENT * deviation(numbers):.1f}"


def deviation(values: Iterable[float]) -> float:
    """Return the sample standard deviation; 0 of a single value."""
    numbers = np.asarray(list(values), np.float64)
    return float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
