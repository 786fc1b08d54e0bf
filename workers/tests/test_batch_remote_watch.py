"""`--watch --server` against a service that loses answers, refuses, forgets and goes away."""

import http.server
import json
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from service.errors import InvalidRequest
from workers import batch_remote_watch
from workers.batch_client import BatchClient, RefusedError
from workers.batch_files import FileChoice
from workers.batch_ledger import Ledger
from workers.batch_places import NamePattern
from workers.batch_remote import RemoteOptions, run_remote
from workers.batch_remote_watch import watch_remote

WAIT_SECONDS = 20


FINISHED: dict[str, dict[str, Any]] = {
    "bat_1": {
        "status": "finished", "counts": {"succeeded": 2, "failed": 0, "canceled": 0},
        "num_items": 2, "progress": 1.0, "eta_seconds": 0.0, "links": {"retry": None},
        "error": None,
    },
    "items": {"items": [], "next_page_token": None},
    "result": {"name": "x.mp4", "result": {}},
}  # fmt: skip


class Killed(BaseException):
    """Stands for SIGKILL: nothing that catches errors catches it."""


class FakeService:
    """Just enough of /v1: models, jobs made once per key, results; files are named by path."""

    def __init__(self):
        self.jobs = {}
        self.keys = {}
        self.requests = []
        self.fail = {}
        self.refuse = None
        self.hold = set()
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(*service.get(urlsplit(self.path).path))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.answer(*service.post(self.path, self.headers["Idempotency-Key"], body))

            def answer(self, status, document, location=""):
                content = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Location", location)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def post(self, path, key, body):
        self.requests.append(body)
        if path == "/v1/batches":
            return 202, {}, "/v1/batches/bat_1"
        if self.refuse is not None:
            return self.refuse, {"code": "quota_bytes", "detail": "Full."}
        if key not in self.keys:
            self.keys[key] = f"/v1/jobs/job_{len(self.keys)}"
            self.jobs[self.keys[key]] = body
        return 202, {}, self.keys[key]

    def get(self, path):
        if path == "/v1/models":
            return 200, {"models": [{"id": "tiny@1", "name": "tiny"}]}
        if path.startswith("/v1/batches/"):
            return 200, FINISHED.get(path.rpartition("/")[2], {})
        body = self.jobs.get(path.removesuffix("/result"))
        if body is None:
            return 404, {"code": "job_not_found", "detail": "There is no such job."}
        name = body["path"].rsplit("/", 1)[-1]
        if path.endswith("/result"):
            segment = {"label": "a", "score": 0.5, "start": 0.0, "end": 1.0, "start_frame": 0}
            video = {"name": name, "sha256": "0" * 64, "duration": 1.0}
            return 200, {"version": "1", "video": video, "model": "tiny@1", "recipe": "r",
                         "segments": [segment]}  # fmt: skip
        if name in self.hold:
            return 200, {"status": "processing", "error": None}
        error = self.fail.get(name)
        return 200, {"status": "failed" if error else "succeeded", "error": error}

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def service():
    fake = FakeService()
    yield fake
    fake.close()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "recordings" / "dock"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def watch(tmp_path, service, folder, monkeypatch):
    """Returns (look, **options) -> exit status; watches until ``look`` is true, and stops then."""
    monkeypatch.setattr(batch_remote_watch, "JOB_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(batch_remote_watch, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(batch_remote_watch, "AWAY_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(batch_remote_watch, "MIN_LOOK_SECONDS", 0.02)

    def run(look, **options):
        deadline = time.monotonic() + WAIT_SECONDS
        waiter = threading.Event()

        def wait(seconds):
            assert time.monotonic() < deadline, "it did not happen"
            if look():
                return True
            waiter.wait(seconds)
            return False

        request = {"model": "tiny@1", "options": {}}
        choice = FileChoice((str(folder.parent),))
        wish = RemoteOptions(choice, tmp_path / "out", request, as_paths=True, **options)
        client = BatchClient(service.url, None, wait, patience_seconds=0.2)
        try:
            return watch_remote(wish, 0.02, client, wait, Console(quiet=True))
        finally:
            client.close()

    return run


def result(tmp_path, name):
    return tmp_path / "out" / "videos" / "dock" / f"{name}.json"


def test_each_file_is_one_job_over_restarts(watch, service, folder, tmp_path):
    (folder / "20260301091530.mp4").write_bytes(b"1")
    names = NamePattern.parse("{camera}/%Y%m%d%H%M%S.mp4", "UTC")
    first = result(tmp_path, "20260301091530.mp4")
    assert watch(first.exists, names=names) == 0
    (folder / "intro.mp4").write_bytes(b"2")
    assert watch(result(tmp_path, "intro.mp4").exists, names=names) == 0
    assert [one.get("recorded_at") for one in service.requests] == [
        "2026-03-01T09:15:30+00:00",
        None,
    ]
    assert service.requests[0]["camera"] == "dock"
    assert len((tmp_path / "out" / "segments.csv").read_text().splitlines()) == 3
    (folder / "intro.mp4").write_bytes(b"other")  # recorded anew under the same name
    assert watch(lambda: len(service.keys) == 3, names=names) == 0


def test_killed_before_the_answer_is_noted_it_asks_under_the_same_key(
    watch, service, folder, tmp_path, monkeypatch
):
    (folder / "a.mp4").write_bytes(b"1")
    add_note, left = Ledger.add_note, [None]

    def die(self, topic, value):
        if "job" in value and left:
            left.pop()
            raise Killed
        add_note(self, topic, value)

    monkeypatch.setattr(Ledger, "add_note", die)
    with pytest.raises(Killed):
        watch(lambda: False)
    assert watch(result(tmp_path, "a.mp4").exists) == 0
    assert (len(service.requests), len(service.keys)) == (2, 1)


def test_a_job_under_way_is_fetched_by_the_next_run_although_its_file_is_gone(
    watch, service, folder, tmp_path
):
    (folder / "a.mp4").write_bytes(b"1")
    service.hold.add("a.mp4")
    assert watch(lambda: bool(service.keys)) == 0
    (folder / "a.mp4").unlink()
    service.hold.clear()
    assert watch(result(tmp_path, "a.mp4").exists) == 0
    assert len(service.requests) == 1


def test_a_job_that_was_deleted_is_asked_for_again(watch, service, folder, tmp_path):
    (folder / "a.mp4").write_bytes(b"1")
    service.hold.add("a.mp4")
    assert watch(lambda: bool(service.keys)) == 0
    service.jobs.clear()
    service.hold.clear()
    assert watch(result(tmp_path, "a.mp4").exists) == 0
    assert len(service.keys) == 2


def test_failures_have_rows_and_are_left_alone_until_asked_for(watch, service, folder, tmp_path):
    (folder / "a.mp4").write_bytes(b"1")
    (folder / "b.mp4").write_bytes(b"2")
    service.fail["a.mp4"] = {"code": "unreadable_video", "message": "It is none."}
    table = tmp_path / "out" / "failures.csv"

    def both():
        return (
            result(tmp_path, "b.mp4").exists() and table.exists() and "a.mp4" in table.read_text()
        )

    assert watch(both) == 1
    assert "dock/a.mp4,unreadable_video,It is none.,1,no" in table.read_text()
    num_requests = len(service.requests)
    rounds = iter(range(20))
    assert watch(lambda: next(rounds, None) is None) == 0
    assert len(service.requests) == num_requests
    service.fail.clear()
    assert watch(result(tmp_path, "a.mp4").exists, retry_failed=True) == 0


def test_what_may_pass_is_tried_again(watch, service, folder, tmp_path):
    (folder / "a.mp4").write_bytes(b"1")
    service.refuse = 507

    def relent():
        if len(service.requests) >= 3:
            service.refuse = None
        return result(tmp_path, "a.mp4").exists()

    assert watch(relent) == 0
    assert len(service.keys) == 1


def test_a_service_that_is_away_is_waited_for(watch, service, folder, tmp_path):
    (folder / "a.mp4").write_bytes(b"1")
    service.refuse = 503
    started = time.monotonic()

    def relent():
        if time.monotonic() - started > 0.8:
            service.refuse = None
        return result(tmp_path, "a.mp4").exists()

    assert watch(relent) == 0
    assert len(service.keys) == 1


def test_a_key_that_holds_no_more_ends_it(watch, service, folder):
    (folder / "a.mp4").write_bytes(b"1")
    service.refuse = 401
    with pytest.raises(RefusedError):
        watch(lambda: False)


def test_addresses_cannot_be_watched(tmp_path, service):
    listed = tmp_path / "list"
    listed.write_text("http://example.com/a.mp4\n")
    wish = RemoteOptions(FileChoice((), (listed,)), tmp_path / "out")
    client = BatchClient(service.url, None, lambda _: False)
    with pytest.raises(InvalidRequest, match="leave --watch out"):
        watch_remote(wish, 1.0, client, lambda _: False, Console(quiet=True))
    client.close()


def test_a_batch_without_watching_says_camera_and_moment_too(tmp_path, service, folder):
    for name in ("20260301091530.mp4", "intro.mp4"):
        (folder / name).write_bytes(b"1")
    names = NamePattern.parse("{camera}/%Y%m%d%H%M%S.mp4", "Europe/Berlin")
    choice = FileChoice((str(folder.parent),))
    wish = RemoteOptions(choice, tmp_path / "out", {"model": "tiny@1"}, as_paths=True, names=names)
    client = BatchClient(service.url, None, lambda _: False)
    assert run_remote(wish, client, lambda _: False, Console(quiet=True)) == 0
    client.close()
    (request,) = service.requests
    assert request["items"] == [
        {
            "name": "dock/20260301091530.mp4",
            "path": str(folder / "20260301091530.mp4"),
            "camera": "dock",
            "recorded_at": "2026-03-01T08:15:30+00:00",
        },
        {"name": "dock/intro.mp4", "path": str(folder / "intro.mp4")},
    ]
