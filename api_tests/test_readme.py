"""The commands of README's section on REST, as they stand there, one shell for all of them."""

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
DEFAULT_URL = "http://127.0.0.1:8000"


def _blocks():
    text = README.read_text()
    section = text[text.index("## Over REST") : text.index("## Teach it")]
    return re.findall(r"```sh\n(.*?)```", section, re.S)


def test_walk_through_works_as_written(start_service, draw_video, tmp_path):
    start, *blocks = _blocks()
    assert start.split("#")[0].split() == [".venv/bin/kinetag", "up"]
    # The model that README's reader has is a better one; it takes longer.
    service = start_service("--broker", "none", "--device", "cpu", KINETAG_DEFAULT_MODEL="tiny@1")
    folder = tmp_path / "reader"
    folder.mkdir()
    shutil.copy(draw_video(4), folder / "video.mp4")
    with zipfile.ZipFile(folder / "clips.zip", "w") as archive:
        archive.write(draw_video(2), "monday/a.mp4")
        archive.writestr("monday/b.mp4", b"no video")

    script = "\n".join(blocks)
    assert script.count(DEFAULT_URL) == 1
    run = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script.replace(DEFAULT_URL, service.ready["url"])],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "HOME": str(folder)},
    )
    assert run.returncode == 0, run.stderr[-3000:]

    job = json.loads((folder / "job.json").read_text())
    assert job["tag"] == "store-12"
    assert "event: job.succeeded" in run.stdout
    assert (folder / "segments.vtt").read_text().startswith("WEBVTT")
    assert '"labels_seen"' in run.stdout, "a result"
    assert re.search(r'"name":"monday/b.mp4".*"code":"\w+"', run.stdout), "a failure's reason"
    assert "video,label,start,end,score\nmonday/a.mp4,alpha,0.0,2.0," in run.stdout
    assert service.client.get(f"/v1/jobs/{job['id']}").status_code == 404
