"""Saved searches: filters with a name, and the webhooks that tell of what they find.

A webhook keeps the filter of its search in columns of its own, so that whoever relays events looks
at webhooks alone; a change of the search changes both in one transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.errors import Forbidden, InvalidRequest, NameTaken, SearchNotFound
from service.jobs.commands import JobCore
from service.jobs.store import new_id, reading, transaction
from service.outbound import OutboundPolicy, check_url
from service.search.filters import SegmentFilter
from service.search.records import SearchRecord
from service.webhooks.endpoints import NewWebhook, insert_webhook
from service.webhooks.events import MessageType
from service.webhooks.records import WebhookRecord

MAX_SEARCHES = 500
"""Per tenant; far more than anybody reads the names of."""

UNTELLABLE = ("since", "until", "job", "video")
"""Fields of a filter under which soon nothing new is found."""


def create_search(core: JobCore, name: str, wanted: SegmentFilter) -> SearchRecord:
    """Keep a search.

    Raises:
        NameTaken: another one has this name.
        InvalidRequest: there are too many already.
    """
    with _unique_name(name), transaction(core.engine) as session:
        count = session.execute(select(func.count()).select_from(SearchRecord)).scalar_one()
        if count >= MAX_SEARCHES:
            message = f"There are {count} saved searches already; delete one that is not used."
            raise InvalidRequest(message)
        now = core.clock.now(session)
        search = SearchRecord(
            id=new_id("sch"),
            tenant_id=core.tenant_id,
            name=name,
            filter=wanted.to_json(),
            created_at=now,
            updated_at=now,
        )
        session.add(search)
        session.flush()
        return search


def list_searches(core: JobCore) -> list[SearchRecord]:
    """Return all saved searches by their names."""
    with reading(core.engine) as session:
        found = session.execute(select(SearchRecord)).scalars()
        return sorted(found, key=lambda one: (one.name.casefold(), one.name))


def get_search(core: JobCore, search_id: str) -> SearchRecord:
    """Return a saved search.

    Raises:
        SearchNotFound: there is none.
    """
    with reading(core.engine) as session:
        return _search(session, search_id)


def change_search(
    core: JobCore,
    search_id: str,
    *,
    name: str | None = None,
    wanted: SegmentFilter | None = None,
    may_manage_webhooks: bool = True,
) -> SearchRecord:
    """Change the name of a search, or its filter and with it that of its webhooks.

    Args:
        core: bound to the tenant.
        search_id: which.
        name: the new one; None leaves it.
        wanted: the new filter; None leaves it.
        may_manage_webhooks: whether the caller may change webhooks.

    Raises:
        SearchNotFound: there is none.
        NameTaken: another one has this name.
        Forbidden: it has a webhook, which the caller may not change.
        InvalidRequest: it has a webhook, and the filter is none for one.
    """
    with _unique_name(name or ""), transaction(core.engine) as session:
        search = _search(session, search_id, lock=True)
        if wanted is not None:
            webhooks = _webhooks(session, search, allowed=may_manage_webhooks)
            columns = webhook_columns(wanted) if webhooks else {}
            for webhook in webhooks:
                for column, value in columns.items():
                    setattr(webhook, column, value)
            search.filter = wanted.to_json()
        search.name = search.name if name is None else name
        search.updated_at = core.clock.now(session)
        session.flush()
        return search


def delete_search(core: JobCore, search_id: str, *, may_manage_webhooks: bool = True) -> None:
    """Delete a saved search with its webhooks.

    Raises:
        SearchNotFound: there is none.
        Forbidden: it has a webhook, which the caller may not delete.
    """
    with transaction(core.engine) as session:
        search = _search(session, search_id, lock=True)
        for webhook in _webhooks(session, search, allowed=may_manage_webhooks):
            session.delete(webhook)
        session.flush()
        session.delete(search)


def tell_of_search(
    core: JobCore, search_id: str, url: str, secret: str | None, policy: OutboundPolicy
) -> WebhookRecord:
    """Make a webhook that is told of every segment that a search finds from now on.

    Raises:
        SearchNotFound: there is none.
        UrlRefused: its URL is not contacted.
        InvalidRequest: the filter is none for a webhook, or there are too many webhooks already.
    """
    check_url(url, policy)
    with transaction(core.engine) as session:
        search = _search(session, search_id, lock=True)
        new = NewWebhook(
            url=url,
            events=[MessageType.SEGMENT_DETECTED],
            secret=secret,
            search_id=search.id,
            **webhook_columns(SegmentFilter.from_json(search.filter)),
        )
        return insert_webhook(session, core, new)


def webhook_columns(wanted: SegmentFilter) -> dict[str, Any]:
    """Return a filter as the columns of a webhook.

    Raises:
        InvalidRequest: it is about one time, job or video: nobody could be told of anything new.
    """
    named = [name for name in UNTELLABLE if getattr(wanted, name) is not None]
    if named:
        message = (
            f"A webhook tells of what is found from now on; leave out {' and '.join(named)}, or "
            "save the search without a webhook."
        )
        raise InvalidRequest(message)
    words = {"labels": wanted.label, "cameras": wanted.camera, "tags": wanted.tag}
    return {
        **{name: None if given is None else list(given) for name, given in words.items()},
        "min_score": wanted.min_score,
        "max_score": wanted.max_score,
        "min_duration": wanted.min_duration,
        "max_duration": wanted.max_duration,
    }


def _search(session: Session, search_id: str, *, lock: bool = False) -> SearchRecord:
    search = session.get(SearchRecord, search_id, with_for_update=lock)
    if search is None:
        message = f"There is no saved search {search_id}; it may have been deleted."
        raise SearchNotFound(message)
    return search


def _webhooks(session: Session, search: SearchRecord, *, allowed: bool) -> list[WebhookRecord]:
    found = list(
        session.execute(select(WebhookRecord).where(WebhookRecord.search_id == search.id)).scalars()
    )
    if found and not allowed:
        message = (
            "This search has a webhook; use a key with the scope webhooks:manage to change or "
            "delete it."
        )
        raise Forbidden(message)
    return found


@contextmanager
def _unique_name(name: str) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        message = f"There is a saved search {name!r} already; choose another name."
        raise NameTaken(message) from error
