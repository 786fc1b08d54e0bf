"""Flow charts as plain SVG: boxes on a grid, arrows between their sides.

`svg` turns a description into text and does nothing else. Plain SVG stays sharp and small, and its
text can be searched. The ground is white in every picture, so that it reads in a dark page too.
"""

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Literal

Kind = Literal["input", "layer", "output", "training", "loss", "note"]
Flow = Literal["inference", "training", "loss"]
Point = tuple[float, float]

WIDTH, MARGIN, TITLE_BAND, LEGEND_BAND = 900, 12, 44, 40
TITLE_PX, TEXT_PX, LINE_PX, PADDING_PX = 13, 12, 15, 8
FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
STYLE = (
    "<style>.m{text-anchor:middle}.s{text-anchor:start}.b{font-weight:bold}"
    ".h{stroke:#ffffff;stroke-width:4px;stroke-linejoin:round;paint-order:stroke}</style>"
)
INK, GREY, ORANGE, GREEN = "#1d2733", "#6b7680", "#bf4a14", "#2f7d4a"
# fill, stroke, stroke width, dashes
BOXES: dict[Kind, tuple[str, str, float, str]] = {
    "input": ("#e6ebf1", INK, 1.4, ""),
    "layer": ("#ffffff", INK, 1.4, ""),
    "output": ("#ddf2e3", GREEN, 2.2, ""),
    "training": ("#f5f6f7", GREY, 1.3, "5 4"),
    "loss": ("#fde4d5", ORANGE, 1.6, ""),
    "note": ("none", "none", 0, ""),
}
# stroke, width, dashes
FLOWS: dict[Flow, tuple[str, float, str]] = {
    "inference": (INK, 2.6, ""),
    "training": (GREY, 1.4, "5 4"),
    "loss": (ORANGE, 1.5, ""),
}
LEGEND: tuple[tuple[Kind, str], ...] = (
    ("input", "input"),
    ("layer", "layer or step"),
    ("output", "what is handed on"),
    ("training", "training only"),
    ("loss", "loss"),
)


@dataclass(frozen=True, slots=True)
class Box:
    """A box: its place on the grid, its title, its captions separated by ``|``, its kind."""

    name: str
    column: float
    row: float
    title: str
    captions: str = ""
    kind: Kind = "layer"

    @property
    def lines(self) -> list[str]:
        """The captions."""
        return self.captions.split("|") if self.captions else []

    @property
    def height(self) -> float:
        """In pixels."""
        return TITLE_PX + LINE_PX * len(self.lines) + 2 * PADDING_PX


@dataclass(frozen=True, slots=True)
class Arrow:
    """An arrow from ``name.side`` to ``name.side``; sides are l, r, t and b.

    Attributes:
        start, end: where.
        flow: its kind.
        label: beside its longest piece.
        bend: where between both boxes an arrow with two corners turns, in [0, 1].
        shift: of its first and of its last point along their sides, in pixels.
        label_shift: of the label from its own place, in pixels.
    """

    start: str
    end: str
    flow: Flow = "inference"
    label: str = ""
    bend: float = 0.5
    shift: Point = (0.0, 0.0)
    label_shift: Point = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Diagram:
    """A picture: ``columns`` are the widths of the boxes in them, ``rows`` is their distance."""

    name: str
    title: str
    description: str
    columns: tuple[float, ...]
    rows: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    @property
    def height(self) -> float:
        """In pixels."""
        return TITLE_BAND + self.rows * (1 + max(box.row for box in self.boxes)) + LEGEND_BAND

    def rectangle(self, box: Box) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom of a box."""
        gap = (WIDTH - 2 * MARGIN - sum(self.columns)) / (len(self.columns) - 1)
        column = int(box.column)
        lefts = [MARGIN + sum(self.columns[:i]) + i * gap for i in range(len(self.columns))]
        width = self.columns[column]
        left = lefts[column] + (box.column - column) * (width + gap)
        middle = TITLE_BAND + self.rows * (box.row + 0.5)
        return left, middle - box.height / 2, left + width, middle + box.height / 2

    def port(self, place: str, shift: float) -> Point:
        """Return the point in the middle of a box's side, moved along it."""
        name, side = place.split(".")
        (box,) = [one for one in self.boxes if one.name == name]
        left, top, right, bottom = self.rectangle(box)
        if side in "lr":
            return (left if side == "l" else right), (top + bottom) / 2 + shift
        return (left + right) / 2 + shift, (top if side == "t" else bottom)

    def path(self, arrow: Arrow) -> list[Point]:
        """Return the corners of an arrow: only horizontal and vertical pieces."""
        x0, y0 = self.port(arrow.start, arrow.shift[0])
        x1, y1 = self.port(arrow.end, arrow.shift[1])
        leaves_flat, arrives_flat = arrow.start[-1] in "lr", arrow.end[-1] in "lr"
        if leaves_flat and arrives_flat:
            x = x0 + (x1 - x0) * arrow.bend
            corners = [(x, y0), (x, y1)]
        elif leaves_flat:
            corners = [(x1, y0)]
        elif arrives_flat:
            corners = [(x0, y1)]
        else:
            y = y0 + (y1 - y0) * arrow.bend
            corners = [(x0, y), (x1, y)]
        if x0 == x1 or y0 == y1:
            return [(x0, y0), (x1, y1)]
        return [(x0, y0), *corners, (x1, y1)]


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(text, quote=False)}</text>'


