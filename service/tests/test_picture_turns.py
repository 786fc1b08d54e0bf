"""Pictures of pixels take memory by the hundred megabytes: few of them are drawn at a time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from models.tests.drawn_evidence import evidence_of, native_of
from service.api.deps import DRAWN_AT_ONCE
from service.api.pictures import drawing_turn, png_response
from service.errors import RateLimited
from service.jobs.lifecycle import Plan

NUM_ASKED = 8


def finished_job(client):
    made = client.post("/v1/jobs", files={"video": ("cam.mp4", b"video")}).json()["id"]
    task = client.queue.claim(owner="w", lease_seconds=60.0)
    facts = {"duration": 25.4, "nominal_fps": 25.0, "vfr": False, "width": 64, "height": 48}
    client.queue.complete_plan(task.id, task.token, Plan(1, facts, {0}))
    join = client.queue.claim(owner="w", lease_seconds=60.0)
    client.queue.complete_join(join.id, join.token, result=native_of(evidence_of()))
    return made


def test_few_are_drawn_at_a_time_and_all_are_in_the_end(client: TestClient, monkeypatch):
    address = f"/v1/jobs/{finished_job(client)}/timeline.png"
    lock, drawn, most = threading.Lock(), 0, 0

    def watched(*arguments):
        nonlocal drawn, most
        with lock:
            drawn += 1
            most = max(most, drawn)
        try:
            return png_response(*arguments)
        finally:
            with lock:
                drawn -= 1

    monkeypatch.setattr("service.api.routes.pictures.png_response", watched)
    with ThreadPoolExecutor(NUM_ASKED) as askers:
        answers = list(askers.map(client.get, [address] * NUM_ASKED))
    assert [answer.status_code for answer in answers] == [200] * NUM_ASKED
    assert 1 <= most <= DRAWN_AT_ONCE


def test_who_waits_in_vain_is_told_when_to_come_back():
    drawing = threading.BoundedSemaphore(1)
    with drawing_turn(drawing):
        with pytest.raises(RateLimited) as refusal, drawing_turn(drawing, 0.01):
            pytest.fail("two turns of one")
        assert "Retry-After" in refusal.value.headers
    with drawing_turn(drawing, 0.01):
        pass
