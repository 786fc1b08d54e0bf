"""Bridges below the network: cursors, names as topics, shapes, settings."""

import json
import re
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete

from service.bridges.addresses import MqttAddress, camera_names, checked_base, checked_prefix
from service.bridges.cursors import BridgeCursor
from service.bridges.frigate import creation, event_messages, state_message
from service.bridges.grafana import annotation, is_among, query_of
from service.bridges.homeassistant import MAX_EVENT_TYPES, Discovery
from service.bridges.segments import BridgeFilter, BridgeSegment, known_cameras, told_segments
from service.bridges.topics import MAX_LEVEL_BYTES, Topics, topic_level
from service.errors import ConfigurationError, LeaseLost
from service.jobs import lifecycle
from service.jobs.commands import request_cancel
from service.jobs.events import EventTail
from service.jobs.records import EventRecord, JobRecord
from service.jobs.store import transaction
from service.settings import load_settings

DOCS = Path(__file__).parents[2] / "docs"
MOMENT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def told(**changes):
    values = {
        "id": "1772355641.280-ab12cd34ef", "job_id": "job_1", "video_id": "vid_1",
        "video_name": "cam3.mp4", "model": "m@1", "label": "fall", "score": 0.83,
        "raw_score": 0.61, "start_seconds": 41.28, "end_seconds": 44.48, "camera": "dock",
        "recorded_at": MOMENT,
    }  # fmt: skip
    return BridgeSegment(**{**values, **changes})


def test_one_sweeper_holds_a_bridge_until_its_lease_ends(core, clock):
    ours = BridgeCursor(core, "mqtt", "a/bridges")
    theirs = BridgeCursor(core, "mqtt", "b/bridges")
    assert ours.take().position is None
    assert theirs.take() is None
    with pytest.raises(LeaseLost):
        theirs.keep(7)
    ours.keep(5, {"announced": ["x"]})
    assert ours.take().position == 5  # as after a restart
    clock.advance(59)
    ours.keep()
    clock.advance(59)
    assert theirs.take() is None
    clock.advance(2)
    held = theirs.take()
    assert (held.position, held.memory) == (5, {"announced": ["x"]})
    with pytest.raises(LeaseLost):
        ours.keep(6)
    ours.release()
    assert theirs.take() is not None
    theirs.release()
    assert ours.take().position == 5


def test_a_tail_goes_on_where_an_earlier_one_stood(core, add_job, run_job):
    def settled(tail):
        found = []
        for _ in range(4):
            found += tail.read()
        return found

    first = EventTail(core)
    settled(first)
    add_job()
    run_job()
    seen = settled(first)
    middle = seen[1].id
    assert [one.id for one in settled(EventTail(core, after=middle))] == [
        one.id for one in seen if one.id > middle
    ]
    with transaction(core.engine) as session:  # a job deleted while nobody looked leaves gaps
        session.execute(delete(EventRecord).where(EventRecord.id == seen[2].id))
    rest = settled(EventTail(core, after=middle))
    assert [one.id for one in rest] == [one.id for one in seen if one.id > seen[2].id]


def test_a_tail_that_goes_on_waits_for_commits_out_of_order(engine, core, add_job, clock):
    if engine.dialect.name != "postgresql":
        pytest.skip("on SQLite writers take turns")
    slow, quick = add_job(b"slow"), add_job(b"quick")
    first = EventTail(core)
    while first.position is None:
        assert first.read() == []
    with transaction(engine) as late:
        lifecycle.add_event(late, late.get_one(JobRecord, slow), "job.processing", clock.moment)
        late.flush()
        request_cancel(core, quick)
        # Killed, and started again: what is held back is still not left out.
        tail = EventTail(core, after=first.position)
        assert [event for _ in range(3) for event in tail.read()] == []
        assert tail.position == first.position
    found = [event.job_id for _ in range(3) for event in tail.read()]
    assert found == [slow, quick, quick]


def test_what_is_told_of_a_job(core, add_job, run_job, native):
    job_id = add_job(camera="dock", recorded_at=MOMENT, options={"min_score": 0.3})
    everything = BridgeFilter("default")
    assert told_segments(core, job_id, everything) == []
    run_job()
    found = told_segments(core, job_id, everything)
    assert [one.label for one in found] == ["walk", "run"]
    assert found[0].id == f"{MOMENT.timestamp() + 1:.3f}-{found[0].id[-10:]}"
    assert told_segments(core, job_id, everything) == found
    assert told_segments(core, job_id, BridgeFilter("default", frozenset({"run"}))) == found[1:]
    assert told_segments(core, job_id, BridgeFilter("default", None, 0.5)) == found[:1]
    assert known_cameras(core, "default") == ["dock"]
    assert known_cameras(core, "other") == []


NAMES = st.text(min_size=1, max_size=300)


@given(NAMES, NAMES)
def test_every_name_is_one_level_of_a_topic_and_no_two_are_the_same(one, other):
    level = topic_level(one)
    assert level
    assert not set("+#/\0") & set(level)
    assert len(level.encode()) <= max(MAX_LEVEL_BYTES, 40 * 12 + 15)
    assert (level == topic_level(other)) == (one == other)


