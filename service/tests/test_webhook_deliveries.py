"""Deliveries in the database: each event once per receiver, leases, back-off, giving up."""

import json
import threading
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from service.errors import InvalidRequest, InvalidTransition, JobNotFound, WebhookNotFound
from service.jobs.commands import request_cancel
from service.jobs.records import EventRecord, JobRecord, TenantRecord
from service.jobs.removal import delete_job
from service.jobs.store import reading, transaction
from service.outbound_addresses import OutboundPolicy
from service.webhooks import delivery, endpoints, fanout
from service.webhooks.delivery import Attempt, RetryPolicy, claim_delivery, note_attempt
from service.webhooks.endpoints import NewWebhook
from service.webhooks.fanout import relay_events
from service.webhooks.records import DeliveryRecord, DeliveryStatus, WebhookRecord

POLICY = OutboundPolicy()
URL = "https://hooks.example.com/kinetag"
ALL = ["segment.detected", "job.succeeded", "job.failed", "job.canceled", "batch.finished"]
RETRY = RetryPolicy(max_attempts=3, first_seconds=5.0)
OK = Attempt(0.1, 200)
BAD = Attempt(0.1, 500, "The receiver answered 500.")


@pytest.fixture
def add_webhook(core):
    def add(url=URL, events=("job.succeeded",), **fields):
        new = NewWebhook(url=url, events=list(events), **fields)
        return endpoints.create_webhook(core, new, POLICY)

    return add


@pytest.fixture
def deliveries(core):
    def look(**equal):
        statement = select(DeliveryRecord).filter_by(**equal).order_by(DeliveryRecord.id)
        with reading(core.engine) as session:
            return list(session.execute(statement).scalars())

    return look


def claim(core, avoided=(), lease_seconds=30.0):
    return claim_delivery(core, avoided_hosts=avoided, lease_seconds=lease_seconds)


@pytest.fixture
def one(core, add_webhook):
    """A webhook and its one claimed test message."""
    webhook = add_webhook()
    endpoints.send_test(core, webhook.id)
    return webhook, claim(core)


# From events to deliveries.


def test_an_ended_job_is_told_once_to_each_receiver(
    core, add_job, run_job, add_webhook, deliveries
):
    first, second = add_webhook(events=ALL), add_webhook(events=["job.failed"])
    job_id = add_job()
    run_job()
    assert relay_events(core) == 1
    assert relay_events(core) == 0
    told = deliveries()
    # The job's two segments, and its end.
    assert sorted(one.type for one in told) == ["job.succeeded", *["segment.detected"] * 2]
    assert {one.webhook_id for one in told} == {first.id}
    assert deliveries(webhook_id=second.id) == []
    assert all(json.loads(one.body)["data"]["id"] == job_id for one in told)
    assert {one.host for one in told} == {"hooks.example.com"}


def test_every_event_is_relayed_in_the_end(core, add_job, run_job):
    for _ in range(3):
        add_job()
    run_job()
    assert relay_events(core) == 3
    with reading(core.engine) as session:
        left = session.execute(select(EventRecord.id).where(EventRecord.relayed.is_(False)))
        assert left.first() is None


def test_more_events_than_fit_in_one_turn(core, add_job, run_job, add_webhook, monkeypatch):
    monkeypatch.setattr("service.webhooks.fanout.EVENTS_PER_TURN", 2)
    add_webhook()
    for _ in range(5):
        add_job()
    run_job()
    assert relay_events(core) == 5


def test_a_transaction_makes_so_many_deliveries_and_leaves_the_rest_to_the_next(
    core, add_job, run_job, add_webhook, deliveries, monkeypatch
):
    monkeypatch.setattr(fanout, "DELIVERIES_PER_TURN", 4)
    relay_some, turns = fanout._relay_some, []

    def counted(core):
        turns.append(relay_some(core))
        return turns[-1]

    monkeypatch.setattr(fanout, "_relay_some", counted)
    add_webhook(events=ALL)
    for _ in range(5):
        add_job()
    run_job()
    assert relay_events(core) == 5
    assert turns == [2, 2, 1]
    assert len(deliveries()) == 5 * 3


