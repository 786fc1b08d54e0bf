"""The MQTT bridge against a real mosquitto: what it says, and what it does when things die."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as paho
import pytest
import structlog.testing
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import delete

from service.bridges.records import BridgeRecord
from service.bridges.segments import BridgeFilter
from service.jobs.commands import JobCore
from service.jobs.records import (
    DEFAULT_TENANT,
    EventRecord,
    JobRecord,
    Record,
    ResultRecord,
    TenantRecord,
    VideoRecord,
)
from service.jobs.store import HostClock, create_engine_for, new_id, reading, transaction
from service.settings import Settings
from service.storage import LocalBlobStore
from workers.bridging import BridgeService, BridgeSettings, OutsideAwayError
from workers.bridging_http import GrafanaOutlet
from workers.bridging_wiring import build_bridges

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 20
QUICK = BridgeSettings(
    look_seconds=0.02,
    keep_seconds=0.2,
    first_pause_seconds=0.05,
    max_pause_seconds=0.3,
    stop_seconds=WAIT_SECONDS,
)
NOW = datetime.now(UTC).replace(microsecond=0)


def until(look, what):
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        select.select([], [], [], 0.02)
    pytest.fail(f"{what} did not happen")


class Listener:
    """Everything a broker says to somebody who asks for all of it, in order."""

    def __init__(self, broker, topic="#", user=None):
        self.heard = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        if user is not None:
            self.client.username_pw_set(*user)
        subscribed = threading.Event()
        self.client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.on_message = self._hear
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert subscribed.wait(WAIT_SECONDS)

    def _hear(self, client, userdata, message):
        self.heard.append((message.topic, message.payload.decode(), message.retain))

    def bodies(self, topic):
        return [json.loads(body) for name, body, _ in list(self.heard) if name == topic and body]

    def texts(self, topic):
        return [body for name, body, _ in list(self.heard) if name == topic]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def listen():
    listeners = []

    def begin(broker, *arguments, **options):
        listeners.append(Listener(broker, *arguments, **options))
        return listeners[-1]

    yield begin
    for one in listeners:
        one.close()


@pytest.fixture
def core(tmp_path):
    database = create_engine_for(f"sqlite:///{tmp_path / 'kinetag.db'}")
    Record.metadata.create_all(database)
    core = JobCore(database, HostClock(), LocalBlobStore(tmp_path), tmp_path / "features")
    with transaction(database) as session:
        now = core.clock.now(session)
        for name in (DEFAULT_TENANT, "other"):
            session.add(TenantRecord(id=name, name=name, created_at=now))
    yield core
    database.dispose()


def segment(label, start, score=0.83, length=3.2):
    return {
        "label": label, "score": score, "start": start, "end": start + length,
        "start_ms": round(1000 * start), "end_ms": round(1000 * (start + length)),
        "start_frame": 0, "end_frame": 1, "raw_score": score,
    }  # fmt: skip


def finish_job(core, *segments, camera="dock", recorded_at=NOW, tenant=DEFAULT_TENANT, **columns):
    """Write what a job that has just succeeded leaves behind; return its id."""
    video_id, job_id = new_id("vid"), new_id("job")
    with transaction(core.engine) as session:
        now = core.clock.now(session)
        session.add(
            VideoRecord(id=video_id, name="cam.mp4", tenant_id=tenant, created_at=now, facts={})
        )
        session.flush()
        session.add(
            JobRecord(id=job_id, tenant_id=tenant, video_id=video_id, status="succeeded",
                      model="tiny@1", options=columns.pop("options", {}), camera=camera,
                      recorded_at=recorded_at, created_at=now, completed_at=now, **columns)
        )  # fmt: skip
        session.flush()
        document = {"segments": list(segments)}
        session.add(ResultRecord(job_id=job_id, document=document, token=1, created_at=now))
        for kind in ("job.queued", "chunk.done", "job.succeeded"):
            details = {"index": 0, "computed": True} if kind == "chunk.done" else {}
            session.add(
                EventRecord(tenant_id=tenant, job_id=job_id, type=kind, details=details,
                            relayed=True, created_at=now)
            )  # fmt: skip
            session.flush()
    return job_id


def position(core):
    with reading(core.engine) as session:
        row = session.get(BridgeRecord, "mqtt")
        return None if row is None else row.position


@pytest.fixture
def bridge(core, tmp_path):
    """Returns (broker, **settings) -> a running bridge that stands at the present."""
    running = []

    def start(broker, *, at_present=True, **values):
        url = values.pop("mqtt_url", None) or f"mqtt://127.0.0.1:{broker.port}"
        settings = Settings(data_dir=tmp_path, mqtt_url=url, **values)
        (service,) = build_bridges(settings, core)
        service._settings = QUICK
        service._pause_seconds = QUICK.first_pause_seconds
        service.start()
        running.append(service)
        if at_present:
            until(lambda: position(core) is not None, "the bridge's first look")
        return service

    yield start
    for service in running:
        service.stop()


def test_segments_are_events_of_frigates_form(core, bridge, start_broker, listen):
    broker = start_broker()
    finish_job(core, segment("walk", 1.0))  # of the past: never told
    listener = listen(broker, "kinetag/#")
    bridge(broker)
    finish_job(core, segment("walk", 1.0), tenant="other")
    finish_job(core, segment("fall", 5.0), segment("run", 2.0, 0.7), tag="store-12")
    heard = until(
        lambda: len(listener.bodies("kinetag/events")) == 4 and listener.bodies("kinetag/events"),
        "four messages",
    )
    assert [one["type"] for one in heard] == ["new", "end", "new", "end"]
    assert [one["after"]["label"] for one in heard] == ["run", "run", "fall", "fall"]
    opened, closed = heard[2], heard[3]
    assert opened["after"]["id"] == closed["before"]["id"] == closed["after"]["id"]
    assert opened["after"]["end_time"] is None is closed["before"]["end_time"]
    start = NOW.timestamp() + 5.0
    expected = {
        "camera": "dock", "label": "fall", "sub_label": "store-12", "score": 0.83,
        "top_score": 0.83, "start_time": start, "end_time": pytest.approx(start + 3.2),
        "false_positive": False, "has_clip": False, "has_snapshot": False,
    }  # fmt: skip
    assert {name: closed["after"][name] for name in expected} == expected
    assert closed["after"]["id"].startswith(f"{start:.3f}-")
    assert len({one["after"]["id"] for one in heard}) == 2
    state = until(lambda: listener.bodies("kinetag/dock/fall"), "the label's topic")
    assert state[-1]["score"] == 0.83
    everything = "kinetag/dock/all"
    until(
        lambda: [one["label"] for one in listener.bodies(everything)] == ["run", "fall"],
        "the camera's topic",
    )
    # Whoever comes later sees the last of each, and that we are here.
    late = listen(broker, "kinetag/#")
    until(lambda: len(late.heard) == 4, "what is retained")
    assert all(retained for _, _, retained in late.heard)
    assert late.texts("kinetag/available") == ["online"]


def test_without_a_moment_or_a_camera_there_is_no_event(core, bridge, start_broker, listen):
    broker = start_broker()
    listener = listen(broker, "kinetag/#")
    bridge(broker, bridge_labels=("fall",), bridge_min_score=0.5)
    finish_job(core, segment("fall", 5.0), segment("fall", 6.0, 0.4), recorded_at=None)
    finish_job(core, segment("fall", 7.0), segment("walk", 6.0), camera=None)
    finish_job(core, segment("fall", 8.0), options={"labels": ["walk"]})
    finish_job(core, segment("fall", 1.0), recorded_at=NOW - timedelta(days=400))
    heard = until(lambda: len(listener.bodies("kinetag/events")) == 2, "the archive's event")
    heard = listener.bodies("kinetag/segments")
    assert [(one["start"], one["camera"], one["start_time"] is None) for one in heard] == [
        (5.0, "dock", True),
        (7.0, None, False),
    ]
    assert heard[0]["id"].startswith("0-")
    # What happened a year ago is no present state of a camera.
    assert not [topic for topic, _, _ in listener.heard if topic.startswith("kinetag/dock/")]


def test_a_broker_that_dies_and_returns_has_missed_nothing(
    core, bridge, start_broker, listen, monkeypatch
):
    broker = start_broker()
    service = bridge(broker)
    may_enter, enter = threading.Event(), service._outlet.open

    def open_when_listened(*arguments):
        if broker.process.poll() is None and not may_enter.is_set():
            message = "nobody listens yet"
            raise OutsideAwayError(message)
        enter(*arguments)

    monkeypatch.setattr(service._outlet, "open", open_when_listened)
    with structlog.testing.capture_logs() as logs:
        broker.kill()
        ids = [finish_job(core, segment("fall", float(one))) for one in range(1, 6)]
        until(lambda: service._pause_seconds == QUICK.max_pause_seconds, "the back-off")
    waits = [line["error"] for line in logs if line["event"] == "bridge_waits"]
    assert 1 <= len(waits) == len(set(waits)) <= 2
    assert "cannot be reached" in waits[-1]
    broker.start()
    listener = listen(broker, "kinetag/events")
    may_enter.set()
    until(lambda: position(core) == 3 * len(ids), "the cursor's arrival")
    until(lambda: len(listener.bodies("kinetag/events")) == 2 * len(ids), "all events")
    heard = [one["after"]["job"] for one in listener.bodies("kinetag/events")]
    assert heard[::2] == heard[1::2] == ids


CRASHING = """
import os, signal, sys
from pathlib import Path
from service.bridges.cursors import BridgeCursor
from service.jobs.commands import JobCore
from service.jobs.store import HostClock, create_engine_for
from service.settings import Settings
from service.storage import LocalBlobStore
from workers.bridging import BridgeSettings
from workers.bridging_wiring import build_bridges

