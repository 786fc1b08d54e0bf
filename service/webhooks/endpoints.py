"""What users do with webhooks: make, look at, change, rotate, test, delete, read the log."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from service.batches.commands import visible_batch
from service.errors import InvalidRequest, InvalidTransition, WebhookNotFound
from service.jobs.commands import JobCore, visible_job
from service.jobs.store import new_id, reading, transaction
from service.outbound import OutboundPolicy, check_url
from service.webhooks.events import Message, MessageType
from service.webhooks.fanout import Receiver, host_of, insert_delivery
from service.webhooks.records import (
    FILTER_COLUMNS,
    DeliveryRecord,
    DeliveryStatus,
    WebhookRecord,
)
from service.webhooks.signing import new_secret

MAX_WEBHOOKS = 50
"""Per tenant: every event is matched against all of them."""

ROTATION_SECONDS = 24 * 3600.0
"""How long the previous secret signs beside the new one."""

OF_SEARCHES = frozenset({*FILTER_COLUMNS, "events"})
"""What the webhook of a saved search has from it."""

TEST_SENTENCE = "This is a test; nothing happened."


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """What a user asks for; None takes the default or, of a filter, all.

    Attributes:
        labels, min_score, max_score, cameras, tags, min_duration, max_duration: the filter, as
            `service.webhooks.events.Interest` has it.
        secret: the user's own, of the specified form.
        search_id: of the saved search whose filter it is.
    """

    url: str
    events: list[str]
    labels: list[str] | None = None
    min_score: float | None = None
    max_score: float | None = None
    cameras: list[str] | None = None
    tags: list[str] | None = None
    min_duration: float | None = None
    max_duration: float | None = None
    description: str | None = None
    secret: str | None = None
    search_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Deliveries, newest first, and the token of the next page; None after the last."""

    deliveries: list[DeliveryRecord]
    next_page_token: str | None


def create_webhook(core: JobCore, new: NewWebhook, policy: OutboundPolicy) -> WebhookRecord:
    """Make a webhook.

    Raises:
        UrlRefused: its URL is not contacted.
        InvalidRequest: there are too many already.
    """
    check_url(new.url, policy)
    with transaction(core.engine) as session:
        return insert_webhook(session, core, new)


def insert_webhook(session: Session, core: JobCore, new: NewWebhook) -> WebhookRecord:
    """Insert a webhook whose URL was checked.

    Raises:
        InvalidRequest: there are too many already.
    """
    count = session.execute(select(func.count()).select_from(WebhookRecord)).scalar_one()
    if count >= MAX_WEBHOOKS:
        message = f"There are {count} webhooks already; delete one that is no longer used."
        raise InvalidRequest(message)
    webhook = WebhookRecord(
        id=new_id("whk"),
        tenant_id=core.tenant_id,
        url=new.url,
        description=new.description,
        events=new.events,
        **{name: getattr(new, name) for name in FILTER_COLUMNS},
        secret=new.secret or new_secret(),
        enabled=True,
        search_id=new.search_id,
        created_at=core.clock.now(session),
    )
    session.add(webhook)
    session.flush()
    return webhook


def list_webhooks(core: JobCore) -> list[WebhookRecord]:
    """Return all webhooks, oldest first."""
    with reading(core.engine) as session:
        return list(session.execute(select(WebhookRecord).order_by(WebhookRecord.id)).scalars())


def get_webhook(core: JobCore, webhook_id: str) -> WebhookRecord:
    """Return a webhook.

    Raises:
        WebhookNotFound: there is none.
    """
    with reading(core.engine) as session:
        return _webhook(session, webhook_id)


def change_webhook(
    core: JobCore, webhook_id: str, changes: Mapping[str, Any], policy: OutboundPolicy
) -> WebhookRecord:
    """Change some columns; enabling forgets past failures.

    Args:
        core: bound to the tenant.
        webhook_id: which.
        changes: names and values of url, events, description, enabled or the filter.
        policy: that a new URL has to satisfy.

    Raises:
        WebhookNotFound: there is none.
        UrlRefused: the new URL is not contacted.
        InvalidTransition: its filter is that of a saved search.
    """
    if "url" in changes:
        check_url(changes["url"], policy)
    with transaction(core.engine) as session:
        webhook = _webhook(session, webhook_id)
        if webhook.search_id is not None and not changes.keys().isdisjoint(OF_SEARCHES):
            message = (
                f"This webhook tells of the saved search {webhook.search_id}; change that instead "
                "(PUT /v1/searches/{id})."
            )
            raise InvalidTransition(message)
        for name, value in changes.items():
            setattr(webhook, name, value)
        if "enabled" in changes:
            webhook.disabled_reason = None
            webhook.failing_since = None
        if "url" in changes:
            session.execute(
                update(DeliveryRecord)
                .where(DeliveryRecord.webhook_id == webhook_id)
                .values(host=host_of(webhook.url))
                .execution_options(synchronize_session=False)
            )
        session.flush()
        return webhook


