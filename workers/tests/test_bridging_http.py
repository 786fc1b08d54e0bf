"""Grafana and Frigate are told over HTTP: servers that hold every request against the schema."""

import http.server
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import structlog.testing

from service.bridges.segments import BridgeSegment
from service.jobs.commands import JobCore
from service.jobs.store import HostClock, create_engine_for
from service.outbound import Outbound, OutboundPolicy
from service.settings import Settings
from service.storage import LocalBlobStore
from workers.bridging import OutsideAwayError
from workers.bridging_http import FrigateOutlet, FrigateSettings, GrafanaOutlet, WebPeer
from workers.bridging_wiring import build_bridges

OUTBOUND = cache(lambda: Outbound(OutboundPolicy(allow_private=True)))
ANSWER_SECONDS = 0.5
TOKEN = "glsa_s3cret"  # noqa: S105 - the fake server's own


class Fake:
    """A server on loopback; `answer` (method, path, headers, body) -> status, headers, document."""

    def __init__(self):
        self.asked = []
        self.trouble: Any = None
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self):
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                fake.asked.append((self.command, self.path))
                if fake.trouble == "hang":
                    time.sleep(2 * ANSWER_SECONDS)
                    return
                status, headers, document = (
                    (fake.trouble, {}, {"message": "no"})
                    if isinstance(fake.trouble, int)
                    else fake.answer(self.command, self.path, self.headers, body)
                )
                content = json.dumps(document).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = handle_any  # noqa: N815 - the standard library's names

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.base = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, method, path, headers, body) -> Any:
        raise NotImplementedError

    def peer(self, title):
        return WebPeer(title, self.base, OUTBOUND, seconds=ANSWER_SECONDS)

    def count(self, method):
        return sum(one == method for one, _ in self.asked)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Grafana(Fake):
    """`/api/annotations` as its documentation has it."""

    def __init__(self):
        super().__init__()
        self.annotations = []
        self.broken_after = None

    def answer(self, method, path, headers, body):
        parts = urlsplit(path)
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {}, {"message": "Unauthorized"}
        if parts.path != "/api/annotations":
            return 404, {}, {"message": "Not found"}
        if method == "GET":
            return 200, {}, self.find(parse_qs(parts.query, strict_parsing=True))
        document = json.loads(body)
        known = {"dashboardUID": str, "panelId": int, "time": int, "timeEnd": int, "tags": list,
                 "text": str}  # fmt: skip
        if not (set(document) <= set(known) and "text" in document) or any(
            not isinstance(value, known[name]) for name, value in document.items()
        ):
            return 400, {}, {"message": "bad request data"}
        assert headers["Content-Type"] == "application/json"
        assert document["time"] <= document["timeEnd"]
        assert document["time"] > 10**12, "epoch milliseconds"
        assert all(isinstance(tag, str) and tag for tag in document["tags"])
        if document["text"].startswith("refused"):
            return 422, {}, {"message": "no"}
        self.annotations.append({**document, "id": len(self.annotations) + 1})
        if self.broken_after == len(self.annotations):
            self.broken_after = None
            return 500, {}, {"message": "the answer got lost"}
        return 200, {}, {"message": "Annotation added", "id": len(self.annotations)}

    def find(self, query):
        known = {"from", "to", "limit", "tags", "type"}
        assert set(query) <= known
        start, end = int(query.get("from", ["0"])[0]), int(query.get("to", [10**15])[0])
        return [
            one
            for one in self.annotations
            if one["time"] <= end
            and one["timeEnd"] >= start
            and set(query.get("tags", [])) <= set(one["tags"])
        ][: int(query.get("limit", ["100"])[0])]