folder, url, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
keep = BridgeCursor.keep

def crash(self, position=None, memory=None):
    if position is not None and position >= last:
        os.kill(os.getpid(), signal.SIGKILL)
    keep(self, position, memory)

BridgeCursor.keep = crash
engine = create_engine_for(f"sqlite:///{folder / 'kinetag.db'}")
core = JobCore(engine, HostClock(), LocalBlobStore(folder), folder / "features")
(service,) = build_bridges(Settings(data_dir=folder, mqtt_url=url), core)
service._settings = BridgeSettings(look_seconds=0.02)
service.start()
service._thread.join()
"""


def test_killed_between_word_and_note_it_tells_again_under_the_same_ids(
    core, bridge, start_broker, listen, tmp_path
):
    broker = start_broker()
    first = bridge(broker)
    first.stop()
    listener = listen(broker, "kinetag/#")
    ids = [finish_job(core, segment("fall", 1.0), segment("run", 2.0)) for _ in range(3)]
    url = f"mqtt://127.0.0.1:{broker.port}"
    arguments = [sys.executable, "-c", CRASHING, str(tmp_path), url, "6"]
    process = subprocess.run(
        arguments, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=False
    )
    assert process.returncode == -signal.SIGKILL
    # Two jobs were told, one of them noted; nobody said goodbye, so the broker did for us.
    until(lambda: len(listener.bodies("kinetag/events")) == 8, "the first two jobs")
    until(lambda: "offline" in listener.texts("kinetag/available"), "the last will")
    assert position(core) == 3
    bridge(broker)
    until(lambda: position(core) == 9, "the rest")
    until(lambda: len(listener.bodies("kinetag/events")) == 16, "the rest's events")
    events = listener.bodies("kinetag/events")
    assert [one["after"]["job"] for one in events[::4]] == [ids[0], ids[1], ids[1], ids[2]]
    assert events[4:8] == events[8:12]
    assert listener.texts("kinetag/available")[-1] == "online"


def test_it_says_goodbye_when_it_is_stopped(core, bridge, start_broker, listen):
    broker = start_broker()
    listener = listen(broker, "kinetag/available")
    bridge(broker).stop()
    until(lambda: listener.texts("kinetag/available") == ["online", "stopped"], "a last word")
    with reading(core.engine) as session:
        assert session.get_one(BridgeRecord, "mqtt").owner is None


def test_a_wrong_password_is_one_line_without_it(core, bridge, start_broker, tmp_path):
    passwords = tmp_path / "passwords"
    passwords.write_text("kim:right\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    passwords.chmod(0o600)
    broker = start_broker("allow_anonymous false", f"password_file {passwords}")
    with structlog.testing.capture_logs() as logs:
        url = f"mqtt://kim:s3cret%40word@127.0.0.1:{broker.port}"
        service = bridge(broker, at_present=False, mqtt_url=url)
        until(lambda: service._pause_seconds == QUICK.max_pause_seconds, "the back-off")
    said = [line for line in logs if line["event"] == "bridge_waits"]
    assert len(said) == 1
    assert "KINETAG_MQTT_URL" in said[0]["error"]
    assert "s3cret" not in json.dumps(logs, default=str)
    service.stop()
    right = f"mqtt://kim:right@127.0.0.1:{broker.port}"
    bridge(broker, mqtt_url=right)


# The library forgets its socket when a handshake fails, and leaves it to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_wants_a_certificate_that_is_trusted(core, bridge, start_broker, tmp_path, listen):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out",
         str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    broker = start_broker("allow_anonymous true", f"certfile {certificate}", f"keyfile {key}")
    url = f"mqtts://127.0.0.1:{broker.port}"
    with structlog.testing.capture_logs() as logs:
        stranger = bridge(broker, at_present=False, mqtt_url=url)
        until(lambda: [one for one in logs if one["event"] == "bridge_waits"], "a refusal")
        stranger.stop()
    said = [line["error"] for line in logs if line["event"] == "bridge_waits"]
    assert "KINETAG_BRIDGE_CA_FILE" in said[0]
    bridge(broker, mqtt_url=url, bridge_ca_file=certificate)


def test_home_assistant_is_told_of_cameras_and_of_their_end(core, bridge, start_broker, listen):
    broker = start_broker()
    job_id = finish_job(core, segment("fall", 1.0), camera="Lager/Süd +#")
    listener = listen(broker, "homeassistant/#")
    service = bridge(broker)
    until(lambda: len(listener.heard) == 3, "the camera's entities")
    finish_job(core, segment("fall", 1.0), camera="dock")
    until(lambda: len(listener.heard) == 6, "the new camera's entities")
    for topic, body, _ in listener.heard:
        check_discovery(topic, json.loads(body))
    service.stop()
    with transaction(core.engine) as session:
        session.execute(delete(EventRecord).where(EventRecord.job_id == job_id))
        session.execute(delete(ResultRecord).where(ResultRecord.job_id == job_id))
        session.execute(delete(JobRecord).where(JobRecord.id == job_id))
    gone = {topic for topic, _, _ in listener.heard if "lager" in topic}
    bridge(broker)
    until(lambda: gone == {name for name, body, _ in listener.heard if not body}, "the clearing")
    late = listen(broker, "homeassistant/#")
    until(lambda: len(late.heard) == 3, "what is retained")
    assert all("dock" in topic for topic, _, _ in late.heard)


def test_discovery_that_is_switched_off_is_taken_back(core, bridge, start_broker, listen):
    broker = start_broker()
    finish_job(core, segment("fall", 1.0))
    bridge(broker).stop()
    listener = listen(broker, "homeassistant/#")
    until(lambda: len(listener.heard) == 3, "what is retained")
    bridge(broker, mqtt_discovery_prefix="")
    until(lambda: [body for _, body, _ in listener.heard[3:]] == [""] * 3, "the clearing")


COMMON = {
    "name": str, "unique_id": str, "qos": int, "availability_topic": str,
    "availability_template": str, "device": dict, "origin": dict, "state_topic": str,
}  # fmt: skip
OPTIONAL: dict[str, dict[str, type]] = {
    "event": {"event_types": list, "icon": str},
    "sensor": {"icon": str, "value_template": str, "json_attributes_topic": str,
               "device_class": str},
}  # fmt: skip


def check_discovery(topic, config):
    """Hold a configuration against home-assistant.io's MQTT discovery, event and sensor pages."""
    prefix, component, node, entity, last = topic.split("/")
    assert (prefix, last) == ("homeassistant", "config")
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert set(node) <= allowed and set(entity) <= allowed  # noqa: PT018 - one fact about both
    known = {**COMMON, **OPTIONAL[component]}
    assert set(COMMON) <= set(config) <= set(known)
    assert all(isinstance(value, known[name]) for name, value in config.items())
    assert set(config["device"]) == {"identifiers", "name", "manufacturer", "model", "sw_version"}
    assert config["device"]["identifiers"] == [node]
    assert config["origin"]["name"] == "Kinetag"
    assert config["unique_id"] == f"{node}_{entity}"
    assert config["availability_topic"] == "kinetag/available"
    for name in ("state_topic", "availability_topic"):
        assert not set("+#\0") & set(config[name])
        assert config[name].count("/") <= 2
    if component == "event":
        assert "other" in config["event_types"]
        assert len(set(config["event_types"])) == len(config["event_types"])


