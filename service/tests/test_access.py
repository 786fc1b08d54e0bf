"""Who is let in: every route with every scope, with no key, a bad one, another tenant's ids."""

import asyncio
import itertools
import re
import socket
import threading
import time
from datetime import timedelta

import httpx2
import pytest
import uvicorn
from fastapi import Request

from service.accounts.keys import NewKey, create_key, revoke_key
from service.accounts.scopes import ALL_SCOPES, Scope, allows
from service.accounts.tenants import ensure_tenant
from service.api.access import Gate
from service.api.deps import SecuredRoute, needed_scopes
from service.errors import DatabaseUnavailable
from service.jobs.commands import open_core
from service.main import ROUTES, create_app

OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/docs"),
    ("GET", "/docs/style.css"),
    ("GET", "/"),
    ("GET", "/web/{path:path}"),
    ("GET", "/embed/camera"),
    ("GET", "/embed/{job_id}"),
    # Say which tus is spoken.
    ("OPTIONS", "/v1/uploads"),
    ("OPTIONS", "/v1/uploads/{upload_id}"),
}
ROUTE_LIST = [
    (method, route.path, route)
    for module in ROUTES
    for route in module.router.routes
    for method in sorted(route.methods)
]
SECURED = [
    (method, path, *needed_scopes(route.dependant))
    for method, path, route in ROUTE_LIST
    if (method, path) not in OPEN
]
# The override makes POST to an upload's address an address of its own.
TUS = {"Tus-Resumable": "1.0.0", "X-HTTP-Method-Override": "PATCH"}
NOBODYS = "0" * 26
PREFIXES = {
    "job_id": "job",
    "video_id": "vid",
    "batch_id": "bat",
    "webhook_id": "whk",
    "delivery_id": "msg",
    "upload_id": "upl",
    "key_id": "key",
    "search_id": "sch",
}


class Api:
    """The API on a real socket, with keys of two tenants."""

    def __init__(self, settings, **changes):
        self.settings = settings.model_copy(update={"require_keys": True, **changes})
        self.app = create_app(self.settings)
        self.server = uvicorn.Server(uvicorn.Config(self.app, port=0, log_config=None))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        deadline = time.monotonic() + 20
        while not self.server.started:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        self.address = self.server.servers[0].sockets[0].getsockname()
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.address[1]}", timeout=20)
        self.core = self.app.state.context.core

    def key(self, tenant="default", scopes=ALL_SCOPES, lifetime=None):
        owner = ensure_tenant(self.core, tenant)
        wish = NewKey("test", scopes, lifetime)
        record, text = create_key(self.core.for_tenant(owner.id), wish)
        return record.id, text.reveal()

    def headers(self, **wish):
        return {**TUS, "Authorization": f"Bearer {self.key(**wish)[1]}"}

    def status(self, method, path, headers, **more):
        """Send a request, read the head of the answer, and leave: streams never end."""
        with self.client.stream(method, path, headers=headers, **more) as answer:
            return answer.status_code

    def close(self):
        self.client.close()
        self.server.should_exit = True
        self.thread.join(20)


@pytest.fixture
def api(settings):
    api = Api(settings, allow_private_urls=True, upload_stall_seconds=20)
    yield api
    api.close()


def filled(path, ids=None):
    def put(match):
        name = match[1]
        assert name in PREFIXES, f"say above how ids of {{{name}}} begin"
        return (ids or {}).get(name, f"{PREFIXES[name]}_{NOBODYS}")

    return re.sub(r"\{(\w+)\}", put, path)


def test_every_route_needs_a_scope_or_is_open_on_purpose():
    without = {
        (method, path) for method, path, route in ROUTE_LIST if not needed_scopes(route.dependant)
    }
    assert without <= OPEN
    unsecured = {
        (method, path) for method, path, route in ROUTE_LIST if not isinstance(route, SecuredRoute)
    }
    assert unsecured <= OPEN
    assert len(SECURED) > 20


def test_the_interface_says_where_a_key_is_needed(api):
    document = api.client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert ("security" in operation) == ((method.upper(), path) not in OPEN), path


def test_without_a_key_nothing_is_told(api):
    for method, path, *_ in SECURED:
        answer = api.client.request(method, filled(path), headers=TUS)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        if method != "HEAD":
            assert answer.json()["code"] == "unauthorized"
    ready = api.client.get("/readyz").json()
    assert set(ready["checks"]) == set()
    assert api.client.get("/readyz", headers=api.headers()).json()["checks"]["database"]["ok"]


