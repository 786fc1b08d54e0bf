"""The operator's commands: `kinetag backup`, `restore`, `upgrade` and `openapi`.

Arguments are parsed here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

EXIT_REFUSED = 2
MIB = 1024**2

app = typer.Typer(no_args_is_help=True, add_completion=False)

DataFolder = Annotated[
    Path | None, typer.Option("--data", help="The data folder; as kinetag up has it by default.")
]


@app.callback()
def operations() -> None:
    """What an operator does now and then."""


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="Folder for the backup; empty or not there yet.")],
    data: DataFolder = None,
    features: Annotated[
        bool, typer.Option(help="Keep extracted features; else they are computed again.")
    ] = True,
    link: Annotated[
        bool, typer.Option(help="Hard links instead of copies, on the same disk.")
    ] = True,
) -> None:
    """Copy database, videos, results and models while everything runs."""
    from service.operations.backup import BackupOptions, back_up  # noqa: PLC0415 - as in cli.py
    from service.settings import load_settings  # noqa: PLC0415

    with _refusals():
        settings = load_settings(data_dir=data)
        manifest = back_up(settings, target.absolute(), BackupOptions(features, link))
        typer.echo(f"{_amount(len(manifest.files), manifest.size_bytes)} in {target}.")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A backup that kinetag backup made.")],
    data: DataFolder = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only compare the backup with its list.")
    ] = False,
) -> None:
    """Make a backup a data folder again; the folder must be empty."""
    from service.operations import restore as restoring  # noqa: PLC0415
    from service.settings import load_settings  # noqa: PLC0415

    with _refusals():
        if check:
            manifest = restoring.check(source)
            typer.echo(f"{_amount(len(manifest.files), manifest.size_bytes)}, all as they were.")
            return
        folder = load_settings(data_dir=data).data_dir
        manifest = restoring.restore(source, folder)
        typer.echo(f"{_amount(len(manifest.files), manifest.size_bytes)} restored to {folder}.")


@app.command()
def upgrade(
    data: DataFolder = None,
    dumped: Annotated[
        bool, typer.Option("--dumped", help="PostgreSQL: a dump was made with pg_dump.")
    ] = False,
) -> None:
    """Bring the database to this version's schema, after copying it."""
    from service.operations.upgrade import upgrade as bring_up  # noqa: PLC0415
    from service.settings import load_settings  # noqa: PLC0415

    with _refusals():
        done = bring_up(load_settings(data_dir=data), dumped=dumped)
        if done.before == done.after:
            typer.echo(f"The database has the newest schema, {done.after}, already.")
        else:
            typer.echo(f"The database went from schema {done.before or 'none'} to {done.after}.")
        if done.copy is not None:
            typer.echo(f"As it was, it lies in {done.copy}.")


@app.command()
def openapi(
    output: Annotated[Path | None, typer.Option(help="File instead of standard output.")] = None,
) -> None:
    """Write the description of the REST interface, as docs/openapi.json has it."""
    from service.operations.openapi import openapi_text  # noqa: PLC0415

    text = openapi_text()
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


@contextmanager
def _refusals() -> Iterator[None]:
    """Say what is refused in one sentence, on standard error, with exit status 2."""
    from models.errors import DiskFull  # noqa: PLC0415
    from service.errors import ServiceError  # noqa: PLC0415

    try:
        yield
    except (ServiceError, DiskFull) as error:
        typer.echo(f"{error} [{error.code}]", err=True)
        raise typer.Exit(EXIT_REFUSED) from error


def _amount(num_files: int, size_bytes: int) -> str:
    return f"{num_files} files, {size_bytes / MIB:.1f} MiB"


if __name__ == "__main__":
    app()