def test_a_result_that_trips_us_holds_up_no_other(core, bridge, start_broker, listen):
    broker = start_broker()
    listener = listen(broker, "kinetag/events")
    bridge(broker)
    broken = {**segment("fall", 1.0), "score": float("nan")}
    del broken["end"]
    with structlog.testing.capture_logs() as logs:
        finish_job(core, broken)
        whole = finish_job(core, segment("fall", 2.0))
        until(lambda: listener.bodies("kinetag/events"), "the other job's event")
    assert {one["after"]["job"] for one in listener.bodies("kinetag/events")} == {whole}
    assert [line["event"] for line in logs].count("event_not_told") == 1


def test_two_sweepers_share_no_bridge(core, bridge, start_broker, tmp_path):
    broker = start_broker()
    bridge(broker)
    settings = Settings(data_dir=tmp_path, mqtt_url=f"mqtt://127.0.0.1:{broker.port}")
    (other,) = build_bridges(settings, core)
    other = BridgeService(core, other._outlet, other._wanted, "elsewhere/bridges", QUICK)
    with structlog.testing.capture_logs() as logs:
        other.start()
        until(lambda: [one for one in logs if one["event"] == "bridge_waits"], "a refusal")
    other.stop()
    assert "Another sweeper" in next(one["error"] for one in logs if one["event"] == "bridge_waits")


