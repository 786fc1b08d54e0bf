"""Who comes with an embed token: what he sees, on every route there is, and what he does not."""

import re
import threading

import pytest
from starlette.testclient import TestClient

from service.accounts.keyring import MEMORY_SECONDS
from service.accounts.keys import NewKey, create_key, revoke_key
from service.accounts.scopes import DEFAULT_SCOPES, Scope
from service.accounts.tenants import ensure_tenant
from service.api.deps import SecuredRoute, needed_scopes, what_is_shown
from service.api.embeds import REQUEST_HEADERS
from service.embedding.subjects import Subject
from service.embedding.tokens import Grant, expiry, sign_token
from service.jobs.lifecycle import Plan
from service.jobs.queue import TaskQueue
from service.jobs.store import reading
from service.main import ROUTES, create_app

PAGE = "https://dash.example"
EVIL = "https://evil.example"
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
}
FACTS = {"duration": 9.0, "nominal_fps": 25.0, "vfr": False, "width": 64, "height": 48}
SHOWN = {
    ("GET", "/v1/jobs"): "camera",
    ("GET", "/v1/jobs/{job_id}"): "job",
    ("GET", "/v1/jobs/{job_id}/events"): "job",
    ("GET", "/v1/jobs/{job_id}/result"): "job",
    ("GET", "/v1/jobs/{job_id}/activations"): "job",
    ("POST", "/v1/jobs/{job_id}/resegment"): "job",
    ("GET", "/v1/jobs/{job_id}/timeline.png"): "job",
    ("GET", "/v1/jobs/{job_id}/timeline.svg"): "job",
    ("GET", "/v1/segments"): "camera",
    ("GET", "/v1/videos/{video_id}"): "video",
    ("GET", "/v1/videos/{video_id}/thumbnails"): "video",
    ("POST", "/v1/videos/{video_id}/ticket"): "video",
    ("GET", "/v1/videos/{video_id}/content"): "bytes",
    ("HEAD", "/v1/videos/{video_id}/content"): "bytes",
}
"""All that tokens and tickets open. Adding to it lets strangers see more: mind what."""

ALL_ROUTES = [
    (method, route.path, route)
    for module in ROUTES
    for route in module.router.routes
    for method in sorted(route.methods)
]
SECURED = [
    (method, path, route)
    for method, path, route in ALL_ROUTES
    if isinstance(route, SecuredRoute) and needed_scopes(route.dependant)
]


class House:
    """A service that needs keys, with jobs of two cameras and of another tenant."""

    def __init__(self, client, app, native):
        self.client, self.native = client, native
        self.gate = app.state.gate
        self.core = app.state.context.core
        self.queue = TaskQueue(self.core.engine)
        self.key_id, self.key = self.make_key()
        self.job, self.video = self.finished(camera="dock")
        self.other_job, self.other_video = self.finished(camera="yard", content=b"another video")
        _, strangers = self.make_key("strangers")
        self.strange_job, self.strange_video = self.finished(
            camera="dock", key=strangers, content=b"a third"
        )

    def make_key(self, tenant="default", scopes=DEFAULT_SCOPES, lifetime=None):
        owner = ensure_tenant(self.core, tenant)
        record, text = create_key(self.core.for_tenant(owner.id), NewKey("test", scopes, lifetime))
        return record.id, text.reveal()

    def ask(self, method, path, text=None, origin=PAGE, **more):
        headers = more.pop("headers", {})
        if text is not None:
            headers["Authorization"] = f"Bearer {text}"
        if origin is not None:
            headers["Origin"] = origin
        return self.client.request(method, path, headers=headers, **more)

    def own(self, method, path, **more):
        return self.ask(method, path, self.key, None, **more)

    def finished(self, camera, key=None, content=b"bytes of a video"):
        made = self.ask(
            "POST",
            "/v1/jobs",
            key or self.key,
            None,
            files={"video": ("cam.mp4", content)},
            data={"camera": camera},
        )
        assert made.status_code == 202, made.text
        plan = self.queue.claim(owner="w", lease_seconds=60)
        self.queue.complete_plan(plan.id, plan.token, Plan(1, FACTS, {0}))
        join = self.queue.claim(owner="w", lease_seconds=60)
        self.queue.complete_join(join.id, join.token, result=self.native)
        return made.json()["id"], made.json()["video"]["id"]

    def token(self, key=None, **wish):
        wish = wish or {"job": self.job}
        made = self.ask(
            "POST", "/v1/embed-tokens", key or self.key, None, json={"origins": [PAGE], **wish}
        )
        assert made.status_code == 201, made.text
        return made.json()["token"]

    def ticket(self, token, video=None, **more):
        made = self.ask("POST", f"/v1/videos/{video or self.video}/ticket", token, **more)
        assert made.status_code == 201, made.text
        return made.json()["url"]

    def ids(self, job, video):
        return {"job_id": job, "video_id": video}


