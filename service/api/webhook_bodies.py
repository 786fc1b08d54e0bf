"""The bodies of /v1/webhooks, and of a job's own webhook; public names."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from service.api.schemas import MAX_LABELS, Body
from service.outbound_addresses import MAX_URL_LENGTH
from service.webhooks.events import DEFAULT_TYPES
from service.webhooks.records import (
    FILTER_COLUMNS,
    SECRET_LENGTH,
    DeliveryRecord,
    DeliveryStatus,
    WebhookRecord,
)
from service.webhooks.signing import is_secret

JobEventName = Literal["segment.detected", "job.succeeded", "job.failed", "job.canceled"]
EventName = Literal[
    "segment.detected", "job.succeeded", "job.failed", "job.canceled", "batch.finished"
]
Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_LENGTH)]
MAX_SECONDS = 1e6
"""Eleven days; no video is longer."""

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
Label = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=PRINTABLE)]
Labels = Annotated[list[Label], Field(min_length=1, max_length=MAX_LABELS)]
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]
Description = Annotated[str, StringConstraints(max_length=255, pattern=PRINTABLE)]
MAX_EVENT_NAMES = 10

ABOUT_EVENTS = "What it is told of; without them, of everything but single segments."
ABOUT_LABELS = "segment.detected only for these; null for all."
ABOUT_SCORE = "segment.detected only from this score on; null for all."
ABOUT_MAX_SCORE = "segment.detected only up to this score; null for all."
ABOUT_CAMERAS = "Only jobs of these; null for all."
ABOUT_TAGS = "Only jobs with one of these tags; null for all."
ABOUT_DURATION = "segment.detected only for such a length, in seconds; null for all."
ABOUT_SECRET = "Your own, of the form whsec_<base64 of 24 to 64 bytes>; without one, "  # noqa: S105 - a description


def _checked_secret(secret: str) -> str:
    if not is_secret(secret):
        message = "a secret is whsec_ and the base64 of 24 to 64 random bytes"
        raise ValueError(message)
    return secret


Secret = Annotated[
    str, StringConstraints(max_length=SECRET_LENGTH), AfterValidator(_checked_secret)
]


class WebhookWish(BaseModel):
    """A webhook to be made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url = Field(description="http(s), public, port 80 or 443, no credentials.")
    events: list[EventName] | None = Field(
        None, min_length=1, max_length=MAX_EVENT_NAMES, description=ABOUT_EVENTS
    )
    labels: Labels | None = Field(None, description=ABOUT_LABELS)
    min_score: Score | None = Field(None, description=ABOUT_SCORE)
    max_score: Score | None = Field(None, description=ABOUT_MAX_SCORE)
    min_duration: Seconds | None = Field(None, description=ABOUT_DURATION)
    max_duration: Seconds | None = Field(None, description=ABOUT_DURATION)
    cameras: Labels | None = Field(None, description=ABOUT_CAMERAS)
    tags: Labels | None = Field(None, description=ABOUT_TAGS)
    description: Description | None = None
    secret: Secret | None = Field(None, description=ABOUT_SECRET + "one is made.")

    @property
    def wanted_events(self) -> list[str]:
        """The events asked for, or the default ones."""
        return list(dict.fromkeys(self.events or DEFAULT_TYPES))


