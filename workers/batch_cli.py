"""The command line of batches. Arguments are parsed here only."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx2
import typer
from rich.console import Console

from models.cli import DEFAULT_HOME, EXIT_USAGE, EXIT_WEIGHTS, HomeOption, exit_status
from models.errors import InputError, PipelineError
from service.errors import InvalidRequest
from workers.batch_client import PATIENCE_SECONDS, BatchClient, RefusedError
from workers.batch_files import FileChoice
from workers.batch_local import LocalOptions, run_local
from workers.batch_output import OutputFolder
from workers.batch_places import NamePattern
from workers.batch_remote import RemoteOptions, run_remote
from workers.batch_remote_watch import WATCH_PATIENCE_SECONDS, watch_remote
from workers.batch_run import BatchEngine, RunSettings
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
    name_pattern: Annotated[
        str | None,
        typer.Option(
            help="How paths say camera and moment: '{camera}/%Y-%m-%d/%H.%M.%S.mp4'; "
            "docs/recorders.md.",
            show_default=False,
        ),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            help="Of the times in names, such as Europe/Berlin. Default: this machine's.",
            show_default=False,
        ),
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="Let the service at this URL do it; files are uploaded.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(envvar="KINETAG_API_KEY", help="With --server: API key.", show_default=False),
    ] = None,
    as_paths: Annotated[
        bool, typer.Option("--as-paths", help="With --server: it sees the same folders.")
    ] = False,
    tag: Annotated[str | None, typer.Option(help="With --server: of the jobs.")] = None,
    sheet: Annotated[
        bool, typer.Option(help="Without --server: write contact-sheet.html beside the results.")
    ] = True,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    home: HomeOption = DEFAULT_HOME,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Localize thousands of files with one loaded model; resumable after any kill.

    Run the same command again and it goes on: what is done is skipped, by content, model and
    options. Exit status: 0 every file has a result, 1 some failed (failures.csv says why), 2 wrong
    usage, 4 the model cannot be used, 5 the machine gave out (disk full, server away), 130
    stopped.
    """
    choice = FileChoice(
        tuple(inputs or ()), tuple(lists or ()), tuple(pattern or ()), left_out=output
    )
    if not (choice.inputs or choice.lists):
        message = "give folders, files, or --list FILE"
        raise typer.BadParameter(message)
    options = _options(set_)
    names = _names(name_pattern, timezone)
    if server is not None:
        named = {"model": model, "options": {**options, **({"speed": speed} if speed else {})}}
        request = {**named, **({"tag": tag} if tag else {})}
        raise typer.Exit(
            _remote(
                RemoteOptions(choice, output, request, as_paths, retry_failed, json_, names),
                server,
                key,
                settle_seconds=settle if watch else None,
                debug=debug,
            )
        )
    stop = StopSignals()

    def load(folder: OutputFolder) -> BatchEngine:
        # Not before the folder is ours and the inputs are known: this loads torch.
        from workers.batch_engine import EngineChoice, LocalizerBatchEngine  # noqa: PLC0415

        features = home / "features" if store else folder.features
        return LocalizerBatchEngine(
            EngineChoice(
                model,
                speed or "",
                device,
                precision,
                home,
                features,
                options,
                store,
                folder.posters if sheet else None,
            )
        )

    wish = LocalOptions(
        choice, output, RunSettings(retries, retry_failed), watch, settle, json_, names, sheet
    )
    try:
        status = run_local(wish, load, stop.wait, Console(stderr=True))
    except (FolderLockedError, InvalidRequest) as error:
        raise typer.Exit(_refuse(error, EXIT_USAGE, debug=debug)) from error
    except PipelineError as error:
        wrong = EXIT_USAGE if isinstance(error, InputError) else exit_status(error)
        raise typer.Exit(_refuse(error, wrong, debug=debug)) from error
    raise typer.Exit(status)


def _remote(
    options: RemoteOptions,
    server: str,
    key: str | None,
    *,
    settle_seconds: float | None,
    debug: bool,
) -> int:
    """Run over REST; with ``settle_seconds`` until told to stop."""
    stop = StopSignals()
    patience = PATIENCE_SECONDS if settle_seconds is None else WATCH_PATIENCE_SECONDS
    client = BatchClient(server, key, stop.wait, patience)
    try:
        if settle_seconds is not None:
            return watch_remote(options, settle_seconds, client, stop.wait, Console(stderr=True))
        return run_remote(options, client, stop.wait, Console(stderr=True))
    except (FolderLockedError, InvalidRequest) as error:
        return _refuse(error, EXIT_USAGE, debug=debug)
    except RefusedError as error:
        status = EXIT_WEIGHTS if error.code == "model_unknown" else EXIT_USAGE
        return _refuse(error, status, debug=debug)
    except httpx2.InvalidURL as error:
        return _refuse(error, EXIT_USAGE, debug=debug)
    finally:
        client.close()


def _names(pattern: str | None, timezone: str | None) -> NamePattern | None:
    if pattern is None:
        if timezone is not None:
            message = "--timezone is of the times in names; say by --name-pattern where they stand"
            raise typer.BadParameter(message)
        return None
    try:
        return NamePattern.parse(pattern, timezone)
    except InvalidRequest as error:
        raise typer.BadParameter(str(error)) from error


def _refuse(error: Exception, status: int, *, debug: bool) -> int:
    if debug:
        raise error
    code = getattr(error, "code", "")
    sys.stderr.write(f"{error} [{code}]\n" if code else f"{error}\n")
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
