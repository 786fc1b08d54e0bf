"""Uploads against a plain copy of the same file with fsync, in turns, on the same disk."""

import base64
import http.client
import os
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.service.equipment import BenchError

CREATED = (200, 201)
NO_CONTENT = 204
BLOCK_BYTES = 1024 * 1024
ANSWER_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class UploadFigures:
    """Medians over the rounds; a ratio is of one round's upload to the same round's copy."""

    copy_mb_per_second: float
    raw_mb_per_second: float
    tus_mb_per_second: float
    raw_share_of_copy: float
    tus_share_of_copy: float


def write_file(path: Path, size_bytes: int, seed: int) -> None:
    """Write bytes that are new to the service: it stores the same ones only once."""
    block = seed.to_bytes(8, "big") + os.urandom(BLOCK_BYTES - 8)
    with path.open("wb") as file:
        for number in range(size_bytes // BLOCK_BYTES):
            file.write(number.to_bytes(8, "big") + block[8:])
        os.fsync(file.fileno())


def measure_uploads(
    address: tuple[str, int], folder: Path, size_bytes: int, rounds: int
) -> UploadFigures:
    """Copy and upload files in turns; the folder lies on the disk of the service's data."""
    seconds: dict[str, list[float]] = {"copy": [], "raw": [], "tus": []}
    ways: dict[str, Callable[[Path], None]] = {
        "copy": lambda path: copy_synced(path, folder / "copy"),
        "raw": lambda path: post_raw(address, path),
        "tus": lambda path: post_tus(address, path),
    }
    for number in range(rounds):
        names = list(ways)
        for name in names[number % 3 :] + names[: number % 3]:
            path = folder / f"{name}-{number}.bin"
            write_file(path, size_bytes, number * len(names) + names.index(name))
            started = time.perf_counter()
            ways[name](path)
            seconds[name].append(time.perf_counter() - started)
            path.unlink()
            (folder / "copy").unlink(missing_ok=True)
    rate = {name: size_bytes / 1e6 / statistics.median(spent) for name, spent in seconds.items()}
    shares = {
        name: statistics.median(
            copy / own for copy, own in zip(seconds["copy"], seconds[name], strict=True)
        )
        for name in ("raw", "tus")
    }
    return UploadFigures(rate["copy"], rate["raw"], rate["tus"], shares["raw"], shares["tus"])


def copy_synced(source: Path, target: Path) -> None:
    """Copy a file so that it is on the disk."""
    with source.open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing, BLOCK_BYTES)
        os.fsync(writing.fileno())


def post_raw(address: tuple[str, int], path: Path) -> None:
    """Upload a file as the body of POST /v1/videos."""
    link = http.client.HTTPConnection(*address, timeout=ANSWER_SECONDS, blocksize=BLOCK_BYTES)
    with path.open("rb") as file:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(path.stat().st_size),
        }
        link.request("POST", "/v1/videos?name=bench.mp4", body=file, headers=headers)
    _require(link.getresponse(), CREATED)
    link.close()


def post_tus(address: tuple[str, int], path: Path) -> None:
    """Upload a file by tus: create, then one PATCH."""
    link = http.client.HTTPConnection(*address, timeout=ANSWER_SECONDS, blocksize=BLOCK_BYTES)
    size = path.stat().st_size
    name = base64.b64encode(path.name.encode()).decode()
    common = {"Tus-Resumable": "1.0.0"}
    headers = {**common, "Upload-Length": str(size), "Upload-Metadata": f"filename {name}"}
    link.request("POST", "/v1/uploads", headers=headers)
    answer = link.getresponse()
    _require(answer, CREATED)
    location = answer.getheader("Location") or ""
    target = location[location.index("/v1/") :]
    with path.open("rb") as file:
        headers = {
            **common,
            "Upload-Offset": "0",
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(size),
        }
        link.request("PATCH", target, body=file, headers=headers)
    _require(link.getresponse(), (NO_CONTENT,))
    link.close()


def _require(answer: http.client.HTTPResponse, wanted: tuple[int, ...]) -> None:
    body = answer.read()
    if answer.status not in wanted:
        message = f"The API answered {answer.status}: {body[:300]!r}"
        raise BenchError(message)
