"""/v1/webhooks over HTTP: bodies, refusals, secrets shown once, the log."""

import itertools
from typing import Any

import pytest

from service.webhooks.delivery import Attempt, RetryPolicy, claim_delivery, note_attempt
from service.webhooks.fanout import relay_events
from service.webhooks.signing import is_secret, new_secret

URL = "https://hooks.example.com/kinetag?token=x"
UNKNOWN = "whk_01J9ZZZZZZZZZZZZZZZZZZZZZZ"


@pytest.fixture
def make(client):
    def post(**wish):
        return client.post("/v1/webhooks", json={"url": URL, **wish})

    return post


def test_a_webhook_is_made_shown_changed_and_deleted(client, make):
    answer = make(events=["segment.detected"], labels=["fall"], min_score=0.5, description="d")
    assert answer.status_code == 201
    made = answer.json()
    secret = made.pop("secret")
    assert is_secret(secret)
    here = answer.headers["location"]
    assert here == f"/v1/webhooks/{made['id']}"
    assert client.get(here).json() == made
    assert client.get("/v1/webhooks").json() == {"webhooks": [made]}
    changed = client.patch(here, json={"labels": None, "enabled": False, "description": None})
    assert changed.status_code == 200
    assert changed.json() == {**made, "labels": None, "enabled": False, "description": None}
    assert client.delete(here).status_code == 204
    assert client.get(here).json()["code"] == "webhook_not_found"


def test_the_secret_is_shown_when_made_and_rotated_only(client, make):
    made = make().json()
    here = f"/v1/webhooks/{made['id']}"
    for answer in (client.get(here), client.get("/v1/webhooks"), client.patch(here, json={})):
        assert made["secret"] not in answer.text
    rotated = client.post(f"{here}/rotate").json()
    assert is_secret(rotated["secret"])
    assert rotated["secret"] != made["secret"]
    assert rotated["previous_secret_until"] is not None


def test_one_s_own_secret_is_taken(make):
    secret = new_secret()
    assert make(secret=secret).json()["secret"] == secret


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"url": "http://127.0.0.1/"}, "url_refused"),
    ({"url": "http://localhost:8000/"}, "url_refused"),
    ({"url": "http://169.254.169.254/"}, "url_refused"),
    ({"url": "https://u:p@example.com/"}, "url_refused"),
    ({"url": "https://example.com:6379/"}, "url_refused"),
    ({"url": "ftp://example.com/"}, "url_refused"),
    ({"url": "no url"}, "url_refused"),
    ({"url": ""}, "invalid_request"),
    ({"url": "https://example.com/" + "a" * 3000}, "invalid_request"),
    ({"url": None}, "invalid_request"),
    ({"events": []}, "invalid_request"),
    ({"events": ["job.exploded"]}, "invalid_request"),
    ({"events": ["webhook.test"]}, "invalid_request"),
    ({"labels": []}, "invalid_request"),
    ({"labels": ["a\nb"]}, "invalid_request"),
    ({"labels": ["\x00"]}, "invalid_request"),
    ({"min_score": 2}, "invalid_request"),
    ({"min_score": -0.1}, "invalid_request"),
    ({"secret": "hunter2"}, "invalid_request"),
    ({"description": "a" * 256}, "invalid_request"),
    ({"colour": "red"}, "invalid_request"),
]


def test_wishes_that_are_refused(client, make):
    for wish, code in REFUSED:
        answer = make(**wish)
        assert (answer.status_code, answer.json()["code"]) == (422, code), wish
        assert "hunter2" not in answer.text
    assert client.get("/v1/webhooks").json() == {"webhooks": []}


def test_a_change_to_a_private_address_is_refused(client, make):
    here = make().headers["location"]
    answer = client.patch(here, json={"url": "http://10.0.0.1/"})
    assert answer.json()["code"] == "url_refused"
    assert client.get(here).json()["url"] == URL


def test_unknown_webhooks_are_not_found_anywhere(client):
    requests = (
        ("GET", "", None),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("POST", "/rotate", None),
        ("POST", "/test", None),
        ("GET", "/deliveries", None),
    )
    ids = (UNKNOWN, "whk_1", "x", "whk_%00", "💥")
    for webhook_id, (method, path, body) in itertools.product(ids, requests):
        answer = client.request(method, f"/v1/webhooks/{webhook_id}{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "webhook_not_found")
    answer = client.post("/v1/webhooks/deliveries/msg_1/resend")
    assert answer.json()["code"] == "webhook_not_found"


def test_a_test_message_its_log_and_sending_it_again(client, make):
    here = make().headers["location"]
    answer = client.post(f"{here}/test")
    assert answer.status_code == 202
    sent = answer.json()
    assert (sent["type"], sent["status"], sent["attempts"]) == ("webhook.test", "pending", [])
    claimed = claim_delivery(client.core, avoided_hosts=(), lease_seconds=30.0)
    assert claimed is not None
    attempt = Attempt(0.25, 500, "The receiver answered 500.")
    note_attempt(client.core, claimed, attempt, RetryPolicy(max_attempts=1))
    (logged,) = client.get(f"{here}/deliveries").json()["deliveries"]
    assert logged["id"] == sent["id"]
    assert (logged["status"], logged["status_code"]) == ("failed", 500)
    (tried,) = logged["attempts"]
    assert (tried["status_code"], tried["error"], tried["seconds"]) == (500, attempt.error, 0.25)
    assert client.get(f"{here}/deliveries?status=delivered").json()["deliveries"] == []
    again = client.post(f"/v1/webhooks/deliveries/{sent['id']}/resend")
    assert (again.status_code, again.json()["status"]) == (202, "pending")


def test_the_log_is_paged(client, make):
    here = make().headers["location"]
    made = {client.post(f"{here}/test").json()["id"] for _ in range(3)}
    first = client.get(f"{here}/deliveries?page_size=2").json()
    token = first["next_page_token"]
    rest = client.get(f"{here}/deliveries?page_size=2&page_token={token}").json()
    assert rest["next_page_token"] is None
    assert {one["id"] for one in first["deliveries"] + rest["deliveries"]} == made
    wrong = client.get(f"{here}/deliveries?page_token=1")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_request")


def test_a_disabled_webhook_cannot_be_tested(client, make):
    here = make().headers["location"]
    client.patch(here, json={"enabled": False})
    answer = client.post(f"{here}/test")
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")


def test_deliveries_about_a_job(client, make):
    make(events=["job.canceled"])
    video = {"video": ("cam.mp4", b"bytes of a video")}
    job = client.post("/v1/jobs", files=video).json()
    client.post(f"/v1/jobs/{job['id']}/cancel")
    relay_events(client.core)
    (told,) = client.get(f"/v1/jobs/{job['id']}/deliveries").json()["deliveries"]
    assert (told["type"], told["job_id"]) == ("job.canceled", job["id"])
    assert client.get("/v1/jobs/job_01J9ZZZZZZZZZZZZZZZZZZZZZZ/deliveries").status_code == 404