@pytest.fixture
def house(settings, native):
    app = create_app(settings.model_copy(update={"require_keys": True}))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield House(client, app, native)


def filled(path, ids):
    def put(match):
        name = match[1]
        return ids.get(name, f"{PREFIXES.get(name, 'one')}_{NOBODYS}")

    return re.sub(r"\{(\w+)(?::path)?\}", put, path)


def test_what_is_open_to_tokens_is_this_list():
    found = {
        (method, path): "+".join(sorted(what_is_shown(route)))
        for method, path, route in SECURED
        if what_is_shown(route)
    }
    assert found == SHOWN


def test_a_token_opens_its_job_on_these_routes_and_nothing_anywhere_else(house):
    tokens = {"job": house.token(), "camera": house.token(camera="dock")}
    mine = house.ids(house.job, house.video)
    others = [
        house.ids(house.other_job, house.other_video),
        house.ids(house.strange_job, house.strange_video),
        {},
    ]
    wrong = []
    for method, path, route in SECURED:
        shown = what_is_shown(route)
        for kind, token in tokens.items():
            opens = bool(shown & {"job", "video"}) or (kind == "camera" and "camera" in shown)
            answer = house.ask(method, filled(path, mine), token, json={})
            if (answer.status_code in {401, 403}) == opens:
                wrong.append((kind, method, path, answer.status_code))
            if (
                not opens
                and method != "HEAD"
                and answer.json()["code"]
                not in {
                    "forbidden",
                    "origin_not_allowed",
                }
            ):
                wrong.append((kind, method, path, answer.text))
            if "{" in path:
                statuses = {
                    house.ask(method, filled(path, ids), token, json={}).status_code
                    for ids in others
                }
                if statuses != {403}:
                    wrong.append((kind, method, path, statuses))
    assert wrong == []


def test_without_a_page_the_same_is_open_and_the_same_is_closed(house):
    """What a program does with a token that it found: no Origin, the same limits."""
    token = house.token()
    for method, path, _ in SECURED:
        answer = house.ask(method, filled(path, {}), token, None, json={}, headers=dict(TUS))
        assert answer.status_code == 403, (method, path)
        if method != "HEAD":
            assert answer.json()["code"] == "forbidden"
    assert house.ask("GET", f"/v1/jobs/{house.job}", token, None).status_code == 200


def test_a_ticket_opens_one_address_and_is_no_key(house):
    ticket = house.ticket(house.token()).partition("?ticket=")[2]
    mine = house.ids(house.job, house.video)
    for method, path, route in SECURED:
        asked = {"headers": dict(TUS), "json": {}}
        in_address = house.ask(
            method, filled(path, mine), None, None, params={"ticket": ticket}, **asked
        )
        opens = what_is_shown(route) == {"bytes"}
        assert in_address.status_code == (200 if opens else 401), (method, path)
        as_key = house.ask(method, filled(path, mine), ticket, None, **asked)
        assert as_key.status_code == 401, (method, path)


def test_a_page_reads_what_its_token_shows_and_the_refusals(house):
    token = house.token()
    answer = house.ask("GET", f"/v1/jobs/{house.job}/result", token)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers
    assert "etag" in answer.headers["access-control-expose-headers"].lower()
    assert "set-cookie" not in answer.headers
    refused = house.ask("GET", f"/v1/jobs/{house.other_job}", token)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (403, PAGE)


