"""Checks of what the decode child says: its words and numbers are a stranger's. Pure functions."""

from collections.abc import Callable
from typing import NoReturn

MAX_SENTENCE_LENGTH = 500


def ranged(value: object, low: int, high: int) -> int:
    """Return an integer in [low, high].

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError
    return value


def checked_int(value: object, low: int, high: int, distrust: Callable[[], NoReturn]) -> int:
    """Return an integer in [low, high], or call ``distrust``."""
    try:
        return ranged(value, low, high)
    except ValueError:
        distrust()


def clean(text: object) -> str:
    """Make words safe to show: no control characters, bounded."""
    return "".join(
        character for character in str(text)[:MAX_SENTENCE_LENGTH] if character.isprintable()
    )
