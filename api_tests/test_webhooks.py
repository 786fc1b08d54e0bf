"""Webhooks and videos by URL with real processes: a hostile receiver, a sweeper that is killed.

At least once, always under the same id, nothing lost: what the documentation promises.
"""

import http.server
import json
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks

QUICK = {
    "KINETAG_ALLOW_PRIVATE_URLS": "1",
    "KINETAG_WEBHOOK_TIMEOUT_SECONDS": "0.5",
    "KINETAG_WEBHOOK_RETRY_SECONDS": "0.05",
    "KINETAG_LEASE_SECONDS": "3",
    "KINETAG_HEARTBEAT_SECONDS": "0.5",
    "KINETAG_SWEEP_SECONDS": "0.5",
}
TROUBLES = (500, "hang", "reset", 302)
NUM_JOBS = 16
NUM_KILLS = 2


class Peer:
    """A web server: receives webhooks, and serves one file in pieces."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes, str]] = []
        self.answer: Callable[[str, int], Any] = lambda message_id, attempt: 200
        self.file = b""
        self.hold = threading.Event()
        self.downloads: list[str | None] = []
        self.closing = threading.Event()
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                peer.received.append((headers, body, self.path))
                answer = peer.answer(headers["webhook-id"], peer.ids()[headers["webhook-id"]])
                if answer == "hang":
                    peer.closing.wait(20)
                elif answer == "reset":
                    linger = b"\1\0\0\0\0\0\0\0"
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.connection.close()
                else:
                    self.send_response(answer)
                    self.send_header("Location", "/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def do_GET(self) -> None:
                peer.downloads.append(self.headers["Range"])
                self.send_response(200)
                self.send_header("Content-Length", str(len(peer.file)))
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(peer.file[: len(peer.file) // 2])
                    self.wfile.flush()
                    peer.hold.wait(30)
                    self.wfile.write(peer.file[len(peer.file) // 2 :])

            def log_message(self, *_: object) -> None:
                pass

            def finish(self) -> None:
                with suppress(OSError):
                    super().finish()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def ids(self, path: str | None = None) -> Counter[str]:
        """How often each message came."""
        return Counter(
            headers["webhook-id"]
            for headers, _, target in list(self.received)
            if path in {None, target}
        )

    def close(self) -> None:
        """End everything that hangs."""
        self.closing.set()
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


def _add_webhook(service: Any, url: str, *events: str) -> dict[str, Any]:
    answer = service.client.post("/v1/webhooks", json={"url": url, "events": events})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _deliveries(service: Any, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    query = {"page_size": 200}
    answer = service.client.get(f"/v1/webhooks/{webhook['id']}/deliveries", params=query)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["deliveries"]
    return found


def _kill_sweeper(service: Any) -> None:
    before = service.pids()["sweeper"]
    os.kill(before, signal.SIGKILL)
    service.until(lambda: service.pids()["sweeper"] != before, 30, "a new sweeper")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_event_arrives_whatever_the_receiver_and_the_sweeper_do(
    start_service: Any, peer: Peer
) -> None:
    service = start_service("--broker", "none", "--device", "cpu", "--threads", "1", **QUICK)
    webhook = _add_webhook(service, f"{peer.url}/hook", "job.canceled", "job.failed")
    gone = _add_webhook(service, f"{peer.url}/gone", "job.canceled", "job.failed")
    known: dict[str, int] = {}

    def answer(message_id: str, attempt: int) -> Any:
        """Each message meets one trouble or two before it is taken."""
        if peer.ids("/gone")[message_id]:
            return 410
        number = known.setdefault(message_id, len(known))
        if attempt <= 1 + number % 2:
            return TROUBLES[(number + attempt) % len(TROUBLES)]
        return 200

    peer.answer = answer
    jobs = set()
    for number in range(NUM_JOBS):
        video = {"video": ("cam.mp4", b"no video %d" % number)}
        job = service.client.post("/v1/jobs", files=video).raise_for_status().json()
        jobs.add(job["id"])
        service.client.post(f"/v1/jobs/{job['id']}/cancel")
        if number % (NUM_JOBS // NUM_KILLS) == 3:
            _kill_sweeper(service)

    def all_delivered() -> bool:
        found = _deliveries(service, webhook)
        return len(found) == NUM_JOBS and all(one["status"] == "delivered" for one in found)

    service.until(all_delivered, 90, "every delivery")
    log = _deliveries(service, webhook)
    # Each job was told of in one message, which came more than once, always the same.
    assert {one["job_id"] for one in log} == jobs
    assert set(peer.ids("/hook")) == {one["id"] for one in log}
    bodies: dict[str, set[bytes]] = {}
    reference = standardwebhooks.Webhook(webhook["secret"])
    for headers, body, path in peer.received:
        if path == "/hook":
            bodies.setdefault(headers["webhook-id"], set()).add(body)
            document = reference.verify(body, headers)
            assert document["type"] in {"job.canceled", "job.failed"}
            assert document["data"]["id"] in jobs
    assert all(len(versions) == 1 for versions in bodies.values())
    assert min(peer.ids("/hook").values()) >= 2
    # Attempts are in order, and what went wrong is written down.
    for one in log:
        times = [tried["at"] for tried in one["attempts"]]
        assert times == sorted(times)
        assert one["attempts"][-1]["status_code"] == 200
        assert all(tried["error"] for tried in one["attempts"][:-1])
    assert not any(path == "/elsewhere" for _, _, path in peer.received), "no redirect is followed"
    # Who says that he is gone is left alone, and that can be seen.
    seen = service.client.get(f"/v1/webhooks/{gone['id']}").json()
    assert (seen["enabled"], seen["disabled_reason"]) == (False, "The receiver answered 410 Gone.")
    assert all(one["status"] == "failed" for one in _deliveries(service, gone))
    # By hand, the same message once more.
    again = log[0]["id"]
    before = peer.ids("/hook")[again]
    service.client.post(f"/v1/webhooks/deliveries/{again}/resend").raise_for_status()
    service.until(lambda: peer.ids("/hook")[again] > before, 20, "the message sent again")
    assert service.stop() == 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_video_by_url_is_fetched_told_of_and_shown(
    start_service: Any, draw_video: Callable[[float], Path], peer: Peer
) -> None:
    """The sweeper is killed in the middle of the download, too."""
    service = start_service("--broker", "none", "--device", "cpu", "--threads", "1", **QUICK)
    peer.file = draw_video(4).read_bytes()
    secret = _add_webhook(service, f"{peer.url}/all", "job.succeeded")["secret"]
    own = {
        "url": f"{peer.url}/own",
        "events": ["segment.detected", "job.succeeded"],
        "min_score": 0.0,
        "secret": secret,
    }
    request = {
        "url": f"{peer.url}/clip.mp4",
        "model": "tiny@1",
        "camera": "dock",
        "recorded_at": "2026-03-01T08:00:00Z",
        "webhook": own,
    }
    answer = service.client.post("/v1/jobs", json=request)
    assert answer.status_code == 202, answer.text
    location = answer.headers["location"]
    service.until(lambda: peer.downloads, 30, "the download")
    temporary = service.folder / "tmp"
    service.until(lambda: list(temporary.glob("fetch-*")), 10, "its file")
    _kill_sweeper(service)
    peer.hold.set()
    job = service.wait(location)
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert len(peer.downloads) == 2
    assert list(temporary.glob("fetch-*")) == []

    result = service.client.get(f"{location}/result").raise_for_status().json()
    wanted = {"/own": len(result["segments"]) + 1, "/all": 1}
    for path, count in wanted.items():
        service.until(lambda path=path, count=count: len(peer.ids(path)) == count, 30, path)
    reference = standardwebhooks.Webhook(secret)
    told = [reference.verify(body, headers) for headers, body, _ in peer.received]
    assert all(one["data"]["id"] == job["id"] for one in told)
    assert all(one["data"]["camera"] == "dock" for one in told)
    (summary,) = [json.loads(body)["data"] for _, body, path in peer.received if path == "/all"]
    assert summary["segments"] == len(result["segments"])
    segments = [one["data"]["segment"] for one in told if one["type"] == "segment.detected"]
    assert sorted(one["start"] for one in segments) == sorted(
        one["start"] for one in result["segments"]
    )
    assert all(one["start_time"].startswith("2026-03-01T08:00:0") for one in segments)

    video = f"/v1/videos/{job['video']['id']}"

    def strip() -> Any:
        found = service.client.get(f"{video}/thumbnails")
        return found if found.status_code == 200 else None

    picture = service.until(strip, 60, "the thumbnails")
    assert picture.headers["content-type"] == "image/jpeg"
    shape = service.client.get(f"{video}/thumbnails", params={"info": True}).json()
    assert shape["count"] == 8
    assert service.stop() == 0
