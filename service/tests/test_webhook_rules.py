"""Signatures against the reference library; who is told what; back-off: pure rules."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from service.jobs.records import JobRecord, VideoRecord
from service.webhooks.delivery import MAX_BACKOFF_SECONDS, RetryPolicy
from service.webhooks.events import (
    DEFAULT_TYPES,
    MAX_SEGMENT_MESSAGES,
    EndedJob,
    Interest,
    Message,
)
from service.webhooks.signing import is_secret, new_secret, signed_headers

MOMENT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def headers_of(*args):
    return {name.decode(): value.decode() for name, value in signed_headers(*args)}


def verify(secret, body, headers):
    return standardwebhooks.Webhook(secret).verify(body, headers)


@given(st.dictionaries(st.text(), st.text()), st.integers(24, 64))
def test_the_reference_library_accepts_our_signatures(document, length):
    body = json.dumps(document, ensure_ascii=False).encode()
    secret = new_secret()
    headers = headers_of("msg_1", datetime.now(UTC), body, [secret])
    assert verify(secret, body, headers) == document


def test_changed_messages_and_other_secrets_are_refused_by_it():
    secret, other = new_secret(), new_secret()
    now = datetime.now(UTC)
    headers = headers_of("msg_1", now, b"{}", [secret])
    for wrong in (
        (other, b"{}", headers),
        (secret, b'{"a":1}', headers),
        (secret, b"{}", {**headers, "webhook-id": "msg_2"}),
        (secret, b"{}", headers_of("msg_1", now - timedelta(minutes=6), b"{}", [secret])),
    ):
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            verify(*wrong)


def test_while_secrets_rotate_both_verify():
    new, old = new_secret(), new_secret()
    headers = headers_of("msg_1", datetime.now(UTC), b"{}", [new, old])
    assert verify(new, b"{}", headers) == verify(old, b"{}", headers) == {}
    assert headers["webhook-signature"].count("v1,") == 2


def test_our_signature_is_the_reference_library_s():
    """The reference library signs the same message the same way."""
    secret = new_secret()
    payload = '{"test": 2432232314}'
    reference = standardwebhooks.Webhook(secret).sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", MOMENT, payload
    )
    headers = headers_of("msg_p5jXN8AQM9LWM0D4loKWxJek", MOMENT, payload.encode(), [secret])
    assert headers["webhook-signature"] == reference


def test_without_a_secret_a_message_goes_unsigned():
    assert "webhook-signature" not in headers_of("msg_1", MOMENT, b"{}", [])


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_x", "whsec_" + "A" * 31, "A" * 44, "whsec_" + "A" * 200, "whsec_Ä" * 9],
)
def test_texts_that_are_no_secrets(text):
    assert not is_secret(text)


def test_new_secrets_are_fresh_and_well_formed():
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    assert all(is_secret(one) for one in made)


# Who is told what.


def segment(label, score, start=1.0):
    return {"label": label, "score": score, "start": start, "end": start + 2.5}


def ended(segments=(), status="succeeded", **fields):
    known = {
        "id": "job_1", "status": status, "model": "m@1", "options": {}, "tag": "t", "camera": None,
        "recorded_at": None, "error_code": None, "error_message": None,
    }  # fmt: skip
    job = JobRecord(**{**known, **fields})
    video = VideoRecord(id="vid_1", name="cam.mp4", camera="dock", recorded_at=None)
    result = {"segments": list(segments)} if status == "succeeded" else None
    return EndedJob(job, video, result)


def told(job, **wish):
    return [(one.type, one.data) for one in job.messages(Interest.of(wish))]


def test_without_a_wish_everything_but_segments_is_told():
    assert set(DEFAULT_TYPES) == {"job.succeeded", "job.failed", "job.canceled", "batch.finished"}
    ((kind, data),) = told(ended([segment("fall", 0.9)]))
    assert kind == "job.succeeded"
    assert data["segments"] == data["segments_matching"] == 1
    assert data["truncated"] is False
    assert data["camera"] == "dock"
    assert data["video"] == {"id": "vid_1", "name": "cam.mp4"}
    assert data["links"] == {"self": "/v1/jobs/job_1", "result": "/v1/jobs/job_1/result"}


def test_segments_pass_by_label_and_score():
    job = ended([segment("fall", 0.9), segment("walk", 0.95), segment("fall", 0.2)])
    wish = {"events": ["segment.detected", "job.succeeded"], "labels": ["fall"], "min_score": 0.5}
    (first, found), (last, summary) = told(job, **wish)
    assert (first, last) == ("segment.detected", "job.succeeded")
    assert found["segment"] == segment("fall", 0.9)
    assert (summary["segments"], summary["segments_matching"]) == (3, 1)


def test_what_the_job_itself_leaves_out_is_not_told():
    options = {"labels": ["walk"], "min_score": 0.5}
    job = ended([segment("fall", 0.9), segment("walk", 0.6), segment("walk", 0.1)], options=options)
    (_, found), (_, summary) = told(job, events=["segment.detected", "job.succeeded"])
    assert found["segment"]["label"] == "walk"
    assert summary["segments"] == 1


def test_many_segments_are_cut_to_the_best_and_told_in_order():
    many = [segment("fall", index / 1000, start=1000.0 - index) for index in range(300)]
    messages = told(ended(many), events=["segment.detected", "job.succeeded"])
    segments = [data["segment"] for kind, data in messages if kind == "segment.detected"]
    assert len(segments) == MAX_SEGMENT_MESSAGES
    assert min(one["score"] for one in segments) == 0.2
    assert segments == sorted(segments, key=lambda one: one["start"])
    assert messages[-1][1]["truncated"] is True
    assert messages[-1][1]["segments_matching"] == 300


def test_parts_of_one_event_are_told_apart():
    job = ended([segment("fall", 0.9), segment("fall", 0.8, 9.0)])
    parts = [
        one.part
        for one in job.messages(Interest.of({"events": ["segment.detected", "job.succeeded"]}))
    ]
    assert sorted(parts) == [0, 1, 2]


def test_segments_carry_wall_clock_times_where_they_are_known():
    job = ended([segment("fall", 0.9)], recorded_at=MOMENT)
    ((_, data),) = told(job, events=["segment.detected"])
    assert data["segment"]["start_time"] == "2026-01-01T12:00:01.000Z"
    assert data["segment"]["end_time"] == "2026-01-01T12:00:03.500Z"


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_other_endings(status):
    failure = {"error_code": "crashed", "error_message": "No."} if status == "failed" else {}
    ((kind, data),) = told(ended(status=status, **failure))
    assert kind == f"job.{status}"
    assert data["links"]["result"] is None
    assert data.get("error") == ({"code": "crashed", "message": "No."} if failure else None)
    assert told(ended(status=status, **failure), events=["job.succeeded"]) == []


def test_a_body_is_the_documented_json():
    text = Message("job.failed", {"id": "job_1", "tag": "Türe"}).body(MOMENT)
    assert json.loads(text) == {
        "type": "job.failed",
        "timestamp": "2026-01-01T12:00:00.000Z",
        "data": {"id": "job_1", "tag": "Türe"},
    }


# Back-off.


def test_the_waits_grow_to_a_day():
    waits = [RetryPolicy().wait_seconds(attempts) for attempts in range(1, 10)]
    assert waits[:5] == [5, 30, 180, 1080, 6480]
    assert waits[-1] == MAX_BACKOFF_SECONDS
    assert 3 < sum(waits) / 86400 < 5


@given(st.integers(1, 10**6), st.floats(0.001, 1000))
def test_waits_never_shrink_nor_overflow(attempts, first):
    policy = RetryPolicy(first_seconds=first)
    assert policy.wait_seconds(attempts) <= policy.wait_seconds(attempts + 1) <= MAX_BACKOFF_SECONDS