def test_a_stolen_token_is_worth_nothing_on_another_page(house):
    token = house.token()
    for origin in (EVIL, "null", f"{PAGE}:8443", f"{PAGE}.evil.example", "http://dash.example"):
        for path in (f"/v1/jobs/{house.job}", f"/v1/videos/{house.video}"):
            answer = house.ask("GET", path, token, origin)
            assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
            assert "access-control-allow-origin" not in answer.headers
    hidden = {"Sec-Fetch-Site": "cross-site"}
    answer = house.ask("GET", f"/v1/jobs/{house.job}", token, None, headers=hidden)
    assert answer.status_code == 403
    hidden = {"Sec-Fetch-Site": "same-site"}
    answer = house.ask("GET", f"/v1/jobs/{house.job}", token, None, headers=hidden)
    assert answer.status_code == 403


def test_a_page_that_the_operator_allows_still_needs_to_be_named(settings, native):
    allowed = settings.model_copy(update={"allowed_origins": (EVIL, PAGE), "require_keys": False})
    with TestClient(create_app(allowed), base_url="http://localhost") as client:
        made = client.post("/v1/jobs", files={"video": ("a.mp4", b"x")}).json()
        asked = {"job": made["id"], "origins": [PAGE]}
        token = client.post("/v1/embed-tokens", json=asked).json()["token"]
        for origin, status in ((PAGE, 200), (EVIL, 403)):
            headers = {"Origin": origin, "Authorization": f"Bearer {token}"}
            assert client.get(f"/v1/jobs/{made['id']}", headers=headers).status_code == status


def test_our_own_page_may_use_it(house):
    own = "http://localhost"
    token = house.token()
    answer = house.ask("GET", f"/v1/jobs/{house.job}", token, own)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_a_tenants_token_is_worth_nothing_with_another_tenants_things(house):
    key_id, _ = house.make_key("strangers")
    viewers = house.gate.viewers
    with reading(house.core.engine) as session:
        ends = expiry(house.core.clock.now(session), 60)
    owner = ensure_tenant(house.core, "strangers").id
    # Even one that we signed ourselves: the key, the tenant and the job have to fit.
    for grant in (
        Grant("default", Subject(job_id=house.job), (PAGE,), ends, key_id),
        Grant(owner, Subject(job_id=house.job), (PAGE,), ends, key_id),
        Grant(owner, Subject(job_id=house.strange_job), (PAGE,), ends, house.key_id),
    ):
        token = sign_token(viewers.signer, grant)
        answer = house.ask("GET", f"/v1/jobs/{house.job}", token)
        assert answer.status_code in {401, 404}, answer.text
        answer = house.ask("GET", f"/v1/jobs/{house.strange_job}", token)
        assert answer.status_code in {401, 404}, answer.text


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({}, 422),
        ({"job": "JOB", "camera": "dock"}, 422),
        ({"job": "job_" + NOBODYS}, 404),
        ({"job": "STRANGE"}, 404),
        ({"job": "JOB", "origins": []}, 422),
        ({"job": "JOB", "origins": ["*"]}, 422),
        ({"job": "JOB", "origins": ["null"]}, 422),
        ({"job": "JOB", "origins": ["https://a.example/x"]}, 422),
        ({"job": "JOB", "origins": [f"https://a{n}.example" for n in range(21)]}, 422),
        ({"job": "JOB", "expires_in_seconds": 901}, 422),
        ({"job": "JOB", "expires_in_seconds": 0}, 422),
        ({"job": "JOB", "scopes": ["admin"]}, 422),
        ({"camera": ""}, 422),
        ({"camera": "a\nb"}, 422),
        ({"camera": "dock", "expires_in_seconds": 900}, 201),
    ],
)
def test_what_is_asked_of_a_token_is_checked(house, wish, status):
    named = {"JOB": house.job, "STRANGE": house.strange_job}
    wish = {name: named.get(value, value) if isinstance(value, str) else value
            for name, value in wish.items()}  # fmt: skip
    answer = house.own("POST", "/v1/embed-tokens", json={"origins": [PAGE], **wish})
    assert answer.status_code == status, answer.text


