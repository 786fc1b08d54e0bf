"""The contact sheet of an output folder: `contact-sheet.html`, and more pages of large batches."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.atomic import atomic_file
from models.errors import ContractViolation
from models.plots.scene import Scene, scene_of
from models.plots.sheet import LISTED_FAILURES, Card, Failure, Sheet, Totals, render_sheet
from workers.batch_files import result_path
from workers.batch_ledger import Ledger
from workers.batch_output import OutputFolder
from workers.batch_posters import find_posters, read_posters
from workers.batch_run import Row

CARDS_PER_PAGE = 100
MAX_CARDS = 2000
"""Of larger batches the first ones are shown; the figures are of all."""

TOPIC = "contact-sheet"
VERSION = 1
"""Raised when sheets are written in another way."""


@dataclass(frozen=True, slots=True)
class SheetChoice:
    """What a sheet is about.

    Attributes:
        model: that looked at the videos.
        title: of the sheet.
    """

    model: str
    title: str


def sheet_path(folder: OutputFolder, page: int) -> Path:
    """Return the file of a page, from 1."""
    return folder.root / ("contact-sheet.html" if page == 1 else f"contact-sheet-{page}.html")


def write_sheet(
    folder: OutputFolder,
    ledger: Ledger,
    choice: SheetChoice,
    names: Sequence[str],
    failures: Sequence[Row],
) -> bool:
    """Write the pages over the results of these items; False when they are as they should be.

    Args:
        folder: of the batch.
        ledger: of that folder.
        choice: what it is about.
        names: of items that may have a result; those without one are left out.
        failures: of the run.

    Raises:
        DiskFull: there is no space.
        OSError: a page cannot be written.
    """
    done = [(name, found.key) for name in sorted(names) if (found := ledger.done(name))]
    posters = find_posters(folder.posters)
    failed = [(row.name, row.code, row.message) for row in failures]
    pictured = [key for _, key in done if key.partition(".")[0] in posters]
    told = [VERSION, choice.model, choice.title, done, failed, pictured]
    state = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    num_pages = max(1, -(-min(len(done), MAX_CARDS) // CARDS_PER_PAGE))
    pages = range(1, num_pages + 1)
    if ledger.note(TOPIC) == state and all(sheet_path(folder, page).exists() for page in pages):
        return False
    sheet = _sheet(folder, choice, done, failures)
    for page in pages:
        first = (page - 1) * CARDS_PER_PAGE
        shown = done[: min(len(done), MAX_CARDS)][first : first + CARDS_PER_PAGE]
        neighbours = _neighbours(folder, page, num_pages)
        own = replace(sheet, pages=neighbours, failures=sheet.failures if page == 1 else ())
        with atomic_file(sheet_path(folder, page)) as file:
            for part in render_sheet(own, _cards(folder, shown, posters)):
                file.write(part.encode())
    _remove_later(folder, num_pages)
    ledger.add_note(TOPIC, state)
    return True


def _sheet(
    folder: OutputFolder,
    choice: SheetChoice,
    done: Sequence[tuple[str, str]],
    failures: Sequence[Row],
) -> Sheet:
    totals = Totals(num_failed=len(failures))
    for name, _ in done:
        native = _native(folder, name)
        if native is not None:
            labels = [one["label"] for one in native["segments"]]
            totals.add(float(native["video"]["duration"]), labels)
    hidden = len(done) - MAX_CARDS
    note = "Results: videos/; all segments: segments.csv, activitynet.json; failures.csv."
    if hidden > 0:
        note = f"{hidden:,} more videos have a result and no place here. {note}"
    listed = [Failure(row.name, row.code, row.message) for row in failures[:LISTED_FAILURES]]
    return Sheet(choice.title, choice.model, totals, listed, note=note)


def _cards(
    folder: OutputFolder, done: Sequence[tuple[str, str]], posters: Mapping[str, Path]
) -> Iterator[Card]:
    for name, key in done:
        native = _native(folder, name)
        scene = None if native is None else _scene(native)
        if scene is None:
            continue
        poster = posters.get(key.partition(".")[0])
        strip = None if poster is None else read_posters(poster)
        yield Card(name, replace(scene, thumbnails=strip))


def _native(folder: OutputFolder, name: str) -> dict[str, Any] | None:
    try:
        native: dict[str, Any] = json.loads(result_path(folder.videos, name).read_text("utf-8"))
    except (OSError, ValueError):
        return None  # deleted or damaged by somebody; the next run writes it again
    return native


def _scene(native: Mapping[str, Any]) -> Scene | None:
    try:
        return scene_of(native)
    except ContractViolation:
        return None


def _neighbours(folder: OutputFolder, page: int, num_pages: int) -> dict[str, str]:
    found = {}
    if page > 1:
        found["First page"] = sheet_path(folder, 1).name
        found["Previous page"] = sheet_path(folder, page - 1).name
    if page < num_pages:
        found["Next page"] = sheet_path(folder, page + 1).name
    return found


def _remove_later(folder: OutputFolder, num_pages: int) -> None:
    """Remove pages of an earlier, longer sheet."""
    for page in itertools.count(num_pages + 1):
        path = sheet_path(folder, page)
        if not path.exists():
            return
        path.unlink()
