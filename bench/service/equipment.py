"""A real `kinetag up` for the benches of the service."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
STOP_SECONDS = 45.0
LOOK_SECONDS = 0.1


class BenchError(Exception):
    """The service did not do its part; the message says which."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A running service.

    Attributes:
        folder: its data.
        url: of the API.
        pids: of its processes by name.
    """

    folder: Path
    url: str
    pids: dict[str, int]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)


@contextmanager
def running_service(folder: Path, *options: str) -> Iterator[Deployment]:
    """Run `kinetag up` on a data folder until the block ends.

    Raises:
        BenchError: it did not start.
    """
    log = (folder.parent / f"{folder.name}.log").open("wb")
    command = [sys.executable, "-m", "kinetag", "up", "--data", str(folder), "--port", "0"]
    process = subprocess.Popen(  # noqa: S603 - our own command line
        [*command, *options],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # noqa: TID251 - handed on, not read
        start_new_session=True,
    )
    try:
        ready = _await_ready(process, folder / "run" / "up.json")
        yield Deployment(folder, ready["url"], ready["pids"])
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()


def _await_ready(process: subprocess.Popen[bytes], path: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            message = "kinetag up did not start."
            raise BenchError(message)
        time.sleep(LOOK_SECONDS)
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def submit(client: httpx2.Client, video: Path, **form: str) -> str:
    """Upload a video as a job; return the job's address."""
    with video.open("rb") as file:
        answer = client.post("/v1/jobs", files={"video": (video.name, file)}, data=form)
    answer.raise_for_status()
    return str(answer.headers["location"])


def await_stage(client: httpx2.Client, location: str, wanted: set[str], seconds: float) -> None:
    """Wait until a job is in one of these stages or states.

    Raises:
        BenchError: it never was.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = client.get(location).raise_for_status().json()
        if job["stage"] in wanted or job["status"] in wanted:
            return
        time.sleep(LOOK_SECONDS)
    message = f"{location} did not come to {sorted(wanted)} within {seconds:g} s."
    raise BenchError(message)


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    message = f"Process {pid} ended."
    raise BenchError(message)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
