"""Page tokens: where a list by time of making, newest first, goes on."""

import base64
import binascii
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from service.errors import InvalidRequest


def page_token(created_at: datetime, row_id: str) -> str:
    """Return the token of the page behind this row."""
    text = f"{created_at.isoformat()}|{row_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_page_token(token: str) -> tuple[datetime, str]:
    """Return moment and id of the last row before a page.

    Raises:
        InvalidRequest: the token is none of ours.
    """
    try:
        padded = token + "=" * (-len(token) % 4)
        moment, _, row_id = base64.urlsafe_b64decode(padded.encode()).decode().partition("|")
        created_at = datetime.fromisoformat(moment)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(_FOREIGN) from error
    # Ours are in UTC; another zone could lead out of the calendar.
    if created_at.tzinfo is not UTC or not row_id.isascii() or not row_id.isprintable():
        raise InvalidRequest(_FOREIGN)
    return created_at, row_id


def behind(
    token: str, created_at: InstrumentedAttribute[datetime], row_id: InstrumentedAttribute[str]
) -> ColumnElement[bool]:
    """Return the condition of rows on the page of a token, newest first.

    Raises:
        InvalidRequest: the token is none of ours.
    """
    moment, last_id = read_page_token(token)
    return or_(created_at < moment, and_(created_at == moment, row_id < last_id))


_FOREIGN = "The page_token is not one that this service gave out; start without one."
