"""Turns events of the outbox into deliveries: each once per receiver, in one transaction.

The events were written in the transactions that made them happen. Whoever gets here marks them
as relayed in the transaction that inserts the deliveries, so that none is lost or made twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx2
import structlog
from sqlalchemy import false, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.batches.records import BatchRecord
from service.jobs.commands import JobCore
from service.jobs.records import EventRecord, JobRecord, ResultRecord, VideoRecord
from service.jobs.states import JobKind
from service.jobs.store import new_id, reading, transaction
from service.search.records import SearchRecord
from service.webhooks.events import EndedJob, Interest, Message, MessageType
from service.webhooks.records import FILTER_COLUMNS, DeliveryRecord, WebhookRecord

EVENTS_PER_TURN = 50
DELIVERIES_PER_TURN = 500
"""More wait for the next transaction: on SQLite nobody else writes meanwhile."""
RELAYED_TYPES = (
    MessageType.JOB_SUCCEEDED,
    MessageType.JOB_FAILED,
    MessageType.JOB_CANCELED,
    MessageType.BATCH_FINISHED,
)
UNRELAYED = EventRecord.relayed == false()
"""As the partial index has it: SQLite does not recognise ``IS`` in its place."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where messages of one event go.

    Attributes:
        id: of the webhook, or of the job or batch for its own webhook.
    """

    id: str
    tenant_id: str
    url: str
    interest: Interest
    webhook_id: str | None = None

    @classmethod
    def of_webhook(cls, webhook: WebhookRecord, search: SearchRecord | None = None) -> "Receiver":
        """Return a tenant's webhook, of a saved search or not, as a receiver."""
        wish = {name: getattr(webhook, name) for name in ("events", *FILTER_COLUMNS)}
        of_search = None if search is None else {"id": search.id, "name": search.name}
        interest = Interest.of(wish, of_search)
        return cls(webhook.id, webhook.tenant_id, webhook.url, interest, webhook_id=webhook.id)

    @classmethod
    def of_batch(cls, batch: BatchRecord | None) -> "Receiver | None":
        """Return a batch's own webhook as a receiver; None without one."""
        if batch is None or batch.webhook is None:
            return None
        return cls(batch.id, batch.tenant_id, batch.webhook["url"], Interest.of(batch.webhook))

    @classmethod
    def of_job(cls, job: JobRecord) -> "Receiver | None":
        """Return a job's own webhook as a receiver; None without one."""
        if job.webhook is None:
            return None
        return cls(job.id, job.tenant_id, job.webhook["url"], Interest.of(job.webhook))


def relay_events(core: JobCore) -> int:
    """Make deliveries of all events that wait for it; return how many events were told of."""
    told = 0
    while _has_unrelayed(core):
        done = _relay_some(core)
        if not done:
            break  # what is left is another sweeper's at this moment
        told += done
    return told


def host_of(url: str) -> str:
    """Return the host of a URL that was checked before, or nothing."""
    try:
        return httpx2.URL(url).host.lower()[:255]
    except (httpx2.InvalidURL, ValueError):
        return ""


def insert_delivery(
    session: Session,
    receiver: Receiver,
    message: Message,
    now: datetime,
    *,
    event_key: str,
    subject: Mapping[str, str | None],
) -> DeliveryRecord:
    """Insert one delivery, due at once.

    Args:
        session: of the transaction it belongs to.
        receiver: of the message.
        message: what to send.
        now: the moment that the message states.
        event_key: what the message is about; unique per receiver.
        subject: ``job_id`` or ``batch_id``, or neither.
    """
    delivery = DeliveryRecord(
        id=new_id("msg"),
        tenant_id=receiver.tenant_id,
        receiver=receiver.id,
        event_key=event_key,
        webhook_id=receiver.webhook_id,
        type=message.type,
        host=host_of(receiver.url),
        body=message.body(now),
        next_attempt_at=now,
        tries=[],
        created_at=now,
        **subject,
    )
    session.add(delivery)
    return delivery


