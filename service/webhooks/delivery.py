"""Which message is sent next, and what becomes of it: claims, outcomes, back-off, giving up.

The row is the queue. A claim is a lease, kept in ``next_attempt_at``, with a fencing token: the
message of a sender that died is due again when its lease ends, under the same id. At least once,
in no promised order.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, literal, select, update
from sqlalchemy.orm import Session

from service.batches.records import BatchRecord
from service.jobs.commands import JobCore
from service.jobs.lifecycle import lock_job
from service.jobs.records import JobRecord
from service.jobs.store import reading, transaction
from service.metrics.counting import Counter, count, labelled
from service.settings import Settings
from service.webhooks.records import DeliveryRecord, DeliveryStatus, WebhookRecord

BACKOFF_FACTOR = 6.0
MAX_BACKOFF_SECONDS = 24 * 3600.0
DISABLE_AFTER_SECONDS = 5 * 24 * 3600.0
"""Of nothing but failures. Source: Standard Webhooks, which advises to disable after days."""
MAX_TRIES_LOGGED = 30
GONE = 410


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how late a message is tried again.

    Attributes:
        max_attempts: then it is given up.
        first_seconds: wait after the first failure; each further one is six times as long, up to
            a day: 5 s, 30 s, 3 min, 18 min, 1.8 h, 10.8 h, then daily.
    """

    max_attempts: int = 10
    first_seconds: float = 5.0

    @classmethod
    def of(cls, settings: Settings) -> "RetryPolicy":
        """Return the policy of a deployment."""
        return cls(settings.webhook_attempts, settings.webhook_retry_seconds)

    def wait_seconds(self, attempts: int) -> float:
        """Return how long to wait after the ``attempts``-th failure."""
        # The exponent is bounded so that no count of attempts overflows a float.
        factor = BACKOFF_FACTOR ** min(attempts - 1, 20)
        return float(min(self.first_seconds * factor, MAX_BACKOFF_SECONDS))


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A message and all its sender needs to know.

    Attributes:
        id: the message's ``webhook-id``.
        receiver: as in `DeliveryRecord`.
        token: to be handed in with the outcome.
        secrets: the newest first.
    """

    id: str
    receiver: str
    token: int
    attempt: int
    url: str
    host: str
    body: str
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt went.

    Attributes:
        status_code: that the receiver answered; None if it did not.
        error: one sentence; None after success.
        final: whether trying again is no use.
    """

    seconds: float
    status_code: int | None = None
    error: str | None = None
    final: bool = False


def claim_delivery(
    core: JobCore, *, avoided_hosts: Collection[str], lease_seconds: float
) -> ClaimedDelivery | None:
    """Take the message that has been due for the longest; None if there is none.

    Args:
        core: of all tenants.
        avoided_hosts: that are busy enough as it is.
        lease_seconds: how long it stays with its sender.
    """
    while _anything_due(core, avoided_hosts):
        with transaction(core.engine) as session:
            now = core.clock.now(session)
            due = _due(now, avoided_hosts).with_for_update(skip_locked=True)
            found = session.execute(due).scalar_one_or_none()
            if found is None:
                return None
            delivery = session.get_one(DeliveryRecord, found)
            target = _target(session, delivery, now)
            if target is not None:
                delivery.token += 1
                delivery.attempts += 1
                delivery.next_attempt_at = now + timedelta(seconds=lease_seconds)
                return ClaimedDelivery(
                    delivery.id, delivery.receiver, delivery.token, delivery.attempts, target[0],
                    delivery.host, delivery.body, target[1],
                )  # fmt: skip
            delivery.error = "The webhook is disabled."
            _complete(delivery, DeliveryStatus.FAILED, now)
    return None


def note_attempt(
    core: JobCore, claimed: ClaimedDelivery, attempt: Attempt, policy: RetryPolicy
) -> DeliveryStatus | None:
    """Write down how an attempt went and decide what follows.

    Returns:
        Where the delivery stands now; None if it was deleted, or is somebody else's by now.
    """
    with transaction(core.engine) as session:
        # The receiver first, then its deliveries: nobody waits for each other on PostgreSQL.
        webhook = _lock_receiver(session, claimed.receiver)
        delivery = session.get(DeliveryRecord, claimed.id, with_for_update=True)
        now = core.clock.now(session)
        if delivery is None or delivery.status != DeliveryStatus.PENDING:
            return None
        _log_try(delivery, attempt, now)
        result = "delivered" if attempt.error is None else "failed"
        count(session, Counter.DELIVERY_ATTEMPTS, labelled(result=result))
        if attempt.error is None:
            # It arrived, whoever holds the lease meanwhile.
            _complete(delivery, DeliveryStatus.DELIVERED, now)
            if webhook is not None:
                webhook.failing_since = None
            return DeliveryStatus.DELIVERED
        if delivery.token != claimed.token:
            return None
        if attempt.final or delivery.attempts >= policy.max_attempts:
            _complete(delivery, DeliveryStatus.FAILED, now)
        else:
            wait = timedelta(seconds=policy.wait_seconds(delivery.attempts))
            delivery.next_attempt_at = now + wait
        _note_failure(session, delivery, webhook, attempt, now)
        return DeliveryStatus(delivery.status)


