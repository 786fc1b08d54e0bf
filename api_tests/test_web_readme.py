"""README's timeline on a page of one's own: its five lines as they stand there, in Chromium."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
SERVICE, SITE_PORT = "http://127.0.0.1:8000", "9000"
SECONDS = 60
JOB_MS = 120_000


@pytest.fixture
def lines():
    text = README.read_text()
    section = text[text.index("## In the browser") : text.index("## Over REST")]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.S)
    return block.splitlines()


@pytest.fixture
def site(tmp_path):
    """The reader's folder, and the port that her page is served from."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path / "reader"
    folder.mkdir()
    return folder, str(port)


def _as_written(lines, service, port):
    """The lines, with this test's service and port in the place of the usual ones."""
    text = "\n".join(lines)
    assert text.count(SERVICE) == 1
    return text.replace(SERVICE, service).replace(SITE_PORT, port).splitlines()


def test_a_newcomer_embeds_her_video(lines, site, start_service, draw_video, page_of):
    folder, port = site
    shutil.copy(draw_video(4), folder / "video.mp4")
    service = start_service("--broker", "none", "--device", "cpu", KINETAG_DEFAULT_MODEL="tiny@1")
    *commands, serve = _as_written(lines, service.ready["url"], port)
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=folder,
        check=True,
        timeout=SECONDS,
        env={**os.environ, "HOME": str(folder)},
    )
    command, address = serve.split("# open ")
    assert command.split()[0] == "python3"
    served = subprocess.Popen(
        [sys.executable, *command.split()[1:]],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + SECONDS
        while socket.socket().connect_ex(("127.0.0.1", int(port))) != 0:
            assert time.monotonic() < deadline
        # The job may still be at work: the frame then says so, and shows its end by itself.
        page = page_of(address, allowed_errors="favicon")
        (frame,) = [one for one in page.frames if "/embed/" in one.url]
        # Every segment of the two classes of the tiny model, whatever they are.
        shown = re.compile(r"\d+ segments?|Nothing found", re.IGNORECASE)
        frame.get_by_text(shown).first.wait_for(timeout=JOB_MS)
        frame.locator("video").first.wait_for(state="attached")
    finally:
        served.terminate()
        served.wait(SECONDS)


def test_a_stranger_frames_nothing(lines, site, start_service, draw_video, page_of):
    """The same page from another origin than the one that was named."""
    folder, port = site
    shutil.copy(draw_video(2), folder / "video.mp4")
    service = start_service("--broker", "none", "--device", "cpu", KINETAG_DEFAULT_MODEL="tiny@1")
    *commands, serve = _as_written(lines, service.ready["url"], port)
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=folder, check=True, timeout=SECONDS, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    served = subprocess.Popen(
        [sys.executable, *serve.split("#")[0].split()[1:]],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + SECONDS
        while socket.socket().connect_ex(("127.0.0.1", int(port))) != 0:
            assert time.monotonic() < deadline
        page = page_of(
            f"http://127.0.0.1:{port}/mine.html", allowed_errors="frame-ancestors|favicon|Framing"
        )
        page.wait_for_timeout(1000)
        assert not [one for one in page.frames if "/embed/" in one.url]
    finally:
        served.terminate()
        served.wait(SECONDS)
