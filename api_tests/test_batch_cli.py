"""`kinetag batch` as users run it: killed in the middle, watching a folder, and over REST."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODEL = "tiny@1"
LOOK_SECONDS = 90


@pytest.fixture
def wait_until():
    """Returns (look, seconds, what): looks again and again until something true comes back."""

    def wait(look, seconds, what):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            select.select([], [], [], 0.05)
        pytest.fail(f"{what} did not happen within {seconds} s")

    return wait


@pytest.fixture
def home(tmp_path, tiny_model):
    folder = tmp_path / "home"
    shutil.copytree(tiny_model, folder / "models" / tiny_model.name)
    return folder


@pytest.fixture
def videos(tmp_path, draw_video):
    """Five files: three contents, a duplicate, and one that is no video; one name is hostile."""
    folder = tmp_path / "videos"
    (folder / "cam").mkdir(parents=True)
    for seconds, name in ((2, "a.mp4"), (3, "cam/a.mp4"), (4, "cam/line\nbreak \N{SNOWMAN}.mp4")):
        shutil.copy(draw_video(seconds), folder / name)
    shutil.copy(folder / "a.mp4", folder / "cam/copy.avi")
    (folder / "broken.mp4").write_text("This is a text and no video.")
    for path in folder.rglob("*.*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


@pytest.fixture
def start(tmp_path):
    """Returns (*arguments) -> a running `kinetag batch`."""
    started = []

    def start(*arguments):
        log = (tmp_path / f"batch-{len(started)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "kinetag", "batch", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        started.append((process, log))
        process.log = Path(log.name)
        return process

    yield start
    for process, log in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


@pytest.fixture
def local(videos, home):
    return (videos, "--model", MODEL, "--home", home, "--device", "cpu", "--retries", "0")


def _wait(process, seconds=LOOK_SECONDS):
    status = process.wait(seconds)
    return status, process.log.read_text(errors="replace")


def _tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".kinetag" not in path.parts
    }


def _lines(process):
    return process.log.read_text(errors="replace").splitlines()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_in_the_middle_it_ends_exactly_as_undisturbed(
    start, local, videos, tmp_path, wait_until
):
    calm, shaken = tmp_path / "calm", tmp_path / "shaken"
    killed = start(*local, "-o", shaken, "--json")
    wait_until(lambda: any('"begin"' in line for line in _lines(killed)), 60, "a first file")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    again = start(*local, "-o", shaken, "--json")
    wait_until(lambda: any('"begin"' in line for line in _lines(again)), 60, "a file begun again")
    # Frozen with the folder in its hands: it can neither lose the race nor end before the second.
    os.killpg(again.pid, signal.SIGSTOP)
    status, text = _wait(start(*local, "-o", shaken))
    os.killpg(again.pid, signal.SIGCONT)
    assert status == 2, text
    assert "Another batch is writing" in text
    wait_until(
        lambda: sum('"succeeded"' in line for line in _lines(again)) >= 1, 60, "a first result"
    )
    os.killpg(again.pid, signal.SIGKILL)
    again.wait()

    status, text = _wait(start(*local, "-o", shaken, "--json"))
    assert status == 1, text
    last = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert last[-1]["event"] == "finished"
    assert last[-1]["skipped"] >= 1
    assert last[-1]["failed"] == 1

    # Another home, so that nothing of the first runs is found.
    fresh = tmp_path / "fresh"
    shutil.copytree(tmp_path / "home" / "models", fresh / "models")
    undisturbed = [*local[:3], "--home", fresh, *local[5:]]
    status, text = _wait(start(*undisturbed, "-o", calm))
    assert status == 1, text
    assert "unreadable_video" in text
    assert _tree(calm) == _tree(shaken)
    names = {"a", "cam/a", "cam/copy", "cam/line%0Abreak \N{SNOWMAN}"}
    assert set(json.loads((calm / "activitynet.json").read_text())["results"]) == names
    failures = (calm / "failures.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in failures[1:]] == [["broken.mp4", "unreadable_video"]]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_watching_takes_files_as_they_settle(
    start, local, videos, tmp_path, wait_until, draw_video
):
    out = tmp_path / "out"
    (videos / "broken.mp4").unlink()
    options = ("-o", out, "--watch", "--settle", "0.5", "--json")
    watching = start(*local, *options)
    result = out / "videos" / "cam" / "a.mp4.json"
    wait_until(result.exists, 60, "the files that were there")
    # A recorder writes slowly: what is not whole yet must not be taken.
    content = draw_video(2.5).read_bytes()
    growing = videos / "growing.mp4"
    with growing.open("wb") as file:
        for at in range(0, len(content), len(content) // 4 + 1):
            file.write(content[at : at + len(content) // 4 + 1])
            file.flush()
            select.select([], [], [], 0.3)
            assert not (out / "videos/growing.mp4.json").exists(), "taken while it grew"
    wait_until((out / "videos/growing.mp4.json").exists, 60, "the new file")
    watching.send_signal(signal.SIGTERM)
    status, text = _wait(watching)
    assert status == 0, text
    computed = [line for line in text.splitlines() if '"begin"' in line]
    again = start(*local, *options)
    wait_until((out / ".kinetag/lock").exists, 5, "its start")
    shutil.copy(draw_video(5), videos / "late.mp4")
    wait_until((out / "videos/late.mp4.json").exists, 60, "the late file")
    again.send_signal(signal.SIGTERM)
    status, text = _wait(again)
    assert status == 0, text
    begun = [json.loads(line)["file"] for line in text.splitlines() if '"begin"' in line]
    assert begun == ["late.mp4"], "a file was done twice over a restart"
    assert len(computed) == 4, "a duplicate was computed"
    assert "late" in json.loads((out / "activitynet.json").read_text())["results"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_over_rest_the_client_may_be_killed_too(start, start_service, videos, tmp_path, wait_until):
    service = start_service("--broker", "none", "--device", "cpu", "--threads", "1")
    out = tmp_path / "out"
    command = (videos, "--model", MODEL, "--server", service.ready["url"], "-o", out, "--json")
    killed = start(*command)
    wait_until(lambda: any('"sent"' in line for line in _lines(killed)), 60, "a first upload")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    second = start(*command)
    wait_until(lambda: any('"batch"' in line for line in _lines(second)), 60, "the batch")
    os.killpg(second.pid, signal.SIGKILL)
    second.wait()
    status, text = _wait(start(*command), 180)
    assert status == 1, text
    batches = service.client.get("/v1/batches").json()["batches"]
    assert len(batches) == 1, "a killed client made the batch again"
    counts = batches[0]["counts"]
    assert (counts["succeeded"], counts["failed"]) == (4, 1)
    assert len(service.client.get("/v1/videos").json()["videos"]) == 5
    natives = sorted(path.name for path in (out / "videos").rglob("*.json"))
    assert natives == [
        "a.mp4.json",
        "a.mp4.json",
        "copy.avi.json",
        "line%0Abreak \N{SNOWMAN}.mp4.json",
    ]
    combined = json.loads((out / "activitynet.json").read_text())
    assert len(combined["results"]) == 4
    assert (out / "segments.csv").read_text().startswith("video,label,start,end,score\n")
    assert "broken.mp4,unreadable_video," in (out / "failures.csv").read_text()

    before = _tree(out)
    status, text = _wait(start(*command), 60)
    assert status == 1, text
    assert _tree(out) == before
    unknown = start(*command[:1], "--model", "none", *command[3:])
    status, text = _wait(unknown, 60)
    assert status == 4
    assert "model_unknown" in text
