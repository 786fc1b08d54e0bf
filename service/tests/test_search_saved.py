"""Saved searches and their webhooks: from a filter with a name to the messages to be sent."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from service.errors import Forbidden, InvalidRequest, InvalidTransition, NameTaken, SearchNotFound
from service.jobs.records import TenantRecord
from service.jobs.store import reading, transaction
from service.outbound_addresses import OutboundPolicy
from service.search import saved
from service.search.filters import SegmentFilter
from service.search.finding import find_segments
from service.search.saved import change_search, create_search, delete_search, tell_of_search
from service.webhooks import endpoints
from service.webhooks.events import Interest
from service.webhooks.fanout import relay_events
from service.webhooks.records import FILTER_COLUMNS, DeliveryRecord, WebhookRecord

URL = "https://hooks.example.com/kinetag"
POLICY = OutboundPolicy()
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
FILTER = SegmentFilter(
    label=("walk", "fall"),
    camera=("dock",),
    tag=("x",),
    min_score=0.5,
    max_score=0.95,
    min_duration=1.0,
    max_duration=60.0,
)


def told(core, kind="segment.detected"):
    with reading(core.engine) as session:
        rows = session.execute(
            select(DeliveryRecord).where(DeliveryRecord.type == kind).order_by(DeliveryRecord.id)
        ).scalars()
        return [json.loads(one.body)["data"] for one in rows]


@pytest.mark.parametrize("wanted", [SegmentFilter(), FILTER, SegmentFilter(since=MOMENT, job="j")])
def test_a_filter_is_kept_as_it_was_given(core, wanted):
    search = create_search(core, "name", wanted)
    kept = saved.get_search(core, search.id)
    assert SegmentFilter.from_json(kept.filter) == wanted
    assert SegmentFilter.from_json({**kept.filter, "of a newer release": 1}) == wanted


def test_a_name_is_one_tenant_s_once(core):
    with transaction(core.engine) as session:
        session.add(TenantRecord(id="ten_b", name="b", created_at=MOMENT))
    mine, theirs = core.for_tenant("default"), core.for_tenant("ten_b")
    first = create_search(mine, "falls", FILTER)
    other = create_search(theirs, "falls", FILTER)
    second = create_search(mine, "Falls", FILTER)
    for attempt in (
        lambda: create_search(mine, "falls", SegmentFilter()),
        lambda: change_search(mine, second.id, name="falls"),
    ):
        with pytest.raises(NameTaken, match="'falls'"):
            attempt()
    assert [one.id for one in saved.list_searches(mine)] == [second.id, first.id]
    for act in (
        lambda: saved.get_search(mine, other.id),
        lambda: change_search(mine, other.id, name="mine now"),
        lambda: delete_search(mine, other.id),
        lambda: tell_of_search(mine, other.id, URL, None, POLICY),
    ):
        with pytest.raises(SearchNotFound):
            act()
    assert saved.get_search(theirs, other.id).name == "falls"


def test_there_are_so_many_and_no_more(core, monkeypatch):
    monkeypatch.setattr(saved, "MAX_SEARCHES", 2)
    create_search(core, "one", FILTER)
    create_search(core, "two", FILTER)
    with pytest.raises(InvalidRequest, match="2 saved searches"):
        create_search(core, "three", FILTER)


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        (SegmentFilter(since=MOMENT), "since"),
        (SegmentFilter(until=MOMENT, min_score=0.5), "until"),
        (SegmentFilter(job="job_x"), "job"),
        (SegmentFilter(video="vid_x"), "video"),
    ],
)
def test_what_finds_nothing_new_tells_nobody(core, wanted, word):
    search = create_search(core, "old", wanted)
    with pytest.raises(InvalidRequest, match=word):
        tell_of_search(core, search.id, URL, None, POLICY)
    told_search = create_search(core, "new", FILTER)
    tell_of_search(core, told_search.id, URL, None, POLICY)
    with pytest.raises(InvalidRequest, match=word):
        change_search(core, told_search.id, wanted=wanted)
    assert SegmentFilter.from_json(saved.get_search(core, told_search.id).filter) == FILTER


def test_a_webhook_has_the_filter_of_its_search_and_goes_with_it(core):
    search = create_search(core, "falls", FILTER)
    webhooks = [tell_of_search(core, search.id, URL, None, POLICY) for _ in range(2)]
    plain = endpoints.create_webhook(
        core, endpoints.NewWebhook(url=URL, events=["job.failed"]), POLICY
    )
    wanted = SegmentFilter(label=("run",), max_duration=9.0)
    change_search(core, search.id, wanted=wanted)
    for webhook in webhooks:
        now = endpoints.get_webhook(core, webhook.id)
        assert now.events == ["segment.detected"]
        columns = {name: getattr(now, name) for name in FILTER_COLUMNS}
        assert columns == {
            **dict.fromkeys(FILTER_COLUMNS),
            "labels": ["run"],
            "max_duration": 9.0,
        }
        with pytest.raises(InvalidTransition, match=search.id):
            endpoints.change_webhook(core, webhook.id, {"min_score": 0.1}, POLICY)
        changed = endpoints.change_webhook(core, webhook.id, {"enabled": False}, POLICY)
        assert not changed.enabled
    delete_search(core, search.id)
    assert [one.id for one in endpoints.list_webhooks(core)] == [plain.id]
    with pytest.raises(SearchNotFound):
        saved.get_search(core, search.id)


def test_who_may_not_manage_webhooks_leaves_searches_alone_that_have_some(core):
    search = create_search(core, "falls", FILTER)
    change_search(core, search.id, wanted=SegmentFilter(), may_manage_webhooks=False)
    tell_of_search(core, search.id, URL, None, POLICY)
    change_search(core, search.id, name="renamed", may_manage_webhooks=False)
    for act in (
        lambda: change_search(core, search.id, wanted=FILTER, may_manage_webhooks=False),
        lambda: delete_search(core, search.id, may_manage_webhooks=False),
    ):
        with pytest.raises(Forbidden, match="webhooks:manage"):
            act()


def test_the_limit_of_webhooks_holds_for_searches_too(core, monkeypatch):
    monkeypatch.setattr(endpoints, "MAX_WEBHOOKS", 1)
    search = create_search(core, "falls", FILTER)
    tell_of_search(core, search.id, URL, None, POLICY)
    with pytest.raises(InvalidRequest, match="1 webhooks"):
        tell_of_search(core, search.id, URL, None, POLICY)


def test_what_a_search_finds_is_told_with_its_name(core, add_job, run_job):
    search = create_search(core, "At the dock", SegmentFilter(camera=("dock",), min_score=0.5))
    tell_of_search(core, search.id, URL, None, POLICY)
    job_id = add_job(camera="dock")
    add_job(b"other", camera="gate")
    add_job(b"third")
    run_job()
    relay_events(core)
    (message,) = told(core)
    assert message["search"] == {"id": search.id, "name": "At the dock"}
    assert (message["id"], message["segment"]["label"]) == (job_id, "walk")
    assert told(core, "job.succeeded") == []


def test_a_plain_webhook_has_the_same_filters(core, add_job, run_job):
    new = endpoints.NewWebhook(
        url=URL, events=["segment.detected", "job.succeeded"], tags=["x"], max_score=0.5
    )
    endpoints.create_webhook(core, new, POLICY)
    job_id = add_job(tag="x")
    add_job(b"other", tag="y")
    run_job()
    relay_events(core)
    (segment,), (ended,) = told(core), told(core, "job.succeeded")
    assert (segment["segment"]["label"], segment["id"]) == ("run", job_id)
    assert "search" not in segment
    assert (ended["id"], ended["segments"], ended["segments_matching"]) == (job_id, 2, 1)


bounds = (
    st.none()
    | st.sampled_from([0.0, 0.4, 0.5, 0.9, 1.0])
    | st.floats(0, 1).map(lambda score: round(score, 4))
)
lengths = st.none() | st.sampled_from([0.0, 1.999, 2.0, 2.001, 5.0])


def test_messages_tell_of_exactly_what_the_search_finds(core, add_job, run_job, native):
    job_id = add_job(camera="dock", tag="x")
    drawn = [
        {**native["segments"][0], "label": label, "score": score, "start": 1.0, "end": end}
        for label in ("walk", "run")
        for score in (0.0, 0.4, 0.5, 0.899999, 0.9, 1.0)
        for end in (1.0, 2.9994, 3.0, 3.0006, 9.0)
    ]
    run_job(result={**native, "segments": drawn})

    @settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
    @given(bounds, bounds, lengths, lengths, st.sampled_from([None, ("walk",)]))
    def check(low, high, shortest, longest, labels):
        wanted = SegmentFilter(
            label=labels,
            min_score=low,
            max_score=high,
            min_duration=shortest,
            max_duration=longest,
        )
        interest = Interest.of({"events": None, **saved.webhook_columns(wanted)})
        page = find_segments(core.for_tenant("default"), wanted, page_size=200)
        positions = sorted(one.row.position for one in page.segments)
        assert interest.segments(drawn) == [drawn[position] for position in positions]

    check()
    assert find_segments(core, SegmentFilter(job=job_id), page_size=1).segments


def test_searches_over_http(client):
    wish = {"name": "  Falls  ", "filter": {"label": ["fall"], "min_score": 0.5}}
    answer = client.post("/v1/searches", json=wish)
    assert answer.status_code == 201
    made = answer.json()
    here = answer.headers["location"]
    assert here == f"/v1/searches/{made['id']}"
    assert (made["name"], made["filter"]) == ("Falls", {"label": ["fall"], "min_score": 0.5})
    assert client.get(here).json() == made
    assert client.get("/v1/searches").json() == {"searches": [made]}
    taken = client.post("/v1/searches", json={"name": "Falls", "filter": {}})
    assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")
    hook = client.post(f"{here}/webhook", json={"url": URL})
    assert hook.status_code == 201
    webhook = hook.json()
    assert webhook["secret"].startswith("whsec_")
    assert (webhook["search"], webhook["labels"]) == (made["id"], ["fall"])
    changed = client.put(here, json={"name": "Runs", "filter": {"label": ["run"]}})
    assert changed.status_code == 200
    assert client.get(hook.headers["location"]).json()["labels"] == ["run"]
    renamed = client.patch(here, json={"name": "Running"}).json()
    assert (renamed["name"], renamed["filter"]) == ("Running", {"label": ["run"]})
    refused = client.put(here, json={"name": "Runs", "filter": {"since": "2026-03-01T00:00:00Z"}})
    assert refused.status_code == 422
    assert "since" in refused.json()["detail"]
    assert client.patch(hook.headers["location"], json={"labels": None}).status_code == 409
    assert client.delete(here).status_code == 204
    assert client.get(hook.headers["location"]).status_code == 404
    assert client.get(here).json()["code"] == "search_not_found"


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"filter": {}},
        {"name": "", "filter": {}},
        {"name": " ", "filter": {}},
        {"name": "a\nb", "filter": {}},
        {"name": "x" * 256, "filter": {}},
        {"name": "x", "filter": {"labels": ["fall"]}},
        {"name": "x", "filter": {"label": "fall"}},
        {"name": "x", "filter": {"order": "score"}},
        {"name": "x", "filter": {"page_size": 1}},
        {"name": "x", "filter": {"min_score": 0.9, "max_score": 0.1}},
        {"name": "x", "filter": {}, "colour": "red"},
    ],
)
def test_searches_that_make_no_sense_are_refused(client, body):
    answer = client.post("/v1/searches", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "https://u:p@example.com/", "no url"])
def test_whom_nobody_may_be_sent_to_is_told_nothing(client, url):
    made = client.post("/v1/searches", json={"name": "x", "filter": {}}).json()
    answer = client.post(f"/v1/searches/{made['id']}/webhook", json={"url": url})
    assert answer.json()["code"] == "url_refused"
    secret = client.post(
        f"/v1/searches/{made['id']}/webhook", json={"url": URL, "secret": "hunter2"}
    )
    assert secret.json()["code"] == "invalid_request"
    with reading(client.core.engine) as session:
        assert session.execute(select(WebhookRecord.id)).all() == []
