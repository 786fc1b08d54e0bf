"""The command line of the service: `kinetag api`. Arguments are parsed here."""

from pathlib import Path
from typing import Annotated

import typer

EXIT_USAGE = 2

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def service() -> None:
    """Front end of the job service."""


@app.command()
def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder for everything stored.")] = None,
    uds: Annotated[Path | None, typer.Option(help="Listen on this Unix socket instead.")] = None,
    fd: Annotated[int | None, typer.Option(help="Take over this listening socket instead.")] = None,
) -> None:
    """Serve the REST interface until TERM or INT."""
    # Here, so that --help of the other commands does not wait for the web framework.
    from service.errors import ServiceError  # noqa: PLC0415
    from service.logs import configure_logs  # noqa: PLC0415
    from service.main import Listen, serve  # noqa: PLC0415
    from service.settings import load_settings  # noqa: PLC0415

    try:
        settings = load_settings(host=host, port=port, data_dir=data)
        configure_logs(settings.log_format, settings.log_level)
        serve(settings, Listen(unix_path=uds, descriptor=fd), typer.echo)
    except ServiceError as error:
        typer.echo(f"{error} [{error.code}]", err=True)
        raise typer.Exit(EXIT_USAGE) from error
