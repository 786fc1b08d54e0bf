"""`kinetag localize`: one result per input, in order; a failed input never stops the others."""

import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from models.atomic import write_text_atomic
from models.commands.localize_plot import PlotTarget, draw_plot
from models.errors import DiskFull, OutOfMemory, PipelineError
from models.evidence import LocalizationResult
from models.exports import EXPORTS, selected, to_native
from models.feature_store import LocalFeatureStore
from models.features import ExtractorSettings
from models.overrides import LocalizeOverrides
from models.pipeline import Localizer, load_localizer, localize_video, model_folders
from models.types import Progress, ProgressCallback

EXIT_NOT_DRAWN = 5
"""As the machine giving out: the results are there, and a picture is not."""


@dataclass(frozen=True, slots=True)
class LocalizeOptions:
    """The parsed command line of `kinetag localize`.

    ``output`` None means stdout; an empty ``speed`` leaves it to the model, as ``overrides`` do
    with whatever they do not name; ``plot`` None draws nothing.
    """

    files: tuple[Path, ...]
    model: str
    speed: str
    overrides: LocalizeOverrides
    export: str
    output: Path | None
    device: str
    precision: str
    errors_as_json: bool
    store: bool
    home: Path
    debug: bool
    plot: PlotTarget | None = None


def run_localize(options: LocalizeOptions, exit_status: Callable[[PipelineError], int]) -> int:
    """Localize every file; return the highest exit status that occurred."""
    console = Console(stderr=True)
    try:
        localizer = load_localizer(
            options.model,
            model_folders(options.home),
            ExtractorSettings(device=options.device, precision=options.precision),
            speed=options.speed,
        ).with_overrides(options.overrides)
    except PipelineError as error:
        for path in options.files:
            _report(path, error, options, console)
        return exit_status(error)
    store = LocalFeatureStore(options.home / "features") if options.store else None
    highest = 0
    for path in options.files:
        try:
            result = _localize_one(localizer, path, store, console)
            _emit(path, selected(to_native(result), options.overrides), options)
            highest = max(highest, _plot(localizer, result, path, options, console))
        except PipelineError as error:
            _report(path, error, options, console)
            highest = max(highest, exit_status(error))
    return highest


def _localize_one(
    localizer: Localizer, path: Path, store: LocalFeatureStore | None, console: Console
) -> LocalizationResult:
    try:
        with _progress(path, console) as on_progress:
            return localize_video(localizer, path, store=store, on_progress=on_progress)
    except MemoryError as error:
        message = "The machine's memory ran out; close other programs or use a shorter video."
        raise OutOfMemory(message) from error


def _emit(path: Path, native: Mapping[str, Any], options: LocalizeOptions) -> None:
    export = EXPORTS[options.export]
    text = export.render(native)
    if options.output is not None:
        write_text_atomic(options.output / (path.name + export.ending), text)
        return
    if len(options.files) == 1 and options.export == "native" and sys.stdout.isatty():
        text = json.dumps(native, indent=2, ensure_ascii=False) + "\n"
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        message = "The output could not be written; is the disk full or the reader gone?"
        raise DiskFull(message) from error


def _plot(
    localizer: Localizer,
    result: LocalizationResult,
    path: Path,
    options: LocalizeOptions,
    console: Console,
) -> int:
    """Draw what was asked for; the result is out already, and a failure is told of only."""
    if options.plot is None:
        return 0
    file = options.plot.file_for(path)
    problem = draw_plot(localizer, result, options.overrides, path, file)
    if problem is None:
        return 0
    console.print(problem, markup=False, highlight=False, soft_wrap=True)
    return EXIT_NOT_DRAWN


def _report(path: Path, error: PipelineError, options: LocalizeOptions, console: Console) -> None:
    if options.debug:
        console.print("".join(traceback.format_exception(error)), markup=False, highlight=False)
    if options.errors_as_json:
        document = {"video": str(path), "error": {"code": error.code, "message": str(error)}}
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    else:
        console.print(f"{path}: {error} [{error.code}]", markup=False, highlight=False)


@contextmanager
def _progress(path: Path, console: Console) -> Iterator[ProgressCallback]:
    """Show a bar on a terminal and one plain line per stage otherwise."""
    if not console.is_terminal:
        seen: set[str] = set()

        def plain(progress: Progress) -> None:
            if progress.stage not in seen:
                seen.add(progress.stage)
                console.print(f"{path.name}: {progress.stage}", markup=False, highlight=False)

        yield plain
        return
    columns = (
        TextColumn("{task.fields[file]}", markup=False),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("opening", total=1.0, file=path.name)
        yield lambda progress: bar.update(
            task, completed=progress.fraction, description=progress.stage
        )