class Frigate(Fake):
    """`/api/login` and `/api/events/{camera}/{label}/create` as Frigate has them."""

    def __init__(self, password=None, role="admin"):
        super().__init__()
        self.password, self.role = password, role
        self.token = 0
        self.events = []

    def answer(self, method, path, headers, body):
        assert method == "POST"
        document = json.loads(body)
        if path == "/api/login":
            if document != {"user": "kinetag", "password": self.password}:
                return 401, {}, {"message": "Login failed"}
            self.token += 1
            cookie = f"frigate_token=t{self.token}.x-_; HttpOnly; Path=/; SameSite=Lax"
            return 200, {"Set-Cookie": cookie}, ""
        allowed = headers.get("Authorization") == f"Bearer t{self.token}.x-_"
        if self.password is not None and not allowed:
            return 401, {}, {}
        if self.role != "admin":
            return 403, {}, {"detail": "Access denied."}
        empty, api, events, camera, label, last = path.split("/")
        assert (empty, api, events, last) == ("", "api", "events", "create")
        if unquote(camera) not in {"dock", "front dock"}:
            return 404, {}, {"success": False, "message": f"{camera} is not a valid camera."}
        # Source: frigate/api/defs/request/events_body.py, EventsCreateBody.
        known: dict[str, Any] = {
            "sub_label": (str, type(None)), "score": (int, float), "duration": int,
            "include_recording": bool, "draw": dict, "pre_capture": int,
        }  # fmt: skip
        assert set(document) <= set(known)
        assert all(isinstance(value, known[name]) for name, value in document.items())
        assert 0 <= document["score"] <= 1
        self.events.append((unquote(camera), unquote(label), document))
        return 200, {}, {"success": True, "event_id": "1.0-abc"}


@pytest.fixture
def serve():
    fakes = []

    def start(kind, *arguments, **options):
        fakes.append(kind(*arguments, **options))
        return fakes[-1]

    yield start
    for fake in fakes:
        fake.close()


def told(number=0, job_id="job_1", age_seconds=10.0, **changes):
    """A segment of 3 s that ended so long ago."""
    ended_at = datetime.now(UTC) - timedelta(seconds=age_seconds)
    start = 10.0 * number
    values = {
        "id": f"{number}-{job_id}", "job_id": job_id, "video_id": "vid_1", "video_name": "a.mp4",
        "model": "m@1", "label": "fall", "score": 0.83, "raw_score": 0.6, "start_seconds": start,
        "end_seconds": start + 3.0, "camera": "dock",
        "recorded_at": ended_at - timedelta(seconds=start + 3.0),
    }  # fmt: skip
    return BridgeSegment(**{**values, **changes})


def opened(outlet):
    outlet.open({}, lambda memory: None, "default")
    return outlet


def test_segments_become_annotations_once(serve):
    grafana = serve(Grafana)
    outlet = opened(GrafanaOutlet(grafana.peer("Grafana"), TOKEN))
    first = [told(one) for one in range(3)]
    outlet.tell([*first, told(9, recorded_at=None)])
    assert [one["text"] for one in grafana.annotations] == [
        f"fall 0.83 · dock · {one}-job_1" for one in range(3)
    ]
    assert grafana.annotations[0]["timeEnd"] - grafana.annotations[0]["time"] == 3000
    # A later job cannot have been told before: nothing is asked about it.
    asked = grafana.count("GET")
    outlet.tell([told(one, "job_2") for one in range(3)])
    assert grafana.count("GET") == asked
    # Killed before it was noted, it is told again, in parts, and makes no second ones.
    outlet = opened(GrafanaOutlet(grafana.peer("Grafana"), TOKEN))
    outlet.tell([told(one, "job_2") for one in range(2)])
    outlet.tell([told(one, "job_2") for one in range(2, 5)])
    texts = [one["text"] for one in grafana.annotations]
    assert len(texts) == len(set(texts)) == 3 + 5


def test_an_answer_that_was_lost_makes_no_second_annotation(serve):
    grafana = serve(Grafana)
    grafana.broken_after = 2
    outlet = opened(GrafanaOutlet(grafana.peer("Grafana"), TOKEN))
    job = [told(one) for one in range(3)]
    with pytest.raises(OutsideAwayError, match="500"):
        outlet.tell(job)
    outlet.close(stopping=False)
    opened(outlet).tell(job)
    assert len(grafana.annotations) == 3


def test_one_that_grafana_refuses_holds_up_no_other(serve):
    grafana = serve(Grafana)
    outlet = opened(GrafanaOutlet(grafana.peer("Grafana"), TOKEN))
    with structlog.testing.capture_logs() as logs:
        outlet.tell([told(0, label="refused"), told(1)])
    assert [one["tags"][1] for one in grafana.annotations] == ["fall"]
    assert [line["event"] for line in logs] == ["annotation_refused"]


@pytest.mark.parametrize(
    ("trouble", "words"),
    [(401, "KINETAG_GRAFANA_TOKEN"), (404, "KINETAG_GRAFANA_URL"), (503, "503"), ("hang", "time")],
)
def test_grafana_in_trouble_is_waited_for(serve, trouble, words):
    grafana = serve(Grafana)
    outlet = GrafanaOutlet(grafana.peer("Grafana"), TOKEN)
    grafana.trouble = trouble
    with pytest.raises(OutsideAwayError, match=words) as caught:
        opened(outlet)
    assert TOKEN not in str(caught.value)
    grafana.trouble = None
    opened(outlet).tell([told()])
    assert len(grafana.annotations) == 1


