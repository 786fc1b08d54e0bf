"""Each of the five heads, from tagged real clips by one command to segments over HTTP."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

METHODS = ("aicl", "cleannet", "dcc", "issf", "tssa")
ROOT = Path(__file__).resolve().parents[1]
CLIPS_PER_KIND = 5
COMMAND_SECONDS = 400


def kinetag(*arguments, home):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KINETAG_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "kinetag", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def clips(real_clips, tmp_path):
    """Five fights and five other scenes of two seconds, tagged as a user would."""
    folder = real_clips / "labelled" / "fight-surv"
    fights = sorted((folder / "fight").iterdir())[:CLIPS_PER_KIND]
    others = sorted((folder / "noFight").iterdir())[:CLIPS_PER_KIND]
    with (tmp_path / "tags.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "label"])
        writer.writerows((f"fight/{clip.name}", "fight") for clip in fights)
        writer.writerows((f"noFight/{clip.name}", "") for clip in others)
    return folder, tmp_path / "tags.csv", fights[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_head_is_trained_by_one_command_and_served_by_its_name(
    clips, start_service, tmp_path
):
    folder, tags, clip = clips
    service = start_service("--broker", "none", "--device", "cpu")
    home = service.folder
    trained = kinetag(
        *("train", "--method", "all", "--compare", "--json", "--backbone", "tiny"),
        *("--videos", folder, "--tags", tags, "--out", tmp_path / "fight", "--threads", 1),
        *("--set", "steps=8", "--device", "cpu", "--home", home),
        home=home,
    )
    rows = json.loads(trained.stdout)["models"]
    assert {row["method"] for row in rows} == set(METHODS)
    listed = json.loads(kinetag("models", "list", "--json", "--home", home, home=home).stdout)
    names = {one["name"] for one in listed}
    for method in METHODS:
        name = f"fight-{method}"
        assert name in names
        there = kinetag(
            *("localize", "--model", name, "--device", "cpu", "--home", home, clip), home=home
        )
        native = json.loads(there.stdout)
        assert native["model"] == f"{name}@1"
        location = service.submit(clip, model=name)
        job = service.wait(location)
        assert job["status"] == "succeeded", (job, service.read_log())
        result = service.client.get(f"{location}/result").raise_for_status().json()
        assert result["model"] == f"{name}@1"
        assert result["segments"] == native["segments"]
        for segment in result["segments"]:
            assert segment["label"] == "fight"
            assert 0 <= segment["score"] <= 1
