"""`kinetag api` on a planted archive: everything people look at, and no worker."""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from bench.web.archive import Archive

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 20.0
LOOK_SECONDS = 0.05


@dataclass
class ServedArchive:
    """An archive, and the API that serves it.

    Attributes:
        archive: more can be put into it meanwhile.
        environment: settings beside the data folder.
        port: the same after a restart.
        jobs: ids, as whoever filled the archive noted them.
    """

    archive: Archive
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    jobs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Choose a free port."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.client = httpx2.Client(base_url=self.url, timeout=30)

    @property
    def url(self) -> str:
        """The origin of its pages."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What it writes."""
        folder = self.archive.settings.data_dir
        return folder.parent / f"{folder.name}-api.log"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: it did not.
        """
        data = str(self.archive.settings.data_dir)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own command line
                [sys.executable, "-m", "kinetag", "api", "--data", data, "--port", str(self.port)],
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},  # noqa: TID251 - handed on, not read
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                message = f"kinetag api did not start: {self.log.read_text(errors='replace')}"
                raise RuntimeError(message)
            select.select([], [], [], LOOK_SECONDS)

    def _answers(self) -> bool:
        try:
            return self.client.get("/healthz").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)


@contextmanager
def served_archive(archive: Archive, **environment: str) -> Iterator[ServedArchive]:
    """Serve an archive until the block ends."""
    served = ServedArchive(archive, environment)
    served.start()
    try:
        yield served
    finally:
        served.kill()
        served.client.close()