def test_making_tokens_needs_its_scope_and_no_other(house):
    _, minting = house.make_key(scopes=frozenset({Scope.EMBED_MINT}))
    token = house.token(minting)
    assert house.ask("GET", f"/v1/jobs/{house.job}", token).status_code == 200
    assert house.ask("GET", f"/v1/jobs/{house.job}", minting, None).status_code == 403
    _, reading_all = house.make_key(scopes=frozenset({Scope.JOBS_READ, Scope.VIDEOS_READ}))
    wish = {"job": house.job, "origins": [PAGE]}
    assert house.ask("POST", "/v1/embed-tokens", reading_all, None, json=wish).status_code == 403
    # A token makes no tokens.
    assert house.ask("POST", "/v1/embed-tokens", token, json=wish).status_code == 403


def test_a_camera_shows_its_own_jobs_alone(house):
    token = house.token(camera="dock")
    for path in ("/v1/jobs", "/v1/jobs?camera=dock"):
        listed = house.ask("GET", path, token).json()["jobs"]
        assert [job["id"] for job in listed] == [house.job]
    assert house.ask("GET", "/v1/jobs?camera=yard", token).status_code == 403
    later, video = house.finished(camera="dock", content=b"later")
    listed = house.ask("GET", "/v1/jobs", token).json()["jobs"]
    assert {job["id"] for job in listed} == {house.job, later}
    assert house.ask("GET", f"/v1/videos/{video}", token).status_code == 200
    assert house.ask("GET", "/v1/jobs", house.token()).status_code == 403


def test_a_camera_shows_its_own_segments_alone(house):
    token = house.token(camera="dock")
    everything = house.own("GET", "/v1/segments").json()["segments"]
    assert {one["camera"] for one in everything} == {"dock", "yard"}
    mine = {one["id"] for one in everything if one["camera"] == "dock"}
    for query in ("", "?order=score", "?camera=dock", f"?job={house.job}", "?label=walk&label=run"):
        found = house.ask("GET", f"/v1/segments{query}", token)
        assert {one["id"] for one in found.json()["segments"]} == mine, query
    for query in ("?camera=yard", f"?job={house.other_job}", f"?video={house.other_video}"):
        found = house.ask("GET", f"/v1/segments{query}", token)
        assert found.status_code in {200, 403}
        assert found.json().get("segments", []) == [], query
    for kind in ("csv", "jsonl", "grafana"):
        text = house.ask("GET", f"/v1/segments?format={kind}", token).text
        assert "yard" not in text
        # Grafana wants moments, which these videos have none of.
        assert ("dock" in text) == (kind != "grafana")
    # Page tokens name a place, not a right.
    page = house.own("GET", "/v1/segments?page_size=1&camera=yard").json()["next_page_token"]
    behind = house.ask("GET", f"/v1/segments?page_token={page}", token)
    assert {one["camera"] for one in behind.json().get("segments", [])} <= {"dock"}
    assert house.ask("GET", "/v1/segments", house.token()).status_code == 403


def test_nothing_but_the_shown_routes_answers_preflights(house):
    offered = set()
    for method, path, _ in ALL_ROUTES:
        for private in (False, True):
            headers = {
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "authorization",
                "Sec-Fetch-Site": "cross-site",
            }
            if private:
                headers["Access-Control-Request-Private-Network"] = "true"
            answer = house.ask("OPTIONS", filled(path, {}), None, EVIL, headers=headers)
            if answer.status_code != 204:
                assert answer.status_code == 403, (method, path)
                assert "access-control-allow-origin" not in answer.headers
                continue
            offered.add((method, path))
            assert answer.headers["access-control-allow-origin"] == EVIL
            assert answer.headers["access-control-allow-methods"] == method
            assert "access-control-allow-credentials" not in answer.headers
            assert "Origin" in answer.headers["vary"]
            assert set(REQUEST_HEADERS) == set(
                answer.headers["access-control-allow-headers"].split(", ")
            )
            told = answer.headers.get("access-control-allow-private-network")
            assert told == ("true" if private else None)
    shown = {(method, path) for method, path, route in SECURED if what_is_shown(route)}
    assert offered == shown


