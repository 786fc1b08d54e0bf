"""Server-sent events over a real socket: resumed, fanned out, ended."""

import json
import threading
import time

import httpx2
import pytest
import uvicorn

from service.api import feed as feed_module
from service.api.routes import events as events_module
from service.errors import DatabaseUnavailable
from service.jobs.commands import NewJob, create_job, get_job, open_core, request_cancel
from service.jobs.events import EventTail
from service.jobs.lifecycle import Plan
from service.jobs.queue import TaskQueue
from service.jobs.records import TenantRecord
from service.jobs.removal import delete_job
from service.jobs.store import transaction
from service.jobs.videos import NewVideo
from service.main import create_app

LEASE = 60.0
READ_SECONDS = 10.0


class Api:
    """The API in a thread, and the core behind it."""

    def __init__(self, settings):
        self.stopping = threading.Event()
        self.app = create_app(settings, self.stopping)
        config = uvicorn.Config(self.app, port=0, log_config=None, timeout_graceful_shutdown=5)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        deadline = time.monotonic() + 20
        while not self.server.started:
            assert time.monotonic() < deadline, "the server did not start"
            threading.Event().wait(0.01)
        host, port = self.server.servers[0].sockets[0].getsockname()
        self.client = httpx2.Client(base_url=f"http://{host}:{port}", timeout=READ_SECONDS)
        self.core = open_core(settings)
        self.queue = TaskQueue(self.core.engine)

    @property
    def feed(self):
        return self.app.state.feed

    def add_job(self, tenant="default"):
        request = NewJob(NewVideo("a.mp4", source="path", source_ref="/a.mp4"), "kinetag-demo@1")
        return create_job(self.core.for_tenant(tenant), request)[0].job.id

    def add_tenant(self, name):
        with transaction(self.core.engine) as session:
            now = self.core.clock.now(session)
            session.add(TenantRecord(id=name, name=name, created_at=now))

    def follow(self, path, last=None, **params):
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        return self.client.stream("GET", path, headers=headers, params=params)

    def until(self, look):
        deadline = time.monotonic() + READ_SECONDS
        while not look():
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)

    def close(self):
        self.client.close()
        self.server.should_exit = True
        self.thread.join(20)
        self.core.engine.dispose()


@pytest.fixture
def api(settings):
    api = Api(settings)
    yield api
    api.close()


def messages(answer):
    """Yield (id, event, data) of a stream; comments are (None, None, text)."""
    known = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            yield None, None, line
        elif line:
            name, _, value = line.partition(": ")
            known[name] = value
        elif "event" in known:
            number = int(known["id"]) if "id" in known else None
            yield number, known["event"], json.loads(known["data"])
            known = {}
        else:
            known = {}


def types(found):
    return [kind for _, kind, _ in found if kind not in {None, "progress"}]


def test_a_job_is_followed_to_its_end(api):
    job_id = api.add_job()
    with api.follow(f"/v1/jobs/{job_id}/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        stream = messages(answer)
        number, kind, data = next(stream)
        assert (kind, data["type"], data["data"]) == ("job.queued", kind, {"id": job_id})
        assert data["timestamp"].endswith("Z")
        task = api.queue.claim(owner="w", lease_seconds=LEASE)
        api.queue.complete_plan(task.id, task.token, Plan(2, {}, set()))
        chunk = api.queue.claim(owner="w", lease_seconds=LEASE)
        api.queue.heartbeat(chunk.id, chunk.token, lease_seconds=LEASE, stage="flow", fraction=0.5)
        found = [next(stream)]
        while found[-1][1] != "progress" or found[-1][2]["data"]["stage"] != "flow":
            found.append(next(stream))
        told = found[-1]
        assert told[0] is None, "progress has no id: nobody needs to hear it again"
        assert told[2]["data"]["id"] == job_id
        assert 0 < told[2]["data"]["progress"] < 1
        request_cancel(api.core, job_id)
        api.queue.cancel_now(chunk.id, chunk.token)
        found += list(stream)
    assert types(found) == ["job.processing", "job.cancel_requested", "job.canceled"]
    ids = [one for one, _, _ in found if one is not None]
    assert ids == sorted(set(ids))
    assert ids[0] > number


def test_a_reader_that_comes_back_gets_the_rest_and_then_nothing(api):
    job_id = api.add_job()
    request_cancel(api.core, job_id)
    with api.follow(f"/v1/jobs/{job_id}/events") as answer:
        whole = list(messages(answer))
    assert types(whole) == ["job.queued", "job.cancel_requested", "job.canceled"]
    for place, (number, _, _) in enumerate(whole):
        for given in ({"last": number}, {"last_event_id": number}):
            with api.follow(f"/v1/jobs/{job_id}/events", **given) as answer:
                if place == 2:
                    assert answer.status_code == 204
                else:
                    assert list(messages(answer)) == whole[place + 1 :]


def test_everything_of_a_tenant_is_followed_and_nothing_of_others(api):
    before = api.add_job()
    with api.follow("/v1/events") as answer, api.follow("/v1/events", last_event_id=0) as all_of_it:
        # Held on to: a reader that is thrown away hangs up.
        readers = messages(answer), messages(all_of_it)
        assert next(readers[1])[2]["data"]["id"] == before
        api.until(lambda: api.feed.num_readers == 2 and api.feed._ready.is_set())
        api.add_tenant("other")
        api.add_job("other")
        later = api.add_job()
        kinds = [next(one) for one in readers]
        assert [(kind, data["data"]["id"]) for _, kind, data in kinds] == [
            ("job.queued", later)
        ] * 2
    api.until(lambda: api.feed.num_readers == 0)


def test_jobs_of_other_tenants_are_not_there(api):
    api.add_tenant("other")
    job_id = api.add_job("other")
    answer = api.client.get(f"/v1/jobs/{job_id}/events")
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 20, "²"])
def test_an_id_that_was_never_given_out_is_refused(api, last):
    job_id = api.add_job()
    answer = api.client.get(f"/v1/jobs/{job_id}/events", params={"last_event_id": last})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_silent_stream_shows_that_it_lives(api, monkeypatch):
    monkeypatch.setattr(events_module, "HEARTBEAT_SECONDS", 0.05)
    job_id = api.add_job()
    with api.follow(f"/v1/jobs/{job_id}/events") as answer:
        stream = messages(answer)
        assert next(stream)[1] == "job.queued"
        assert [next(stream)[2] for _ in range(3)] == [": still here"] * 3


