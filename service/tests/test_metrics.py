import math
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select

from service.api.deps import ANYBODY
from service.jobs.lifecycle import Plan
from service.jobs.records import DEFAULT_TENANT
from service.jobs.store import reading, transaction
from service.metrics.collecting import COUNTERS, GAUGES
from service.metrics.counting import (
    FEW_ROWS,
    Counter,
    count,
    labelled,
    read_counts,
    sum_up,
    write_counts,
)
from service.metrics.records import CountRecord

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
REQUESTS = {
    "kinetag_http_request_seconds",
    "kinetag_http_received_bytes",
    "kinetag_http_requests_open",
}


def scrape(client, **headers):
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def values(family):
    return {
        tuple(sample.labels.values()): sample.value
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_every_metric_is_described_and_readable_by_the_reference_parser(client):
    found = scrape(client)
    described = {one.name: one for one in (*GAUGES.values(), *COUNTERS.values())}
    assert set(found) == set(described) | REQUESTS
    for name, one in described.items():
        assert found[name].documentation == one.text
        assert all(set(sample.labels) == set(one.labels) for sample in found[name].samples)


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=1.0.0;q=0.9",
        "text/html",
        "*/*;q=x",
        ";;,=",
        "x" * 5000,
    ],
)
def test_whatever_is_accepted_the_text_is_whole(client, accept):
    client.get("/healthz")
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    if "openmetrics" in answer.headers["content-type"]:
        families = list(parse_openmetrics(answer.text))
    else:
        families = list(text_string_to_metric_families(answer.text))
    assert len({family.name for family in families}) == len(families) > 15


def test_every_metric_is_documented():
    text = DOCUMENT.read_text()
    for one in GAUGES.values():
        assert f"| `{one.name}` |" in text, one
        assert all(f"`{label}`" in text for label in one.labels), one
    for one in COUNTERS.values():
        assert f"| `{one.name}_total` |" in text, one
    assert all(name in text for name in REQUESTS)


def test_requests_are_counted_by_documented_address(client):
    client.get("/v1/jobs/job_01J9ZZZZZZZZZZZZZZZZZZZZZZ?secret=1")
    client.get("/v1/jobs/job_01J9ZZZZZZZZZZZZZZZZZZZZZY")
    client.get("/no/such/address/1")
    client.get("/no/such/address/2")
    client.request("BREW", "/healthz")
    family = scrape(client)["kinetag_http_request_seconds"]
    counts = {
        tuple(sample.labels.values()): sample.value
        for sample in family.samples
        if sample.name.endswith("_count")
    }
    assert counts["GET", "/v1/jobs/{job_id}", "404"] == 2
    assert counts["GET", "unmatched", "404"] == 2
    assert not any("secret" in route or "/no/such" in route for _, route, _ in counts)
    assert {method for method, _, _ in counts} <= {"GET", "other"}


def test_received_bytes_are_counted(client):
    client.post("/v1/jobs", files={"video": ("a.mp4", b"x" * 10_000)})
    family = scrape(client)["kinetag_http_received_bytes"]
    assert values(family)[("/v1/jobs",)] > 10_000


def test_jobs_and_queues_show_their_state(client):
    first, second = (
        client.post("/v1/jobs", files={"video": ("a.mp4", b"content")}) for _ in range(2)
    )
    assert first.status_code == second.status_code == 202
    client.post(second.headers["location"] + "/cancel")
    task = client.queue.claim(owner="host/cpu", lease_seconds=60)
    found = scrape(client)
    jobs = values(found["kinetag_jobs"])
    assert (jobs[("processing",)], jobs[("canceled",)], jobs[("failed",)]) == (1, 1, 0)
    assert values(found["kinetag_queue_tasks"]) == {("interactive",): 0, ("batch",): 0}
    assert values(found["kinetag_tasks_leased"]) == {(): 1}
    assert values(found["kinetag_workers"]) == {(): 1}
    assert values(found["kinetag_stored_bytes"]) == {(): 7}
    client.queue.complete_plan(task.id, task.token, Plan(3, {}, set()))
    found = scrape(client)
    assert values(found["kinetag_queue_tasks"])[("interactive",)] == 3
    assert 0 <= values(found["kinetag_queue_oldest_seconds"])[("interactive",)] < 60


def test_ended_jobs_stay_counted_when_they_are_deleted(client):
    posted = client.post("/v1/jobs", files={"video": ("a.mp4", b"content")})
    task = client.queue.claim(owner="host/cpu", lease_seconds=60)
    client.queue.fail(task.id, task.token, code="unreadable_video", message="x", retryable=False)
    assert client.delete(posted.headers["location"]).status_code == 204
    found = scrape(client)
    assert values(found["kinetag_jobs_ended"]) == {("unreadable_video", "failed"): 1}
    assert values(found["kinetag_jobs"])[("failed",)] == 0


def test_figures_of_other_tenants_are_in_the_sums(client):
    other = client.core.for_tenant("somebody")
    assert other.tenant_id == "somebody"
    assert ANYBODY.tenant_id == DEFAULT_TENANT
    client.post("/v1/jobs", files={"video": ("a.mp4", b"content")})
    assert values(scrape(client)["kinetag_videos"]) == {(): 1}


def test_a_database_that_is_away_is_said(client, monkeypatch):
    from service.errors import DatabaseUnavailable

    def away(*_):
        raise DatabaseUnavailable("away")

    monkeypatch.setattr("service.metrics.collecting.reading", away)
    assert client.get("/metrics").json()["code"] == "database_unavailable"


def test_counts_add_up_and_survive_summing_up(engine):
    frames, kinds = labelled(), labelled(kind="chunk", ending="done")
    for _ in range(FEW_ROWS):
        write_counts(engine, {(Counter.FRAMES, frames): 2.5})
    write_counts(engine, {(Counter.TASKS, kinds): 1, (Counter.FRAMES, frames): 1})
    expected = {("frames", ()): FEW_ROWS * 2.5 + 1, ("tasks", kinds): 1}
    for turn in range(2):
        with reading(engine) as session:
            assert read_counts(session) == pytest.approx(expected)
            rows = session.execute(select(func.count()).select_from(CountRecord)).scalar_one()
        assert rows == (FEW_ROWS + 2, 2)[turn]
        sum_up(engine)


def test_what_is_rolled_back_is_not_counted(engine):
    def fail():
        with transaction(engine) as session:
            count(session, Counter.TASKS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with reading(engine) as session:
        assert read_counts(session) == {}


@pytest.mark.parametrize("value", ['"', "a\nb", "x=y,z", "ü" * 300, "\x00", ""])
def test_any_label_value_can_be_scraped(client, value):
    labels = labelled(kind=value, ending="done")
    write_counts(client.core.engine, {(Counter.TASKS, labels): 1.5})
    (total,) = values(scrape(client)["kinetag_tasks"]).values()
    assert math.isclose(total, 1.5)
