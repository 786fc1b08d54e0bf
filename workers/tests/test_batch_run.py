"""Batches in this process: nothing twice, nothing lost, whatever happens in the middle."""

import json
import os
import shutil
from typing import Any

import pytest
from rich.console import Console

from models.atomic import write_text_atomic
from models.errors import Cancelled, DecoderCrashed, DiskFull, UnreadableVideo
from models.evaluation.files import read_detections
from models.exports import to_activitynet
from models.types import Progress
from workers import batch_run
from workers.batch_files import FileChoice, find_files, result_path
from workers.batch_ledger import Ledger
from workers.batch_local import LocalOptions, run_local
from workers.batch_output import OutputFolder
from workers.batch_places import NamePattern
from workers.batch_run import RunSettings

OLD = 1_700_000_000


class Killed(BaseException):
    """Stands for SIGKILL: nothing that catches errors catches it."""


class FakeEngine:
    """Says one segment per file, and remembers what it was asked."""

    def __init__(self, model="tiny@1"):
        self.model = model
        self.recipe = "recipe"
        self.options = {}
        self.calls = []
        self.forgotten = []
        self.before = {}

    def localize(self, path, sha256, on_progress, should_stop):
        self.calls.append(path.name)
        on_progress(Progress("flow", 0.5))
        if should_stop():
            message = "asked"
            raise Cancelled(message)
        for action in self.before.get(path.name, []):
            action()
        return {
            "version": "1",
            "video": {"name": path.name, "sha256": sha256, "duration": 1.0},
            "model": self.model,
            "recipe": self.recipe,
            "segments": [{"label": "a", "score": 0.5, "start": 0.0, "end": 1.0, "start_frame": 0}],
        }

    def rename(self, native, path):
        return {**native, "video": {**native["video"], "name": path.name}}

    def forget(self, sha256):
        self.forgotten.append(sha256)

    def settle(self, sha256):
        pass


def _raising(*errors):
    """An action that raises each of these in turn, then nothing."""
    left = list(errors)

    def act():
        if left:
            raise left.pop(0)

    return act


def _write(folder, name, content=None):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if content is not None else name.encode())
    os.utime(path, (OLD, OLD))  # old enough for its hash to be kept
    return path


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    for name in ("a.mp4", "b.mp4", "cam/a.mp4", "cam/a.avi"):
        _write(folder, name)
    return folder


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(batch_run, "RETRY_SECONDS", 0.0)


@pytest.fixture
def run(tmp_path, videos):
    """Returns (engine, **options) -> exit status, for the folder of videos."""

    def run(engine, wait=lambda _seconds: False, output="out", **settings):
        options = LocalOptions(
            FileChoice((str(videos),)), tmp_path / output, RunSettings(**settings)
        )
        return run_local(options, lambda _folder: engine, wait, Console(quiet=True))

    return run


