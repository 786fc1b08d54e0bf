"""Measures an upload: seconds, the API's memory growth, and copies on disk, with a real server.

The body is made up on the way, so that the bench itself needs no memory and no second file.

    python -m bench.upload [--size-mb 4096] [--data DIR] [--json PATH]

``--data`` is the folder whose file system takes the upload (default: a temporary one).
"""

import argparse
import hashlib
import http.client
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.report import BenchReport, Figure
from models.recipe import FeatureRecipe

MIB = 1024 * 1024
DEFAULT_SIZE_MB = 4096
WARM_UP_MB = 4
START_SECONDS = 120.0
ANSWER_SECONDS = 600.0
SAMPLE_SECONDS = 0.1
ACCEPTED = 202
PREFIX = "Kinetag API: http://"
BOUNDARY = "kinetag-bench"
PROGRAM = "from service.cli import app; app()"


@dataclass(frozen=True, slots=True)
class UploadFigures:
    """What one upload did to the server.

    Attributes:
        seconds: from the first byte to the answer.
        memory_growth_mb: peak resident memory during the upload above the one before it.
        copies_on_disk: bytes of all files by bytes of the video, at the end.
        peak_copies_on_disk: the same at its highest, sampled during the upload.
        sha256_right: whether the server's hash is that of the bytes sent.
    """

    seconds: float
    memory_growth_mb: float
    copies_on_disk: float
    peak_copies_on_disk: float
    sha256_right: bool


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    message = f"Process {pid} has no resident memory: it ended."
    raise RuntimeError(message)


def _disk_bytes(folder: Path) -> int:
    total = 0
    for name in ("tmp", "videos"):
        for path in (folder / name).rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:
                continue
    return total


@contextmanager
def _watching(look: Callable[[], None]) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_SECONDS):
            look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _write_card(folder: Path) -> None:
    target = folder / "models" / "bench@1"
    target.mkdir(parents=True, exist_ok=True)
    card = {
        "format": 1,
        "name": "bench",
        "version": "1",
        "method": "none",
        "classes": [],
        "recipe": FeatureRecipe("bench").to_json(),
    }
    (target / "card.json").write_text(json.dumps(card))


@contextmanager
def running_api(folder: Path) -> Iterator[tuple[int, str]]:
    """Run the real API on a data folder; yield its process id and address."""
    _write_card(folder)
    command = [sys.executable, "-c", PROGRAM, "api", "--port", "0", "--data", str(folder)]
    process = subprocess.Popen(  # noqa: S603 - our own command line
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    guard = threading.Timer(START_SECONDS, process.kill)
    guard.start()
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        guard.cancel()
        if not line.startswith(PREFIX):
            message = "The API did not start."
            raise RuntimeError(message)
        yield process.pid, line.removeprefix(PREFIX).strip()
    finally:
        guard.cancel()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def post_video(address: str, size_bytes: int) -> tuple[dict[str, object], str]:
    """Upload made-up bytes; return the job object and the sha256 of what was sent."""
    block = hashlib.shake_256(b"kinetag").digest(MIB)
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\nbench\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    link = http.client.HTTPConnection(address, timeout=ANSWER_SECONDS)
    link.putrequest("POST", "/v1/jobs")
    link.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    link.putheader("Content-Length", str(len(head) + size_bytes + len(tail)))
    link.endheaders()
    link.send(head)
    digest, left = hashlib.sha256(), size_bytes
    while left:
        part = block[:left]
        link.send(part)
        digest.update(part)
        left -= len(part)
    link.send(tail)
    answer = link.getresponse()
    body = json.loads(answer.read())
    link.close()
    if answer.status != ACCEPTED:
        message = f"The API refused the upload: {body}"
        raise RuntimeError(message)
    return body, digest.hexdigest()


def measure_upload(folder: Path, size_bytes: int) -> UploadFigures:
    """Upload once to warm up, then measure one upload of the given size."""
    with running_api(folder) as (pid, address):
        post_video(address, WARM_UP_MB * MIB)
        before_kib, before_bytes = resident_kib(pid), _disk_bytes(folder)
        peaks = [before_kib, before_bytes]

        def look() -> None:
            peaks[0] = max(peaks[0], resident_kib(pid))
            peaks[1] = max(peaks[1], _disk_bytes(folder))

        started = time.monotonic()
        with _watching(look):
            job, sha256 = post_video(address, size_bytes)
        seconds = time.monotonic() - started
        look()
        video = job["video"]
        return UploadFigures(
            seconds=seconds,
            memory_growth_mb=(peaks[0] - before_kib) * 1024 / 1e6,
            copies_on_disk=(_disk_bytes(folder) - before_bytes) / size_bytes,
            peak_copies_on_disk=(peaks[1] - before_bytes) / size_bytes,
            sha256_right=isinstance(video, dict) and video["sha256"] == sha256,
        )


def main() -> None:
    """Measure one upload and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size-mb", type=int, default=DEFAULT_SIZE_MB, help="of the body, MiB")
    parser.add_argument("--data", type=Path, help="folder that takes the upload")
    parser.add_argument("--json", type=Path, help="write the report here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kinetag-bench-", dir=options.data) as scratch:
        found = measure_upload(Path(scratch), options.size_mb * MIB)
    figures: dict[str, Figure] = {
        "size_mb": options.size_mb,
        "seconds": round(found.seconds, 2),
        "mb_per_second": round(options.size_mb / found.seconds, 1),
        "memory_growth_mb": round(found.memory_growth_mb, 1),
        "copies_on_disk": round(found.copies_on_disk, 3),
        "peak_copies_on_disk": round(found.peak_copies_on_disk, 3),
        "sha256_right": found.sha256_right,
    }
    BenchReport("upload", "bytes made up on the way", figures).publish(options.json)


if __name__ == "__main__":
    main()