def test_a_preflight_opens_nothing(house):
    """The request itself is refused, also where no key is needed."""
    for headers in (
        {},
        {"Authorization": "Bearer kte_x"},
        {"Authorization": f"Bearer {house.key}"},
        {"X-API-Key": house.key},
        {"X-API-Key": house.token()},
    ):
        for path in (f"/v1/jobs/{house.job}", "/v1/jobs", "/healthz", "/v1/usage"):
            answer = house.ask("GET", path, None, EVIL, headers=dict(headers))
            assert answer.status_code == 403, (headers, path)
            assert "access-control-allow-origin" not in answer.headers


def test_a_viewer_learns_nothing_of_the_service(house):
    ready = house.ask("GET", "/readyz", house.token(), None).json()
    assert ready["checks"] == {}


def test_a_revoked_key_kills_its_tokens_and_tickets_within_a_second(house):
    key_id, key = house.make_key()
    token = house.token(key, job=house.job)
    ticket = house.ticket(token)
    assert house.ask("GET", f"/v1/jobs/{house.job}", token).status_code == 200
    assert house.ask("GET", ticket).status_code == 200
    revoke_key(house.core, key_id)
    threading.Event().wait(MEMORY_SECONDS)
    for answer in (house.ask("GET", f"/v1/jobs/{house.job}", token), house.ask("GET", ticket)):
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["access-control-allow-origin"] == PAGE


def test_a_deleted_job_kills_its_tokens_and_tickets_within_a_second(house):
    token = house.token()
    ticket = house.ticket(token)
    assert house.ask("GET", ticket).status_code == 200
    assert house.own("DELETE", f"/v1/jobs/{house.job}").status_code == 204
    threading.Event().wait(MEMORY_SECONDS)
    for method, path in (
        ("GET", f"/v1/jobs/{house.job}"),
        ("GET", f"/v1/videos/{house.video}"),
        ("GET", ticket),
    ):
        answer = house.ask(method, path, token if "ticket=" not in path else None)
        assert answer.status_code == 404, path


def test_requests_of_pages_count_for_the_tenant_that_let_them_in(settings, native):
    slow = settings.model_copy(update={"quota_requests_per_second": 2.0})
    with TestClient(create_app(slow), base_url="http://localhost") as client:
        job = client.post("/v1/jobs", files={"video": ("a.mp4", b"x")}).json()["id"]
        wish = {"job": job, "origins": [PAGE]}
        token = client.post("/v1/embed-tokens", json=wish).json()["token"]
        headers = {"Authorization": f"Bearer {token}", "Origin": PAGE}
        statuses = [client.get(f"/v1/jobs/{job}", headers=headers).status_code for _ in range(4)]
        assert statuses[-1] == 429
        limited = client.get(f"/v1/jobs/{job}", headers=headers)
        assert limited.headers["access-control-allow-origin"] == PAGE
        assert "Retry-After" in limited.headers["access-control-expose-headers"]
        assert client.get("/v1/jobs").status_code == 429


def test_the_log_says_who_and_never_with_what(house, capfd):
    token = house.token(camera="dock")
    ticket = house.ticket(token)
    house.ask("GET", ticket)
    house.ask("GET", "/v1/keys", token)
    house.ask("GET", "/v1/jobs", token + "x")
    house.ask("GET", f"/embed/camera?camera=dock&frame={token}", None, None)
    out, err = capfd.readouterr()
    logged = out + err
    assert "embed_token_made" in logged
    assert house.key_id in logged
    assert "by=embed_token" in logged
    assert "by=ticket" in logged
    assert token not in logged
    assert token.partition(".")[2] not in logged
    assert ticket.partition("ticket=")[2] not in logged
    assert "kte_" not in logged
    assert "ktt_" not in logged