def test_a_scope_opens_its_routes_and_no_others(api):
    wrong = []
    for scope in Scope:
        headers = api.headers(scopes=frozenset({scope}))
        for method, path, *needed in SECURED:
            status = api.status(method, filled(path), headers)
            allowed = all(allows(frozenset({scope}), one) for one in needed)
            if (status in {401, 403}) == allowed or (status == 401):
                wrong.append((scope, method, path, status))
    assert wrong == []


def test_a_refusal_names_the_scope(api):
    headers = api.headers(scopes=frozenset({Scope.JOBS_READ}))
    answer = api.client.get("/v1/keys", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "admin" in answer.json()["detail"]
    assert 'scope="admin"' in answer.headers["www-authenticate"]


def test_bad_keys_are_refused_also_where_none_is_needed(settings):
    api = Api(settings, require_keys=False)
    try:
        key_id, good = api.key()
        _, foreign_secret = api.key()
        revoked_id, revoked = api.key()
        revoke_key(api.core, revoked_id)
        _, expired = api.key(lifetime=timedelta(microseconds=1))
        mixed = good[:-64] + foreign_secret[-64:]
        flipped = good[:-1] + ("0" if good[-1] != "0" else "1")
        bad = [
            "x",
            good[:-1],
            good + "0",
            good.upper(),
            mixed,
            flipped,
            revoked,
            expired,
            key_id,
        ]
        for text in bad:
            for headers in ({"Authorization": f"Bearer {text}"}, {"X-API-Key": text}):
                answer = api.client.get("/v1/jobs", headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), headers
        for several in (
            [("Authorization", f"Basic {good}")],
            [("Authorization", f"Bearer {good}"), ("X-API-Key", good)],
            [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")],
        ):
            assert api.client.get("/v1/jobs", headers=several).status_code == 401
        for headers in ({}, {"Authorization": f"bearer  {good}"}, {"x-api-key": good}):
            assert api.client.get("/v1/jobs", headers=headers).status_code == 200
        acme = api.headers(tenant="acme")
        who = [api.client.get("/v1/usage", headers=sent).json() for sent in ({}, acme)]
        assert who[0]["tenant_id"] == "default"
        assert who[0]["key_id"] is None
        assert who[1]["tenant_id"] == ensure_tenant(api.core, "acme").id
    finally:
        api.close()


def test_a_key_in_the_address_opens_nothing(api):
    _, key = api.key()
    for name in ("key", "api_key", "access_token", "token"):
        assert api.client.get("/v1/jobs", params={name: key}).status_code == 401


def owned_things(api, headers):
    """Make one of everything that has an address; return its ids."""
    with_video = {"video": ("a.mp4", b"bytes of a video")}
    job = api.client.post("/v1/jobs", headers=headers, files=with_video)
    assert job.status_code == 202, job.text
    ids = {"job_id": job.json()["id"], "video_id": job.json()["video"]["id"]}
    upload = api.client.post("/v1/uploads", headers={**headers, "Upload-Length": "10"})
    assert upload.status_code == 201, upload.text
    ids["upload_id"] = upload.headers["location"].rpartition("/")[2]
    batch = {"items": [{"video_id": ids["video_id"]}]}
    made = api.client.post("/v1/batches", headers=headers, json=batch)
    assert made.status_code == 202, made.text
    ids["batch_id"] = made.json()["id"]
    hook = api.client.post("/v1/webhooks", headers=headers, json={"url": "http://127.0.0.1:9/"})
    assert hook.status_code == 201, hook.text
    ids["webhook_id"] = hook.json()["id"]
    sent = api.client.post(f"/v1/webhooks/{ids['webhook_id']}/test", headers=headers)
    ids["delivery_id"] = sent.json()["id"]
    key = api.client.post("/v1/keys", headers=headers, json={"name": "second"})
    assert key.status_code == 201, key.text
    ids["key_id"] = key.json()["id"]
    wish = {"name": "Falls", "filter": {"label": ["fall"]}}
    search = api.client.post("/v1/searches", headers=headers, json=wish)
    assert search.status_code == 201, search.text
    ids["search_id"] = search.json()["id"]
    return ids


def test_another_tenants_things_do_not_exist(api):
    mine, theirs = api.headers(tenant="a"), api.headers(tenant="b")
    ids = owned_things(api, mine)
    assert ids.keys() == PREFIXES.keys()
    wrong = []
    for method, path, *_ in SECURED:
        if "{" not in path:
            continue
        status = api.status(method, filled(path, ids), {**theirs, "Upload-Offset": "0"})
        strangers = api.status(method, filled(path), {**theirs, "Upload-Offset": "0"})
        # Neither the status tells that it exists.
        if status != strangers or status not in {404, 405, 415, 422}:
            wrong.append((method, path, status, strangers))
    assert wrong == []
    for method, path, *_ in SECURED:
        if method == "GET" and "{" not in path and path not in {"/v1/events", "/metrics"}:
            text = api.client.get(path, headers=theirs).text
            assert [name for name in ids.values() if name in text] == [], path
    for body in ({"video_id": ids["video_id"]},):
        answer = api.client.post("/v1/jobs", headers=theirs, json=body)
        assert answer.status_code == 404, answer.text
    # All of it is as it was.
    for path in ("/v1/jobs/{job_id}", "/v1/videos/{video_id}", "/v1/batches/{batch_id}"):
        assert api.client.get(filled(path, ids), headers=mine).status_code == 200
    assert api.client.get(f"/v1/keys/{ids['key_id']}", headers=mine).json()["status"] == "active"


def test_the_same_idempotency_key_of_two_tenants_makes_two_jobs(api):
    seen = set()
    for tenant in "ab":
        headers = {**api.headers(tenant=tenant), "Idempotency-Key": "same"}
        answer = api.client.post("/v1/jobs", headers=headers, files={"video": ("a.mp4", b"x")})
        assert answer.status_code == 202
        seen.add(answer.json()["id"])
    assert len(seen) == 2


def early_answer(api, method, path, headers):
    """Announce a body and wait to be asked for it; return what the server says instead."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Expect: 100-continue"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["Content-Type: application/json", "Content-Length: 1000000", "", ""]
    with socket.create_connection(api.address[:2], timeout=10) as link:
        link.sendall("\r\n".join(lines).encode())
        return link.recv(12).decode()


def test_who_may_not_is_told_before_the_body_is_read(api):
    powerless = api.headers(scopes=frozenset({Scope.METRICS}))
    for method, path, *_ in SECURED:
        if method in {"POST", "PUT", "PATCH"}:
            assert early_answer(api, method, filled(path), TUS) == "HTTP/1.1 401", path
            assert early_answer(api, method, filled(path), powerless) == "HTTP/1.1 403", path


def test_a_refused_upload_is_answered_however_long(api):
    answer = api.client.post("/v1/videos", content=b"x" * 2_000_000)
    assert answer.status_code == 401


def test_a_revoked_key_ends_its_streams(api):
    key_id, key = api.key(tenant="a")
    headers = {"Authorization": f"Bearer {key}"}
    with api.client.stream("GET", "/v1/events", headers=headers) as answer:
        lines = answer.iter_lines()
        next(lines)
        admin = api.headers(tenant="a")
        assert api.client.delete(f"/v1/keys/{key_id}", headers=admin).status_code == 204
        assert api.client.get("/v1/jobs", headers=headers).status_code == 401
        threading.Event().wait(0.6)
        made = api.client.post("/v1/jobs", headers=admin, files={"video": ("a.mp4", b"x")})
        assert made.status_code == 202
        heard = []
        with pytest.raises(httpx2.RemoteProtocolError):
            heard.extend(lines)
    assert made.json()["id"] not in "".join(heard)


def test_an_outage_lets_nobody_in_and_throws_nobody_out(settings, monkeypatch):
    core = open_core(settings)
    gate = Gate(settings.model_copy(update={"require_keys": True}), core)
    record, text = create_key(core.for_tenant("default"), NewKey("test"))
    header = (b"authorization", f"Bearer {text.reveal()}".encode())

    def request():
        return Request({"type": "http", "method": "GET", "path": "/", "headers": [header]})

    async def scenario():
        admission = await gate.admit(request(), Scope.JOBS_READ)
        gate.keyring.forget(record.id)
        admission.checked_at -= 1
        monkeypatch.setattr("service.accounts.keyring.reading", away)
        assert await gate.still_holds(admission)
        with pytest.raises(DatabaseUnavailable):
            await gate.admit(request(), Scope.JOBS_READ)
        assert not await gate.trusts(request())
        monkeypatch.undo()
        revoke_key(core, record.id)
        admission.checked_at -= 1
        assert not await gate.still_holds(admission)

    def away(_engine):
        message = "The database is away."
        raise DatabaseUnavailable(message)

    asyncio.run(scenario())
    core.engine.dispose()


def test_a_revoked_key_ends_its_uploads(api):
    key_id, key = api.key(tenant="a")

    def content():
        for index in itertools.count():
            yield b"x" * 1000
            if index == 0:
                revoke_key(api.core, key_id)
            if index == 12:
                return
            threading.Event().wait(0.1)

    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/octet-stream"}
    try:
        answer = api.client.post("/v1/videos?name=a.mp4", headers=headers, content=content())
        assert answer.status_code >= 400
    except httpx2.TransportError:
        pass
    videos = api.client.get("/v1/videos", headers=api.headers(tenant="a")).json()
    assert videos["videos"] == []


def test_a_tenant_that_asks_too_often_is_told_when_to_come_back(api):
    ensure_tenant(api.core, "busy", {"requests_per_second": 2})
    busy, calm = api.headers(tenant="busy"), api.headers(tenant="calm")
    answers = [api.client.get("/v1/jobs", headers=busy) for _ in range(8)]
    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    assert answers[0].headers["ratelimit-policy"] == '"requests";q=4;w=2'
    last = answers[-1]
    assert (last.status_code, last.json()["code"]) == (429, "rate_limited")
    assert int(last.headers["retry-after"]) >= 1
    assert last.headers["ratelimit"].startswith('"requests";r=0;t=')
    assert "ratelimit" not in api.client.get("/v1/jobs", headers=calm).headers
    assert [api.client.get("/healthz", headers=busy).status_code for _ in range(20)] == [200] * 20


def test_what_exceeds_a_quota_is_refused_whichever_way_it_comes(api):
    ensure_tenant(api.core, "a", {"stored_bytes": 1000, "queued_jobs": 1})
    headers = api.headers(tenant="a")
    raw = {**headers, "Content-Type": "video/mp4"}
    form = {"files": {"video": ("a.mp4", b"x" * 600)}}
    repeated = {**headers, "Idempotency-Key": "once"}
    first = api.client.post("/v1/jobs", headers=repeated, **form)
    assert first.status_code == 202, first.text
    # It is over the quota by what it made itself.
    again = api.client.post("/v1/jobs", headers=repeated, **form)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    video = {"video_id": first.json()["video"]["id"]}
    for answer in (
        api.client.post("/v1/jobs", headers=headers, **form),
        api.client.post("/v1/jobs", headers=headers, json=video),
    ):
        assert (answer.status_code, answer.json()["code"]) == (429, "quota_jobs")
        assert int(answer.headers["retry-after"]) > 0
    upload = {**headers, "Upload-Length": "500"}
    keyed = {**raw, "Idempotency-Key": "twice"}
    for answer in (
        api.client.post("/v1/videos?name=b", headers=raw, content=b"y" * 500),
        api.client.post("/v1/videos?name=b", headers=keyed, content=b"y" * 500),
        api.client.post("/v1/videos", headers=headers, files={"video": ("b", b"y" * 500)}),
        api.client.post("/v1/uploads", headers=upload),
    ):
        assert (answer.status_code, answer.json()["code"]) == (507, "quota_bytes"), answer.text
    begun = api.client.post("/v1/uploads", headers={**headers, "Upload-Length": "400"})
    assert begun.status_code == 201
    usage = api.client.get("/v1/usage", headers=headers).json()
    assert (usage["stored_bytes"], usage["reserved_bytes"], usage["queued_jobs"]) == (600, 400, 1)
    assert usage["quotas"]["stored_bytes"] == 1000
    stored = [path for path in (api.settings.data_dir / "videos").rglob("*") if path.is_file()]
    assert len(stored) == 1


def test_uploads_at_once_are_counted(api):
    ensure_tenant(api.core, "a", {"uploads": 1})
    headers = {**api.headers(tenant="a"), "Content-Type": "application/octet-stream"}
    head = "\r\n".join(
        [
            "POST /v1/videos?name=a.mp4 HTTP/1.1",
            "Host: localhost",
            f"Authorization: {headers['Authorization']}",
            "Content-Type: application/octet-stream",
            "Content-Length: 2000000",
            "",
            "x",
        ]
    )
    with socket.create_connection(api.address[:2], timeout=10) as link:
        link.sendall(head.encode())
        deadline = time.monotonic() + 20
        while not api.app.state.gate._uploads._taken:
            assert time.monotonic() < deadline
        second = api.client.post("/v1/videos?name=b.mp4", headers=headers, content=b"x" * 2**21)
        assert (second.status_code, second.json()["code"]) == (429, "quota_uploads")
        assert "retry-after" in second.headers
        # What is small passes.
        assert api.client.get("/v1/jobs", headers=headers).status_code == 200
    while time.monotonic() < deadline:
        third = api.client.post("/v1/videos?name=c.mp4", headers=headers, content=b"x" * 2**21)
        if third.is_success:
            return
    pytest.fail("the slot of an upload that broke off was not given back")


def test_a_web_page_needs_more_than_a_key(api):
    headers = {**api.headers(), "Origin": "http://evil.example"}
    assert api.client.get("/v1/jobs", headers=headers).json()["code"] == "origin_not_allowed"