def rotate_secret(core: JobCore, webhook_id: str) -> WebhookRecord:
    """Give a webhook a new secret; the old one signs as well for a day.

    Raises:
        WebhookNotFound: there is none.
    """
    with transaction(core.engine) as session:
        webhook = _webhook(session, webhook_id)
        until = core.clock.now(session) + timedelta(seconds=ROTATION_SECONDS)
        webhook.previous_secret, webhook.previous_secret_until = webhook.secret, until
        webhook.secret = new_secret()
        return webhook


def delete_webhook(core: JobCore, webhook_id: str) -> None:
    """Delete a webhook and the log of its deliveries; what was not sent yet never is.

    Raises:
        WebhookNotFound: there is none.
    """
    with transaction(core.engine) as session:
        session.delete(_webhook(session, webhook_id))


def send_test(core: JobCore, webhook_id: str) -> DeliveryRecord:
    """Queue a test message.

    Raises:
        WebhookNotFound: there is none.
        InvalidTransition: it is disabled.
    """
    with transaction(core.engine) as session:
        webhook = _webhook(session, webhook_id)
        _require_enabled(webhook)
        message = Message(MessageType.WEBHOOK_TEST, {"id": webhook.id, "message": TEST_SENTENCE})
        return insert_delivery(
            session,
            Receiver.of_webhook(webhook),
            message,
            core.clock.now(session),
            event_key=new_id("test"),
            subject={},
        )


def list_deliveries(
    core: JobCore,
    *,
    webhook_id: str | None = None,
    subject_id: str | None = None,
    status: DeliveryStatus | None = None,
    page_size: int,
    page_token: str | None,
) -> DeliveryPage:
    """Return what was, or is to be, sent to a webhook or about a job or batch, newest first.

    Args:
        core: bound to the tenant.
        webhook_id: or the subject's id, one of them.
        subject_id: of a job, or of a batch for what its own webhook is told.
        status: only those.
        page_size: at most so many.
        page_token: of the page before.

    Raises:
        WebhookNotFound: there is no such webhook.
        JobNotFound: there is no such job.
        BatchNotFound: there is no such batch.
    """
    statement = select(DeliveryRecord).order_by(DeliveryRecord.id.desc()).limit(page_size + 1)
    if status is not None:
        statement = statement.where(DeliveryRecord.status == status)
    if page_token is not None:
        statement = statement.where(DeliveryRecord.id < page_token)
    with reading(core.engine) as session:
        found = list(session.execute(_about(session, statement, webhook_id, subject_id)).scalars())
    token = found[page_size - 1].id if len(found) > page_size else None
    return DeliveryPage(found[:page_size], token)


def resend(core: JobCore, delivery_id: str) -> DeliveryRecord:
    """Send a message again, at once and under its old id, with all its tries anew.

    Raises:
        WebhookNotFound: there is no such delivery.
        InvalidTransition: its webhook is disabled.
    """
    with transaction(core.engine) as session:
        delivery = session.execute(
            select(DeliveryRecord).where(DeliveryRecord.id == delivery_id).with_for_update()
        ).scalar_one_or_none()
        if delivery is None:
            message = f"There is no delivery {delivery_id}; it may be too old."
            raise WebhookNotFound(message)
        if delivery.webhook_id is not None:
            _require_enabled(_webhook(session, delivery.webhook_id))
        delivery.status = DeliveryStatus.PENDING
        delivery.next_attempt_at = core.clock.now(session)
        delivery.completed_at = None
        delivery.attempts = 0
        # Whoever sends it at this moment may go on, but no longer decides what becomes of it.
        delivery.token += 1
        return delivery


def _about(
    session: Session,
    statement: Select[DeliveryRecord],
    webhook_id: str | None,
    subject_id: str | None,
) -> Select[DeliveryRecord]:
    if subject_id is not None and subject_id.startswith("batch_"):
        return statement.where(DeliveryRecord.receiver == visible_batch(session, subject_id).id)
    if subject_id is not None:
        return statement.where(DeliveryRecord.job_id == visible_job(session, subject_id).id)
    return statement.where(DeliveryRecord.webhook_id == _webhook(session, webhook_id or "").id)


def _webhook(session: Session, webhook_id: str) -> WebhookRecord:
    webhook = session.get(WebhookRecord, webhook_id)
    if webhook is None:
        message = f"There is no webhook {webhook_id}; it may have been deleted."
        raise WebhookNotFound(message)
    return webhook


def _require_enabled(webhook: WebhookRecord) -> None:
    if not webhook.enabled:
        message = 'The webhook is disabled; enable it first (PATCH with {"enabled": true}).'
        raise InvalidTransition(message)