def test_a_job_s_own_webhook_is_told_too(core, add_job, run_job, deliveries):
    wish = {"url": URL, "events": ["segment.detected"], "labels": ["walk"], "secret": "whsec_x"}
    job_id = add_job(webhook=wish)
    run_job()
    relay_events(core)
    (told,) = deliveries()
    assert (told.receiver, told.job_id, told.webhook_id) == (job_id, job_id, None)
    assert json.loads(told.body)["data"]["segment"]["label"] == "walk"
    assert claim(core).secrets == ("whsec_x",)


def test_failing_and_canceling_are_told(core, add_job, queue, add_webhook, deliveries):
    add_webhook(events=["job.failed", "job.canceled"])
    add_job()
    task = queue.claim(owner="w", lease_seconds=60.0)
    queue.fail(task.id, task.token, code="no_video_stream", message="No.", retryable=False)
    request_cancel(core, add_job(b"other"))
    relay_events(core)
    failed, canceled = deliveries()
    assert json.loads(failed.body)["data"]["error"] == {"code": "no_video_stream", "message": "No."}
    assert canceled.type == "job.canceled"


def test_probes_are_nobody_s_business(core, add_job, add_webhook, deliveries):
    add_webhook(events=ALL)
    job_id = add_job()
    request_cancel(core, job_id)
    with transaction(core.engine) as session:
        session.execute(update(JobRecord).where(JobRecord.id == job_id).values(kind="probe"))
    relay_events(core)
    assert deliveries() == []


def test_a_batch_that_finished_is_told(core, add_webhook, deliveries):
    add_webhook(events=ALL)
    with transaction(core.engine) as session:
        session.add(
            EventRecord(
                tenant_id="default",
                batch_id="bat_1",
                type="batch.finished",
                details={"succeeded": 3, "failed": 1},
                created_at=core.clock.now(session),
            )
        )
    assert relay_events(core) == 1
    (told,) = deliveries()
    data = json.loads(told.body)["data"]
    assert data == {
        "id": "bat_1", "succeeded": 3, "failed": 1, "links": {"self": "/v1/batches/bat_1"},
    }  # fmt: skip


def test_tenants_are_told_of_their_own_only(core, add_job, run_job, add_webhook, deliveries):
    with transaction(core.engine) as session:
        now = core.clock.now(session)
        session.add(TenantRecord(id="other", name="other", created_at=now))
    theirs = endpoints.create_webhook(
        core.for_tenant("other"), NewWebhook(url=URL, events=ALL), POLICY
    )
    mine = add_webhook(events=ALL)
    add_job()
    run_job()
    relay_events(core)
    assert {one.webhook_id for one in deliveries()} == {mine.id}
    bound = core.for_tenant("default")
    assert [one.id for one in endpoints.list_webhooks(bound)] == [mine.id]
    delivery_id = deliveries()[0].id
    for forbidden in (
        lambda: endpoints.get_webhook(bound, theirs.id),
        lambda: endpoints.delete_webhook(bound, theirs.id),
        lambda: endpoints.rotate_secret(bound, theirs.id),
        lambda: endpoints.send_test(bound, theirs.id),
        lambda: endpoints.change_webhook(bound, theirs.id, {"enabled": False}, POLICY),
        lambda: endpoints.list_deliveries(
            bound, webhook_id=theirs.id, page_size=1, page_token=None
        ),
        lambda: endpoints.resend(core.for_tenant("other"), delivery_id),
    ):
        with pytest.raises(WebhookNotFound):
            forbidden()


