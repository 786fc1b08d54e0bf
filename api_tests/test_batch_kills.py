"""Five hundred files in one batch, while everything is killed three times in mid-work."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
NUM_FILES = 500
EVERY = 5  # of how many files one is also done by an undisturbed process
KILLED_AT = (60, 200, 350)  # files that have a result
NUM_FRAMES = 8
WIDTH_PX, HEIGHT_PX, FPS = 64, 48, 25
BATCH_SECONDS = 900.0
QUICK_LEASES = {
    "KINETAG_LEASE_SECONDS": "6",
    "KINETAG_HEARTBEAT_SECONDS": "1",
    "KINETAG_POLL_SECONDS": "1",
    "KINETAG_SWEEP_SECONDS": "1",
    "KINETAG_LOG_LEVEL": "warning",
}


@pytest.fixture
def archive(tmp_path):
    """A folder of short videos, each with a picture of its own."""
    import av

    folder = tmp_path / "archive"
    for number in range(NUM_FILES):
        rng = np.random.default_rng(number)
        path = folder / f"day-{number // 100}" / f"clip-{number:03d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (HEIGHT_PX // 8, WIDTH_PX // 8, 3)).astype(np.uint8)
        texture = coarse.repeat(8, axis=0).repeat(8, axis=1)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
            for index in range(NUM_FRAMES):
                image = np.roll(texture, 2 * index, axis=1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_batch_of_500_files_survives_three_kills_of_everything(
    start_service, archive, tiny_model, tmp_path
):
    environment = {**QUICK_LEASES, "KINETAG_PATH_ROOTS": str(archive)}
    service = start_service("--device", "cpu", "--workers", "2", "--threads", "1", **environment)
    answer = service.client.post("/v1/batches", json={"folder": str(archive), "model": "tiny@1"})
    assert answer.status_code == 202, answer.text
    location = answer.headers["location"]

    for count in KILLED_AT:
        _await_done(service, location, count)
        assert not _batch(service, location)["completed_at"], "it ended before it was killed"
        _kill_everything(service)
        service.start()

    batch = service.until(
        lambda: (found := _batch(service, location))["completed_at"] and found,
        BATCH_SECONDS,
        "the end of the batch",
    )
    assert batch["status"] == "finished", batch
    assert _counts(service, location)["succeeded"] == NUM_FILES
    items = _items(service, location)
    assert len({item["name"] for item in items}) == len({item["job_id"] for item in items})
    assert len(items) == NUM_FILES
    for item in items[:: NUM_FILES // 20]:
        job = f"/v1/jobs/{item['job_id']}"
        assert service.count_results(job) == 1
        assert len(service.events(job, "job.succeeded")) == 1

    combined = service.client.get(f"{location}/result", params={"format": "activitynet"}).json()
    undisturbed = _localized_here(archive, tiny_model, tmp_path)
    assert len(combined["results"]) == NUM_FILES
    found = _by_clip(combined)
    assert len(undisturbed["results"]) == NUM_FILES // EVERY
    for name, segments in _by_clip(undisturbed).items():
        assert found[name] == segments, name


def _await_done(service, location, count):
    service.until(
        lambda: _counts(service, location)["succeeded"] >= count, 400, f"the end of {count} files"
    )


def _batch(service, location):
    return service.client.get(location).raise_for_status().json()


def _counts(service, location):
    return _batch(service, location)["counts"]


def _items(service, location):
    items, token = [], None
    while True:
        query = {"page_size": 200, **({"page_token": token} if token else {})}
        page = service.client.get(f"{location}/items", params=query).raise_for_status().json()
        items += page["items"]
        token = page["next_page_token"]
        if token is None:
            return items


def _kill_everything(service):
    for process in service.family():
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    service.process.wait()
    service.until(lambda: not service.survivors(), 20, "the end of all processes")
    service.client.close()
    # A killed service could not take its sign down.
    (service.folder / "run" / "up.json").unlink()


def _localized_here(archive, tiny_model, tmp_path):
    """Some of the files by one process that nobody disturbs, without the service."""
    output = tmp_path / "here"
    # A home of its own: no feature of the service's is found here.
    shutil.copytree(tiny_model, tmp_path / "home" / "models" / tiny_model.name)
    chosen = tmp_path / "chosen.txt"
    chosen.write_text("\n".join(map(str, sorted(archive.rglob("*.mp4"))[::EVERY])))
    subprocess.run(
        [sys.executable, "-m", "kinetag", "batch", "--list", str(chosen), "--model", "tiny@1",
         "--output", str(output), "--device", "cpu"],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KINETAG_HOME": str(tmp_path / "home")},
        timeout=600,
    )  # fmt: skip
    (combined,) = output.rglob("*activitynet*.json")
    return json.loads(combined.read_text())


def _by_clip(document):
    """Segments by the clip's own name, however a document writes folders."""
    return {
        name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".mp4"): segments
        for name, segments in document["results"].items()
    }
