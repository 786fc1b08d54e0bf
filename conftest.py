"""What every test can rely on: a clean environment, untouched random state, honest skips.

Also the servers that tests run against, each started once and only when a test asks for it: a
private PostgreSQL, and the S3 of moto.
"""

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import pytest

from workers.parentdeath import tied_command

KEPT_SETTINGS = frozenset({"KINETAG_TEST_DATA"})
SERVER_START_SECONDS = 60.0
POSTGRES_USER = "kinetag"
S3_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, _scratch_home: Path) -> None:
    """No test sees the developer's own settings of Kinetag, nor writes into a real home."""
    for name in list(os.environ):
        if name.startswith("KINETAG_") and name not in KEPT_SETTINGS:
            monkeypatch.delenv(name)
    monkeypatch.setenv("KINETAG_HOME", str(_scratch_home))


@pytest.fixture(scope="session")
def _scratch_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinetag-home")


@pytest.fixture(autouse=True)
def _restored_random_state() -> Iterator[None]:
    """A seeded test leaves the process's random state as it found it."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 - the legacy global state is what leaks
    torch = sys.modules.get("torch")
    torch_state = None if torch is None else torch.random.get_rng_state()
    yield
    random.setstate(python_state)
    np.random.set_state(numpy_state)  # noqa: NPY002
    if torch is not None and torch_state is not None:
        torch.random.set_rng_state(torch_state)


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """The folder of real clips that KINETAG_TEST_DATA names; the test skips without one."""
    named = os.environ.get("KINETAG_TEST_DATA")
    if not named:
        pytest.skip("KINETAG_TEST_DATA names no folder of real clips")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"KINETAG_TEST_DATA names {folder}, which is no folder")
    return folder


def postgres_programs() -> Path | None:
    """The folder of initdb and postgres, on the PATH or where Debian keeps them."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def _as_ordinary_user(folder: Path) -> tuple[str, ...]:
    """The words before a command that end with us and, if we are root, make it nobody's.

    PostgreSQL refuses to run as root; the folder becomes nobody's, too.
    """
    if os.geteuid() != 0:
        return tied_command(())
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    group = f"--regid={nobody.pw_gid}"
    return ("setpriv", f"--reuid={nobody.pw_uid}", group, "--clear-groups", "--pdeathsig=KILL")


@contextmanager
def _server(command: Sequence[str | Path], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """Run a server of the tests' own until the block ends; it writes into the log."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the command is the fixtures' own
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/"
        )
    try:
        deadline = time.monotonic() + SERVER_START_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[-1]} did not start: {log.read_text(errors='replace')}")
            threading.Event().wait(0.02)
        yield
    finally:
        # For PostgreSQL: disconnect everybody and end.
        process.send_signal(signal.SIGINT)
        process.wait(SERVER_START_SECONDS)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Callable[[str], str]]:
    """A private PostgreSQL on a Unix socket; returns (name) -> address of a fresh database."""
    programs = postgres_programs()
    if programs is None:
        _skip_or_fail("REQUIRE_POSTGRES", "there is no PostgreSQL server program")
        raise AssertionError
    import psycopg

    # Right below the system's folder: sockets take short paths only, and pytest's own folders
    # let nobody else in.
    folder = Path(tempfile.mkdtemp(prefix="kinetag-pg-"))
    data, as_user = folder / "data", _as_ordinary_user(folder)
    options = ("-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
    initdb: list[str | Path] = [
        *as_user,
        programs / "initdb",
        "-D",
        data,
        "-U",
        POSTGRES_USER,
        *options,
    ]
    # Its data dies with it: nothing need reach the disk.
    settings = ["listen_addresses=", f"unix_socket_directories={folder}", "fsync=off"]
    settings += ["full_page_writes=off", "max_connections=200"]
    words = [word for setting in settings for word in ("-c", setting)]
    here = f"host={folder} user={POSTGRES_USER} dbname=postgres"

    def ready() -> bool:
        try:
            psycopg.connect(here).close()
        except psycopg.OperationalError:
            return False
        return True

    def fresh(name: str) -> str:
        with psycopg.connect(here, autocommit=True) as link:
            link.execute(f'CREATE DATABASE "{name}"'.encode())
        return f"postgresql://{POSTGRES_USER}@/{name}?host={folder}"

    try:
        subprocess.run(initdb, check=True, capture_output=True, cwd="/")  # noqa: S603 - our own
        with _server([*as_user, programs / "postgres", "-D", data, *words], folder / "log", ready):
            yield fresh
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 that keeps everything in memory, a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    moto = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    with _server(tied_command(moto), tmp_path_factory.mktemp("s3") / "log", ready):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a fresh bucket; this process, and those it starts, have the credentials."""
    for name, value in S3_CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{time.monotonic_ns()}"
    httpx2.put(f"{s3_server}/{name}").raise_for_status()
    return f"s3://{name}"


@dataclass
class Broker:
    """A mosquitto of a test's own, on loopback; it can be killed and started again.

    Attributes:
        options: lines of its configuration beside the listener's.
    """

    folder: Path
    program: str
    options: tuple[str, ...] = ("allow_anonymous true",)
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it answers."""
        if not self.port:
            with socket.socket() as finder:
                finder.bind(("127.0.0.1", 0))
                self.port = finder.getsockname()[1]
        configuration = self.folder / "mosquitto.conf"
        account = pwd.getpwuid(os.geteuid()).pw_name  # as root it would become somebody else
        lines = (f"listener {self.port} 127.0.0.1", f"user {account}", *self.options)
        configuration.write_text("".join(f"{line}\n" for line in lines))
        command = tied_command((self.program, "-c", str(configuration)))
        with (self.folder / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - the command is the fixture's own
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + SERVER_START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((self.folder / "mosquitto.log").read_text(errors="replace"))
            threading.Event().wait(0.02)

    def kill(self) -> None:
        """End it without a word to anybody."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Returns (*lines of configuration) -> a running MQTT broker."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if found is None or shutil.which("mosquitto_sub") is None:
        _skip_or_fail("REQUIRE_MOSQUITTO", "there is no mosquitto, or no mosquitto_sub")
        raise AssertionError
    started: list[Broker] = []

    def start(*options: str) -> Broker:
        folder = tmp_path / f"broker-{len(started)}"
        folder.mkdir()
        broker = Broker(folder, found, options or Broker.options)
        started.append(broker)
        broker.start()
        return broker

    yield start
    for broker in started:
        broker.kill()


def _skip_or_fail(requirement: str, reason: str) -> None:
    if os.environ.get(requirement):
        pytest.fail(f"{reason}, and {requirement} is set")
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of missing equipment; where a variable demands it, they fail instead."""
    if item.get_closest_marker("redis") and shutil.which("redis-server") is None:
        _skip_or_fail("REQUIRE_REDIS", "there is no redis-server program")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            _skip_or_fail("REQUIRE_CUDA", "there is no CUDA device")
