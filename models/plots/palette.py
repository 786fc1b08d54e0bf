"""Colours of a timeline: those of classes and those of everything around them, light and dark.

The web element draws the same classes in the same colours (`service/web/timeline/colors.js`); a
test runs both over the same labels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")

# Twelve hues of OKLCH, each at the lightness where it stands 4.7 : 1 (or, every second hue round
# the circle, 6.8 : 1) against white, and 6.4 : 1 (or 9.8 : 1) against the dark page: what is
# written on a segment stays readable, and neighbouring hues differ in lightness too, for eyes that
# see few hues. The order keeps slots that follow each other far apart.
# Source: OKLCH by Björn Ottosson (2020); contrast by WCAG 2.2, 1.4.3 and 1.4.11.
CLASS_COLORS: dict[Theme, tuple[str, ...]] = {
    "light": (
        "#1a73d5",
        "#c25005",
        "#03693a",
        "#9b2d7f",
        "#745602",
        "#7a61d4",
        "#ac2631",
        "#068181",
        "#5f7e05",
        "#3b51bc",
        "#c54476",
        "#00637e",
    ),
    "dark": (
        "#569df6",
        "#eb7e49",
        "#5ed790",
        "#fea4e1",
        "#eeb937",
        "#9f8df5",
        "#ffaba7",
        "#0cadad",
        "#83a730",
        "#aabffe",
        "#eb769e",
        "#42cffe",
    ),
}
NUM_SLOTS = len(CLASS_COLORS["light"])

FNV_OFFSET = 0x811C9DC5
FNV_PRIME = 0x01000193
MASK_32_BITS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Inks:
    """The colours around the classes, in one theme.

    Attributes:
        page: behind everything.
        lane: behind a class's segments.
        line: hairlines and ticks.
        text, quiet: what is read first, and what is read after it; both 4.5 : 1 on the page.
        on_color: written on a class's colour.
    """

    page: str
    lane: str
    line: str
    text: str
    quiet: str
    on_color: str


INKS: dict[Theme, Inks] = {
    "light": Inks("#ffffff", "#f3f5f8", "#d5dae2", "#161b24", "#566072", "#ffffff"),
    "dark": Inks("#15181f", "#1e232c", "#363d4a", "#eef1f6", "#a2adbd", "#15181f"),
}


def label_hash(label: str) -> int:
    """Return the 32-bit FNV-1a hash of a label's UTF-8; half a surrogate pair counts as U+FFFD.

    Source: Fowler, Noll, Vo, FNV-1a, offset basis and prime of 32 bits.
    """
    hashed = FNV_OFFSET
    for byte in label.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode():
        hashed = ((hashed ^ byte) * FNV_PRIME) & MASK_32_BITS
    return hashed


def color_slots(labels: Iterable[str]) -> dict[str, int]:
    """Return label -> slot of `CLASS_COLORS`, the same for the same set of labels.

    Labels by rising hash take slot ``hash % 12``, or the next free one after it; when all are
    taken, a new round begins. So up to twelve labels never share a colour, and a label keeps its
    own from video to video unless one that is shown beside it was there first.
    """
    slots: dict[str, int] = {}
    taken: set[int] = set()
    for hashed, label in sorted((label_hash(label), label) for label in set(labels)):
        if len(taken) == NUM_SLOTS:
            taken.clear()
        slot = hashed % NUM_SLOTS
        while slot in taken:
            slot = (slot + 1) % NUM_SLOTS
        taken.add(slot)
        slots[label] = slot
    return slots


def color_of(ink: str, theme: Theme) -> str:
    """Return the colour, as ``#rrggbb``, of an ink's name; see `models.plots.primitives`."""
    kind, _, slot = ink.partition("class-")
    if slot and not kind:
        return CLASS_COLORS[theme][int(slot)]
    color: str = getattr(INKS[theme], ink)
    return color
