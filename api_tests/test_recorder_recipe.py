"""docs/recorders.md as somebody follows it: a recorder's folder, a broker, a Grafana."""

import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "recorders.md").read_text()
BRIDGES = (ROOT / "docs" / "bridges.md").read_text()
MODEL = "tiny@1"
WAIT_SECONDS = 120.0
# A tiny network that knows nothing finds something only if everything is let through.
OPTIONS = {"class_threshold": 0, "min_raw_score": -1, "thresholds": [0.1, 0.3, 0.5, 0.7, 0.9]}


def blocks(language, text=TEXT):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def free_port():
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        return finder.getsockname()[1]


@pytest.fixture
def grafana():
    """A server that takes annotations; yields (its address, what it has)."""
    taken = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer([])

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Authorization"] == "Bearer glsa_test"
            taken.append(json.loads(body))
            self.answer({"message": "Annotation added", "id": len(taken)})

        def answer(self, document):
            content = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", taken
    server.shutdown()
    server.server_close()


class Terminals:
    """Shells in which the page's commands are typed, with other words in its first block."""

    def __init__(self, folder, words):
        self.folder = folder
        program = folder / "bin" / "kinetag"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kinetag "$@"\n')
        program.chmod(0o755)
        self.words = "".join(f"{name}='{value}'\n" for name, value in words.items())
        path = f"{program.parent}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "TZ": "UTC"}
        self.started = []

    def type(self, command, name):
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen(
            ["bash", "-euc", self.words + command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=self.environment,
            cwd=self.folder,
            start_new_session=True,
        )
        self.started.append((process, log))
        return process

    def read(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self):
        for process, log in reversed(self.started):
            for number in (signal.SIGTERM, signal.SIGKILL):
                if process.poll() is None:
                    os.killpg(process.pid, number)
                    try:
                        process.wait(30)
                    except subprocess.TimeoutExpired:
                        continue
            log.close()


def until(look, what):
    deadline = time.monotonic() + WAIT_SECONDS
    waiter = threading.Event()
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        waiter.wait(0.1)
    return pytest.fail(f"{what} did not happen")


def answers(url):
    try:
        return httpx2.get(url, timeout=2).status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_recording_is_seen_in_the_dashboards(
    tmp_path, start_broker, grafana, tiny_model, draw_video
):
    variables, service, watcher, listener = blocks("sh")
    broker, (grafana_url, annotations) = start_broker(), grafana
    port, recordings, results = free_port(), tmp_path / "recordings", tmp_path / "results"
    words = {
        "RECORDINGS": recordings, "PATTERN": "{camera}/%Y-%m-%d/%H.%M.%S.mp4",
        "BROKER": f"mqtt://127.0.0.1:{broker.port}", "GRAFANA": grafana_url,
        "GRAFANA_TOKEN": "glsa_test", "DATA": tmp_path / "data", "PORT": port,
        "RESULTS": results, "MODEL": MODEL, "SETTLE": 1, "OPTIONS": json.dumps(OPTIONS),
    }  # fmt: skip
    assert set(re.findall(r"\b([A-Z_]+)=", variables)) == set(words)
    shutil.copytree(tiny_model, tmp_path / "data" / "models" / MODEL)
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    folder = recordings / "dock" / moment.strftime("%Y-%m-%d")
    folder.mkdir(parents=True)
    terminals = Terminals(tmp_path, words)
    try:
        hearing = terminals.type(listener, "listener")
        terminals.type(service, "service")
        until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "the start of the service")
        watching = terminals.type(watcher, "watcher")
        until((results / ".kinetag" / "lock").exists, "the start of the watcher")
        shutil.copy(draw_video(1.5), folder / moment.strftime("%H.%M.%S.mp4"))
        shutil.copy(draw_video(1), folder / "intro.mp4")
        native = results / "videos" / "dock" / folder.name / moment.strftime("%H.%M.%S.mp4.json")
        until(native.exists, "the result")
        until(lambda: hearing.poll() is not None, "two events")
        until((native.parent / "intro.mp4.json").exists, "the other file's result")

        # Killed and started again, with a recording that came meanwhile.
        os.killpg(watching.pid, signal.SIGKILL)
        watching.wait()
        later = moment + timedelta(minutes=1)
        shutil.copy(draw_video(1.25), folder / later.strftime("%H.%M.%S.mp4"))
        watching = terminals.type(watcher, "watcher again")
        until((native.parent / later.strftime("%H.%M.%S.mp4.json")).exists, "the later result")
        os.killpg(watching.pid, signal.SIGTERM)
        assert watching.wait(30) == 0, terminals.read("watcher again")
        jobs = httpx2.get(f"http://127.0.0.1:{port}/v1/jobs").json()["jobs"]
    finally:
        terminals.close()

    assert len(jobs) == 3, "something was asked for twice"
    result = json.loads(native.read_text())
    assert result["camera"] == "dock"
    assert datetime.fromisoformat(result["recorded_at"]) == moment
    new, end = (json.loads(line) for line in terminals.read("listener").splitlines())
    assert (new["type"], end["type"]) == ("new", "end")
    assert new["after"]["id"] == end["after"]["id"]
    first = min(result["segments"], key=lambda one: (one["start"], one["end"], one["label"]))
    assert end["after"]["camera"] == "dock"
    assert end["after"]["start_time"] == pytest.approx(
        moment.timestamp() + first["start"], abs=0.01
    )
    spans = {(one["time"], one["timeEnd"]) for one in annotations}
    start_ms = round(1000 * moment.timestamp())
    assert (start_ms + first["start_ms"], start_ms + first["end_ms"]) in spans
    assert all("kinetag" in one["tags"] and "dock" in one["tags"] for one in annotations)
    assert len({one["text"] for one in annotations}) == len(annotations)
    header = (results / "segments.csv").read_text().splitlines()[0]
    assert header.startswith("video,label,start,end,score,")


def test_what_else_the_pages_show_is_well_formed():
    (automation,) = blocks("yaml")
    document = yaml.safe_load(automation)
    assert {"alias", "triggers", "conditions", "actions"} <= set(document)
    event, query = (json.loads(one) for one in blocks("json", BRIDGES))
    assert event["after"]["id"] == event["before"]["id"]
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text())
    assert dashboard["annotations"]["list"] == [query]