def test_a_reader_of_a_deleted_job_is_told(api, monkeypatch):
    monkeypatch.setattr(feed_module, "TICKS_PER_CENSUS", 1)
    job_id = api.add_job()
    task = api.queue.claim(owner="w", lease_seconds=LEASE)
    with api.follow(f"/v1/jobs/{job_id}/events") as answer:
        stream = messages(answer)
        assert next(stream)[1] == "job.queued"
        assert delete_job(api.core, job_id) is False
        found = list(stream)
    assert found[-1][:2] == (None, "job.deleted")
    assert task is not None


def test_streams_end_when_the_process_is_to_end(api):
    job_id = api.add_job()
    with api.follow(f"/v1/jobs/{job_id}/events") as answer:
        stream = messages(answer)
        assert next(stream)[1] == "job.queued"
        started = time.monotonic()
        api.stopping.set()
        assert list(stream) == []
        assert time.monotonic() - started < 5
    with api.follow(f"/v1/jobs/{job_id}/events", last=10**6) as answer:
        assert list(messages(answer)) == []


def test_a_reader_that_falls_behind_is_let_go_and_misses_nothing(api, monkeypatch):
    monkeypatch.setattr(feed_module, "MAX_PENDING", 3)
    job_ids = [api.add_job() for _ in range(20)]
    with api.follow("/v1/events", last_event_id=0) as answer:
        stream = messages(answer)
        seen = [next(stream) for _ in range(20)]
        for job_id in job_ids:
            request_cancel(api.core, job_id)
        seen += list(stream)
    while len(seen) < 60:
        with api.follow("/v1/events", last=seen[-1][0]) as answer:
            for message in messages(answer):
                seen.append(message)
                if len(seen) == 60:
                    break
    ids = [number for number, _, _ in seen]
    assert ids == sorted(set(ids))
    assert types(seen).count("job.canceled") == 20


def test_an_outage_of_the_database_is_sat_out(api, monkeypatch):
    monkeypatch.setattr(feed_module, "OUTAGE_SECONDS", 0.05)
    job_id = api.add_job()
    with api.follow(f"/v1/jobs/{job_id}/events") as answer:
        stream = messages(answer)
        assert next(stream)[1] == "job.queued"
        read, away = EventTail.read, []

        def fail(*_):
            away.append(1)
            raise DatabaseUnavailable

        monkeypatch.setattr(EventTail, "read", fail)
        api.until(lambda: len(away) >= 3)
        request_cancel(api.core, job_id)
        # Now events can be read, but progress cannot: they must not be lost with it.
        monkeypatch.setattr(feed_module, "all_progress", fail)
        monkeypatch.setattr(EventTail, "read", read)
        assert types(stream) == ["job.cancel_requested", "job.canceled"]


def test_a_bug_in_the_feed_lets_the_readers_come_back(api, monkeypatch):
    job_id = api.add_job()
    with monkeypatch.context() as patch:
        patch.setattr(EventTail, "read", lambda _: 1 // 0)
        with api.follow(f"/v1/jobs/{job_id}/events") as answer:
            assert list(messages(answer)) == []
    request_cancel(api.core, job_id)
    with api.follow(f"/v1/jobs/{job_id}/events") as answer:
        assert types(messages(answer))[-1] == "job.canceled"


def test_many_readers_cost_one_look_per_tick(api, monkeypatch):
    looks = []
    read = EventTail.read

    def look(tail):
        looks.append(time.monotonic())
        return read(tail)

    monkeypatch.setattr(EventTail, "read", look)
    job_id = api.add_job()
    streams = [api.follow(f"/v1/jobs/{job_id}/events") for _ in range(20)]
    readers = [messages(stream.__enter__()) for stream in streams]
    heads = [next(reader) for reader in readers]
    assert len(set(map(str, heads))) == 1
    looks.clear()
    started = time.monotonic()
    api.until(lambda: len(looks) >= 4)
    assert len(looks) <= (time.monotonic() - started) / feed_module.TICK_SECONDS + 2
    request_cancel(api.core, job_id)
    for stream, reader in zip(streams, readers, strict=True):
        assert types(reader) == ["job.cancel_requested", "job.canceled"]
        stream.__exit__(None, None, None)
    assert get_job(api.core, job_id).job.status == "canceled"
    api.until(lambda: api.feed.num_readers == 0 and api.feed._task.done())
