"""/docs: every address has an example, and every example does what it shows."""

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from service.api.examples import ANSWERS, EXAMPLES, recorded_answers

RECORD = bool(os.environ.get("RECORD_EXAMPLES"))
MAX_TEXT = 1500
SHELL = """
curl() { command curl -sS --max-time 20 -D head -o body -w '%{http_code}' "$@"; }
"""
SECRET = re.compile(r"(kinetag_[0-9A-Z]{26}_|whsec_|kt[a-z]_)[A-Za-z0-9+/=_.-]+")
COMMON_HEADER = re.compile(
    r"(?im)^(date|server|referrer-policy|cache-control|content-security-policy"
    r"|x-content-type-options|x-frame-options|cross-origin-resource-policy):.*\r?\n"
)
ENDED = {"succeeded", "failed", "canceled", "finished"}


class Reader:
    """Somebody who follows the examples in a shell, in a folder with a video."""

    def __init__(self, service, folder, video):
        self.service = service
        self.folder = folder
        self.kept = {"KINETAG": service.ready["url"]}
        shutil.copy(video, folder / "cam3.mp4")
        with zipfile.ZipFile(folder / "monday.zip", "w") as archive:
            archive.write(video, "cam3.mp4")

    def follow(self, example):
        """Run one example; returns (status, answer)."""
        self.wait(example.when)
        for name in ("head", "body"):
            (self.folder / name).unlink(missing_ok=True)
        names = {name: self.kept[kept] for name, kept in example.uses.items()}
        done = subprocess.run(
            ["bash", "-uc", SHELL + example.command],
            cwd=self.folder,
            env={**os.environ, **self.kept, **names, "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (example.command, done.stderr)
        answer = self.answer()
        for name, key in example.keeps.items():
            self.kept[name] = self.header(key) if key == "Location" else answer[key]
        # With -i and -I the header comes along; the status is the last word.
        return int(done.stdout[-3:]), answer

    def answer(self):
        body = self.folder / "body"
        content = body.read_bytes() if body.exists() else b""
        if not content:
            return None
        try:
            return json.loads(content)
        except ValueError:
            return content.decode(errors="replace")

    def header(self, name):
        head = (self.folder / "head").read_text()
        found = re.search(rf"(?im)^{name}: *(\S+)", head)
        assert found is not None, head
        return found[1].rpartition("/")[2]

    def wait(self, name):
        """Until the job or batch that was kept under this name has ended."""
        if name is not None:
            kind = "batches" if name.endswith("BATCH") else "jobs"
            address = f"/v1/{kind}/{self.kept[name]}"
            self.service.until(lambda: self.service.job(address)["status"] in ENDED, 60, address)


def shape(value):
    """What stays the same from run to run: names and kinds, not values; None fits anything."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return type(value).__name__
    return "number"


def fits(now, before):
    if "NoneType" in (now, before):
        return True
    if isinstance(now, dict) and isinstance(before, dict):
        return set(now) == set(before) and all(fits(now[name], before[name]) for name in now)
    if isinstance(now, list) and isinstance(before, list):
        return not now or not before or fits(now[0], before[0])
    return now == before


def shortened(answer):
    """An answer as the page shows it: of long lists the beginning, of text the first lines."""
    if isinstance(answer, dict):
        return {name: shortened(value) for name, value in answer.items()}
    if isinstance(answer, list):
        return [shortened(value) for value in answer[:3]]
    if isinstance(answer, str):
        answer = SECRET.sub(r"\1…", COMMON_HEADER.sub("", answer)).replace("\r\n", "\n").strip()
        if len(answer) > MAX_TEXT:
            answer = answer[:MAX_TEXT].rpartition("\n")[0] + "\n…"
    return answer


def test_examples_do_what_they_show(start_service, draw_video, tmp_path):
    service = start_service("--workers", "1", KINETAG_DEFAULT_MODEL="tiny@1")
    (tmp_path / "reader").mkdir()
    reader = Reader(service, tmp_path / "reader", draw_video(2))
    before, now = recorded_answers(), {}
    for example in EXAMPLES:
        status, answer = reader.follow(example)
        assert status == example.status, (example.command, answer)
        now[example.command] = shortened(answer)
        if not RECORD:
            assert example.command in before, "record it: RECORD_EXAMPLES=1 pytest api_tests/..."
            wanted = before[example.command]
            assert fits(shape(answer), shape(wanted)), (example.command, answer, wanted)
    if RECORD:
        ANSWERS.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n")


def test_every_address_has_an_example():
    document = json.loads((Path(__file__).parents[1] / "docs" / "openapi.json").read_text())
    addresses = {
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert addresses - {example.address for example in EXAMPLES} == UNSHOWN
    assert {example.address for example in EXAMPLES} <= addresses


UNSHOWN = {
    # Never ends by itself; the events of one job are shown.
    "GET /v1/events",
}


def test_every_example_was_recorded():
    assert set(recorded_answers()) == {example.command for example in EXAMPLES}


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ({"a": 1}, {"a": 2.5}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": None}, {"a": {"b": 1}}, True),
        ({"a": "x"}, {"a": 1}, False),
        ([{"a": 1}], [], True),
        ([{"a": 1}], [{"a": "x"}], False),
        (True, 1, False),
    ],
)
def test_shapes_are_told_apart(now, before, expected):
    assert fits(shape(now), shape(before)) is expected
