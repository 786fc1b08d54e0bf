"""What a picture is made of, before anything draws it: SVG and PNG draw the same drawing.

Units count from the upper left corner, as floats; of all but large pictures they are pixels.
Inks are names: those of `palette.Inks`, and `class-0` to `class-11` for the slots of
`palette.CLASS_COLORS`.
"""

from dataclasses import dataclass
from typing import Literal

from models.types import DoubleArray

Ink = str
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle, round at its corners; ``hint`` tells what it is, on hover."""

    x: float
    y: float
    width: float
    height: float
    ink: Ink
    radius: float = 0.0
    opacity: float = 1.0
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line; ``dash`` is the length of a dash and of the gap after it, 0 for none."""

    x1: float
    y1: float
    x2: float
    y2: float
    ink: Ink
    width: float = 1.0
    dash: float = 0.0
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Area:
    """A filled outline: float64[N, 2], N >= 3, x and y."""

    points: DoubleArray
    ink: Ink
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through float64[N, 2], N >= 2."""

    points: DoubleArray
    ink: Ink
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Words:
    """One line of text; ``y`` is its baseline, ``text`` is clean."""

    x: float
    y: float
    text: str
    size: float
    ink: Ink
    anchor: Anchor = "start"
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Strip:
    """Small pictures of a video in one JPEG, row by row.

    Attributes:
        jpeg: trusted: made by this product.
        tile_width_px, tile_height_px: of each.
        columns: tiles per row.
        seconds: at which each is on screen, rising; at least one.
    """

    jpeg: bytes
    tile_width_px: int
    tile_height_px: int
    columns: int
    seconds: tuple[float, ...]

    def corner(self, index: int) -> tuple[int, int]:
        """Return the upper left pixel of a tile."""
        row, column = divmod(index, self.columns)
        return column * self.tile_width_px, row * self.tile_height_px


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile of a strip, scaled to fill a place whose shape is about the tile's own."""

    x: float
    y: float
    width: float
    height: float
    strip: Strip
    index: int


Item = Box | Line | Area | Curve | Words | Tile


@dataclass(frozen=True, slots=True)
class Drawing:
    """A whole picture.

    Attributes:
        width_px, height_px: of it.
        title, description: for who does not see it.
        items: in the order in which they are drawn; words lie above all else.
        zoom: pixels per unit of the items; more than 1 in large pictures, so that letters and
            lines grow with them.
    """

    width_px: int
    height_px: int
    title: str
    description: str
    items: tuple[Item, ...]
    zoom: float = 1.0
