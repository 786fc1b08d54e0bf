"""`kinetag up`: API, workers, sweeper and broker of one machine under one supervisor.

Owns the data folder's lock, the listening socket and the order of starting and stopping. The
socket is made here and handed to the API, so the port is known before the API runs and stays the
same, with connections waiting, while a crashed API is started again.
"""

import http.client
import json
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog

from models.atomic import write_text_atomic
from workers.broker import EmbeddedBroker, start_broker
from workers.devicelock import exclusive_folder
from workers.processes import STOP_SECONDS, ProcessSpec, SupervisedProcess
from workers.stopsignals import StopSignals

LOOK_SECONDS = 0.25
READY_SECONDS = 60.0
READY_PAUSE_SECONDS = 0.1
PROBE_SECONDS = 2.0
BACKLOG = 128
API_STOP_SECONDS = 6.0
SWEEPER_STOP_SECONDS = 5.0
READY_FILE = "up.json"
WORKER_NICENESS = 10
"""Computing takes every core; answers must not wait for it."""

_log = structlog.get_logger(__name__)


class StartError(Exception):
    """The service cannot start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class UpSettings:
    """What `kinetag up` was asked for.

    Attributes:
        data_folder: everything the service stores; created when missing.
        host: address to listen on.
        port: 0 picks a free one.
        broker: one of `workers.broker.BROKER_CHOICES`, or a broker URL.
        workers: the arguments of each `kinetag worker`.
    """

    data_folder: Path
    host: str
    port: int
    broker: str
    workers: tuple[tuple[str, ...], ...]

    @property
    def run_folder(self) -> Path:
        """Locks, sockets and the ready file."""
        return self.data_folder / "run"


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        StartError: the address is taken or is not one of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        message = (
            f"Cannot listen on {host}:{port} ({error.strerror}); "
            "choose another port with --port, or 0 for any free one."
        )
        raise StartError(message) from error
    return listener


class Up:
    """The running service of one machine."""

    def __init__(self, settings: UpSettings, announce: Callable[[str], None]) -> None:
        self._settings = settings
        self._environment = {"KINETAG_DATA_DIR": str(settings.data_folder)}
        self._announce = announce
        self._stop_signals = StopSignals()
        self._children: dict[str, SupervisedProcess] = {}
        self._broker: EmbeddedBroker | None = None
        self._url = ""
        self._port = 0

    def run(self) -> None:
        """Start everything, serve until TERM or INT, stop everything; main thread only.

        Raises:
            FolderLockedError: another `kinetag up` has the data folder.
            StartError: the port is taken, or the API did not become ready.
            BrokerUnavailableError: the broker asked for by name cannot be started.
        """
        folder = self._settings.run_folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        refusal = (
            f"Another kinetag up already serves {self._settings.data_folder}; "
            "stop it first, or choose another folder with --data."
        )
        with ExitStack() as stack:
            stack.enter_context(exclusive_folder(folder / "up.lock", refusal))
            ready_file = folder / READY_FILE
            ready_file.unlink(missing_ok=True)
            listener = stack.enter_context(bind(self._settings.host, self._settings.port))
            stack.callback(ready_file.unlink, missing_ok=True)
            stack.callback(self._stop)
            self._start(listener)
            self._serve()

    def _start(self, listener: socket.socket) -> None:
        host, self._port = listener.getsockname()[:2]
        self._url = f"http://{f'[{host}]' if ':' in host else host}:{self._port}"
        self._start_broker()
        program = (sys.executable, "-m", "kinetag")
        api = (*program, "api", "--fd", str(listener.fileno()))
        self._add("api", api, API_STOP_SECONDS, (listener.fileno(),))
        if not self._await_ready():
            return
        for name, arguments in self._workers():
            command = (*program, "worker", "--nice", str(WORKER_NICENESS), *arguments)
            self._add(name, command, STOP_SECONDS + 1)
        self._add("sweeper", (*program, "sweeper"), SWEEPER_STOP_SECONDS)
        self._write_ready_file()
        self._announce(self._url)

    def _workers(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return name and arguments of each worker; the first one is called just that."""
        return [
            (f"worker-{slot}" if slot else "worker", arguments)
            for slot, arguments in enumerate(self._settings.workers)
        ]

    def _start_broker(self) -> None:
        if "://" in self._settings.broker:
            self._environment["KINETAG_BROKER_URL"] = self._settings.broker
            return
        self._broker = start_broker(self._settings.broker, self._settings.run_folder)
        if self._broker is not None:
            self._children["broker"] = self._broker.process
        self._environment["KINETAG_BROKER_URL"] = self._broker.url if self._broker else ""
        _log.info("broker", kind=self._broker.kind if self._broker else "none")

    def _add(
        self,
        name: str,
        command: tuple[str, ...],
        stop_seconds: float,
        inherited_fds: tuple[int, ...] = (),
    ) -> None:
        spec = ProcessSpec(
            name=name,
            command=command,
            environment=self._environment,
            own_group=True,
            inherited_fds=inherited_fds,
            stop_seconds=stop_seconds,
        )
        child = SupervisedProcess(spec)
        self._children[name] = child
        child.start()

    def _await_ready(self) -> bool:
        deadline = time.monotonic() + READY_SECONDS
        while not self._stop_signals.wait(READY_PAUSE_SECONDS):
            if self._answers("/healthz"):
                return True
            if time.monotonic() >= deadline or not self._children["api"].running:
                message = "The API did not start; its messages above say why."
                raise StartError(message)
        return False

    def _answers(self, path: str) -> bool:
        link = http.client.HTTPConnection(self._settings.host, self._port, timeout=PROBE_SECONDS)
        try:
            link.request("GET", path)
            # Whatever it answers, a host name it refuses included, it is up unless it failed.
            return link.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
        except (OSError, http.client.HTTPException):
            return False
        finally:
            link.close()

    def _serve(self) -> None:
        while not self._stop_signals.wait(LOOK_SECONDS):
            restarted = [name for name, child in self._children.items() if child.watch()]
            if restarted:
                self._write_ready_file()

    def _write_ready_file(self) -> None:
        document = {
            "url": self._url,
            "host": self._settings.host,
            "port": self._port,
            "broker": self._broker.kind if self._broker else self._broker_name(),
            "pids": {name: child.pid for name, child in self._children.items()},
        }
        write_text_atomic(
            self._settings.run_folder / READY_FILE, json.dumps(document, indent=2) + "\n"
        )

    def _broker_name(self) -> str:
        return "external" if "://" in self._settings.broker else "none"

    def _stop(self) -> None:
        """First nothing new comes in, then work is put down, then what both relied on ends."""
        workers = [name for name, _ in self._workers()]
        for name in ("api", *workers):
            if name in self._children:
                self._children[name].signal_stop()
        for name in ("api", *workers, "sweeper"):
            if name in self._children:
                self._children[name].stop()
        if self._broker is not None:
            self._broker.stop()