def _draw_box(rectangle: tuple[float, float, float, float], box: Box) -> list[str]:
    left, top, right, bottom = rectangle
    fill, stroke, width, dashes = BOXES[box.kind]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    frame = (
        f'<rect x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}" '
        f'rx="5" fill="{fill}" stroke="{stroke}" stroke-width="{width}"{dashed}/>'
    )
    x, y = (left + right) / 2, top + PADDING_PX + TITLE_PX - 2
    parts = [frame, _text(x, y, box.title, f'class="m b" font-size="{TITLE_PX}"')]
    for line in box.lines:
        y += LINE_PX
        parts.append(_text(x, y, line, 'class="m"'))
    return parts


def _label_place(path: list[Point], shift: Point) -> tuple[float, float, str]:
    (x0, y0), (x1, y1) = max(
        pairwise(path), key=lambda ends: abs(ends[0][0] - ends[1][0]) + abs(ends[0][1] - ends[1][1])
    )
    x, y = (x0 + x1) / 2 + shift[0], (y0 + y1) / 2 + shift[1]
    return (x, y - 6, "m") if y0 == y1 else (x + 6, y + 4, "s")


def _draw_arrow(diagram: Diagram, arrow: Arrow) -> tuple[str, list[str]]:
    path = diagram.path(arrow)
    stroke, width, dashes = FLOWS[arrow.flow]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    points = " ".join(f"{x:g},{y:g}" for x, y in path)
    line = (
        f'<polyline points="{points}" fill="none" stroke="{stroke}" stroke-width="{width}"'
        f'{dashed} stroke-linejoin="round" marker-end="url(#{arrow.flow})"/>'
    )
    if not arrow.label:
        return line, []
    x, y, anchor = _label_place(path, arrow.label_shift)
    return line, [_text(x, y, arrow.label, f'class="{anchor} h" fill="{stroke}"')]


def _lies_within(point: Point, ends: tuple[Point, Point]) -> bool:
    """Say whether a point lies on a horizontal or vertical piece and is none of its ends."""
    (x0, y0), (x1, y1) = ends
    x, y = point
    if y0 == y1:
        return y == y0 and min(x0, x1) < x < max(x0, x1)
    return x == x0 and min(y0, y1) < y < max(y0, y1)


def _branches(diagram: Diagram) -> list[str]:
    """Return a dot where arrows from one place part, so that a crossing is not taken for it."""
    dots: dict[Point, str] = {}
    for one in diagram.arrows:
        for other in diagram.arrows:
            if one is other or one.start != other.start:
                continue
            for corner in diagram.path(one)[1:-1]:
                if any(_lies_within(corner, ends) for ends in pairwise(diagram.path(other))):
                    bold = "inference" in (one.flow, other.flow)
                    dots[corner] = INK if bold else FLOWS[one.flow][0]
    return [f'<circle cx="{x:g}" cy="{y:g}" r="3.5" fill="{ink}"/>' for (x, y), ink in dots.items()]


def _heads() -> list[str]:
    """Return one arrow head per flow; its tip lies at the end of the line."""
    return [
        f'<marker id="{flow}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" '
        'markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0,0.8 L10,5 L0,9.2 z" fill="{stroke}"/></marker>'
        for flow, (stroke, _, _) in FLOWS.items()
    ]


def _legend(y: float) -> list[str]:
    parts: list[str] = []
    x: float = MARGIN
    for kind, words in LEGEND:
        fill, stroke, width, dashes = BOXES[kind]
        parts.append(
            f'<rect x="{x:g}" y="{y - 10:g}" width="22" height="14" rx="3" fill="{fill}" '
            f'stroke="{stroke}" stroke-width="{width}" stroke-dasharray="{dashes or "none"}"/>'
        )
        parts.append(_text(x + 29, y + 1, words, 'class="s"'))
        x += 52 + 7.2 * len(words)
    stroke, thick, _ = FLOWS["inference"]
    parts.append(
        f'<polyline points="{x:g},{y - 3:g} {x + 34:g},{y - 3:g}" stroke="{stroke}" '
        f'stroke-width="{thick}" marker-end="url(#inference)"/>'
    )
    parts.append(_text(x + 42, y + 1, "path of inference", 'class="s"'))
    return parts


def svg(diagram: Diagram) -> str:
    """Return the picture of a diagram as SVG text."""
    height = diagram.height
    lines, labels = [], []
    # Bold lines last: where two meet, the path of inference lies on top.
    for arrow in sorted(diagram.arrows, key=lambda one: one.flow == "inference"):
        line, label = _draw_arrow(diagram, arrow)
        lines.append(line)
        labels += label
    boxes = [part for box in diagram.boxes for part in _draw_box(diagram.rectangle(box), box)]
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
        f'width="{WIDTH}" height="{height:g}" role="img" aria-labelledby="t d" '
        f'font-family="{FONT}" font-size="{TEXT_PX}" fill="{INK}">'
    )
    ground = (
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:g}" rx="6" '
        'fill="#ffffff" stroke="#d5dade"/>'
    )
    parts = [
        opening,
        f'<title id="t">{escape(diagram.title)}</title>',
        f'<desc id="d">{escape(diagram.description)}</desc>',
        STYLE,
        "<defs>",
        *_heads(),
        "</defs>",
        ground,
        _text(MARGIN, 27, diagram.title, 'class="s b" font-size="15"'),
        *lines,
        *_branches(diagram),
        *boxes,
        *labels,
        *_legend(height - 16),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
