"""From a saved search to a message that arrives: found, relayed, sent, signed."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import standardwebhooks

from service.jobs.commands import NewJob, create_job, open_core
from service.jobs.lifecycle import Plan
from service.jobs.queue import TaskQueue
from service.jobs.videos import NewVideo
from service.outbound import Outbound
from service.outbound_addresses import OutboundPolicy
from service.search.filters import SegmentFilter
from service.search.saved import change_search, create_search, delete_search, tell_of_search
from service.settings import Settings
from service.webhooks.fanout import relay_events
from workers.delivering import DeliverySender, DeliverySettings

ANY_ADDRESS = OutboundPolicy(allow_private=True)
SECONDS = 20.0


class SinkServer(ThreadingHTTPServer):
    """Keeps every message."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Sink)
        self.received = []
        self.came = threading.Semaphore(0)


class Sink(BaseHTTPRequestHandler):
    """Takes every message."""

    server: SinkServer

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()
        self.server.came.release()

    def log_message(self, *_):
        pass


@pytest.fixture
def sink():
    server = SinkServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def segment(label, score, seconds):
    return {"label": label, "score": score, "raw_score": score, "start": 1.0, "end": 1.0 + seconds,
            "start_ms": 1000, "end_ms": 1000 + int(1000 * seconds), "start_frame": 25,
            "end_frame": 50}  # fmt: skip


def test_what_a_search_finds_arrives_signed(tmp_path, sink):
    settings = Settings(data_dir=tmp_path, allow_private_urls=True)
    core = open_core(settings)
    queue = TaskQueue(core.engine)

    def finish(camera, *segments):
        video = NewVideo(name="a.mp4", source="path", source_ref="/a.mp4")
        create_job(core, NewJob(video=video, model="m@1", camera=camera))
        while (task := queue.claim(owner="w", lease_seconds=60.0)) is not None:
            if task.kind == "plan":
                queue.complete_plan(task.id, task.token, Plan(1, {}, {0}))
            else:
                result = {"segments": list(segments)}
                queue.complete_join(task.id, task.token, result=result)
        relay_events(core)

    search = create_search(core, "Falls", SegmentFilter(label=("fall",), min_duration=2.0))
    url = f"http://127.0.0.1:{sink.server_port}/"
    webhook = tell_of_search(core, search.id, url, None, ANY_ADDRESS)
    sender = DeliverySender(core, Outbound(ANY_ADDRESS), DeliverySettings.of(settings))
    sender.start()
    try:
        finish("dock", segment("fall", 0.9, 3.0), segment("fall", 0.9, 1.0), segment("run", 1, 9))
        assert sink.came.acquire(timeout=SECONDS)
        change_search(core, search.id, name="Runs", wanted=SegmentFilter(label=("run",)))
        finish("dock", segment("fall", 0.9, 3.0), segment("run", 0.5, 1.0))
        assert sink.came.acquire(timeout=SECONDS)
        delete_search(core, search.id)
        finish("dock", segment("run", 0.5, 1.0))
        assert not sink.came.acquire(timeout=1.0)
    finally:
        sender.stop()
        core.engine.dispose()
    told = []
    for headers, body in sink.received:
        message = standardwebhooks.Webhook(webhook.secret).verify(body, headers)
        assert message == json.loads(body)
        assert message["type"] == "segment.detected"
        told.append((message["data"]["search"], message["data"]["segment"]["label"]))
    assert told == [
        ({"id": search.id, "name": "Falls"}, "fall"),
        ({"id": search.id, "name": "Runs"}, "run"),
    ]
