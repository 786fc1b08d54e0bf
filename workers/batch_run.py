"""Carries files through a loaded model, one by one, so that a kill costs time and nothing else.

Order of every item: hash, look into the ledger, compute, write the result, note it. What was noted
is never computed again; what was computed and not noted is found in the feature store.
"""

import hashlib
import heapq
import itertools
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import structlog

from models.atomic import write_text_atomic
from models.errors import Cancelled, DiskFull, OutOfMemory, PipelineError
from models.exports import stamped
from models.types import Progress, ProgressCallback, StopCallback
from service.errors import FileChanged, FileMissing, FileUnreadable, ServiceError
from workers.batch_files import FileItem, FileState, hash_file, result_path
from workers.batch_ledger import Done, Failed, Ledger
from workers.batch_places import NOWHERE, NamePattern, Place

MAX_FRUITLESS_STARTS = 5
"""So many times may a run die in the middle of an item without getting on with it."""

CACHEABLE_AFTER_SECONDS = 2.0
"""A younger file may change once more without a different modification time."""

RETRY_SECONDS = 2.0
RETRY_FACTOR = 4.0
CRASHED_CODE = "crashed"
INTERNAL_ERROR_CODE = "internal_error"

_log = structlog.get_logger(__name__)


class ItemStatus(StrEnum):
    """How an item ended: with a result of this run, with an earlier one, or without."""

    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Row:
    """One item's ending.

    Attributes:
        code: of the error; empty without one.
        attempts: so far; 0 where an earlier result was found.
        retryable: whether another run may succeed with the same file.
        num_segments: None without a result.
    """

    name: str
    status: ItemStatus
    code: str = ""
    message: str = ""
    attempts: int = 0
    retryable: bool = False
    num_segments: int | None = None


class BatchEngine(Protocol):
    """What computes: one loaded model.

    Attributes:
        model: NAME@VERSION[:SPEED].
        recipe: digest of its features' recipe.
        options: that change the result.
    """

    model: str
    recipe: str
    options: Mapping[str, Any]

    def localize(
        self, path: Path, sha256: str, on_progress: ProgressCallback, should_stop: StopCallback
    ) -> dict[str, Any]:
        """Return a file's native result.

        Raises:
            PipelineError: it cannot be made.
        """
        ...

    def rename(self, native: dict[str, Any], path: Path) -> dict[str, Any]:
        """Return the result of the same bytes under another file name."""
        ...

    def forget(self, sha256: str) -> None:
        """Drop what was stored about these bytes: they were not what they seemed."""
        ...

    def settle(self, sha256: str) -> None:
        """Told when the result of these bytes is on the disk."""
        ...


class Report(Protocol):
    """Told of what happens, in order."""

    def begin(self, item: FileItem, attempt: int) -> None:
        """An item is worked on."""
        ...

    def progress(self, fraction: float, stage: str) -> None:
        """How far it is, in [0, 1]."""
        ...

    def end(self, row: Row, size_bytes: int) -> None:
        """It ended."""
        ...

    def again(self, row: Row, delay_seconds: float) -> None:
        """It failed and is tried again later."""
        ...


class Silence:
    """A `Report` that says nothing."""

    def begin(self, item: FileItem, attempt: int) -> None:
        """See `Report`."""

    def progress(self, fraction: float, stage: str) -> None:
        """See `Report`."""

    def end(self, row: Row, size_bytes: int) -> None:
        """See `Report`."""

    def again(self, row: Row, delay_seconds: float) -> None:
        """See `Report`."""


class StoppedError(Exception):
    """The run was told to stop; what is done is kept."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a run treats failures.

    Attributes:
        retries: of a failure that may pass, beyond the first attempt.
        retry_failed: whether items are tried that failed for good before.
    """

    retries: int = 3
    retry_failed: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """All endings of a run, by name."""

    rows: dict[str, Row] = field(default_factory=dict)

    def count(self, status: ItemStatus) -> int:
        """Return how many items ended so."""
        return Counter(row.status for row in self.rows.values())[status]

    def counts(self) -> dict[str, int]:
        """Return how many items ended in each way."""
        return {status.value: self.count(status) for status in ItemStatus}

    @property
    def failures(self) -> list[Row]:
        """Failed items by name."""
        found = (row for row in self.rows.values() if row.status is ItemStatus.FAILED)
        return sorted(found, key=lambda row: row.name)


