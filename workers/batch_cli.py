"""The command line of batches. Arguments are parsed here only."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from models.cli import DEFAULT_HOME, EXIT_USAGE, HomeOption, exit_status
from models.errors import InputError, PipelineError
from service.errors import InvalidRequest, ServiceError
from workers.batch_files import FileChoice
from workers.devicelock import FolderLockedError
from workers.stopsignals import StopSignals

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def batch(  # noqa: PLR0913 - a command line's options are its parameters
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, files, or patterns in quotes.", show_default=False),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the results; one per model.")
    ] = Path("results"),
    lists: Annotated[
        list[Path] | None,
        typer.Option("--list", help="File with one path per line (or NUL between them)."),
    ] = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option(help="Names taken from folders, '*' for all. Default: video endings."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="NAME[@VERSION][:SPEED]; see `kinetag models list`.")
    ] = "kinetag-demo",
    speed: Annotated[
        Literal["exact", "fast", "rgb-only"] | None,
        typer.Option(help="How features are made; docs/speeds.md. Default: the model's own."),
    ] = None,
    set_: Annotated[
        str,
        typer.Option("--options", help="What changes the localization: '{\"min_score\": 0.5}'."),
    ] = "{}",
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")
    ] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="Of the backbones.")
    ] = "auto",
    retries: Annotated[
        int, typer.Option(min=0, max=20, help="Of failures that may pass, with growing pauses.")
    ] = 3,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try again what failed for good before.")
    ] = False,
    store: Annotated[
        bool, typer.Option(help="Keep features, so that a second model on the files is quick.")
    ] = True,
    watch: Annotated[
        bool, typer.Option("--watch", help="Take new files as they are complete, until TERM.")
    ] = False,
    settle: Annotated[
        float, typer.Option(min=0.0, help="With --watch: complete is unchanged for SECONDS.")
    ] = 10.0,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    home: HomeOption = DEFAULT_HOME,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Localize thousands of files with one loaded model; resumable after any kill.

    Run the same command again and it goes on: what is done is skipped, by content, model and
    options. Exit status: 0 every file has a result, 1 some failed (failures.csv says why), 2 wrong
    usage, 4 the model cannot be used, 5 the machine gave out (disk full), 130 stopped.
    """
    choice = FileChoice(
        tuple(inputs or ()), tuple(lists or ()), tuple(pattern or ()), left_out=output
    )
    if not (choice.inputs or choice.lists):
        message = "give folders, files, or --list FILE"
        raise typer.BadParameter(message)
    options = _options(set_)
    stop = StopSignals()
    from rich.console import Console  # noqa: PLC0415 - not needed for --help

    from workers.batch_engine import EngineChoice, LocalizerBatchEngine  # noqa: PLC0415 - loads torch
    from workers.batch_local import LocalOptions, run_local  # noqa: PLC0415 - as above
    from workers.batch_output import OutputFolder  # noqa: PLC0415 - as above
    from workers.batch_run import RunSettings  # noqa: PLC0415 - as above

    def load(folder: OutputFolder) -> LocalizerBatchEngine:
        features = home / "features" if store else folder.features
        return LocalizerBatchEngine(
            EngineChoice(model, speed or "", device, precision, home, features, options, store)
        )

    wish = LocalOptions(
        choice, output, RunSettings(retries, retry_failed), watch, settle, as_json=json_
    )
    try:
        status = run_local(wish, load, stop.wait, Console(stderr=True))
    except (FolderLockedError, InvalidRequest) as error:
        raise typer.Exit(_refuse(error, EXIT_USAGE, debug=debug)) from error
    except PipelineError as error:
        wrong = EXIT_USAGE if isinstance(error, InputError) else exit_status(error)
        raise typer.Exit(_refuse(error, wrong, debug=debug)) from error
    raise typer.Exit(status)


def _refuse(error: Exception, status: int, *, debug: bool) -> int:
    if debug:
        raise error
    code = f" [{error.code}]" if isinstance(error, (PipelineError, ServiceError)) else ""
    sys.stderr.write(f"{error}{code}\n")
    return status


def _options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except ValueError as error:
        message = f"--options is no JSON: {error}"
        raise typer.BadParameter(message) from error
    if not isinstance(options, dict):
        message = '--options is a JSON object, such as {"min_score": 0.5}'
        raise typer.BadParameter(message)
    return options
