"""`kinetag demo`: draws a video, runs the real service on it, shows segments beside the truth.

Drives subprocesses only: the service it talks to is the one `kinetag up` starts.
"""

import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from models.atomic import write_text_atomic
from models.synthetic import Instance, VideoSpec, draw_frames, encode_video, plan_video
from models.timeline import STRIP_THUMBNAILS, TimelinePicture, draw_timeline, thumbnail_seconds
from models.types import ByteArray
from workers.parentdeath import tied_command

START_TIMEOUT_SECONDS = 90.0
STOP_TIMEOUT_SECONDS = 30.0
JOB_TIMEOUT_SECONDS = 900.0
POLL_WAIT_SECONDS = 1
MATCH_TIOU = 0.5
SEED_LIMIT = 1_000_000
TERMINATED_STATUS = 128 + signal.SIGTERM


class DemoError(Exception):
    """The demonstration could not be carried through; the message says why."""


@dataclass(frozen=True, slots=True)
class Match:
    """One instance of the truth and the segment of the same label that covers it best.

    ``segment`` is None and ``tiou`` 0 where no segment of that label overlaps it.
    """

    instance: Instance
    segment: Mapping[str, Any] | None
    tiou: float


def match_instances(
    instances: Sequence[Instance], segments: Sequence[Mapping[str, Any]]
) -> tuple[list[Match], list[Mapping[str, Any]]]:
    """Pair instances with segments of the same label, best overlap first, each used once.

    Returns:
        One Match per instance in the given order, and the segments left over.
    """
    pairs = sorted(
        (
            (_overlap(instance, segment), i, s)
            for i, instance in enumerate(instances)
            for s, segment in enumerate(segments)
            if instance.label == segment["label"]
        ),
        key=lambda item: (-item[0], item[1], item[2]),
    )
    taken: dict[int, tuple[int, float]] = {}
    used: set[int] = set()
    for tiou, i, s in pairs:
        if tiou > 0 and i not in taken and s not in used:
            taken[i] = (s, tiou)
            used.add(s)
    matches = [
        Match(instance, segments[taken[i][0]], taken[i][1])
        if i in taken
        else Match(instance, None, 0.0)
        for i, instance in enumerate(instances)
    ]
    return matches, [segment for s, segment in enumerate(segments) if s not in used]


def _overlap(instance: Instance, segment: Mapping[str, Any]) -> float:
    inter = min(instance.end_seconds, segment["end"]) - max(
        instance.start_seconds, segment["start"]
    )
    union = max(instance.end_seconds, segment["end"]) - min(
        instance.start_seconds, segment["start"]
    )
    return max(0.0, inter) / union if union > 0 else 0.0