def test_two_relays_at_once_make_no_delivery_twice(core, add_job, run_job, add_webhook, deliveries):
    add_webhook(events=["job.succeeded"])
    for _ in range(8):
        add_job()
    run_job()
    barrier = threading.Barrier(4)

    def relay():
        barrier.wait()
        relay_events(core)

    threads = [threading.Thread(target=relay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    relay_events(core)
    assert len(deliveries()) == 8


def test_an_event_that_trips_us_holds_up_no_other(core, add_job, run_job, add_webhook, deliveries):
    add_webhook(events=["job.succeeded", "segment.detected"])
    broken = add_job()
    run_job(result={"segments": [{"label": "no score"}]})
    sound = add_job(b"other")
    run_job()
    assert relay_events(core) == 2
    assert {told.job_id for told in deliveries()} == {sound}
    assert broken != sound


def test_what_is_deleted_with_a_job_is_not_told(core, add_job, run_job, add_webhook, deliveries):
    add_webhook(events=ALL)
    job_id = add_job()
    run_job()
    relay_events(core)
    assert delete_job(core, job_id)
    assert deliveries() == []


# Claims and outcomes.


def test_a_message_is_claimed_by_one_sender(core, one):
    assert one[1].url == URL
    assert one[1].secrets == (one[0].secret,)
    assert claim(core) is None


def test_many_senders_share_the_messages(core, add_webhook):
    webhook = add_webhook()
    for _ in range(12):
        endpoints.send_test(core, webhook.id)
    claimed, lock = [], threading.Lock()

    def send():
        while (found := claim(core)) is not None:
            with lock:
                claimed.append(found.id)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 12


def test_success_completes_and_heals(core, one, clock, deliveries):
    note_attempt(core, one[1], BAD, RETRY)
    clock.advance(6)
    assert note_attempt(core, claim(core), OK, RETRY) is DeliveryStatus.DELIVERED
    (told,) = deliveries()
    assert [entry["status_code"] for entry in told.tries] == [500, 200]
    assert told.error is None
    assert endpoints.get_webhook(core, one[0].id).failing_since is None


def test_failures_wait_longer_each_time_and_are_given_up(core, one, clock, deliveries):
    claimed = one[1]
    for wait in (5, 30):
        assert note_attempt(core, claimed, BAD, RETRY) is DeliveryStatus.PENDING
        clock.advance(wait - 1)
        assert claim(core) is None
        clock.advance(1)
        claimed = claim(core)
        assert claimed.id == one[1].id
    assert note_attempt(core, claimed, BAD, RETRY) is DeliveryStatus.FAILED
    clock.advance(100_000)
    assert claim(core) is None
    (told,) = deliveries()
    assert (told.attempts, told.status_code, told.error) == (3, 500, BAD.error)
    assert endpoints.get_webhook(core, one[0].id).failing_since is not None


def test_a_dead_sender_s_message_is_due_again_under_its_id(core, one, clock):
    clock.advance(29)
    assert claim(core) is None
    clock.advance(1)
    again = claim(core)
    assert (again.id, again.attempt, again.body) == (one[1].id, 2, one[1].body)
    # The dead one was only slow: its failure no longer counts, its success does.
    assert note_attempt(core, one[1], BAD, RETRY) is None
    assert note_attempt(core, one[1], OK, RETRY) is DeliveryStatus.DELIVERED
    assert note_attempt(core, again, BAD, RETRY) is None


def test_busy_hosts_are_passed_over(core, add_webhook):
    slow, quick = add_webhook(), add_webhook(url="https://quick.example.com/")
    endpoints.send_test(core, slow.id)
    endpoints.send_test(core, quick.id)
    assert claim(core, avoided={"hooks.example.com"}).host == "quick.example.com"
    assert claim(core, avoided={"hooks.example.com"}) is None


def test_gone_disables_and_gives_up_what_waits(core, one, deliveries):
    endpoints.send_test(core, one[0].id)
    gone = Attempt(0.1, 410, "The receiver answered 410.", final=True)
    assert note_attempt(core, one[1], gone, RETRY) is DeliveryStatus.FAILED
    webhook = endpoints.get_webhook(core, one[0].id)
    assert not webhook.enabled
    assert webhook.disabled_reason == "The receiver answered 410 Gone."
    assert {told.status for told in deliveries()} == {"failed"}
    with pytest.raises(InvalidTransition):
        endpoints.send_test(core, webhook.id)
    with pytest.raises(InvalidTransition):
        endpoints.resend(core, one[1].id)


def test_a_job_s_own_receiver_that_is_gone_is_left_alone(core, add_job, run_job, deliveries):
    add_job(webhook={"url": URL, "events": ["segment.detected", "job.succeeded"]})
    run_job()
    relay_events(core)
    gone = Attempt(0.1, 410, "The receiver answered 410.", final=True)
    note_attempt(core, claim(core), gone, RETRY)
    assert {told.status for told in deliveries()} == {"failed"}


def test_days_of_nothing_but_failures_disable(core, add_webhook, clock):
    webhook = add_webhook()
    policy = RetryPolicy(max_attempts=100, first_seconds=5.0)
    endpoints.send_test(core, webhook.id)
    for _ in range(30):
        claimed = claim(core)
        if claimed is None:
            break
        note_attempt(core, claimed, BAD, policy)
        clock.advance(24 * 3600)
    found = endpoints.get_webhook(core, webhook.id)
    assert not found.enabled
    assert found.disabled_reason.startswith("Nothing but failures since")
    passed = clock.moment - found.failing_since
    assert timedelta(days=5) <= passed <= timedelta(days=7)
    healed = endpoints.change_webhook(core, webhook.id, {"enabled": True}, POLICY)
    assert (healed.enabled, healed.disabled_reason, healed.failing_since) == (True, None, None)


def test_a_disabled_webhook_is_told_nothing(core, add_webhook, add_job, run_job, deliveries):
    webhook = add_webhook(events=ALL)
    endpoints.send_test(core, webhook.id)
    endpoints.change_webhook(core, webhook.id, {"enabled": False}, POLICY)
    assert claim(core) is None
    (told,) = deliveries()
    assert (told.status, told.error) == ("failed", "The webhook is disabled.")
    add_job()
    run_job()
    relay_events(core)
    assert len(deliveries()) == 1


def test_sending_again_by_hand(core, one, clock, deliveries):
    note_attempt(core, one[1], OK, RETRY)
    endpoints.resend(core, one[1].id)
    again = claim(core)
    assert (again.id, again.body, again.attempt) == (one[1].id, one[1].body, 1)
    note_attempt(core, again, OK, RETRY)
    (told,) = deliveries()
    assert len(told.tries) == 2
    with pytest.raises(WebhookNotFound):
        endpoints.resend(core, "msg_01J9ZZZZZZZZZZZZZZZZZZZZZZ")


def test_rotating_signs_with_both_secrets_for_a_day(core, one, clock):
    old = one[0].secret
    new = endpoints.rotate_secret(core, one[0].id).secret
    assert new != old
    endpoints.send_test(core, one[0].id)
    assert claim(core).secrets == (new, old)
    clock.advance(24 * 3600 + 60)
    endpoints.send_test(core, one[0].id)
    assert claim(core).secrets == (new,)


def test_a_new_address_counts_for_what_waits(core, one, clock):
    endpoints.change_webhook(core, one[0].id, {"url": "https://new.example.com/"}, POLICY)
    note_attempt(core, one[1], BAD, RETRY)
    clock.advance(5)
    claimed = claim(core)
    assert (claimed.url, claimed.host) == ("https://new.example.com/", "new.example.com")


def test_deleting_a_webhook_deletes_its_log(core, one, deliveries):
    endpoints.delete_webhook(core, one[0].id)
    assert deliveries() == []
    assert note_attempt(core, one[1], OK, RETRY) is None


def test_old_deliveries_are_purged(core, one, clock, deliveries):
    note_attempt(core, one[1], OK, RETRY)
    endpoints.send_test(core, one[0].id)
    clock.advance(31 * 24 * 3600)
    assert delivery.purge_deliveries(core, 30.0) == 1
    assert [told.status for told in deliveries()] == ["pending"]


def test_there_are_only_so_many_webhooks(core, add_webhook, monkeypatch):
    monkeypatch.setattr("service.webhooks.endpoints.MAX_WEBHOOKS", 2)
    add_webhook()
    add_webhook()
    with pytest.raises(InvalidRequest):
        add_webhook()


def test_the_log_is_paged(core, add_webhook, add_job):
    webhook = add_webhook()
    made = [endpoints.send_test(core, webhook.id).id for _ in range(5)]
    seen, token = [], None
    for _ in range(3):
        page = endpoints.list_deliveries(core, webhook_id=webhook.id, page_size=2, page_token=token)
        seen.extend(one.id for one in page.deliveries)
        token = page.next_page_token
    assert token is None
    assert seen == sorted(made, reverse=True)
    with pytest.raises(JobNotFound):
        endpoints.list_deliveries(core, subject_id="job_1", page_size=2, page_token=None)
    with reading(core.engine) as session:
        assert session.get(WebhookRecord, webhook.id) is not None


def test_looking_for_work_goes_by_the_indexes(core, engine, clock):
    """Both looks are taken twice a second, however many rows there are."""
    if engine.dialect.name != "sqlite":
        pytest.skip("a planner with statistics decides for itself")
    looks = {
        "ix_deliveries_due": delivery._due(clock.now(None), ()),
        "ix_events_unrelayed": select(EventRecord.id).where(fanout.UNRELAYED),
    }
    for index, statement in looks.items():
        compiled = statement.compile(engine, compile_kwargs={"render_postcompile": True})
        values = tuple(None for _ in compiled.positiontup)
        with engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values).all()
        assert [index in str(step) for step in plan] == [True]
