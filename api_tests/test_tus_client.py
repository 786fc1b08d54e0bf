"""Resumable uploads by their reference client, tus-js-client, against a real server that dies."""

import hashlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

CLIENT = Path(__file__).parent / "tus_client"
ROOT = CLIENT.parents[1]
MIB = 1024 * 1024
SIZE_BYTES = 64 * MIB
SEEN_BYTES = 8 * MIB
SECONDS = 60


def until(look, what):
    """Look again and again until something true comes back."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        # Half a millisecond: a file on this machine grows by megabytes meanwhile.
        select.select([], [], [], 0.0005)
    return pytest.fail(f"{what} did not happen within {SECONDS} s")


@pytest.fixture(scope="session")
def modules(pytestconfig):
    """The client's node_modules, installed once per lock file, without running any script of it."""
    if shutil.which("npm") is None:
        if os.environ.get("REQUIRE_NODE"):
            pytest.fail("REQUIRE_NODE is set, and there is no npm.")
        pytest.skip("Node.js is not installed: tus-js-client cannot be tried")
    lock = (CLIENT / "package-lock.json").read_bytes()
    folder = pytestconfig.cache.mkdir(f"tus-client-{hashlib.sha256(lock).hexdigest()[:12]}")
    if not (folder / "complete").exists():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(CLIENT / name, folder)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=SECONDS)
        (folder / "complete").touch()
    return folder / "node_modules"


class Api:
    """`kinetag api` on one port, to be killed and started again."""

    def __init__(self, folder):
        self.folder = folder
        self.log = folder.with_suffix(".log")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.web = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=SECONDS)
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kinetag", "api", "--data", str(self.folder),
                 "--port", str(self.port)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )  # fmt: skip
        until(self.answers, f"the start ({self.log})")

    def answers(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.web.get("/healthz").status_code == 200
        except httpx2.TransportError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait(SECONDS)

    def arrived_bytes(self):
        """What lies on disk of the one upload under way."""
        folder = self.folder / "uploads"
        return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    api = Api(tmp_path_factory.mktemp("tus") / "data")
    yield api
    api.kill()
    api.web.close()


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "cam3 \N{VIDEO CAMERA}.mp4"
    path.write_bytes(os.urandom(SIZE_BYTES))
    return path


@pytest.fixture
def start_client(tmp_path, modules, api, film):
    started = []

    def start(*options):
        memory = tmp_path / "address"
        endpoint = f"http://127.0.0.1:{api.port}/v1/uploads"
        client = subprocess.Popen(
            ["node", str(CLIENT / "upload.cjs"), str(modules), str(film), endpoint, str(memory),
             *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        started.append(client)
        return client

    yield start
    for client in started:
        client.kill()
        client.communicate()


def outcome(client):
    out, err = client.communicate(timeout=SECONDS)
    assert client.returncode == 0, err
    return json.loads(out)


def freeze_in_the_middle(client, api):
    """Stop the client once part of the file is on disk; return what the server promises to keep."""
    until(lambda: api.arrived_bytes() >= SEEN_BYTES, "the first part")
    client.send_signal(signal.SIGSTOP)

    def promised():
        [path] = (api.folder / "uploads").iterdir()
        offset = api.web.get(f"/v1/uploads/{path.name}").json()["offset_bytes"]
        return offset if offset >= SEEN_BYTES else 0

    offset = until(promised, "a checkpoint")
    assert offset < SIZE_BYTES, "the client was not stopped in the middle"
    return offset


def require_the_same_bytes(api, found, film):
    video = api.web.get(f"/v1/videos/{found['video']}").raise_for_status().json()
    assert (video["name"], video["camera"]) == (film.name, "dock")
    assert video["sha256"] == hashlib.sha256(film.read_bytes()).hexdigest()
    with api.web.stream("GET", video["links"]["content"]) as answer:
        digest = hashlib.sha256()
        for piece in answer.iter_bytes():
            digest.update(piece)
    assert digest.hexdigest() == video["sha256"]
    assert api.arrived_bytes() == 0


def test_the_client_survives_the_death_of_the_server(api, film, start_client):
    client = start_client()
    promised = freeze_in_the_middle(client, api)
    api.kill()
    api.start()
    assert api.arrived_bytes() >= promised
    client.send_signal(signal.SIGCONT)
    found = outcome(client)
    methods = [method for method, _ in found["exchanges"]]
    assert methods.count("POST") == 1
    assert "HEAD" in methods
    require_the_same_bytes(api, found, film)


def test_another_client_goes_on_where_server_and_client_died(api, film, start_client):
    first = start_client()
    promised = freeze_in_the_middle(first, api)
    first.kill()
    first.communicate()
    api.kill()
    api.start()
    found = outcome(start_client(str(4 * MIB)))
    patches = [status for method, status in found["exchanges"] if method == "PATCH"]
    sent_bytes = patches.count(204) * 4 * MIB
    assert sent_bytes < SIZE_BYTES - promised + 4 * MIB
    assert "POST" not in [method for method, _ in found["exchanges"]]
    require_the_same_bytes(api, found, film)


def test_a_client_that_asks_after_the_end_is_told_so(api, film, start_client):
    found = outcome(start_client())
    again = outcome(start_client())
    assert again["exchanges"] == [["HEAD", 200]]
    assert again["video"] == found["video"]


def test_the_page_about_uploads_works_as_written(api, tmp_path):
    page = (ROOT / "docs" / "uploads.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    # What these two name is not on this machine.
    script = "".join(b for b in blocks if "example.org" not in b and "/archive" not in b)
    assert script.count("curl") > 8
    script = script.replace("http://127.0.0.1:8000", str(api.web.base_url).rstrip("/"))
    (tmp_path / "cam3.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + os.urandom(5000))
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert '"offset_bytes":5012' in done.stdout
    assert "urn:kinetag:error" not in done.stdout
    assert (tmp_path / "first-bytes").read_bytes() == b"\0\0\0\x18ftypmp"
    names = [video["name"] for video in api.web.get("/v1/videos").json()["videos"]]
    assert names.count("cam3.mp4") == 2