def test_who_opens_and_takes_nothing_is_asked_less_and_less_often(core):
    class Refusing:
        name = "mqtt"
        part = 1

        def __init__(self):
            self.told = 0

        def open(self, memory, remember, tenant_id):
            pass

        def expect(self, camera):
            pass

        def idle(self):
            pass

        def tell(self, segments):
            self.told += 1
            message = "It answered 500."
            raise OutsideAwayError(message)

        def close(self, *, stopping):
            pass

    outlet = Refusing()
    service = BridgeService(core, outlet, BridgeFilter("default"), "here", QUICK)
    with structlog.testing.capture_logs() as logs:
        service.start()
        until(lambda: position(core) is not None, "the first look")
        finish_job(core, segment("dive", 1.0))
        until(lambda: service._pause_seconds == QUICK.max_pause_seconds, "the back-off")
        until(lambda: outlet.told > 4, "another attempt")
        service.stop()
    assert sum(line["event"] == "bridge_waits" for line in logs) == 1


def test_a_slow_outside_costs_no_lease(core):
    class Slow:
        name = "grafana"
        part = GrafanaOutlet.part

        def __init__(self):
            self.told = 0

        def open(self, memory, remember, tenant_id):
            pass

        def expect(self, camera):
            pass

        def idle(self):
            pass

        def tell(self, segments):
            for _ in segments:
                select.select([], [], [], 0.2)
                self.told += 1

        def close(self, *, stopping):
            pass

    outlet = Slow()
    service = BridgeService(core, outlet, BridgeFilter("default"), "here", QUICK)
    service._cursor = replace(service._cursor, lease_seconds=1.0)
    service.start()
    other = replace(service._cursor, owner="elsewhere")
    until(lambda: service._position is not None, "the first look")
    finish_job(core, *(segment("dive", float(number)) for number in range(10)))
    try:
        while outlet.told < 10:
            assert other.take() is None
            select.select([], [], [], 0.05)
    finally:
        service.stop()
