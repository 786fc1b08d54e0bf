"""The command line of execution: demo, up, worker, sweeper. Arguments are parsed here only.

Exit status: 0 all good, 1 the service could not start or go on, 2 wrong usage.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from service.errors import ConfigurationError, OutageError
from service.logs import configure_logs
from service.settings import Settings, load_settings, settled_for_host
from workers.broker import BrokerUnavailableError
from workers.devicelock import FolderLockedError, exclusive_folder
from workers.stopsignals import StopSignals
from workers.up import StartError, Up, UpSettings
from workers.wiring import (
    MAX_WORKERS,
    WorkerOptions,
    build_supervisor,
    build_sweeper,
    share_device,
    worker_lock,
)

EXIT_FAILED = 1
DEMO_FOLDER = Path("demo-output")
DEMO_SECONDS = 60.0
DEVICE_PATTERN = re.compile(r"auto|cpu|cuda(:\d{1,3})?")

app = typer.Typer(no_args_is_help=True, add_completion=False)

DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder.")]


def _known_device(device: str) -> str:
    if DEVICE_PATTERN.fullmatch(device) is None:
        message = f"{device!r} is no device; choose auto, cpu, cuda or cuda:N"
        raise typer.BadParameter(message)
    return device


DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", callback=_known_device, help="What computes: auto, cpu, cuda or cuda:N."
    ),
]
ThreadsOption = Annotated[
    int, typer.Option("--threads", min=0, help="Threads for computing; 0 is one per core.")
]
SlotOption = Annotated[
    int,
    typer.Option("--slot", min=0, help="Tells workers apart that share one device of one host."),
]


@contextmanager
def _one_sentence() -> Iterator[None]:
    """End with one sentence where somebody other than us must act."""
    refusals = (
        BrokerUnavailableError,
        ConfigurationError,
        FolderLockedError,
        OutageError,
        StartError,
    )
    try:
        yield
    except refusals as error:
        print(error, file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from error


def _prepare(**overrides: object) -> Settings:
    settings = load_settings(**overrides)
    configure_logs(settings.log_format, settings.log_level)
    return settings


@app.command()
def up(  # noqa: PLR0913 - a command line's options are its parameters
    *,
    data: DataOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0: any free one.")] = None,
    broker: Annotated[
        str, typer.Option(help="auto, valkey, system, none, or a broker's URL.")
    ] = "auto",
    device: DeviceOption = "auto",
    workers: Annotated[
        int, typer.Option(min=1, max=MAX_WORKERS, help="How many share the device and the cores.")
    ] = 1,
    threads: Annotated[
        int, typer.Option(min=0, help="Of each worker; 0 shares the cores among them.")
    ] = 0,
) -> None:
    """Run API, workers, sweeper and broker on this machine until Ctrl-C."""
    with _one_sentence():
        settings = _prepare(data_dir=data, host=host, port=port)
        settled_for_host(settings, settings.host)
        asked = UpSettings(
            settings.data_dir,
            settings.host,
            settings.port,
            broker,
            tuple(one.arguments for one in share_device(device, threads, workers)),
        )
        Up(asked, announce=_announce).run()


def _announce(url: str) -> None:
    print(f"Kinetag is ready at {url} (stop it with Ctrl-C)", flush=True)


@app.command()
def worker(
    data: DataOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
    slot: SlotOption = 0,
    nice: Annotated[
        int, typer.Option(min=0, max=19, help="Let other processes of this machine go first.")
    ] = 0,
) -> None:
    """Run one worker for one device, or for one of several slots of it."""
    # What it starts inherits it.
    os.nice(nice)
    with _one_sentence():
        settings = _prepare(data_dir=data)
        options = WorkerOptions(device, threads, slot)
        refusal = (
            f"Another worker already serves slot {slot} of the device {device} for "
            f"{settings.data_dir}; stop it first, or choose another --slot or --device."
        )
        with exclusive_folder(worker_lock(settings, options), refusal):
            build_supervisor(settings, options).run()


@app.command()
def sweeper(data: DataOption = None) -> None:
    """Fetch by URL, send webhooks, recover expired leases, delete what is past its retention."""
    stop_signals = StopSignals()
    with _one_sentence(), build_sweeper(_prepare(data_dir=data)) as duties:
        while not stop_signals.wait(duties.sweep()):
            pass


@app.command()
def demo(
    seed: Annotated[int | None, typer.Option(help="Repeat one; fresh without.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for what it makes.")] = DEMO_FOLDER,
    seconds: Annotated[float, typer.Option(min=10, help="Length of the video.")] = DEMO_SECONDS,
) -> None:
    """Draw a video, run the whole service on it, compare with the truth."""
    from rich.console import Console

    from workers.demo import DemoError, DemoOptions, run_demo

    console = Console()
    try:
        status = run_demo(DemoOptions(seed, output, seconds), console)
    except DemoError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from error
    raise typer.Exit(status)


@app.command(hidden=True)
def worker_executor(device: DeviceOption, threads: ThreadsOption = 0, slot: SlotOption = 0) -> None:
    """Run the tasks that the supervisor finds by polling; started by it."""
    from workers.child import run_executor

    with _one_sentence():
        run_executor(_prepare(), WorkerOptions(device, threads, slot))


@app.command(hidden=True)
def worker_celery(device: DeviceOption, threads: ThreadsOption = 0, slot: SlotOption = 0) -> None:
    """Run the tasks that hints name; started by the supervisor."""
    from workers.celery_main import run_celery

    with _one_sentence():
        run_celery(_prepare(), WorkerOptions(device, threads, slot))


if __name__ == "__main__":
    app()
