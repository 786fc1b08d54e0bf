"""`kinetag batch` in this process: one loaded model over folders, lists and patterns of files."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from models.errors import DiskFull
from service.errors import InvalidRequest
from workers.batch_files import FileChoice, FileItem, FileState, find_files, find_urls
from workers.batch_ledger import Ledger
from workers.batch_output import OutputFolder, remove_parts, write_combined
from workers.batch_places import NamePattern
from workers.batch_report import (
    BarReport,
    Pace,
    open_report,
    show_failures,
    summary_sentence,
    write_failures,
)
from workers.batch_run import (
    BatchEngine,
    BatchRun,
    RunSettings,
    StoppedError,
    Summary,
)
from workers.batch_sheet import SheetChoice, write_sheet
from workers.batch_watch import Settling

EXIT_ALL_DONE = 0
EXIT_SOME_FAILED = 1
EXIT_MACHINE = 5
EXIT_INTERRUPTED = 130

COMBINE_SECONDS = 60.0
"""While watching, the files over all results are written at most this often."""

MIN_LOOK_SECONDS = 0.2
MAX_TITLE_NAMES = 3
LOOKS_PER_SETTLING = 4


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """What the command line asks of a run in this process.

    Attributes:
        settle_seconds: while watching, a file is taken when it has not changed for so long.
        names: say camera and moment of the files; None where they say nothing.
        sheet: whether a contact sheet is written beside the results.
    """

    files: FileChoice
    output: Path
    settings: RunSettings = field(default_factory=RunSettings)
    watch: bool = False
    settle_seconds: float = 10.0
    as_json: bool = False
    names: NamePattern | None = None
    sheet: bool = True


def run_local(
    options: LocalOptions,
    load: Callable[[OutputFolder], BatchEngine],
    wait: Callable[[float], bool],
    console: Console,
) -> int:
    """Bring every file to an ending and write what belongs to all; return the exit status.

    Args:
        options: of the command line.
        load: builds the engine, once the output folder is ours.
        wait: seconds -> True as soon as the run is to stop.
        console: for people.

    Raises:
        FolderLockedError: another run writes to the output folder.
        InvalidRequest: the inputs cannot be used.
        PipelineError: the model cannot be loaded.
    """
    folder = OutputFolder(options.output)
    if find_urls(options.files):
        message = "The list holds URLs, which only a service fetches; say which by --server."
        raise InvalidRequest(message)
    with folder.locked(), contextlib.closing(Ledger(folder.ledger)) as ledger:
        remove_parts(folder)
        items = [] if options.watch else find_files(options.files)
        job = _LocalBatch(options, folder, ledger, load(folder), wait, console)
        return job.watch() if options.watch else job.once(items)


class _LocalBatch:
    """One call of the command, its output folder locked and its model loaded."""

    def __init__(
        self,
        options: LocalOptions,
        folder: OutputFolder,
        ledger: Ledger,
        engine: BatchEngine,
        wait: Callable[[float], bool],
        console: Console,
    ) -> None:
        self._options = options
        self._folder = folder
        self._ledger = ledger
        self._wait = wait
        self._console = console
        self._model = engine.model
        self._run = BatchRun(
            folder.videos,
            engine,
            ledger,
            wait=wait,
            settings=options.settings,
            names=options.names,
        )

    def once(self, items: Sequence[FileItem]) -> int:
        """Work through files that are all there."""
        summary = Summary()
        status = EXIT_ALL_DONE
        try:
            self._work(items, summary)
        except StoppedError:
            status = EXIT_INTERRUPTED
            self._tell("stopped; the same command goes on from here")
        except DiskFull as error:
            status = EXIT_MACHINE
            self._tell(f"{error} The same command goes on from here. [{error.code}]")
        write_failures(self._folder.failures, summary.failures)
        if status == EXIT_ALL_DONE:
            self._combine([item.name for item in items], summary)
            status = EXIT_SOME_FAILED if summary.failures else EXIT_ALL_DONE
        self._conclude(summary, status)
        return status

    def watch(self) -> int:
        """Take files as they settle, until told to stop; return the exit status."""
        settle = self._options.settle_seconds
        settling = Settling(settle)
        total = Summary()
        combined_at = -COMBINE_SECONDS
        pause = max(MIN_LOOK_SECONDS, settle / LOOKS_PER_SETTLING)
        full = False
        while not full and not self._wait(pause):
            ready = settling.ready(self._unsettled(), time.monotonic())
            if ready:
                round_ = Summary()
                try:
                    self._work(ready, round_)
                except StoppedError:
                    break
                except DiskFull as error:
                    full = True
                    self._tell(f"{error} [{error.code}]")
                finally:
                    total.rows.update(round_.rows)
                    settling.taken(round_.rows)
                write_failures(self._folder.failures, total.failures)
            elif time.monotonic() - combined_at >= COMBINE_SECONDS:
                self._combine(self._ledger.names_done(), total)
                combined_at = time.monotonic()
        self._combine(self._ledger.names_done(), total)
        status = EXIT_SOME_FAILED if total.failures else EXIT_ALL_DONE
        status = EXIT_MACHINE if full else status
        self._conclude(total, status)
        return status

    def _combine(self, names: Sequence[str], summary: Summary) -> None:
        timed = self._options.names is not None
        write_combined(self._folder, self._ledger, names, timed=timed)
        if not self._options.sheet:
            return
        choice = SheetChoice(self._model, _title(self._options.files))
        try:
            write_sheet(self._folder, self._ledger, choice, names, summary.failures)
        except (OSError, DiskFull) as error:
            # Only something to look at: every result is there.
            self._tell(f"The contact sheet could not be written: {error}")

    def _unsettled(self) -> list[tuple[FileItem, FileState]]:
        """Return files that are there and are not done, as they are now."""
        found = []
        for item in find_files(self._options.files):
            with contextlib.suppress(OSError):
                state = FileState.of(item.path)
                if not self._run.is_settled(item, state):
                    found.append((item, state))
        return found

    def _work(self, items: Sequence[FileItem], summary: Summary) -> None:
        size_bytes = 0
        for item in items:
            with contextlib.suppress(OSError):
                size_bytes += item.path.stat().st_size
        pace = Pace(len(items), size_bytes)
        report = open_report(pace, as_json=self._options.as_json, console=self._console)
        with report if isinstance(report, BarReport) else contextlib.nullcontext():
            self._run.run(items, report, summary)

    def _conclude(self, summary: Summary, status: int) -> None:
        if self._options.as_json:
            document = {"event": "finished", **summary.counts(), "exit_status": status}
            sys.stdout.write(json.dumps(document) + "\n")
            sys.stdout.flush()
            return
        if summary.failures:
            show_failures(summary.failures, self._folder.failures, self._console)
        self._tell(summary_sentence(summary))

    def _tell(self, text: str) -> None:
        if not self._options.as_json:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _title(files: FileChoice) -> str:
    """Return what a batch is called by: where its files come from."""
    names = [Path(one).name or one for one in (*files.inputs, *map(str, files.lists))]
    hidden = len(names) - MAX_TITLE_NAMES
    more = f" and {hidden} more" if hidden > 0 else ""
    return ", ".join(names[:MAX_TITLE_NAMES]) + more
