"""Text in pictures: made harmless and short, and measured without a font.

Names and labels are strangers' text. What comes out of here can stand in XML, and reads in the
order in which it is drawn.
"""

import unicodedata
from bisect import bisect_right

ELLIPSIS = "…"
REPLACEMENT = "\ufffd"
MAX_CHARACTERS = 300
MAX_MARKS = 4
"""Combining marks kept in a row; more would pile up over other lines."""
JOINERS = frozenset("\u200c\u200d")
# Source: Unicode UAX 9, explicit directional formatting: with them a name reads as it is not.
DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# Widths as shares of the font size, on the wide side of system-ui, Segoe UI, Roboto and Aileron,
# so that what is said to fit does.
NARROW = frozenset("iljtfrI1.,:;'|!()[]{}`· ")
NARROW_SHARE = 0.36
WIDE = frozenset("mwMW@%—&…")
WIDE_SHARE = 0.92
CAPITAL_SHARE, PLAIN_SHARE, FULL_SHARE = 0.7, 0.58, 1.06
BOLD_FACTOR = 1.07


def clean(text: str) -> str:
    """Return a stranger's text on one line, without control, direction or unassigned characters.

    Each of them is replaced by U+FFFD where it says something, line breaks by a space; what is
    longer than 300 characters is cut.
    """
    cut = text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + ELLIPSIS
    kept: list[str] = []
    marks = 0
    for character in cut:
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if marks <= MAX_MARKS:
            kept.append(_harmless(character, category))
    return " ".join("".join(kept).split())


def _harmless(character: str, category: str) -> str:
    if character.isspace() or category in {"Zl", "Zp"}:
        return " "
    if character in JOINERS:
        return character
    if character in DIRECTIONS or category in {"Cc", "Cs", "Cn", "Co"}:
        return REPLACEMENT
    return "" if category == "Cf" else character


def text_width(text: str, size_px: float, *, bold: bool = False) -> float:
    """Return about how many pixels a line takes, rather too many than too few."""
    share = sum(map(_share, text))
    return share * size_px * (BOLD_FACTOR if bold else 1.0)


def _share(character: str) -> float:
    if character in NARROW:
        return NARROW_SHARE
    if character in WIDE:
        return WIDE_SHARE
    if unicodedata.combining(character) or character in JOINERS:
        return 0.0
    if unicodedata.east_asian_width(character) in {"W", "F"}:
        return FULL_SHARE
    return CAPITAL_SHARE if character.isupper() else PLAIN_SHARE


def fit(text: str, width_px: float, size_px: float, *, bold: bool = False) -> str:
    """Return a text cut, with an ellipsis, to a width; nothing where not even that fits."""
    if text_width(text, size_px, bold=bold) <= width_px:
        return text

    def width_of(num_characters: int) -> float:
        return text_width(text[:num_characters].rstrip() + ELLIPSIS, size_px, bold=bold)

    # More characters are never narrower, and names may be long: no step by step.
    num_kept = bisect_right(range(len(text)), width_px, key=width_of) - 1
    return text[:num_kept].rstrip() + ELLIPSIS if num_kept > 0 else ""


def wrapped(text: str, width_px: float, size_px: float, max_lines: int) -> list[str]:
    """Return a text on lines of a width, the last one cut where it does not end."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < max_lines - 1:
        taken = 1
        while taken < len(words) and (
            text_width(" ".join(words[: taken + 1]), size_px) <= width_px
        ):
            taken += 1
        lines.append(fit(" ".join(words[:taken]), width_px, size_px))
        words = words[taken:]
    if words:
        lines.append(fit(" ".join(words), width_px, size_px))
    return lines