def test_frigate_hears_of_the_present_only(serve):
    frigate = serve(Frigate)
    settings = FrigateSettings(cameras={"dock": "front dock"})
    outlet = opened(FrigateOutlet(frigate.peer("Frigate"), settings))
    outlet.tell(
        [
            told(0, label="Sturz/fall", tag="store-12"),
            told(1, age_seconds=3600),
            told(2, age_seconds=-3600),
            told(3, recorded_at=None),
            told(4, camera=None),
        ]
    )
    ((camera, label, body),) = frigate.events
    assert (camera, label) == ("front dock", "Sturz_fall")
    assert body["sub_label"] == "store-12"
    assert body["duration"] == 3
    assert 13 <= body["pre_capture"] <= 15


def test_frigate_wants_a_login_that_ends(serve):
    frigate = serve(Frigate, password="right")  # noqa: S106 - the fake server's own
    right = FrigateSettings(user="kinetag", password="right")  # noqa: S106 - as above
    outlet = opened(FrigateOutlet(frigate.peer("Frigate"), right))
    outlet.tell([told(0)])
    frigate.token += 1  # as after a day
    outlet.tell([told(1)])
    assert len(frigate.events) == 2
    wrong = FrigateSettings(user="kinetag", password="s3cret")  # noqa: S106 - as above
    with pytest.raises(OutsideAwayError, match="KINETAG_FRIGATE_PASSWORD") as caught:
        opened(FrigateOutlet(frigate.peer("Frigate"), wrong))
    assert "s3cret" not in str(caught.value) + repr(wrong)
    frigate.role = "viewer"
    with pytest.raises(OutsideAwayError, match="admin role"):
        outlet.tell([told(2)])


def test_a_camera_that_frigate_does_not_have_is_said_once(serve):
    frigate = serve(Frigate)
    outlet = opened(FrigateOutlet(frigate.peer("Frigate"), FrigateSettings()))
    with structlog.testing.capture_logs() as logs:
        outlet.tell([told(one, camera="yard") for one in range(3)] + [told(4)])
    assert [line["event"] for line in logs] == ["frigate_event_refused"]
    assert len(frigate.events) == 1


def test_a_frigate_that_hangs_or_is_not_there(serve):
    frigate = serve(Frigate)
    outlet = opened(FrigateOutlet(frigate.peer("Frigate"), FrigateSettings()))
    frigate.trouble = "hang"
    started = time.monotonic()
    with pytest.raises(OutsideAwayError, match="in time"):
        outlet.tell([told()])
    assert time.monotonic() - started < 4 * ANSWER_SECONDS
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        peer = WebPeer("Frigate", f"http://127.0.0.1:{nobody.getsockname()[1]}", OUTBOUND)
        with pytest.raises(OutsideAwayError, match="cannot be reached"):
            opened(FrigateOutlet(peer, FrigateSettings())).tell([told()])


def test_addresses_of_the_cloud_are_refused_although_the_operator_named_them():
    peer = WebPeer("Grafana", "http://169.254.169.254", OUTBOUND)
    with pytest.raises(OutsideAwayError, match="not public"):
        opened(GrafanaOutlet(peer, None))


def test_the_settings_name_the_bridges(tmp_path):
    engine = create_engine_for(f"sqlite:///{tmp_path / 'kinetag.db'}")
    core = JobCore(engine, HostClock(), LocalBlobStore(tmp_path), tmp_path / "features")
    assert build_bridges(Settings(data_dir=tmp_path), core) == []
    settings = Settings(
        data_dir=tmp_path,
        mqtt_url="mqtt://broker",
        grafana_url="http://grafana:3000/",
        grafana_token=TOKEN,
        frigate_url="http://frigate:5000",
        frigate_user="kinetag",
        frigate_password=TOKEN,
    )
    bridges = build_bridges(settings.model_copy(update={"bridge_ca_file": tmp_path}), core)
    for outlet in (one._outlet for one in bridges[1:]):
        with pytest.raises(OutsideAwayError, match="KINETAG_BRIDGE_CA_FILE"):
            opened(outlet)
    assert [one._outlet.name for one in bridges] == ["mqtt", "grafana", "frigate"]
    assert TOKEN not in repr(settings)
    engine.dispose()
