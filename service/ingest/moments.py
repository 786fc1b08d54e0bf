"""Wall-clock moments that users give."""

from datetime import UTC, datetime

from service.errors import InvalidRequest

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Far enough from the ends of the calendar that every zone and segment time can be computed."""


def read_moment(text: str | None) -> datetime | None:
    """Return the moment that a text names, None for none.

    Args:
        text: ISO 8601 with a time zone.

    Raises:
        InvalidRequest: it is malformed, without a time zone, or out of any use.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(_MALFORMED) from error
    return checked_moment(moment)


def checked_moment(moment: datetime | None) -> datetime | None:
    """Return a moment that can be stored, None for none.

    Raises:
        InvalidRequest: it has no time zone, or is out of any use.
    """
    if moment is None:
        return None
    if moment.tzinfo is None or not EARLIEST <= moment <= LATEST:
        raise InvalidRequest(_MALFORMED)
    return moment


_MALFORMED = (
    "The recorded_at is no moment between the years 1900 and 2200 with its time zone, as "
    "2026-03-01T09:00:00+01:00."
)
