"""The command line's composition root: says which package owns which command, and nothing else.

Each package has a typer ``cli.py`` whose ``app`` holds its commands. Only the package that owns
the given command is imported, so ``kinetag --help`` loads neither torch nor the web framework.
``doctor`` has a module of its own, because it must run where the rest cannot be imported.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer

# Command -> (module whose ``app`` holds it, one line for the overview).
COMMANDS: dict[str, tuple[str, str]] = {
    "localize": ("models.cli", "Find timed actions in videos, in this process."),
    "evaluate": ("models.cli", "Score predictions against ground truth."),
    "train": ("models.cli", "Teach a head from whole-video tags."),
    "models": ("models.cli", "List and show models; pull published weights."),
    "doctor": (
        "workers.doctor_cli",
        "Say what this machine can do, how fast, and what is missing.",
    ),
    "demo": ("workers.cli", "Draw a video, run the whole service on it, compare with the truth."),
    "up": ("workers.cli", "Run API, worker, sweeper and broker on this machine."),
    "batch": ("workers.batch_cli", "Find timed actions in whole folders, resumable."),
    "api": ("service.cli", "Run the HTTP API alone."),
    "worker": ("workers.cli", "Run one worker for one device."),
    "sweeper": ("workers.cli", "Run the process that recovers leases and relays hints."),
    "keys": ("service.keys_cli", "Make, list and revoke API keys."),
    "backup": ("service.operations_cli", "Copy everything the service stores, while it runs."),
    "restore": ("service.operations_cli", "Put a backup in place."),
    "upgrade": ("service.operations_cli", "Bring the database to this version, copied before."),
}


def _owner(command: str) -> typer.Typer:
    module, _ = COMMANDS[command]
    app: typer.Typer = import_module(module).app
    if app.registered_callback is None:
        # typer runs an app's only command without its name; a callback keeps the name in its place.
        app.callback()(_nothing)
    return app


def _nothing() -> None:
    pass


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"kinetag {version('kinetag')}")
        raise typer.Exit


def _overview() -> typer.Typer:
    """Build the app behind ``kinetag --help``: every command by name and line, none imported."""
    app = typer.Typer(
        name="kinetag",
        help="Finds what happens when in untrimmed videos.",
        no_args_is_help=True,
        add_completion=False,
    )

    @app.callback()
    def root(
        _version: Annotated[
            bool,
            typer.Option(
                "--version", callback=_show_version, is_eager=True, help="Show the version."
            ),
        ] = False,
    ) -> None:
        """Finds what happens when in untrimmed videos."""

    for name, (_, line) in COMMANDS.items():
        app.command(name, help=line, add_help_option=False)(_stub(name))
    return app


def _stub(name: str) -> Callable[[], None]:
    def run() -> None:
        _owner(name)(args=[name], prog_name="kinetag")

    return run


def main() -> None:
    """Run the command line; the exit status is the command's."""
    arguments = sys.argv[1:]
    app = _owner(arguments[0]) if arguments and arguments[0] in COMMANDS else _overview()
    app(args=arguments, prog_name="kinetag")


if __name__ == "__main__":
    main()
