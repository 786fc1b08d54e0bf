"""Camera and moment from the paths that recorders write."""

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.errors import InvalidRequest
from workers.batch_cli import app
from workers.batch_places import NOWHERE, NamePattern, Place, known_codes

NINE = datetime(2026, 3, 1, 9, 15, 30, tzinfo=UTC)
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{camera}/%Y-%m-%d/%H.%M.%S.mp4", "/recordings/dock/2026-03-01/09.15.30.mp4"),
        ("{camera}_%Y%m%d%H%M%S.mp4", "/srv/ftp/dock_20260301091530.mp4"),
        ("%Y-%m-%d/%H/{camera}/%M.%S.mp4",
         "/media/frigate/recordings/2026-03-01/09/dock/15.30.mp4"),
        ("{camera}_%Y%m%d_%H%M%S-*.mp4",
         "/media/frigate/exports/dock_20260301_091530-20260301_092000_a1b2c3.mp4"),
        ("{camera}/%Y-%m-%dT%H-%M-%S.mp4",
         "/home/Shinobi/videos/group/dock/2026-03-01T09-15-30.mp4"),
        ("{camera}.%Y%m%d_%H%M%S*.mp4", "/BlueIris/New/dock.20260301_091530.5.3.mp4"),
        ("{camera}/%Y-%m-%d/%H-%M-%S.mp4", "/var/lib/motioneye/dock/2026-03-01/09-15-30.mp4"),
        ("{camera}/%Y-%m-%d/*/dav/%H/%H.%M.%S-%H.%M.%S*.mp4",
         "/ftp/dock/2026-03-01/001/dav/09/09.15.30-09.20.00[M][0@0][0].mp4"),
        ("{camera}/{camera}-%s.mp4", f"/a/dock/dock-{int(NINE.timestamp())}.mp4"),
        ("{camera} %y%m%d %I%M%S%p.mp4", "/a/dock 260301 091530AM.mp4"),
        ("{camera}_%Y-%jT%H%M%S%z.mp4", "/a/dock_2026-060T101530+0100.mp4"),
    ],
)  # fmt: skip
def test_paths_of_recorders(pattern, path):
    found = NamePattern.parse(pattern, "UTC").place(Path(path))
    assert found == Place("dock", NINE)


def test_camera_names_may_hold_what_separates():
    pattern = NamePattern.parse("{camera}_%Y%m%d_%H%M%S.mp4", "UTC")
    assert pattern.place(Path("/x/front_door_2_20260301_091530.mp4")).camera == "front_door_2"


def test_what_a_name_does_not_say_is_not_known():
    pattern = NamePattern.parse("{camera}/%Y-%m-%d/%H.%M.%S.mp4", "UTC")
    for path in (
        "/r/dock/2026-03-01/intro.mp4",
        "/r/dock/2026-02-31/09.15.30.mp4",
        "/r/dock/2026-03-01/09.15.30.mp4.part",
        "/r/dock/x2026-03-01/09.15.30.mp4",
        "/r/do\nck/2026-03-01/09.15.30.mp4",
        "/r/" + "x" * 300 + "/2026-03-01/09.15.30.mp4",
        "/r/dock/1700-03-01/09.15.30.mp4",
    ):
        assert pattern.place(Path(path)) == NOWHERE, path
    only = NamePattern.parse("{camera}/*.mp4")
    assert only.place(Path("/r/dock/x.mp4")) == Place("dock", None)
    assert NamePattern.parse("%Y%m%d%H%M*", "UTC").place(Path("/a/202603010915x")).camera is None


def test_times_are_of_the_zone_that_is_given_or_of_this_machine(monkeypatch):
    import time

    path = Path("/r/dock_20260701091530.mp4")
    text = "{camera}_%Y%m%d%H%M%S.mp4"
    berlin = NamePattern.parse(text, "Europe/Berlin").place(path).recorded_at
    assert berlin.utcoffset() == timedelta(hours=2)
    monkeypatch.setenv("TZ", "XYZ-5:30")
    time.tzset()
    try:
        here = NamePattern.parse(text).place(path).recorded_at
    finally:
        monkeypatch.undo()
        time.tzset()
    assert here == datetime(2026, 7, 1, 9, 15, 30, tzinfo=timezone(timedelta(hours=5.5)))
    assert NamePattern.parse(text, "UTC").place(path).to_json() == {
        "camera": "dock",
        "recorded_at": "2026-07-01T09:15:30+00:00",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{kamera}/%Y%m%d%H%M.mp4", "{kamera}"),
        ("{camera}/%Y-%m-%d/x.mp4", "hour and minute"),
        ("{camera}/%q.mp4", "%q"),
        ("*.mp4", "neither"),
        ("", "neither"),
    ],
)
def test_patterns_that_say_nothing_are_refused(text, words):
    with pytest.raises(InvalidRequest, match=re.escape(words)):
        NamePattern.parse(text)


def test_zones_that_there_are_not_are_refused():
    for zone in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(InvalidRequest, match="time zone"):
            NamePattern.parse("{camera}*", zone)


def test_the_documentation_names_every_code():
    text = (DOCS / "recorders.md").read_text()
    assert all(f"`{code}`" in text for code in known_codes())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--timezone", "UTC"), "--name-pattern"),
        (("--name-pattern", "{kamera}.mp4"), "{kamera}"),
        (("--name-pattern", "{camera}*", "--timezone", "Mars/Olympus"), "Mars/Olympus"),
    ],
)
def test_the_command_line_refuses_what_says_nothing(tmp_path, arguments, words):
    done = CliRunner().invoke(app, [str(tmp_path), *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert words in done.output
