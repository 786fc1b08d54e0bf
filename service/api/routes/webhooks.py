"""/v1/webhooks: who is told of what, and what was sent."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from service.api.deps import ID_BODY, JobId, JobsRead, SecuredRoute, Webhooks
from service.api.routes.batches import BatchId
from service.api.schemas import PROBLEMS
from service.api.webhook_bodies import (
    DeliveryBody,
    DeliveryList,
    WebhookBody,
    WebhookChange,
    WebhookList,
    WebhookSecretBody,
    WebhookWish,
)
from service.errors import WebhookNotFound
from service.outbound_addresses import OutboundPolicy
from service.webhooks import endpoints
from service.webhooks.endpoints import DeliveryPage, NewWebhook
from service.webhooks.records import FILTER_COLUMNS, DeliveryStatus

MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50

router = APIRouter(tags=["webhooks"], responses=PROBLEMS, route_class=SecuredRoute)

WEBHOOK_ID = re.compile("whk" + ID_BODY)
DELIVERY_ID = re.compile("msg" + ID_BODY)


def known_webhook_id(webhook_id: Annotated[str, Path(description="As given in `id`.")]) -> str:
    """Return a webhook id that can exist.

    Raises:
        WebhookNotFound: no webhook can have it.
    """
    if not WEBHOOK_ID.fullmatch(webhook_id):
        message = "There is no webhook of this id; ids look like whk_01J9…."
        raise WebhookNotFound(message)
    return webhook_id


def known_delivery_id(delivery_id: Annotated[str, Path(description="As given in `id`.")]) -> str:
    """Return a delivery id that can exist.

    Raises:
        WebhookNotFound: no delivery can have it.
    """
    if not DELIVERY_ID.fullmatch(delivery_id):
        message = "There is no delivery of this id; ids look like msg_01J9…."
        raise WebhookNotFound(message)
    return delivery_id


WebhookId = Annotated[str, Depends(known_webhook_id)]
DeliveryId = Annotated[str, Depends(known_delivery_id)]
Status = Annotated[DeliveryStatus | None, Query(description="Only deliveries in this state.")]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)]
PageToken = Annotated[str | None, Query(max_length=40, pattern=f"^msg{ID_BODY}$")]


@router.post("/v1/webhooks", status_code=201)
def post_webhook(context: Webhooks, wish: WebhookWish, response: Response) -> WebhookSecretBody:
    """Make a webhook. The answer is the only one that shows its secret."""
    new = NewWebhook(
        url=wish.url,
        events=wish.wanted_events,
        description=wish.description,
        secret=wish.secret,
        **{name: getattr(wish, name) for name in FILTER_COLUMNS},
    )
    webhook = endpoints.create_webhook(context.core, new, OutboundPolicy.of(context.settings))
    response.headers["Location"] = f"/v1/webhooks/{webhook.id}"
    return WebhookSecretBody.of(webhook)


@router.get("/v1/webhooks")
def get_webhooks(context: Webhooks) -> WebhookList:
    """List all webhooks."""
    found = endpoints.list_webhooks(context.core)
    return WebhookList(webhooks=[WebhookBody.of(one) for one in found])


@router.get("/v1/webhooks/{webhook_id}")
def get_webhook(context: Webhooks, webhook_id: WebhookId) -> WebhookBody:
    """Look at a webhook."""
    return WebhookBody.of(endpoints.get_webhook(context.core, webhook_id))


@router.patch("/v1/webhooks/{webhook_id}")
def patch_webhook(context: Webhooks, webhook_id: WebhookId, change: WebhookChange) -> WebhookBody:
    """Change a webhook; one that was disabled is enabled again with ``{"enabled": true}``."""
    policy = OutboundPolicy.of(context.settings)
    webhook = endpoints.change_webhook(context.core, webhook_id, change.changes(), policy)
    return WebhookBody.of(webhook)


@router.delete("/v1/webhooks/{webhook_id}", status_code=204)
def delete_webhook(context: Webhooks, webhook_id: WebhookId) -> Response:
    """Delete a webhook and its log; what was not sent yet never is."""
    endpoints.delete_webhook(context.core, webhook_id)
    return Response(status_code=204)


@router.post("/v1/webhooks/{webhook_id}/rotate")
def rotate_secret(context: Webhooks, webhook_id: WebhookId) -> WebhookSecretBody:
    """Give a webhook a new secret; for a day messages are signed with both."""
    return WebhookSecretBody.of(endpoints.rotate_secret(context.core, webhook_id))


@router.post("/v1/webhooks/{webhook_id}/test", status_code=202)
def test_webhook(context: Webhooks, webhook_id: WebhookId) -> DeliveryBody:
    """Send a message of type ``webhook.test``."""
    return DeliveryBody.of(endpoints.send_test(context.core, webhook_id))


@router.get("/v1/webhooks/{webhook_id}/deliveries")
def get_deliveries(
    context: Webhooks,
    webhook_id: WebhookId,
    status: Status = None,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    page_token: PageToken = None,
) -> DeliveryList:
    """List what was, or is to be, sent to a webhook, newest first."""
    page = endpoints.list_deliveries(
        context.core,
        webhook_id=webhook_id,
        status=status,
        page_size=page_size,
        page_token=page_token,
    )
    return _rendered(page)


@router.get("/v1/jobs/{job_id}/deliveries")
def get_deliveries_of_job(
    context: JobsRead,
    job_id: JobId,
    status: Status = None,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    page_token: PageToken = None,
) -> DeliveryList:
    """List what was, or is to be, sent about a job to whatever webhook, newest first."""
    page = endpoints.list_deliveries(
        context.core, subject_id=job_id, status=status, page_size=page_size, page_token=page_token
    )
    return _rendered(page)


@router.get("/v1/batches/{batch_id}/deliveries")
def get_deliveries_of_batch(
    context: JobsRead,
    batch_id: BatchId,
    status: Status = None,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    page_token: PageToken = None,
) -> DeliveryList:
    """List what was, or is to be, sent to a batch's own webhook, newest first."""
    page = endpoints.list_deliveries(
        context.core, subject_id=batch_id, status=status, page_size=page_size, page_token=page_token
    )
    return _rendered(page)


@router.post("/v1/webhooks/deliveries/{delivery_id}/resend", status_code=202)
def resend_delivery(context: Webhooks, delivery_id: DeliveryId) -> DeliveryBody:
    """Send a message again, whatever became of it, under its old id."""
    return DeliveryBody.of(endpoints.resend(context.core, delivery_id))


def _rendered(page: DeliveryPage) -> DeliveryList:
    deliveries = [DeliveryBody.of(one) for one in page.deliveries]
    return DeliveryList(deliveries=deliveries, next_page_token=page.next_page_token)
