"""Sends webhook messages: one thread that looks for due ones, and a few that each send one.

A receiver that hangs holds up nobody else: each host has few messages under way at a time, and
those in trouble share half of the threads. What is under way when the process dies is due again
when its lease ends; see `service.webhooks.delivery`.
"""

import threading
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from service.errors import OutageError, UrlRefused, UrlUnreachable
from service.jobs.commands import JobCore
from service.outbound import Outbound
from service.settings import Settings
from service.webhooks.delivery import (
    GONE,
    Attempt,
    ClaimedDelivery,
    RetryPolicy,
    claim_delivery,
    note_attempt,
)
from service.webhooks.signing import signed_headers

SLOTS = 12
SLOTS_PER_HOST = 3
MAX_TROUBLED = 200
LOOK_SECONDS = 0.5
OUTAGE_PAUSE_SECONDS = 2.0
STOP_SECONDS = 2.0
LEASE_FACTOR, LEASE_MARGIN_SECONDS = 2.0, 2.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """How messages are sent.

    Attributes:
        timeout_seconds: for one attempt.
        lease_seconds: how long an attempt stays with its sender; longer than it can take.
        look_seconds: how often due messages are looked for.
    """

    retry: RetryPolicy
    timeout_seconds: float = 10.0
    lease_seconds: float = 22.0
    look_seconds: float = LOOK_SECONDS
    slots: int = SLOTS

    @classmethod
    def of(cls, settings: Settings) -> "DeliverySettings":
        """Return those of a deployment."""
        timeout = settings.webhook_timeout_seconds
        lease = LEASE_FACTOR * timeout + LEASE_MARGIN_SECONDS
        return cls(RetryPolicy.of(settings), timeout, lease)


class Lanes:
    """Who has how many messages under way; decides which hosts have to wait."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._under_way: Counter[str] = Counter()
        # Ordered: the host that has been in trouble for the longest is forgotten first.
        self._troubled: dict[str, None] = {}

    @property
    def full(self) -> bool:
        """Whether nothing more can be sent at present."""
        return self._under_way.total() >= self._slots

    @property
    def avoided(self) -> Collection[str]:
        """Hosts that get no further message at present."""
        busy = {host for host, count in self._under_way.items() if count >= SLOTS_PER_HOST}
        in_trouble = sum(self._under_way[host] for host in self._troubled)
        return busy | set(self._troubled) if in_trouble >= self._slots // 2 else busy

    def begin(self, host: str) -> None:
        """A message is on its way."""
        self._under_way[host] += 1

    def end(self, host: str, *, well: bool) -> None:
        """It arrived, or not."""
        self._under_way[host] -= 1
        if self._under_way[host] <= 0:
            del self._under_way[host]
        self._troubled.pop(host, None)
        if not well:
            self._troubled[host] = None
            if len(self._troubled) > MAX_TROUBLED:
                del self._troubled[next(iter(self._troubled))]


class DeliverySender:
    """Sends until it is stopped; its threads end with the process, whatever they are doing."""

    def __init__(self, core: JobCore, outbound: Outbound, settings: DeliverySettings) -> None:
        self._core = core
        self._outbound = outbound
        self._settings = settings
        self._lanes = Lanes(settings.slots)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._senders: set[threading.Thread] = set()
        self._dispatcher = threading.Thread(target=self._dispatch, name="deliveries", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._dispatcher.start()

    def stop(self) -> None:
        """Take up nothing more, and wait a moment for what is under way."""
        self._stopping.set()
        self._wake.set()
        deadline = time.monotonic() + STOP_SECONDS
        self._dispatcher.join(STOP_SECONDS)
        with self._lock:
            senders = list(self._senders)
        for sender in senders:
            sender.join(max(0.0, deadline - time.monotonic()))

    def _dispatch(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            wait = self._settings.look_seconds
            try:
                self._send_due()
            except OutageError as error:
                _log.warning("deliveries_wait", error=str(error))
                wait = OUTAGE_PAUSE_SECONDS
            except Exception:  # noqa: BLE001 - the last net: a bug must not end all sending
                _log.exception("unexpected_error")
                wait = OUTAGE_PAUSE_SECONDS
            self._wake.wait(wait)

    def _send_due(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                if self._lanes.full:
                    return
                avoided = self._lanes.avoided
            claimed = claim_delivery(
                self._core, avoided_hosts=avoided, lease_seconds=self._settings.lease_seconds
            )
            if claimed is None:
                return
            sender = threading.Thread(
                target=self._send, args=(claimed,), name=f"delivery {claimed.id}", daemon=True
            )
            with self._lock:
                self._lanes.begin(claimed.host)
                self._senders.add(sender)
            sender.start()

    def _send(self, claimed: ClaimedDelivery) -> None:
        attempt = Attempt(0.0, error="It was not sent.")
        try:
            attempt = self._attempt(claimed)
            status = note_attempt(self._core, claimed, attempt, self._settings.retry)
            _log.info(
                "delivery_attempted",
                delivery_id=claimed.id,
                receiver=claimed.receiver,
                attempt=claimed.attempt,
                status_code=attempt.status_code,
                error=attempt.error,
                outcome=status,
            )
        except OutageError as error:
            # The row is due again when its lease ends.
            _log.warning("delivery_not_noted", delivery_id=claimed.id, error=str(error))
        finally:
            with self._lock:
                self._lanes.end(claimed.host, well=attempt.error is None)
                self._senders.discard(threading.current_thread())
            self._wake.set()

    def _attempt(self, claimed: ClaimedDelivery) -> Attempt:
        body = claimed.body.encode()
        headers = signed_headers(claimed.id, datetime.now(UTC), body, claimed.secrets)
        started = time.monotonic()
        status, error, final = None, None, False
        try:
            status = self._outbound.post(
                claimed.url, body, headers, seconds=self._settings.timeout_seconds
            )
        except UrlRefused as refusal:
            error, final = str(refusal), True
        except UrlUnreachable as trouble:
            error = str(trouble)
        except Exception:  # noqa: BLE001 - the last net: a bug costs an attempt and is logged
            _log.exception("unexpected_error", delivery_id=claimed.id)
            error = "An unexpected error stopped this attempt."
        if status is not None:
            error, final = judged(status)
        return Attempt(time.monotonic() - started, status, error, final)


def judged(status: int) -> tuple[str | None, bool]:
    """Return what is wrong with an answer, if anything, and whether that is final."""
    if 200 <= status < 300:  # noqa: PLR2004 - the class of success
        return None, False
    if status == GONE:
        return "The receiver answered 410: it wants nothing more.", True
    if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects
        return f"The receiver answered {status}; redirects are not followed.", False
    return f"The receiver answered {status}.", False