def test_topics_do_not_collide():
    topics = Topics("kinetag")
    assert topics.label("dock", "fall") == "kinetag/dock/fall"
    assert topics.camera("dock") == "kinetag/dock/all"
    assert topics.label("dock", "all") == "kinetag/dock/%61ll"
    assert topics.label("dock", "%61ll") == "kinetag/dock/%2561ll"
    assert topic_level("a/b+#\0") == "a%2Fb%2B%23%00"


@given(st.lists(NAMES, max_size=5), st.lists(NAMES, max_size=400))
def test_any_camera_can_be_announced(cameras, labels):
    discovery = Discovery("homeassistant", Topics("kinetag"), tuple(labels), "1")
    configs = discovery.configs(cameras)
    assert len(configs) == 3 * len(set(cameras))
    allowed = set(string.ascii_letters + string.digits + "_-/")
    unique = set()
    for topic, body in configs.items():
        assert set(topic) <= allowed
        unique.add(json.loads(body)["unique_id"])
    assert len(unique) == len(configs)
    assert len(discovery.event_types) == len(set(discovery.event_types)) <= MAX_EVENT_TYPES
    assert all(discovery.event_type(label) in discovery.event_types for label in labels)


def test_an_event_is_told_twice_and_keeps_its_id():
    new, end = event_messages(told(tag="night"))
    assert (new["type"], end["type"]) == ("new", "end")
    assert new["before"] == new["after"] == end["before"]
    assert end["after"] == {**end["before"], "end_time": 1772355644.48}
    assert end["after"]["start_time"] == 1772355641.28
    json.dumps(end, allow_nan=False)


@pytest.mark.parametrize(
    ("camera", "label", "path"),
    [
        ("dock", "fall", "/api/events/front_dock/fall/create"),
        ("a/b", "Süß?", "/api/events/a_b/S%C3%BC%C3%9F%3F/create"),
        ("..", ".", "/api/events/__/_/create"),
        ("x y", "a#b%c", "/api/events/x%20y/a%23b%25c/create"),
    ],
)
def test_paths_of_frigate_lead_nowhere_else(camera, label, path):
    now = MOMENT + timedelta(seconds=50)
    found, body = creation(told(camera=camera, label=label), now, {"dock": "front_dock"})
    assert found == path
    assert body == {
        "sub_label": None, "score": 0.83, "duration": 4, "include_recording": True,
        "pre_capture": 9,
    }  # fmt: skip


def test_an_annotation_can_be_found_again():
    body = annotation(told(tag="dock"))
    assert body == {
        "time": 1772355641280,
        "timeEnd": 1772355644480,
        "tags": ["kinetag", "fall", "dock"],
        "text": "fall 0.83 · dock · 1772355641.280-ab12cd34ef",
    }
    assert query_of(body).startswith("/api/annotations?from=1772355641280&to=1772355644480&tags=")
    assert is_among(body, [None, {"text": "other"}, {**body, "id": 7}])
    assert not is_among(body, [{"text": "other"}])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", ("broker", 1883, False, None, None)),
        ("mqtts://kim:p%40ss%2Fw@[fd00::1]:8884/", ("fd00::1", 8884, True, "kim", "p@ss/w")),
        ("mqtt://kim@broker:99", ("broker", 99, False, "kim", None)),
    ],
)
def test_addresses_of_brokers(url, expected):
    address = MqttAddress.of(url)
    found = (address.host, address.port, address.tls, address.user, address.password)
    assert found == expected
    assert "p@ss" not in repr(address) + address.shown


@pytest.mark.parametrize(
    "url",
    ["tcp://broker", "mqtt://", "mqtt://a:b@c:port", "mqtt://h/topic", "mqtt://s3cret:0",
     "mqtt://h:0", "broker"],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_refused_without_repeating_them(url):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(mqtt_url=url)
    assert "KINETAG_MQTT_URL" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "a+b", "a/#", "/a", "a/", "$SYS", "a//b", "a\n", "x" * 129])
def test_prefixes_that_no_topic_can_begin_with(prefix):
    with pytest.raises(ValueError, match="MQTT prefix"):
        checked_prefix(prefix)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://a:b@c", "https://x?y=1", "x"])
def test_addresses_of_web_applications(url):
    with pytest.raises(ValueError, match="the address is"):
        checked_base(url)
    assert checked_base("https://grafana.example/sub/") == "https://grafana.example/sub"


def test_cameras_with_other_names():
    assert camera_names(("dock=front dock", "a = b=c")) == {"dock": "front dock", "a": "b=c"}
    with pytest.raises(ValueError, match="OURS=THEIRS"):
        camera_names(("dock",))


def test_the_documentation_shows_events_as_they_are():
    text = (DOCS / "bridges.md").read_text()
    shown = json.loads(re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0])
    _, end = event_messages(told(tag="store-12"))
    assert set(shown) == set(end)
    assert set(shown["after"]) == set(end["after"])
    assert {name: type(value) for name, value in shown["after"].items()} == {
        name: type(value) for name, value in end["after"].items()
    }
    state = state_message(told(), "fall")
    described = text[text.index("**Segments** have") : text.index("**The present only.**")]
    assert all(f"`{name}`" in described for name in state)