class BatchRun:
    """One model over many files into one output folder.

    Args:
        results: folder of the result files.
        engine: what computes.
        ledger: of the output folder.
        wait: seconds -> True as soon as the run is to stop.
        settings: of failures.
        names: say camera and moment of the files; None where they say nothing.
    """

    def __init__(
        self,
        results: Path,
        engine: BatchEngine,
        ledger: Ledger,
        *,
        wait: Callable[[float], bool],
        settings: RunSettings = RunSettings(),
        names: NamePattern | None = None,
    ) -> None:
        self._results = results
        self._engine = engine
        self._ledger = ledger
        self._report: Report = Silence()
        self._wait = wait
        self._settings = settings
        self._names = names

    def run(self, items: Sequence[FileItem], report: Report, summary: Summary) -> None:
        """Bring every item to an ending.

        Args:
            items: each once.
            report: told of everything.
            summary: gets the endings, as they come.

        Raises:
            StoppedError: told to stop before the end.
            DiskFull: there is no space for results or features.
        """
        self._report = report
        pending = deque((item, 1) for item in items)
        later: list[tuple[float, int, FileItem, int]] = []
        order = itertools.count()
        while pending or later:
            self._check_stop()
            now = time.monotonic()
            if later and (later[0][0] <= now or not pending):
                due, _, item, attempt = heapq.heappop(later)
                if self._wait(max(0.0, due - now)):
                    raise StoppedError
            else:
                item, attempt = pending.popleft()
            row = self._attempt(item, attempt)
            if row.retryable and row.attempts <= self._settings.retries:
                delay = RETRY_SECONDS * RETRY_FACTOR ** (attempt - 1)
                self._report.again(row, delay)
                heapq.heappush(later, (time.monotonic() + delay, next(order), item, attempt + 1))
                continue
            summary.rows[item.name] = row
            self._report.end(row, _size_bytes(item.path))

    def is_settled(self, item: FileItem, state: FileState) -> bool:
        """Tell, without reading the file, whether this run would only skip it."""
        sha256 = self._ledger.sha256(item.name, state)
        return sha256 is not None and self._known(item, self.key(item, sha256)) is not None

    def _attempt(self, item: FileItem, attempt: int) -> Row:
        """Try one item; its failure, whatever it is, becomes a row."""
        before: FileState | None = None
        key = ""
        try:
            before = self._state(item)
            key = self.key(item, self._sha256(item, before))
            return self._known(item, key) or self._compute(item, before, key, attempt)
        except Cancelled as error:
            raise StoppedError from error
        except (DiskFull, PipelineError, ServiceError) as error:
            return self._failed(item, key, attempt, _explained(item, before, error))
        except MemoryError:
            message = "The machine's memory ran out; close other programs or use a shorter video."
            return self._failed(item, key, attempt, OutOfMemory(message))
        except OSError as error:
            message = f"The file or its result cannot be accessed: {error.strerror or error}."
            return self._failed(item, key, attempt, FileUnreadable(message))
        except StoppedError:
            raise
        except Exception:  # noqa: BLE001 - the last net: a bug fails its item, not the run
            _log.exception("unexpected_error", item=item.name)
            message = "An unexpected error stopped this file; the log above says which."
            return self._remember(item, key, attempt, INTERNAL_ERROR_CODE, message, final=False)

    def _state(self, item: FileItem) -> FileState:
        try:
            return FileState.of(item.path)
        except FileNotFoundError as error:
            message = "The file is not there any more; was it moved or deleted?"
            raise FileMissing(message) from error

    def _sha256(self, item: FileItem, state: FileState) -> str:
        known = self._ledger.sha256(item.name, state)
        if known is not None:
            return known
        sha256 = hash_file(item.path, lambda: self._wait(0))
        if sha256 is None:
            raise StoppedError
        _check_unchanged(item, state)
        if state.is_old(time.time(), CACHEABLE_AFTER_SECONDS):
            self._ledger.add_hash(item.name, state, sha256)
        return sha256

    def key(self, item: FileItem, sha256: str) -> str:
        """Return what makes two results the same: bytes, model, recipe, options, and place."""
        engine = self._engine
        asked = [sha256, engine.model, engine.recipe, dict(engine.options)]
        place = self._place(item)
        text = json.dumps(asked if place == NOWHERE else [*asked, place.to_json()], sort_keys=True)
        return f"{sha256}.{hashlib.sha256(text.encode()).hexdigest()}"

    def _place(self, item: FileItem) -> Place:
        return NOWHERE if self._names is None else self._names.place(item.path)

    def _known(self, item: FileItem, key: str) -> Row | None:
        """Return the row of an item whose ending is known already."""
        done = self._ledger.done(item.name)
        if done is not None and done.key == key and self._is_whole(item.name, done):
            return Row(item.name, ItemStatus.SKIPPED, num_segments=done.num_segments)
        failed = self._ledger.failed(item.name)
        if failed is None or failed.key != key or not failed.final or self._settings.retry_failed:
            return None
        return Row(item.name, ItemStatus.FAILED, failed.code, failed.message, failed.attempts)

    def _is_whole(self, name: str, done: Done) -> bool:
        try:
            return result_path(self._results, name).stat().st_size == done.output_bytes
        except OSError:
            return False

    def _compute(self, item: FileItem, before: FileState, key: str, attempt: int) -> Row:
        sha256 = key.partition(".")[0]
        native = self._same_content(item, key)
        if native is None:
            starts = self._ledger.fruitless_starts(item.name, key)
            if starts >= MAX_FRUITLESS_STARTS and not self._settings.retry_failed:
                message = (
                    f"The run died {starts} times in the middle of this file without getting "
                    "further; try it alone, or again with --retry-failed."
                )
                return self._remember(item, key, attempt, CRASHED_CODE, message, final=True)
            self._ledger.begin(item.name, key)
            self._report.begin(item, attempt)

            def on_progress(progress: Progress) -> None:
                self._ledger.reach(item.name, key, progress.fraction)
                self._report.progress(progress.fraction, progress.stage)

            found = self._engine.localize(item.path, sha256, on_progress, lambda: self._wait(0))
            place = self._place(item)
            native = stamped(found, place.recorded_at, place.camera)
            self._check_bytes(item, before, sha256)
        return self._finish(item, key, attempt, native)

    def _same_content(self, item: FileItem, key: str) -> dict[str, Any] | None:
        """Return the result of the same bytes under another name, if there is one."""
        other = self._ledger.same(key)
        done = self._ledger.done(other) if other is not None else None
        if other is None or done is None or not self._is_whole(other, done):
            return None
        try:
            native = json.loads(result_path(self._results, other).read_text("utf-8"))
            return self._engine.rename(native, item.path)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _check_bytes(self, item: FileItem, before: FileState, sha256: str) -> None:
        try:
            _check_unchanged(item, before)
        except FileChanged:
            # Features of the later bytes may have been stored under the earlier ones' hash.
            self._engine.forget(sha256)
            raise

    def _finish(self, item: FileItem, key: str, attempt: int, native: dict[str, Any]) -> Row:
        text = json.dumps(native, ensure_ascii=False, allow_nan=False) + "\n"
        write_text_atomic(result_path(self._results, item.name), text)
        num_segments = len(native["segments"])
        self._ledger.finish(item.name, Done(key, len(text.encode()), num_segments))
        self._engine.settle(key.partition(".")[0])
        return Row(item.name, ItemStatus.SUCCEEDED, attempts=attempt, num_segments=num_segments)

    def _failed(
        self, item: FileItem, key: str, attempt: int, error: PipelineError | ServiceError
    ) -> Row:
        if isinstance(error, DiskFull) and attempt > self._settings.retries:
            raise error
        if isinstance(error, FileMissing):
            return Row(item.name, ItemStatus.FAILED, error.code, str(error), attempt)
        final = not error.retryable
        return self._remember(item, key, attempt, error.code, str(error), final=final)

    def _remember(
        self, item: FileItem, key: str, attempt: int, code: str, message: str, *, final: bool
    ) -> Row:
        # A result of earlier bytes under this name would pass for one of these.
        result_path(self._results, item.name).unlink(missing_ok=True)
        self._ledger.fail(item.name, Failed(key, code, message, attempt, final))
        return Row(item.name, ItemStatus.FAILED, code, message, attempt, not final)

    def _check_stop(self) -> None:
        if self._wait(0):
            raise StoppedError


def _check_unchanged(item: FileItem, before: FileState) -> None:
    try:
        now = FileState.of(item.path)
    except OSError as error:
        message = (
            "The file was moved or deleted while it was read; the next run takes what is there."
        )
        raise FileMissing(message) from error
    if now != before:
        message = "The file changed while it was read; it is tried again when it has settled."
        raise FileChanged(message)


def _explained(
    item: FileItem, before: FileState | None, error: PipelineError | ServiceError
) -> PipelineError | ServiceError:
    """Return the error, or what made it: a file that went away or changed looks like a bad one."""
    if before is None or isinstance(error, (DiskFull, FileMissing, FileChanged)):
        return error
    try:
        _check_unchanged(item, before)
    except (FileMissing, FileChanged) as cause:
        return cause
    return error


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
