"""/v1/searches: searches that are kept, and that webhooks tell of."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from service.accounts.scopes import Scope, allows
from service.api.deps import ID_BODY, ApiContext, JobsRead, JobsWrite, SecuredRoute, Webhooks
from service.api.schemas import PROBLEMS
from service.api.searchbodies import (
    SearchBody,
    SearchChange,
    SearchList,
    SearchWebhookWish,
    SearchWish,
)
from service.api.webhook_bodies import WebhookSecretBody
from service.errors import SearchNotFound
from service.outbound_addresses import OutboundPolicy
from service.search import saved

SEARCH_ID = re.compile("sch" + ID_BODY)

router = APIRouter(
    prefix="/v1/searches", tags=["searches"], responses=PROBLEMS, route_class=SecuredRoute
)


def known_search_id(search_id: Annotated[str, Path(description="As given in `id`.")]) -> str:
    """Return the id of a search that can exist.

    Raises:
        SearchNotFound: no search can have it.
    """
    if not SEARCH_ID.fullmatch(search_id):
        message = "There is no saved search of this id; ids look like sch_01J9…."
        raise SearchNotFound(message)
    return search_id


SearchId = Annotated[str, Depends(known_search_id)]


@router.post("", status_code=201)
def post_search(context: JobsWrite, wish: SearchWish, response: Response) -> SearchBody:
    """Keep a search under a name."""
    search = saved.create_search(context.core, wish.name, wish.filter.filter())
    response.headers["Location"] = f"/v1/searches/{search.id}"
    return SearchBody.of(search)


@router.get("")
def get_searches(context: JobsRead) -> SearchList:
    """List all saved searches by their names."""
    found = saved.list_searches(context.core)
    return SearchList(searches=[SearchBody.of(one) for one in found])


@router.get("/{search_id}")
def get_search(context: JobsRead, search_id: SearchId) -> SearchBody:
    """Look at a saved search."""
    return SearchBody.of(saved.get_search(context.core, search_id))


@router.put("/{search_id}")
def put_search(context: JobsWrite, search_id: SearchId, wish: SearchWish) -> SearchBody:
    """Give a search another name and filter; its webhooks have the new filter at once."""
    return _changed(context, search_id, SearchChange(name=wish.name, filter=wish.filter))


@router.patch("/{search_id}")
def patch_search(context: JobsWrite, search_id: SearchId, change: SearchChange) -> SearchBody:
    """Change the name of a search or its filter; what is not named stays."""
    return _changed(context, search_id, change)


@router.delete("/{search_id}", status_code=204)
def delete_search(context: JobsWrite, search_id: SearchId) -> Response:
    """Delete a saved search and its webhooks; what they were not sent yet never is."""
    saved.delete_search(context.core, search_id, may_manage_webhooks=_may_manage_webhooks(context))
    return Response(status_code=204)


@router.post("/{search_id}/webhook", status_code=201)
def post_webhook(
    context: Webhooks, search_id: SearchId, wish: SearchWebhookWish, response: Response
) -> WebhookSecretBody:
    """Be told of every segment that the search finds from now on; shows the secret this once."""
    policy = OutboundPolicy.of(context.settings)
    webhook = saved.tell_of_search(context.core, search_id, wish.url, wish.secret, policy)
    response.headers["Location"] = f"/v1/webhooks/{webhook.id}"
    return WebhookSecretBody.of(webhook)


def _changed(context: ApiContext, search_id: str, change: SearchChange) -> SearchBody:
    search = saved.change_search(
        context.core,
        search_id,
        name=change.name,
        wanted=None if change.filter is None else change.filter.filter(),
        may_manage_webhooks=_may_manage_webhooks(context),
    )
    return SearchBody.of(search)


def _may_manage_webhooks(context: ApiContext) -> bool:
    return allows(context.caller.scopes, Scope.WEBHOOKS)
