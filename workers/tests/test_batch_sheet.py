"""The contact sheet of a batch in this process: what is in it, and when it is written."""

import html
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from models.decode import VideoSource
from models.errors import UnreadableVideo
from models.synthetic import encode_video
from workers import batch_sheet
from workers.batch_cli import app
from workers.batch_files import FileChoice
from workers.batch_local import LocalOptions, run_local
from workers.batch_posters import draw_posters, find_posters, read_posters
from workers.batch_run import RunSettings

HOSTILE = "<img src=x onerror=alert(1)>.mp4"


class FakeEngine:
    """Finds one fall in every file but those called broken."""

    def __init__(self):
        self.model, self.recipe = "tiny@1", "recipe"
        self.options: Mapping[str, Any] = {}

    def localize(self, path, sha256, on_progress, should_stop):
        if path.name.startswith("broken"):
            message = "The file is no video."
            raise UnreadableVideo(message)
        segments = [{"label": "fall <b>", "score": 0.5, "start": 1.0, "end": 3.0}]
        video = {"name": path.name, "sha256": sha256, "duration": 10.0}
        empty = path.name.startswith("empty")
        return {"version": "1", "video": video, "model": "tiny@1", "recipe": "recipe",
                "segments": [] if empty else segments}  # fmt: skip

    def rename(self, native, path):
        return {**native, "video": {**native["video"], "name": path.name}}

    def forget(self, sha256):
        pass

    def settle(self, sha256):
        pass


@pytest.fixture
def run(tmp_path):
    """Run over files of these names; return status and the sheet's text, None without one."""

    def run(names=(), **options):
        folder = tmp_path / "night shift"
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).write_bytes(name.encode())
        wish = LocalOptions(
            FileChoice((str(folder),)), tmp_path / "out", RunSettings(retries=0), **options
        )
        status = run_local(wish, lambda _: FakeEngine(), lambda _: False, Console(quiet=True))
        sheet = tmp_path / "out" / "contact-sheet.html"
        return status, sheet.read_text() if sheet.exists() else None

    return run


def words(text):
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", text)).split())


def test_a_batch_ends_with_a_contact_sheet(run):
    status, text = run(["a.mp4", "empty.mp4", "broken.mp4", HOSTILE])
    assert status == 1
    shown = words(text)
    assert "night shift tiny@1 Videos 4 Failed 1 Segments 2 Nothing found 1" in shown
    assert "The file is no video. unreadable_video" in shown
    assert "fall <b>" in shown
    assert HOSTILE in shown
    assert "<b>" not in text
    assert "<img" not in text
    assert "<script" not in text


def test_it_is_written_when_something_changed(run, tmp_path):
    run(["a.mp4"])
    sheet = tmp_path / "out" / "contact-sheet.html"
    before = sheet.stat().st_mtime_ns
    run()
    assert sheet.stat().st_mtime_ns == before
    _, text = run(["b.mp4"])
    assert "b.mp4" in text
    sheet.unlink()
    assert run()[1] == text


def test_nobody_has_to_have_one(run):
    assert run(["a.mp4"], sheet=False) == (0, None)


def test_a_sheet_that_cannot_be_written_costs_no_result(run, tmp_path):
    blocked = tmp_path / "out" / "contact-sheet.html"
    blocked.mkdir(parents=True)
    (blocked / "x").touch()
    folder = tmp_path / "night shift"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"a")
    wish = LocalOptions(FileChoice((str(folder),)), tmp_path / "out", RunSettings())
    console = Console(record=True, width=200)
    assert run_local(wish, lambda _: FakeEngine(), lambda _: False, console) == 0
    assert "contact sheet could not be written" in console.export_text()
    assert (tmp_path / "out" / "videos" / "a.mp4.json").exists()


def test_large_batches_have_pages_and_an_end(run, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_sheet, "CARDS_PER_PAGE", 3)
    monkeypatch.setattr(batch_sheet, "MAX_CARDS", 8)
    _, text = run([f"{at:02d}.mp4" for at in range(10)])
    out = tmp_path / "out"
    pages = sorted(path.name for path in out.glob("contact-sheet*"))
    assert pages == ["contact-sheet-2.html", "contact-sheet-3.html", "contact-sheet.html"]
    assert 'href="contact-sheet-2.html"' in text
    assert "Videos 10" in words(text)
    last = (out / "contact-sheet-3.html").read_text()
    assert re.findall(r"<h3><bdi>(.*?)</bdi>", last) == ["06.mp4", "07.mp4"]
    assert "2 more videos have a result and no place here" in words(last)
    monkeypatch.setattr(batch_sheet, "MAX_CARDS", 3)
    run(["10.mp4"])
    assert [path.name for path in out.glob("contact-sheet*")] == ["contact-sheet.html"]


def test_unfinished_pages_of_a_killed_run_are_removed_and_others_files_are_not(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".contact-sheet-2.html.ab12cd34").touch()
    (out / ".contact-sheet-notes.txt").touch()
    run(["a.mp4"])
    assert [path.name for path in out.glob(".contact*")] == [".contact-sheet-notes.txt"]


def test_moments_are_drawn_from_the_open_video(run, tmp_path):
    folder = tmp_path / "night shift"
    folder.mkdir()
    video = folder / "real.mp4"
    rng = np.random.default_rng(0)
    tone = rng.integers(0, 255, (8, 48, 96, 3), np.uint8)
    encode_video([tone[at // 25] for at in range(200)], video, fps=25.0)
    posters = tmp_path / "out" / ".kinetag" / "posters"
    with VideoSource(video, fps=25.0, short_side_px=None, name="real.mp4") as source:
        draw_posters(source, posters)
        sha256 = source.facts.sha256
    strip = read_posters(find_posters(posters)[sha256])
    assert len(strip.seconds) == 8
    assert len(strip.jpeg) < 40_000
    _, text = run()
    assert text.count('<img class="posters" alt="8 moments of real.mp4"') == 1
    posters.joinpath("readme.txt").write_text("not ours")
    assert list(find_posters(posters)) == [sha256]


def test_the_command_line_says_how_to_leave_it_out():
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "--no-sheet" in shown
