"""Drawings as SVG: one self-contained text without script, for pages, files and ``<img>``.

Shapes carry the light colours as attributes, so that no style is needed for them; a picture that
follows the reader's theme has classes too, and a style that colours them in the dark.
"""

import base64
import hashlib
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from models.plots.palette import NUM_SLOTS, Theme, color_of
from models.plots.primitives import (
    Area,
    Box,
    Curve,
    Drawing,
    Item,
    Line,
    Strip,
    Tile,
    Words,
)
from models.types import DoubleArray

SvgTheme = Literal["light", "dark", "auto"]
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
NAMED_INKS = ("page", "lane", "line", "text", "quiet", "on_color")
ID_DIGITS = 16


def render_svg(drawing: Drawing, theme: SvgTheme = "auto") -> str:
    """Return a drawing as an SVG document, which may also stand inside an HTML page.

    Args:
        drawing: to be written; its words are clean.
        theme: ``auto`` follows the reader's.
    """
    size = f'width="{drawing.width_px}" height="{drawing.height_px}"'
    units = (_number(size / drawing.zoom) for size in (drawing.width_px, drawing.height_px))
    view = f'viewBox="0 0 {" ".join(units)}"'
    writer = _Writer("dark" if theme == "dark" else "light", themed=theme == "auto")
    named = f'role="img" aria-label={quoteattr(drawing.title)}'
    fonts = f"font-family={quoteattr(FONTS)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} {named} {fonts}>',
        f"<title>{escape(drawing.title)}</title>",
        f"<desc>{escape(drawing.description)}</desc>",
    ]
    if theme == "auto":
        parts.append(f"<style>{dark_style()}</style>")
    parts.extend(_definition(strip) for strip in _strips(drawing))
    parts.extend(writer.write(item) for item in drawing.items)
    parts.append("</svg>\n")
    return "\n".join(parts)


def dark_style() -> str:
    """Return the rules that colour the classes of an ``auto`` picture for dark readers."""
    inks = (*NAMED_INKS, *(f"class-{slot}" for slot in range(NUM_SLOTS)))
    rules = "".join(
        f".kt-f-{ink}{{fill:{color_of(ink, 'dark')}}}.kt-s-{ink}{{stroke:{color_of(ink, 'dark')}}}"
        for ink in inks
    )
    return f"@media (prefers-color-scheme:dark){{{rules}}}"


class _Writer:
    """Writes items in one theme; ``themed``: with the classes of `dark_style`."""

    def __init__(self, theme: Theme, *, themed: bool) -> None:
        self._theme = theme
        self._themed = themed

    def write(self, item: Item) -> str:
        """Return the element of an item."""
        match item:
            case Box():
                return self._box(item)
            case Line():
                return self._line(item)
            case Area():
                opacity = _opacity(item.opacity)
                return f'<polygon points="{_points(item.points)}"{self._fill(item.ink)}{opacity}/>'
            case Curve():
                stroke = self._stroke(item.ink, item.width)
                joins = ' fill="none" stroke-linejoin="round"'
                return f'<polyline points="{_points(item.points)}"{joins}{stroke}/>'
            case Words():
                return self._words(item)
            case Tile():
                return _tile(item)

    def _box(self, box: Box) -> str:
        radius = f' rx="{_number(box.radius)}"' if box.radius else ""
        place = (
            f'<rect x="{_number(box.x)}" y="{_number(box.y)}" width="{_number(box.width)}" '
            f'height="{_number(box.height)}"{radius}{self._fill(box.ink)}{_opacity(box.opacity)}'
        )
        return f"{place}><title>{escape(box.hint)}</title></rect>" if box.hint else f"{place}/>"

    def _line(self, line: Line) -> str:
        dash = f' stroke-dasharray="{_number(line.dash)}"' if line.dash else ""
        return (
            f'<line x1="{_number(line.x1)}" y1="{_number(line.y1)}" x2="{_number(line.x2)}" '
            f'y2="{_number(line.y2)}"{self._stroke(line.ink, line.width)}{dash}'
            f"{_opacity(line.opacity)}/>"
        )

    def _words(self, words: Words) -> str:
        anchor = "" if words.anchor == "start" else f' text-anchor="{words.anchor}"'
        weight = ' font-weight="600"' if words.bold else ""
        return (
            f'<text x="{_number(words.x)}" y="{_number(words.y)}" '
            f'font-size="{_number(words.size)}"{anchor}{weight}{self._fill(words.ink)} '
            f'unicode-bidi="isolate">{escape(words.text)}</text>'
        )

    def _fill(self, ink: str) -> str:
        names = f' class="kt-f-{ink}"' if self._themed else ""
        return f'{names} fill="{color_of(ink, self._theme)}"'

    def _stroke(self, ink: str, width: float) -> str:
        names = f' class="kt-s-{ink}"' if self._themed else ""
        color = color_of(ink, self._theme)
        return f'{names} stroke="{color}" stroke-width="{_number(width)}"'


def _strips(drawing: Drawing) -> list[Strip]:
    found = {id(item.strip): item.strip for item in drawing.items if isinstance(item, Tile)}
    return list(found.values())


def _name(strip: Strip) -> str:
    # By content, so that several pictures in one page never mean another's.
    return "kt-" + hashlib.sha256(strip.jpeg).hexdigest()[:ID_DIGITS]


def _definition(strip: Strip) -> str:
    address = "data:image/jpeg;base64," + base64.b64encode(strip.jpeg).decode()
    rows = -(-len(strip.seconds) // strip.columns)
    size = f'width="{strip.columns * strip.tile_width_px}" height="{rows * strip.tile_height_px}"'
    return f'<defs><image id="{_name(strip)}" {size} href="{address}"/></defs>'


def _tile(tile: Tile) -> str:
    x, y = tile.strip.corner(tile.index)
    view = f"{x} {y} {tile.strip.tile_width_px} {tile.strip.tile_height_px}"
    return (
        f'<svg x="{_number(tile.x)}" y="{_number(tile.y)}" width="{_number(tile.width)}" '
        f'height="{_number(tile.height)}" viewBox="{view}" preserveAspectRatio="xMidYMid slice">'
        f'<use href="#{_name(tile.strip)}"/></svg>'
    )


def _points(points: DoubleArray) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points.tolist())


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _opacity(value: float) -> str:
    return "" if value >= 1 else f' opacity="{_number(value)}"'
