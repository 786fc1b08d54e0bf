"""The sender of webhooks against real receivers: answers, hangs, resets, slow neighbours."""

import http.server
import json
import select
import socket
import threading
import time

import pytest
import standardwebhooks
from sqlalchemy import select as sql_select

from service.jobs.commands import JobCore
from service.jobs.records import DEFAULT_TENANT, Record, TenantRecord
from service.jobs.store import HostClock, create_engine_for, reading, transaction
from service.outbound import Outbound, OutboundPolicy
from service.storage import LocalBlobStore
from service.webhooks import endpoints
from service.webhooks.delivery import RetryPolicy
from service.webhooks.endpoints import NewWebhook
from service.webhooks.records import DeliveryRecord
from workers.delivering import SLOTS_PER_HOST, DeliverySender, DeliverySettings, Lanes, judged

CLOSED = OutboundPolicy(allow_private=True)
RETRY = RetryPolicy(max_attempts=3, first_seconds=0.02)
QUICK = DeliverySettings(RETRY, timeout_seconds=0.4, lease_seconds=2.0, look_seconds=0.02)
LONG_SECONDS = 15


def pause(seconds=0.01):
    select.select([], [], [], seconds)


def until(look, what):
    deadline = time.monotonic() + LONG_SECONDS
    while time.monotonic() < deadline:
        if look():
            return
        pause()
    pytest.fail(f"{what} did not happen")


class Sink:
    """A receiver; ``answers`` are used up one by one, the last one for ever."""

    def __init__(self, *answers, host="127.0.0.1"):
        self.answers = list(answers) or [200]
        self.received = []
        self.closing = threading.Event()
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                sink.received.append((dict(self.headers.items()), self.rfile.read(length)))
                answer = sink.answers.pop(0) if len(sink.answers) > 1 else sink.answers[0]
                if answer == "hang":
                    sink.closing.wait(LONG_SECONDS)
                elif answer == "reset":
                    linger = b"\1\0\0\0\0\0\0\0"
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.connection.close()
                else:
                    self.send_response(answer)
                    self.send_header("Location", "http://127.0.0.1:1/")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *args):
                pass

            def finish(self):
                # After a reset there is nothing left to finish.
                if not self.wfile.closed and self.connection.fileno() >= 0:
                    super().finish()

        self.server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://{host}:{self.server.server_port}/hook"

    @property
    def ids(self):
        return [headers["webhook-id"] for headers, _ in self.received]

    def close(self):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def make_sink():
    sinks = []

    def make(*answers, **options):
        sinks.append(Sink(*answers, **options))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


@pytest.fixture
def core(tmp_path):
    database = create_engine_for(f"sqlite:///{tmp_path / 'kinetag.db'}")
    Record.metadata.create_all(database)
    core = JobCore(database, HostClock(), LocalBlobStore(tmp_path), tmp_path / "features")
    with transaction(database) as session:
        now = core.clock.now(session)
        session.add(TenantRecord(id=DEFAULT_TENANT, name=DEFAULT_TENANT, created_at=now))
    yield core
    database.dispose()


@pytest.fixture
def run(core):
    senders = []

    def start(settings=QUICK, policy=CLOSED):
        senders.append(DeliverySender(core, Outbound(policy), settings))
        senders[-1].start()
        return senders[-1]

    yield start
    for sender in senders:
        sender.stop()


@pytest.fixture
def send(core):
    def add(url, count=1):
        new = NewWebhook(url=url, events=["job.succeeded"])
        webhook = endpoints.create_webhook(core, new, CLOSED)
        return webhook, [endpoints.send_test(core, webhook.id).id for _ in range(count)]

    return add


@pytest.fixture
def statuses(core):
    def look():
        with reading(core.engine) as session:
            rows = session.execute(sql_select(DeliveryRecord).order_by(DeliveryRecord.id))
            return {one.id: (one.status, one.attempts, one.error) for one in rows.scalars()}

    return look


def test_a_message_arrives_signed(core, make_sink, send, run, statuses):
    sink = make_sink()
    webhook, (message_id,) = send(sink.url)
    run()
    until(lambda: statuses()[message_id][0] == "delivered", "the delivery")
    ((headers, body),) = sink.received
    document = standardwebhooks.Webhook(webhook.secret).verify(body, headers)
    assert document["type"] == "webhook.test"
    assert headers["webhook-id"] == message_id
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == document