class WebhookChange(BaseModel):
    """What is to change of a webhook; what is not named stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url | None = None
    events: list[EventName] | None = Field(
        None, min_length=1, max_length=MAX_EVENT_NAMES, description=ABOUT_EVENTS
    )
    labels: Labels | None = Field(None, description=ABOUT_LABELS)
    min_score: Score | None = Field(None, description=ABOUT_SCORE)
    max_score: Score | None = Field(None, description=ABOUT_MAX_SCORE)
    min_duration: Seconds | None = Field(None, description=ABOUT_DURATION)
    max_duration: Seconds | None = Field(None, description=ABOUT_DURATION)
    cameras: Labels | None = Field(None, description=ABOUT_CAMERAS)
    tags: Labels | None = Field(None, description=ABOUT_TAGS)
    description: Description | None = None
    enabled: bool | None = Field(None, description="true forgets past failures.")

    def changes(self) -> dict[str, Any]:
        """Return the named ones; null means nothing for what cannot be null."""
        given = self.model_dump(exclude_unset=True)
        nullable = {*FILTER_COLUMNS, "description"}
        if "events" in given and given["events"] is None:
            given["events"] = list(DEFAULT_TYPES)
        return {
            name: value for name, value in given.items() if value is not None or name in nullable
        }


class JobWebhookWish(BaseModel):
    """A webhook of one job alone, as JSON in the field ``webhook`` of a job's request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url = Field(description="http(s), public, port 80 or 443, no credentials.")
    events: list[JobEventName] | None = Field(
        None, min_length=1, max_length=MAX_EVENT_NAMES, description=ABOUT_EVENTS
    )
    labels: Labels | None = Field(None, description=ABOUT_LABELS)
    min_score: Score | None = Field(None, description=ABOUT_SCORE)
    max_score: Score | None = Field(None, description=ABOUT_MAX_SCORE)
    min_duration: Seconds | None = Field(None, description=ABOUT_DURATION)
    max_duration: Seconds | None = Field(None, description=ABOUT_DURATION)
    secret: Secret | None = Field(None, description=ABOUT_SECRET + "messages go unsigned.")


class WebhookBody(Body):
    """A webhook; its secret is shown once, by `WebhookSecretBody`."""

    id: str
    url: str
    events: list[str]
    labels: list[str] | None
    min_score: float | None
    max_score: float | None
    cameras: list[str] | None
    tags: list[str] | None
    min_duration: float | None
    max_duration: float | None
    search: str | None = Field(description="Id of the saved search whose filter it has.")
    description: str | None
    enabled: bool
    disabled_reason: str | None = Field(
        description="Why the service stopped sending: 410 Gone, or days of nothing but failures."
    )
    failing_since: datetime | None = Field(description="First failure since the last success.")
    previous_secret_until: datetime | None = Field(
        description="Until then messages are signed with the previous secret too."
    )
    created_at: datetime

    @classmethod
    def of(cls, webhook: WebhookRecord) -> "WebhookBody":
        """Render one webhook."""
        return cls(**_webhook_fields(webhook))


class WebhookSecretBody(WebhookBody):
    """A webhook with its secret, as it was just made or rotated."""

    secret: str = Field(description="Shown this once.")

    @classmethod
    def of(cls, webhook: WebhookRecord) -> "WebhookSecretBody":
        """Render one webhook with its secret."""
        return cls(**_webhook_fields(webhook), secret=webhook.secret)


class WebhookList(Body):
    """All webhooks, oldest first."""

    webhooks: list[WebhookBody]


class AttemptBody(Body):
    """One try to deliver."""

    at: datetime
    status_code: int | None = Field(description="That the receiver answered, if it did.")
    error: str | None
    seconds: float = Field(description="How long it took.")


class DeliveryBody(Body):
    """One message to one receiver, and what became of it."""

    id: str = Field(description="Also the message's webhook-id header, in every attempt.")
    webhook_id: str | None = Field(description="Null for a job's own webhook.")
    job_id: str | None
    batch_id: str | None
    type: str
    status: DeliveryStatus
    attempts: list[AttemptBody] = Field(description="The newest last; at most 30 are kept.")
    status_code: int | None = Field(description="Of the last attempt.")
    error: str | None = Field(description="Of the last attempt.")
    next_attempt_at: datetime | None
    created_at: datetime
    completed_at: datetime | None

    @classmethod
    def of(cls, delivery: DeliveryRecord) -> "DeliveryBody":
        """Render one delivery."""
        return cls(
            id=delivery.id,
            webhook_id=delivery.webhook_id,
            job_id=delivery.job_id,
            batch_id=delivery.batch_id,
            type=delivery.type,
            status=DeliveryStatus(delivery.status),
            attempts=[AttemptBody(**one) for one in delivery.tries],
            status_code=delivery.status_code,
            error=delivery.error,
            next_attempt_at=delivery.next_attempt_at,
            created_at=delivery.created_at,
            completed_at=delivery.completed_at,
        )


class DeliveryList(Body):
    """A page of deliveries, newest first."""

    deliveries: list[DeliveryBody]
    next_page_token: str | None


def _webhook_fields(webhook: WebhookRecord) -> dict[str, Any]:
    fields = {name for name in WebhookBody.model_fields if name != "search"}
    return {"search": webhook.search_id, **{name: getattr(webhook, name) for name in fields}}
