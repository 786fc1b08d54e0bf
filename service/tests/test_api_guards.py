import sys

import pytest
from starlette.testclient import TestClient

from service.api import observing
from service.api.guards import SAFE_HEADERS
from service.api.problems import problem_response
from service.errors import DatabaseUnavailable, ServiceError
from service.main import create_app
from service.settings import Settings


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:9", "LOCALHOST"]
)
def test_own_host_names_are_answered(client, host):
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "a@localhost:x",
        "[::2]",
    ],
)
def test_foreign_host_names_are_refused(client, host):
    answer = client.get("/healthz", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "host_not_allowed")
    assert answer.headers["content-type"] == "application/problem+json"


def test_two_hosts_are_refused(client):
    headers = [("Host", "localhost"), ("Host", "evil.example")]
    assert client.get("/healthz", headers=headers).status_code == 421


@pytest.mark.parametrize("method", ["get", "post", "delete", "options"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1234", "file://"]
)
def test_foreign_origins_are_refused(client, method, origin):
    answer = client.request(method, "/v1/jobs", headers={"Origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")


def test_a_simple_get_of_a_foreign_page_is_refused(client):
    answer = client.get("/v1/jobs", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert client.get("/v1/jobs", headers={"Sec-Fetch-Site": "none"}).status_code == 200


def test_the_own_origin_may_call(client):
    headers = {"Origin": "http://localhost:8000", "Host": "localhost:8000"}
    assert client.get("/v1/jobs", headers=headers).status_code == 200


def test_allowed_origins_get_cors_headers(settings):
    allowed = settings.model_copy(update={"allowed_origins": ("https://dashboard.example",)})
    with TestClient(create_app(allowed), base_url="http://localhost") as client:
        answer = client.get("/v1/jobs", headers={"Origin": "https://dashboard.example"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://dashboard.example"
        preflight = client.options(
            "/v1/jobs",
            headers={
                "Origin": "https://dashboard.example",
                "Access-Control-Request-Method": "POST",
            },
        )
        assert preflight.status_code == 200
        assert (
            client.get("/v1/jobs", headers={"Origin": "https://other.example"}).status_code == 403
        )


@pytest.mark.parametrize("path", ["/healthz", "/v1/jobs", "/nothing", "/v1/jobs/x", "/redoc"])
def test_every_answer_has_safe_headers(client, path):
    headers = client.get(path).headers
    assert {name: headers[name] for name in SAFE_HEADERS} == SAFE_HEADERS
    assert "server" not in headers


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("get", "/nothing", 404, "not_found"),
        ("get", "/redoc", 404, "not_found"),
        ("put", "/v1/jobs", 405, "method_not_allowed"),
        ("post", "/healthz", 405, "method_not_allowed"),
        ("get", "/v1/jobs?page_size=x", 422, "invalid_request"),
    ],
)
def test_every_refusal_is_a_problem_document(client, method, path, status, code):
    answer = client.request(method, path)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["detail"].endswith(".")
    assert {"type", "title"} <= set(problem)


def test_an_outage_is_a_problem_that_says_when_to_come_back(client, monkeypatch):
    def away(*_, **__):
        message = "The database is away."
        raise DatabaseUnavailable(message)

    monkeypatch.setattr("service.jobs.listing.list_jobs", away)
    answer = client.get("/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_a_bug_is_logged_and_a_problem_without_its_secrets(client, monkeypatch):
    logged = []
    monkeypatch.setattr(
        observing._log, "exception", lambda event, **_: logged.append((event, sys.exception()))
    )

    def bug(*_, **__):
        message = "secret detail"
        raise RuntimeError(message)

    monkeypatch.setattr("service.jobs.listing.list_jobs", bug)
    answer = client.get("/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert [(event, str(error)) for event, error in logged] == [("internal_error", "secret detail")]


def every_error():
    found, left = [], [ServiceError]
    while left:
        kind = left.pop()
        found.append(kind)
        left.extend(kind.__subclasses__())
    return found


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.code)
def test_every_error_renders(kind):
    answer = problem_response(kind("A sentence."))
    assert answer.status_code == kind.status
    assert answer.media_type == "application/problem+json"
    assert ("retry-after" in answer.headers) == kind.retryable


def test_codes_are_unique():
    codes = [kind.code for kind in every_error()]
    assert len(codes) == len(set(codes))


def test_pages_of_allowed_origins_may_upload_by_tus(tmp_path):
    settings = Settings(data_dir=tmp_path, allowed_origins="https://dash.example.com")
    asks = {
        "Origin": "https://dash.example.com",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "tus-resumable,upload-offset,content-type,authorization",
    }
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        answer = client.options("/v1/uploads/abc", headers=asks)
        assert answer.status_code == 200, answer.text
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        made = client.post(
            "/v1/uploads",
            headers={
                "Origin": "https://dash.example.com",
                "Tus-Resumable": "1.0.0",
                "Upload-Length": "4",
            },
        )
        exposed = made.headers["access-control-expose-headers"].lower()
        assert {"location", "upload-offset", "upload-expires"} <= set(exposed.split(", "))
        stranger = client.options(
            "/v1/uploads/abc", headers={**asks, "Origin": "https://evil.example"}
        )
        assert stranger.status_code in {400, 403}


@pytest.mark.parametrize("path", ["/", "/docs", "/web/timeline/kinetag-timeline.js"])
def test_pages_are_open_to_links_of_other_sites(client, path):
    strange = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert client.get(path, headers=strange).status_code in {200, 404}
    assert client.post(path, headers=strange).status_code == 403


def test_nobody_frames_the_page(client):
    policy = client.get("/").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