def _has_unrelayed(core: JobCore) -> bool:
    # Looking takes no write lock, and mostly there is nothing to do.
    unrelayed = select(EventRecord.id).where(UNRELAYED).limit(1)
    with reading(core.engine) as session:
        return session.execute(unrelayed).first() is not None


def _relay_some(core: JobCore) -> int:
    with transaction(core.engine) as session:
        events = list(
            session.execute(
                select(EventRecord)
                .where(UNRELAYED, EventRecord.type.in_(RELAYED_TYPES))
                .order_by(EventRecord.id)
                .limit(EVENTS_PER_TURN)
                # Several sweepers share the work on PostgreSQL; on SQLite they take turns.
                .with_for_update(skip_locked=True)
            ).scalars()
        )
        now = core.clock.now(session)
        told = inserted = 0
        for event in events:
            inserted += _tell_or_log(session, event, now)
            event.relayed = True
            told += 1
            if inserted >= DELIVERIES_PER_TURN:
                break
        session.execute(
            update(EventRecord)
            .where(UNRELAYED, EventRecord.type.not_in(RELAYED_TYPES))
            .values(relayed=True)
            .execution_options(synchronize_session=False)
        )
    return told


def _tell_or_log(session: Session, event: EventRecord, now: datetime) -> int:
    """Tell of one event; one that trips us must not hold up all that come after it."""
    try:
        with session.begin_nested():
            return _tell(session, event, now)
    except SQLAlchemyError:
        raise
    except Exception:  # noqa: BLE001 - the last net: the event is skipped, and the log says why
        _log.exception("event_not_told", event_id=event.id, job_id=event.job_id)
        return 0


def _tell(session: Session, event: EventRecord, now: datetime) -> int:
    """Insert the deliveries of one event; return how many they are."""
    inserted = 0
    subject = {"job_id": event.job_id, "batch_id": event.batch_id}
    for receiver, messages in _addressed(session, event):
        for message in messages:
            insert_delivery(
                session,
                receiver,
                message,
                # The message states when it happened, not when it was relayed.
                event.created_at,
                event_key=f"{event.id}.{message.part}",
                subject=subject,
            ).next_attempt_at = now
            inserted += 1
    return inserted


def _addressed(session: Session, event: EventRecord) -> Iterator[tuple[Receiver, list[Message]]]:
    """Yield who is to be told of an event, and what."""
    webhooks = session.execute(
        select(WebhookRecord, SearchRecord)
        .outerjoin(SearchRecord, SearchRecord.id == WebhookRecord.search_id)
        .where(WebhookRecord.tenant_id == event.tenant_id, WebhookRecord.enabled.is_(True))
    )
    receivers = [Receiver.of_webhook(webhook, search) for webhook, search in webhooks]
    if event.job_id is None:
        own_of_batch = Receiver.of_batch(session.get(BatchRecord, event.batch_id))
        if own_of_batch is not None:
            receivers.append(own_of_batch)
        message = Message(event.type, _about_batch(event))
        for receiver in receivers:
            if event.type in receiver.interest.types:
                yield receiver, [message]
        return
    job = session.get_one(JobRecord, event.job_id)
    if job.kind != JobKind.LOCALIZE or job.delete_requested:
        return
    own = Receiver.of_job(job)
    if own is not None:
        receivers.append(own)
    if receivers:
        result = session.get(ResultRecord, job.id)
        video = session.get_one(VideoRecord, job.video_id)
        ended = EndedJob(job, video, result.document if result is not None else None)
        for receiver in receivers:
            yield receiver, ended.messages(receiver.interest)


def _about_batch(event: EventRecord) -> dict[str, Any]:
    here = f"/v1/batches/{event.batch_id}"
    return {"id": event.batch_id, **event.details, "links": {"self": here}}