@pytest.mark.parametrize("trouble", [500, 302, 429, "hang", "reset"])
def test_a_receiver_in_trouble_is_tried_again_under_the_same_id(
    trouble, make_sink, send, run, statuses
):
    sink = make_sink(trouble, 200)
    _, (message_id,) = send(sink.url)
    run()
    until(lambda: statuses()[message_id][0] == "delivered", "the delivery")
    assert sink.ids == [message_id, message_id]
    assert sink.received[0][1] == sink.received[1][1]
    assert statuses()[message_id][1] == 2


def test_a_receiver_that_never_answers_well_is_given_up(make_sink, send, run, statuses):
    sink = make_sink(503)
    _, (message_id,) = send(sink.url)
    run()
    until(lambda: statuses()[message_id][0] == "failed", "giving up")
    assert len(sink.received) == RETRY.max_attempts
    assert statuses()[message_id][2] == "The receiver answered 503."


def test_gone_is_final_and_disables(core, make_sink, send, run, statuses):
    sink = make_sink(410)
    webhook, _ = send(sink.url, count=5)
    run()
    until(lambda: {one[0] for one in statuses().values()} == {"failed"}, "giving up")
    assert not endpoints.get_webhook(core, webhook.id).enabled
    assert len(sink.received) <= SLOTS_PER_HOST


def test_a_private_address_is_refused_and_given_up(make_sink, send, run, statuses):
    sink = make_sink()
    _, (message_id,) = send(sink.url)
    run(policy=OutboundPolicy())
    until(lambda: statuses()[message_id][0] == "failed", "giving up")
    assert "only 80 and 443 are contacted" in statuses()[message_id][2]
    assert sink.received == []


def test_a_slow_receiver_delays_nobody_else(make_sink, send, run, statuses):
    slow, quick = make_sink("hang"), make_sink(host="127.0.0.2")
    send(slow.url, count=30)
    _, wanted = send(quick.url, count=10)
    started = time.monotonic()
    run(DeliverySettings(RetryPolicy(20, 0.01), timeout_seconds=3.0, look_seconds=0.02))
    until(lambda: all(statuses()[one][0] == "delivered" for one in wanted), "the quick ones")
    # The slow one alone would take 30 times 3 s, 3 at a time.
    assert time.monotonic() - started < 6
    assert len(slow.received) <= SLOTS_PER_HOST * 2


def test_two_senders_share_the_work(make_sink, send, run, statuses):
    sink = make_sink()
    _, wanted = send(sink.url, count=20)
    run()
    run()
    until(lambda: all(statuses()[one][0] == "delivered" for one in wanted), "all deliveries")
    assert sorted(sink.ids) == sorted(wanted)


def test_stopping_waits_for_what_is_under_way(make_sink, send, run, statuses):
    sink = make_sink("hang")
    _, (message_id,) = send(sink.url)
    sender = run()
    until(lambda: sink.received, "the first attempt")
    sender.stop()
    assert statuses()[message_id] == (
        "pending",
        1,
        "127.0.0.1:" + sink.url.split(":")[2][:-5] + " did not answer in time.",
    )


@pytest.mark.parametrize(
    ("status", "well", "final"),
    [(200, True, False), (204, True, False), (299, True, False), (301, False, False),
     (404, False, False), (410, False, True), (500, False, False)],
)  # fmt: skip
def test_answers_are_judged(status, well, final):
    error, is_final = judged(status)
    assert (error is None, is_final) == (well, final)


# Lanes: pure.


def test_a_host_has_only_so_many_under_way():
    lanes = Lanes(slots=12)
    for _ in range(SLOTS_PER_HOST):
        assert "a" not in lanes.avoided
        lanes.begin("a")
    assert set(lanes.avoided) == {"a"}
    lanes.end("a", well=True)
    assert "a" not in lanes.avoided


def test_hosts_in_trouble_share_half_of_the_slots():
    lanes = Lanes(slots=4)
    for host in "abc":
        lanes.begin(host)
        lanes.end(host, well=False)
    lanes.begin("a")
    assert set(lanes.avoided) == set()
    lanes.begin("b")
    assert set(lanes.avoided) == {"a", "b", "c"}
    lanes.end("a", well=True)
    assert set(lanes.avoided) == set()
    lanes.begin("d")
    lanes.begin("e")
    lanes.begin("f")
    assert lanes.full


def test_trouble_is_forgotten_after_a_while(monkeypatch):
    monkeypatch.setattr("workers.delivering.MAX_TROUBLED", 2)
    lanes = Lanes(slots=2)
    for host in "abcd":
        lanes.begin(host)
        lanes.end(host, well=False)
    lanes.begin("c")
    assert set(lanes.avoided) == {"c", "d"}