@contextmanager
def running_service(data: Path, log: Path) -> Iterator[str]:
    """Start `kinetag up` on a free port, yield its address, and stop all of it at the end."""
    command = (sys.executable, "-m", "kinetag", "up", "--data", str(data), "--port", "0")
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            tied_command(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield _wait_until_ready(process, data / "run" / "up.json", log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            message = f"The service stopped at its start; its log is {log}."
            raise DemoError(message)
        if ready.exists():
            address = f"http://127.0.0.1:{json.loads(ready.read_text())['port']}"
            try:
                if httpx2.get(f"{address}/healthz", timeout=2).is_success:
                    return address
            except httpx2.TransportError:
                pass
        time.sleep(0.2)
    message = f"The service was not ready after {START_TIMEOUT_SECONDS:.0f} s; see {log}."
    raise DemoError(message)


def localize_over_http(
    address: str, video: Path, console: Console
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Upload one video, show progress until the job ends, return (result, activations).

    Raises:
        DemoError: the job failed or did not end in time.
    """
    with httpx2.Client(base_url=address, timeout=JOB_TIMEOUT_SECONDS) as client:
        with video.open("rb") as file:
            answer = client.post("/v1/jobs", files={"video": (video.name, file, "video/mp4")})
        if answer.status_code != httpx2.codes.ACCEPTED:
            message = f"The service refused the upload: {answer.text}"
            raise DemoError(message)
        location = answer.headers["location"]
        console.print(f"POST /v1/jobs -> {answer.status_code}, {location}")
        job = _follow(client, location, console)
        if job["status"] != "succeeded":
            message = f"The job ended as {job['status']}: {job['error']}"
            raise DemoError(message)
        result = client.get(f"{location}/result").raise_for_status().json()
        activations = client.get(f"{location}/activations").raise_for_status().json()
    return result, activations


def _follow(client: httpx2.Client, location: str, console: Console) -> dict[str, Any]:
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    deadline = time.monotonic() + JOB_TIMEOUT_SECONDS
    shown = ""
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("queued", total=1.0)
        while time.monotonic() < deadline:
            job: dict[str, Any] = (
                client.get(location, params={"wait": POLL_WAIT_SECONDS}).raise_for_status().json()
            )
            stage = job["stage"] or job["status"]
            progress.update(bar, completed=job["progress"], description=stage)
            if not console.is_terminal and stage != shown:
                console.print(f"  {stage} ({job['progress']:.0%})")
                shown = stage
            if job["status"] in {"succeeded", "failed", "canceled"}:
                return job
    message = f"The job did not end within {JOB_TIMEOUT_SECONDS:.0f} s."
    raise DemoError(message)


def print_comparison(
    matches: Sequence[Match], extra: Sequence[Mapping[str, Any]], console: Console
) -> None:
    """Print the truth beside the segments, with tIoU, and the segments that match nothing."""
    table = Table(title="truth beside segments")
    for name in ("action", "truth", "found", "score", "tIoU"):
        table.add_column(name, justify="left" if name == "action" else "right")
    for match in matches:
        truth = f"{match.instance.start_seconds:.2f} - {match.instance.end_seconds:.2f}"
        if match.segment is None:
            table.add_row(match.instance.label, truth, "missed", "", "")
            continue
        found = f"{match.segment['start']:.2f} - {match.segment['end']:.2f}"
        score = f"{match.segment['score']:.2f}"
        table.add_row(match.instance.label, truth, found, score, f"{match.tiou:.2f}")
    for segment in extra:
        found = f"{segment['start']:.2f} - {segment['end']:.2f}"
        table.add_row(segment["label"], "not there", found, f"{segment['score']:.2f}", "")
    console.print(table)
    good = [match.tiou for match in matches if match.tiou >= MATCH_TIOU]
    overlapping = [match.tiou for match in matches if match.segment is not None]
    mean = float(np.mean(overlapping)) if overlapping else 0.0
    console.print(
        f"{len(good)} of {len(matches)} instances found at tIoU >= {MATCH_TIOU}, "
        f"mean tIoU of matched instances {mean:.2f}, {len(extra)} segments without an instance"
    )


def read_thumbnails(video: Path, duration_seconds: float) -> ByteArray:
    """Return uint8[N, H, W, 3]: frames of our own drawn video at equal distances."""
    wanted = list(thumbnail_seconds(duration_seconds))
    frames: list[ByteArray] = []
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            if len(frames) < STRIP_THUMBNAILS and (frame.time or 0.0) >= wanted[len(frames)]:
                frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
    return np.stack(frames)


def _end_orderly(_number: int, _frame: object) -> None:
    """Leave through every ``finally``, so that the service is stopped and its data removed."""
    raise SystemExit(TERMINATED_STATUS)


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a user may choose: the seed (None draws one), the folder, the length."""

    seed: int | None
    output: Path
    duration_seconds: float


def run_demo(options: DemoOptions, console: Console) -> int:
    """Carry out the demonstration; return an exit status, 0 when an instance was found."""
    signal.signal(signal.SIGTERM, _end_orderly)
    seed = secrets.randbelow(SEED_LIMIT) if options.seed is None else options.seed
    folder = options.output / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"seed {seed} (repeat with: kinetag demo --seed {seed})")
    plan = plan_video(VideoSpec(seed=seed, duration_seconds=options.duration_seconds, looks="test"))
    video = folder / "video.mp4"
    console.print(f"drawing a {options.duration_seconds:.0f} s video: {video}")
    encode_video(draw_frames(plan), video, fps=plan.spec.fps)
    instances = sorted(plan.instances, key=lambda one: one.start_seconds)
    truth = [
        {"label": one.label, "start": one.start_seconds, "end": one.end_seconds}
        for one in instances
    ]
    write_text_atomic(folder / "ground_truth.json", json.dumps(truth, indent=1) + "\n")
    console.print("starting the service (API, worker, sweeper, broker) in an empty data folder")
    # Beside the result and not in the system's temporary folder: nothing outside is touched.
    with tempfile.TemporaryDirectory(prefix="data-", dir=folder) as scratch:
        with running_service(Path(scratch) / "data", folder / "service.log") as address:
            console.print(f"service ready at {address}")
            result, activations = localize_over_http(address, video, console)
        console.print("service stopped, its data folder removed")
    write_text_atomic(folder / "segments.json", json.dumps(result, indent=1) + "\n")
    matches, extra = match_instances(instances, result["segments"])
    print_comparison(matches, extra, console)
    _draw(folder, video, result, activations, truth, seed)
    for warning in result["warnings"]:
        console.print(f"warning {warning['code']}: {warning['message']}")
    console.print(f"wrote {folder / 'segments.json'} and {folder / 'timeline.png'}")
    return 0 if any(match.tiou >= MATCH_TIOU for match in matches) else 1


def _draw(
    folder: Path,
    video: Path,
    result: Mapping[str, Any],
    activations: Mapping[str, Any],
    truth: Sequence[Mapping[str, Any]],
    seed: int,
) -> None:
    duration = float(result["video"]["duration"])
    values = np.asarray(activations["localization"], dtype=np.float32)
    picture = TimelinePicture(
        title=f"kinetag demo, seed {seed}: {result['model']}",
        duration_seconds=duration,
        segments=result["segments"],
        ground_truth=truth,
        thumbnails=read_thumbnails(video, duration),
        curve_seconds=np.asarray(activations["seconds"], dtype=np.float64),
        curves={label: values[:, i] for i, label in enumerate(activations["classes"])},
    )
    draw_timeline(picture, folder / "timeline.png")
