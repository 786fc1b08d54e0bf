"""The command line of the science: localize, train, evaluate, models. Arguments are parsed here.

Results go to stdout, everything for people to stderr. Exit status, the highest that occurred:
0 all good, 2 wrong usage, 3 an input could not be used, 4 model or weights, 5 the machine,
130 interrupted.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from models.commands.catalog import models_app
from models.commands.evaluate import evaluate_command
from models.errors import (
    InputError,
    PipelineError,
    WeightsError,
)

EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_WEIGHTS = 4
EXIT_MACHINE = 5
EXIT_INTERRUPTED = 130

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(models_app, name="models")
app.command("evaluate")(evaluate_command)


def exit_status(error: PipelineError) -> int:
    """Return the exit status that says who must act."""
    if isinstance(error, InputError):
        return EXIT_INPUT
    if isinstance(error, WeightsError):
        return EXIT_WEIGHTS
    return EXIT_MACHINE


HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="KINETAG_HOME",
        help="Folder of Kinetag's models, weights and stored features.",
    ),
]
DEFAULT_HOME = Path(typer.get_app_dir("kinetag"))


@app.command()
def localize(  # noqa: PLR0913 - a command line's options are its parameters
    files: Annotated[list[Path], typer.Argument(help="Video files.", show_default=False)],
    model: Annotated[
        str, typer.Option(help="NAME[@VERSION]; see `kinetag models list`.")
    ] = "kinetag-demo",
    format_: Annotated[
        Literal["native", "activitynet", "csv"], typer.Option("--format", help="Output format.")
    ] = "native",
    output: Annotated[
        str, typer.Option(help="Folder for one file per input, or - for stdout.")
    ] = "-",
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")
    ] = "auto",
    json_: Annotated[
        bool, typer.Option("--json", help="For machines: errors as JSON in the place of results.")
    ] = False,
    store: Annotated[
        bool, typer.Option(help="Keep features, so that a second model on a video is quick.")
    ] = True,
    home: HomeOption = DEFAULT_HOME,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Find timed actions in videos and print them as JSON, one object per input."""
    from models.commands.localize import LocalizeOptions, run_localize  # noqa: PLC0415 - loads torch

    options = LocalizeOptions(
        files=tuple(files),
        model=model,
        export=format_,
        output=None if output == "-" else Path(output),
        device=device,
        errors_as_json=json_,
        store=store,
        home=home,
        debug=debug,
    )
    try:
        status = run_localize(options, exit_status)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        status = EXIT_INTERRUPTED
    raise typer.Exit(status)