def purge_deliveries(core: JobCore, older_than_days: float) -> int:
    """Delete what is long over from the log; return how many. Those about jobs go with the job."""
    with transaction(core.engine) as session:
        horizon = core.clock.now(session) - timedelta(days=older_than_days)
        gone = session.execute(
            delete(DeliveryRecord)
            .where(DeliveryRecord.completed_at <= horizon)
            .returning(DeliveryRecord.id)
            .execution_options(synchronize_session=False)
        )
        return len(gone.all())


def _anything_due(core: JobCore, avoided_hosts: Collection[str]) -> bool:
    # Looking takes no write lock, and mostly there is nothing to do.
    with reading(core.engine) as session:
        return session.execute(_due(core.clock.now(session), avoided_hosts)).first() is not None


def _due(now: datetime, avoided_hosts: Collection[str]) -> Select[str]:
    # Written into the statement: of a parameter SQLite could not tell that the index covers it.
    pending = literal(str(DeliveryStatus.PENDING), literal_execute=True)
    conditions: list[ColumnElement[bool]] = [
        DeliveryRecord.status == pending,
        DeliveryRecord.next_attempt_at <= now,
    ]
    if avoided_hosts:
        conditions.append(DeliveryRecord.host.not_in(sorted(avoided_hosts)))
    return (
        select(DeliveryRecord.id)
        .where(*conditions)
        .order_by(DeliveryRecord.next_attempt_at)
        .limit(1)
    )


def _target(
    session: Session, delivery: DeliveryRecord, now: datetime
) -> tuple[str, tuple[str, ...]] | None:
    """Return where a message goes now and what signs it; None if nowhere any more."""
    if delivery.webhook_id is None:
        wish = _own_wish(session, delivery)
        if "url" not in wish:
            return None
        secret = wish.get("secret")
        return wish["url"], () if secret is None else (secret,)
    webhook = session.get_one(WebhookRecord, delivery.webhook_id)
    if not webhook.enabled:
        return None
    keys = [webhook.secret]
    until = webhook.previous_secret_until
    if webhook.previous_secret is not None and until is not None and until > now:
        keys.append(webhook.previous_secret)
    return webhook.url, tuple(keys)


def _own_wish(session: Session, delivery: DeliveryRecord) -> Mapping[str, Any]:
    """Return the webhook of the job or batch that a message is about, if that is still there."""
    if delivery.batch_id is not None:
        batch = session.get(BatchRecord, delivery.batch_id)
        return (batch.webhook if batch is not None else None) or {}
    return session.get_one(JobRecord, delivery.job_id).webhook or {}


def _lock_receiver(session: Session, receiver: str) -> WebhookRecord | None:
    """Lock a webhook, and return it, or the job that has one of its own."""
    if receiver.startswith("job_"):
        lock_job(session, receiver)
        return None
    return session.get(WebhookRecord, receiver, with_for_update=True)


def _log_try(delivery: DeliveryRecord, attempt: Attempt, now: datetime) -> None:
    delivery.status_code, delivery.error = attempt.status_code, attempt.error
    entry = {
        "at": now.isoformat(),
        "status_code": attempt.status_code,
        "error": attempt.error,
        "seconds": round(attempt.seconds, 3),
    }
    delivery.tries = [*delivery.tries, entry][-MAX_TRIES_LOGGED:]


def _complete(delivery: DeliveryRecord, status: DeliveryStatus, now: datetime) -> None:
    delivery.status = status
    delivery.next_attempt_at = None
    delivery.completed_at = now


def _note_failure(
    session: Session,
    delivery: DeliveryRecord,
    webhook: WebhookRecord | None,
    attempt: Attempt,
    now: datetime,
) -> None:
    """Disable a receiver that said it is gone, or has done nothing but fail for days."""
    gone = attempt.status_code == GONE
    if webhook is not None:
        webhook.failing_since = webhook.failing_since or now
        long_enough = now - webhook.failing_since >= timedelta(seconds=DISABLE_AFTER_SECONDS)
        if not gone and not long_enough:
            return
        webhook.enabled = False
        webhook.disabled_reason = (
            "The receiver answered 410 Gone."
            if gone
            else f"Nothing but failures since {webhook.failing_since.isoformat()}."
        )
    elif not gone:
        return
    # Whatever else waits for this receiver is given up too, visibly, and can be sent again.
    session.flush()
    session.execute(
        update(DeliveryRecord)
        .where(
            DeliveryRecord.receiver == delivery.receiver,
            DeliveryRecord.status == DeliveryStatus.PENDING,
        )
        .values(
            status=DeliveryStatus.FAILED,
            next_attempt_at=None,
            completed_at=now,
            error="The webhook was disabled before this was sent.",
        )
        .execution_options(synchronize_session="fetch")
    )
