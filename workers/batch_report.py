"""What a batch shows: a bar on a terminal, plain lines elsewhere, JSON lines for machines.

The time left comes from the bytes that were really computed in this run: skipped files say nothing
about how long the others will take.
"""

import csv
import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from models.atomic import write_text_atomic
from workers.batch_files import FileItem
from workers.batch_run import ItemStatus, Report, Row, Summary

FAILURE_COLUMNS = ("file", "code", "message", "attempts", "retryable")
MAX_SHOWN_FAILURES = 100
PLAIN_PROGRESS_SECONDS = 30.0
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""Source: OWASP "CSV Injection": cells starting with these run as formulas in spreadsheets."""

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


class Pace:
    """Tells how long the rest of a run takes.

    Args:
        num_files, size_bytes: of the whole run.
        clock: seconds, for tests.
    """

    def __init__(
        self, num_files: int, size_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.num_files = num_files
        self.num_ended = 0
        self._left_bytes = size_bytes
        self._clock = clock
        self._computed_bytes = 0.0
        self._computing_seconds = 0.0
        self._since: float | None = None
        self._fraction = 0.0

    def begin(self) -> None:
        """An item is computed from now on."""
        self._since, self._fraction = self._clock(), 0.0

    def reach(self, fraction: float) -> None:
        """So much of it is done."""
        self._fraction = fraction

    def end(self, size_bytes: int, *, computed: bool) -> None:
        """An item ended; ``computed`` when its bytes were really worked through."""
        self.num_ended += 1
        self._left_bytes -= size_bytes
        if computed and self._since is not None:
            self._computing_seconds += self._clock() - self._since
            self._computed_bytes += size_bytes
        self._since = None

    def eta_seconds(self, current_bytes: int = 0) -> float | None:
        """Return the seconds left; None until something was computed."""
        seconds, done = self._computing_seconds, self._computed_bytes
        part = current_bytes * self._fraction
        if self._since is not None and part > 0:
            seconds += self._clock() - self._since
            done += part
        if done <= 0:
            return None
        return max(0.0, (self._left_bytes - part) * seconds / done)


def duration_for_people(seconds: float | None) -> str:
    """Return a duration in two units at most: ``3 h 20 min``; ``?`` for None."""
    if seconds is None:
        return "?"
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min {seconds % MINUTE:.0f} s"
    if seconds < DAY:
        return f"{seconds // HOUR:.0f} h {seconds % HOUR // MINUTE:.0f} min"
    return f"{seconds // DAY:.0f} d {seconds % DAY // HOUR:.0f} h"


class _Counting:
    """What all ways of showing share."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._item: FileItem | None = None
        self._item_bytes = 0

    def begin(self, item: FileItem, attempt: int) -> None:
        """See `Report`."""
        del attempt
        self._item = item
        try:
            self._item_bytes = item.path.stat().st_size
        except OSError:
            self._item_bytes = 0
        self._pace.begin()

    def progress(self, fraction: float, stage: str) -> None:
        """See `Report`."""
        del stage
        self._pace.reach(fraction)

    def end(self, row: Row, size_bytes: int) -> None:
        """See `Report`."""
        self._pace.end(size_bytes, computed=row.status is ItemStatus.SUCCEEDED)

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left."""
        return self._pace.eta_seconds(self._item_bytes)


class PlainReport(_Counting):
    """One line per file, and now and then one about a long file."""

    def __init__(self, pace: Pace, stream: TextIO) -> None:
        super().__init__(pace)
        self._stream = stream
        self._spoke_at = time.monotonic()

    def progress(self, fraction: float, stage: str) -> None:
        """See `Report`."""
        super().progress(fraction, stage)
        if self._item is not None and time.monotonic() - self._spoke_at > PLAIN_PROGRESS_SECONDS:
            left = duration_for_people(self.eta_seconds)
            self._say(f"{self._item.name}: {stage}, {fraction:.0%}; {left} left in all")

    def end(self, row: Row, size_bytes: int) -> None:
        """See `Report`."""
        super().end(row, size_bytes)
        count = f"[{self._pace.num_ended}/{self._pace.num_files}]"
        self._say(f"{count} {row.name}: {_ending(row)}")

    def again(self, row: Row, delay_seconds: float) -> None:
        """See `Report`."""
        self._say(f"{row.name}: {_ending(row)}; again in {delay_seconds:.0f} s")

    def _say(self, text: str) -> None:
        self._spoke_at = time.monotonic()
        self._stream.write(text + "\n")
        self._stream.flush()


class JsonReport(_Counting):
    """One JSON object per line."""

    def __init__(self, pace: Pace, stream: TextIO) -> None:
        super().__init__(pace)
        self._stream = stream
        self._spoke_at = time.monotonic()

    def begin(self, item: FileItem, attempt: int) -> None:
        """See `Report`."""
        super().begin(item, attempt)
        self._say({"event": "begin", "file": item.name, "attempt": attempt})

    def progress(self, fraction: float, stage: str) -> None:
        """See `Report`."""
        super().progress(fraction, stage)
        if self._item is None or time.monotonic() - self._spoke_at < 1:
            return
        name, eta = self._item.name, self.eta_seconds
        self._say(
            {
                "event": "progress",
                "file": name,
                "stage": stage,
                "fraction": round(fraction, 4),
                "eta_seconds": None if eta is None else round(eta, 1),
            }
        )

    def end(self, row: Row, size_bytes: int) -> None:
        """See `Report`."""
        super().end(row, size_bytes)
        self._say({"event": "end", **_row_json(row)})

    def again(self, row: Row, delay_seconds: float) -> None:
        """See `Report`."""
        self._say({"event": "again", **_row_json(row), "delay_seconds": delay_seconds})

    def _say(self, document: Mapping[str, Any]) -> None:
        self._spoke_at = time.monotonic()
        self._stream.write(json.dumps(document) + "\n")
        self._stream.flush()


class BarReport(_Counting):
    """A bar over all files, with what is being done and the time left."""

    def __init__(self, pace: Pace, console: Console) -> None:
        super().__init__(pace)
        self._console = console
        self._bar = Bar(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]} left"),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=pace.num_files, left="?")

    def __enter__(self) -> "BarReport":
        self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.stop()

    def progress(self, fraction: float, stage: str) -> None:
        """See `Report`."""
        super().progress(fraction, stage)
        name = self._item.name if self._item is not None else ""
        self._bar.update(
            self._task,
            description=f"{name}: {stage} {fraction:.0%}",
            left=duration_for_people(self.eta_seconds),
        )

    def end(self, row: Row, size_bytes: int) -> None:
        """See `Report`."""
        super().end(row, size_bytes)
        self._bar.update(
            self._task, completed=self._pace.num_ended, left=duration_for_people(self.eta_seconds)
        )
        if row.status is ItemStatus.FAILED:
            self._console.print(f"{row.name}: {_ending(row)}", markup=False, highlight=False)

    def again(self, row: Row, delay_seconds: float) -> None:
        """See `Report`."""
        text = f"{row.name}: {_ending(row)}; again in {delay_seconds:.0f} s"
        self._console.print(text, markup=False, highlight=False)


def write_failures(path: Path, failures: Iterable[Row]) -> None:
    """Write the table of failures as CSV; without any it has a header only."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(FAILURE_COLUMNS)
    for row in failures:
        again = "yes" if row.retryable else "no"
        writer.writerow([_inert(row.name), row.code, _inert(row.message), row.attempts, again])
    write_text_atomic(path, buffer.getvalue())


