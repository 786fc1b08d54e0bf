"""The curl examples of docs/batches.md, run as they are written."""

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from service.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "batches.md"
FENCED = re.compile(r"^```\n(curl .*?)^```", re.MULTILINE | re.DOTALL)
# An example goes on in the next line after a backslash, or inside quotes.
EXAMPLE = re.compile(r"^curl (?:\\\n|'[^']*'|\"[^\"]*\"|[^\n'\"\\])*", re.MULTILINE)


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"x")
    with zipfile.ZipFile(tmp_path / "videos.zip", "w") as file:
        file.writestr("a.mp4", b"\0\0\0\x18ftypisom")
    return folder


@pytest.fixture
def settings(settings, archive):
    return Settings(**{**settings.model_dump(), "path_roots": (str(archive),)})


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_examples_work_as_written(live_server, archive, tmp_path):
    examples = [one for block in FENCED.findall(PAGE.read_text()) for one in EXAMPLE.findall(block)]
    assert len(examples) == 8
    batch_id = ""
    for example in examples:
        command = example.replace("127.0.0.1:8000", f"127.0.0.1:{live_server[1]}")
        answer = subprocess.run(
            ["sh", "-c", command.replace("/archive", str(archive))],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "BATCH": batch_id},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        if "segments.csv" in example:
            assert (tmp_path / "segments.csv").read_text().startswith("video,label,start,end,score")
            continue
        document = json.loads(answer)
        if "/retry" in example:
            assert document["code"] == "invalid_transition", "nothing has failed yet"
            continue
        assert "code" not in document, document
        batch_id = batch_id or document["id"]
