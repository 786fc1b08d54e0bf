"""The command line of `kinetag doctor`, apart from `workers.cli` so that little can break it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from service.errors import ConfigurationError
from service.settings import load_settings

EXIT_FAILED = 1

app = typer.Typer(no_args_is_help=False, add_completion=False)


@app.command()
def doctor(
    data: Annotated[Path | None, typer.Option("--data", help="Data folder.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave the benchmark out.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object for machines.")] = False,
) -> None:
    """Say what this machine can do, how fast, and what is missing; measures for ten seconds."""
    from workers.doctor import run_doctor

    try:
        settings = load_settings(data_dir=data)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(EXIT_FAILED) from error
    raise typer.Exit(run_doctor(settings, quick=quick, as_json=json_))