def show_failures(failures: Sequence[Row], table_file: Path, console: Console) -> None:
    """Print the table of failures."""
    table = Table(title=f"{len(failures)} failed", title_justify="left")
    table.add_column("file", overflow="fold")
    table.add_column("code")
    table.add_column("why", overflow="fold")
    for row in failures[:MAX_SHOWN_FAILURES]:
        table.add_row(*(_no_markup(text) for text in (row.name, row.code, row.message)))
    console.print(table)
    if len(failures) > MAX_SHOWN_FAILURES:
        console.print(f"... and {len(failures) - MAX_SHOWN_FAILURES} more")
    console.print(f"The whole table: {table_file}", markup=False, highlight=False)


def summary_sentence(summary: Summary) -> str:
    """Return how a run ended, in numbers."""
    done = summary.count(ItemStatus.SUCCEEDED)
    skipped = summary.count(ItemStatus.SKIPPED)
    return f"{done} done, {skipped} done before, {len(summary.failures)} failed"


def open_report(pace: Pace, *, as_json: bool, console: Console) -> Report:
    """Return the report that fits where the output goes; a `BarReport` is to be entered."""
    if as_json:
        return JsonReport(pace, sys.stdout)
    return BarReport(pace, console) if console.is_terminal else PlainReport(pace, sys.stderr)


def _ending(row: Row) -> str:
    match row.status:
        case ItemStatus.SKIPPED:
            return "done before"
        case ItemStatus.SUCCEEDED:
            return f"{row.num_segments} segments"
        case ItemStatus.FAILED:
            return f"{row.message} [{row.code}]"


def _row_json(row: Row) -> dict[str, Any]:
    document = asdict(row)
    return {"file": document.pop("name"), **document}


def _inert(text: str) -> str:
    return "'" + text if text.startswith(FORMULA_STARTS) else text


def _no_markup(text: str) -> str:
    return text.replace("[", "\\[")