def _tree(folder):
    """All public files with their bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".kinetag" not in path.parts
    }


def test_a_second_run_does_nothing_and_reads_nothing(run, tmp_path, monkeypatch):
    engine = FakeEngine()
    assert run(engine) == 0
    assert len(engine.calls) == 4
    before = _tree(tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.*")}
    monkeypatch.setattr(batch_run, "hash_file", lambda *_: pytest.fail("a file was read again"))
    assert run(engine) == 0
    assert len(engine.calls) == 4
    assert _tree(tmp_path / "out") == before
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.*")}
    changed = {path.name for path in stamps if stamps[path] != after[path]}
    assert changed <= {"failures.csv"}, "the combined results were written again"


def test_renamed_files_duplicates_and_another_model(run, videos, tmp_path):
    engine = FakeEngine()
    run(engine)
    (videos / "a.mp4").rename(videos / "renamed.mp4")
    shutil.copy(videos / "b.mp4", videos / "copy of b.mp4")
    assert run(engine) == 0
    assert len(engine.calls) == 4, "the same bytes were computed again"
    native = json.loads((tmp_path / "out/videos/renamed.mp4.json").read_text())
    assert native["video"]["name"] == "renamed.mp4"
    combined = json.loads((tmp_path / "out/activitynet.json").read_text())
    assert list(combined["results"]) == ["b", "cam/a.avi", "cam/a.mp4", "copy of b", "renamed"]
    _write(videos, "b.mp4", b"other bytes")
    assert run(engine) == 0
    assert engine.calls[4:] == ["b.mp4"]
    other = FakeEngine("other@1")
    assert run(other) == 0
    assert len(other.calls) == 5


def test_a_result_that_was_deleted_or_cut_is_made_again(run, tmp_path):
    engine = FakeEngine()
    run(engine)
    before = _tree(tmp_path / "out")
    (tmp_path / "out/videos/a.mp4.json").unlink()
    (tmp_path / "out/videos/b.mp4.json").write_text("{")
    assert run(engine) == 0
    assert sorted(engine.calls[4:]) == ["a.mp4", "b.mp4"]
    assert _tree(tmp_path / "out") == before


def test_failures_have_rows_and_the_status_tells(run, tmp_path):
    engine = FakeEngine()
    engine.before["a.avi"] = [_raising(UnreadableVideo("=No video."))]
    crash = DecoderCrashed("It crashed.")
    engine.before["b.mp4"] = [_raising(crash, crash)]
    assert run(engine) == 1
    assert engine.calls.count("b.mp4") == 3, "a failure that may pass is tried again"
    table = (tmp_path / "out/failures.csv").read_text().splitlines()
    assert table == [
        "file,code,message,attempts,retryable",
        "cam/a.avi,unreadable_video,'=No video.,1,no",
    ]
    # What failed for good is not computed again, and is not forgotten either.
    assert run(engine) == 1
    assert engine.calls.count("a.avi") == 1
    assert run(engine, retry_failed=True) == 0
    assert engine.calls.count("a.avi") == 2
    assert (tmp_path / "out/failures.csv").read_text().count("\n") == 1


def test_a_flaky_file_that_never_passes_ends_and_is_tried_in_the_next_run(run, tmp_path):
    engine = FakeEngine()
    engine.before["a.avi"] = [_raising(*[DecoderCrashed("It crashed.")] * 3)]
    assert run(engine, retries=2) == 1
    assert (
        "cam/a.avi,decoder_crashed,It crashed.,3,yes" in (tmp_path / "out/failures.csv").read_text()
    )
    assert run(engine) == 0


def test_a_full_disk_stops_the_run_with_its_own_status(run):
    engine = FakeEngine()
    engine.before["a.mp4"] = [_raising(*[DiskFull("The disk is full.")] * 9)]
    assert run(engine, retries=1) == 5


def test_files_that_vanish_or_change_have_an_honest_row(run, videos, tmp_path):
    engine = FakeEngine()
    engine.before["b.mp4"] = [(videos / "b.mp4").unlink]
    engine.before["a.avi"] = [_raising(None), lambda: _write(videos, "cam/a.avi", b"more bytes")]
    engine.before["a.avi"].pop(0)
    assert run(engine, retries=0) == 1
    table = (tmp_path / "out/failures.csv").read_text()
    assert "b.mp4,file_missing," in table
    assert "cam/a.avi,file_changed," in table
    assert len(engine.forgotten) == 1, "features under a wrong hash were kept"
    assert not (tmp_path / "out/videos/cam/a.avi.json").exists()


def test_an_unexpected_error_fails_its_file_only(run, tmp_path):
    engine = FakeEngine()
    engine.before["b.mp4"] = [_raising(*[RuntimeError("bug")] * 9)]
    assert run(engine, retries=0) == 1
    assert "b.mp4,internal_error," in (tmp_path / "out/failures.csv").read_text()
    assert len(engine.calls) == 4


def test_killed_anywhere_it_goes_on_and_ends_the_same(run, videos, tmp_path, monkeypatch):
    """Kill at every write of ledger and results, one after the other; compare with no kill."""
    undisturbed = FakeEngine()
    run(undisturbed, output="calm")
    expected = _tree(tmp_path / "calm")
    steps = 0
    limit = 0

    def step():
        nonlocal steps
        steps += 1
        if steps == limit:
            raise Killed

    append, write = Ledger._append, write_text_atomic

    def append_or_die(self, fact, **how):
        step()
        append(self, fact, **how)
        step()

    def write_or_die(path, text):
        step()
        write(path, text)
        step()

    monkeypatch.setattr(Ledger, "_append", append_or_die)
    monkeypatch.setattr(batch_run, "write_text_atomic", write_or_die)
    kills = 0
    while True:
        limit += 1
        steps = 0
        output = f"killed-{limit}"
        engine = FakeEngine()
        try:
            run(engine, output=output)
        except Killed:
            kills += 1
        else:
            break
        limit, at = 10**9, limit
        assert run(engine, output=output) == 0
        assert _tree(tmp_path / output) == expected
        assert len(engine.calls) <= 5, "more than the file at hand was computed twice"
        limit = at
    assert kills > 20


def test_a_stop_keeps_what_is_done(run, tmp_path):
    engine = FakeEngine()
    stop = []
    engine.before["b.mp4"] = [lambda: stop.append(True)]
    assert run(engine, wait=lambda _seconds: bool(stop)) == 130
    assert engine.calls == ["a.mp4", "b.mp4"]
    assert run(engine) == 0
    assert engine.calls == ["a.mp4", "b.mp4", "a.avi", "a.mp4"]


def test_a_file_that_always_kills_the_run_is_given_up(run, videos, tmp_path):
    for path in [videos / "a.mp4", videos / "cam/a.mp4", videos / "cam/a.avi"]:
        path.unlink()

    def die():
        raise Killed

    engine = FakeEngine()
    engine.before["b.mp4"] = [die]
    for _ in range(6):
        with pytest.raises(Killed):
            run(engine)
    assert run(engine) == 1
    assert "b.mp4,crashed," in (tmp_path / "out/failures.csv").read_text()
    assert len(engine.calls) == 6
    engine.before.clear()
    assert run(engine, retry_failed=True) == 0


def test_a_torn_ledger_and_a_large_one_lose_nothing(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    for _ in range(3000):
        ledger.begin("a.mp4", "key")
    ledger.reach("a.mp4", "key", 0.5)
    ledger.begin("a.mp4", "key")
    ledger.add_note("topic", [1])
    ledger.close()
    with path.open("ab") as file:
        file.write(b'{"done":"b.mp4","key":"k","by')
    again = Ledger(path)
    assert again.done("b.mp4") is None
    assert path.read_bytes().count(b"\n") < 10
    again.close()
    third = Ledger(path)
    assert third.fruitless_starts("a.mp4", "key") == 1
    assert third.note("topic") == [1]
    third.close()


def test_the_combined_results_are_those_of_the_files(run, videos, tmp_path):
    run(FakeEngine())
    folder = OutputFolder(tmp_path / "out")
    document = json.loads((tmp_path / "out/activitynet.json").read_text())
    assert document.keys() == {"version", "results", "external_data"}
    for item in find_files(FileChoice((str(videos),))):
        native = json.loads(result_path(folder.videos, item.name).read_text())
        (segments,) = to_activitynet(native)["results"].values()
        key = item.name if item.name.startswith("cam/") else item.name.removesuffix(".mp4")
        assert document["results"][key] == segments
    read = {one.video for one in read_detections(tmp_path / "out/activitynet.json")}
    assert read == set(document["results"])
    rows = (tmp_path / "out/segments.csv").read_text().splitlines()
    assert rows[0] == "video,label,start,end,score"
    assert rows[1:] == [
        f"{name},a,0.0,1.0,0.5" for name in ("a.mp4", "b.mp4", "cam/a.avi", "cam/a.mp4")
    ]


def test_camera_and_moment_of_names_are_in_the_results(run, videos, tmp_path):
    _write(videos, "dock/20260301091530.mp4")
    engine: Any = FakeEngine()
    assert run(engine) == 0
    out = tmp_path / "out"
    found = out / "videos" / "dock" / "20260301091530.mp4.json"
    assert "camera" not in json.loads(found.read_text())
    names = NamePattern.parse("{camera}/%Y%m%d%H%M%S.mp4", "UTC")
    options = LocalOptions(FileChoice((str(videos),)), out, names=names)

    def again():
        engine.calls.clear()
        return run_local(options, lambda _folder: engine, lambda _: False, Console(quiet=True))

    assert again() == 0
    assert engine.calls == ["20260301091530.mp4"], "only what has another place now"
    native = json.loads(found.read_text())
    assert (native["camera"], native["recorded_at"]) == ("dock", "2026-03-01T09:15:30.000Z")
    assert native["segments"][0]["end_time"] == "2026-03-01T09:15:31.000Z"
    assert "camera" not in json.loads((out / "videos" / "a.mp4.json").read_text())
    table = (out / "segments.csv").read_text().splitlines()
    assert table[0] == "video,label,start,end,score,start_time,end_time"
    assert again() == 0
    assert engine.calls == []
