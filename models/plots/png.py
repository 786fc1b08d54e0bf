"""Drawings as PNG, by Pillow: the one place that imports it, with `models.plots.fonts`.

Everything is drawn at twice the size and made smaller, so that edges are smooth and letters stand
evenly; words lie on top.
"""

import io
import math
from dataclasses import replace

from PIL import Image, ImageColor, ImageDraw

from models.errors import ContractViolation
from models.plots.fonts import Coverage
from models.plots.layout import DEFAULT_CHOICE, PictureChoice, lay_out
from models.plots.lettering import clean
from models.plots.palette import Theme, color_of
from models.plots.primitives import Area, Box, Curve, Drawing, Item, Line, Strip, Tile, Words
from models.plots.scene import Scene
from models.types import DoubleArray

MAX_SCALE = 4
MAX_PIXELS = 24_000_000
"""Of the finished picture; about 100 MB while it is made."""
SMOOTH_PIXELS = 6_000_000
"""Up to so many pixels shapes are drawn larger first; beyond, their edges are fine enough."""
SMOOTHING = 2
COMPRESSION = 4
OPAQUE = 255
MISSING_NOTE = (
    "Some characters are in none of this machine's fonts and stand as question marks; "
    "the SVG picture shows all."
)


def render_png(
    scene: Scene,
    choice: PictureChoice = DEFAULT_CHOICE,
    theme: Theme = "light",
    scale: float = 1.0,
) -> bytes:
    """Return a scene as a PNG file.

    Args:
        scene: to be drawn.
        choice: its sizes count before scaling.
        theme: light or dark.
        scale: pixels of the file per pixel of the drawing, 1 to 4.

    Raises:
        ContractViolation: the scale is out of its range, or the picture has too many pixels.
    """
    coverage = Coverage()
    texts = (scene.name, scene.model, scene.camera or "", *map(clean, scene.classes))
    if coverage.missing(texts):
        scene = replace(scene, notes=(*scene.notes, MISSING_NOTE))
    return draw_png(lay_out(scene, choice), theme, scale, coverage)


def draw_png(
    drawing: Drawing, theme: Theme = "light", scale: float = 1.0, coverage: Coverage | None = None
) -> bytes:
    """Return a drawing as a PNG file; see `render_png`.

    Raises:
        ContractViolation: the scale is out of its range, or the picture has too many pixels.
    """
    if not 1 <= scale <= MAX_SCALE:
        message = f"a picture's scale is 1 to {MAX_SCALE}, got {scale}"
        raise ContractViolation(message)
    width, height = round(drawing.width_px * scale), round(drawing.height_px * scale)
    if width * height > MAX_PIXELS:
        message = f"a picture has at most {MAX_PIXELS} pixels, got {width} x {height}"
        raise ContractViolation(message)
    smoothing = SMOOTHING if width * height <= SMOOTH_PIXELS else 1
    painter = _Painter(drawing, theme, scale * smoothing)
    for item in drawing.items:
        painter.paint(item)
    _write(painter.image, drawing, theme, scale * smoothing * drawing.zoom, coverage or Coverage())
    image = painter.image if smoothing == 1 else painter.image.reduce(smoothing)
    image = image.crop((0, 0, width, height))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=COMPRESSION, dpi=(96 * scale, 96 * scale))
    return buffer.getvalue()


class _Painter:
    """Paints shapes on an image ``factor`` times as large as the picture is to be."""

    def __init__(self, drawing: Drawing, theme: Theme, factor: float) -> None:
        self._factor = factor * drawing.zoom
        self._theme = theme
        size = (
            math.ceil(drawing.width_px * factor / SMOOTHING) * SMOOTHING,
            math.ceil(drawing.height_px * factor / SMOOTHING) * SMOOTHING,
        )
        self.image = Image.new("RGB", size, color_of("page", theme))
        self._draw = ImageDraw.Draw(self.image)
        self._strips: dict[int, Image.Image] = {}

    def paint(self, item: Item) -> None:
        """Paint one item; words are left to later."""
        match item:
            case Box():
                self._box(item)
            case Line():
                self._line(item)
            case Area():
                self._area(item)
            case Curve():
                width = max(1, round(item.width * self._factor))
                points = self._scaled(item.points)
                self._draw.line(points, color_of(item.ink, self._theme), width, "curve")
            case Tile():
                self._tile(item)
            case Words():
                pass

    def _scaled(self, points: DoubleArray) -> list[tuple[float, float]]:
        scaled: list[tuple[float, float]] = [(x, y) for x, y in (points * self._factor).tolist()]
        return scaled

    def _box(self, box: Box) -> None:
        k = self._factor
        # Pillow's corners are both inside: the last pixel is one before the end.
        x0, y0 = round(box.x * k), round(box.y * k)
        x1 = max(x0, round((box.x + box.width) * k) - 1)
        y1 = max(y0, round((box.y + box.height) * k) - 1)
        if box.opacity < 1:
            self._blend(Image.new("L", (x1 - x0 + 1, y1 - y0 + 1), OPAQUE), (x0, y0), box)
            return
        color = color_of(box.ink, self._theme)
        radius = box.radius * k
        if radius >= 1:
            self._draw.rounded_rectangle((x0, y0, x1, y1), radius, color)
        else:
            self._draw.rectangle((x0, y0, x1, y1), color)

    def _area(self, area: Area) -> None:
        points = area.points * self._factor
        left, top = (int(v) for v in points.min(axis=0))
        right, bottom = (math.ceil(v) for v in points.max(axis=0))
        mask = Image.new("L", (right - left + 1, bottom - top + 1))
        places: list[tuple[float, float]] = [(x - left, y - top) for x, y in points.tolist()]
        ImageDraw.Draw(mask).polygon(places, OPAQUE)
        self._blend(mask, (left, top), area)

    def _blend(self, mask: Image.Image, place: tuple[int, int], item: Box | Area) -> None:
        faint = mask.point([round(value * item.opacity) for value in range(OPAQUE + 1)])
        self.image.paste(color_of(item.ink, self._theme), place, faint)

    def _line(self, line: Line) -> None:
        k = self._factor
        color = self._mixed(line.ink, line.opacity)
        width = max(1, round(line.width * k))
        x1, y1, x2, y2 = (value * k for value in (line.x1, line.y1, line.x2, line.y2))
        if not line.dash:
            self._draw.line((x1, y1, x2, y2), color, width)
            return
        length = math.hypot(x2 - x1, y2 - y1)
        step = line.dash * k
        for count in range(0, max(1, math.ceil(length / step)), 2):
            first, last = count * step / length, min(1.0, (count + 1) * step / length)
            ends = (x1 + (x2 - x1) * first, y1 + (y2 - y1) * first)
            stop = (x1 + (x2 - x1) * last, y1 + (y2 - y1) * last)
            self._draw.line((*ends, *stop), color, width)

    def _mixed(self, ink: str, opacity: float) -> str:
        """Return a line's colour as it looks on a lane, which lines cross more than all else."""
        above = ImageColor.getrgb(color_of(ink, self._theme))
        below = ImageColor.getrgb(color_of("lane", self._theme))
        pairs = zip(above, below, strict=True)
        red, green, blue = (round(one * opacity + two * (1 - opacity)) for one, two in pairs)
        return f"#{red:02x}{green:02x}{blue:02x}"

    def _tile(self, tile: Tile) -> None:
        k = self._factor
        x0, y0 = round(tile.x * k), round(tile.y * k)
        size = (max(1, round((tile.x + tile.width) * k) - x0), max(1, round(tile.height * k)))
        corner = tile.strip.corner(tile.index)
        whole = self._opened(tile.strip)
        shape = size[0] / size[1]
        width, height = tile.strip.tile_width_px, tile.strip.tile_height_px
        # Of the tile the middle is taken, in the shape of its place.
        kept_width, kept_height = min(width, height * shape), min(height, width / shape)
        left, top = corner[0] + (width - kept_width) / 2, corner[1] + (height - kept_height) / 2
        box = (left, top, left + kept_width, top + kept_height)
        small = whole.resize(size, Image.Resampling.BILINEAR, box)
        self.image.paste(small, (x0, y0))

    def _opened(self, strip: Strip) -> Image.Image:
        if id(strip) not in self._strips:
            try:
                with Image.open(io.BytesIO(strip.jpeg), formats=("JPEG",)) as opened:
                    self._strips[id(strip)] = opened.convert("RGB")
            except OSError:  # damaged where it lay; the rest of the picture is worth having
                rows = -(-len(strip.seconds) // strip.columns)
                size = (strip.columns * strip.tile_width_px, rows * strip.tile_height_px)
                self._strips[id(strip)] = Image.new("RGB", size, color_of("lane", self._theme))
        return self._strips[id(strip)]


def _write(
    image: Image.Image, drawing: Drawing, theme: Theme, scale: float, coverage: Coverage
) -> None:
    draw = ImageDraw.Draw(image)
    for words in drawing.items:
        if not isinstance(words, Words) or not words.text:
            continue
        runs = coverage.runs(words.text, words.size * scale)
        widths = [run.font.getlength(run.text) for run in runs]
        share = {"start": 0.0, "middle": 0.5, "end": 1.0}[words.anchor]
        x: float = words.x * scale - share * sum(widths)
        color = color_of(words.ink, theme)
        for run, width in zip(runs, widths, strict=True):
            draw.text(
                (x, words.y * scale),
                run.text,
                color,
                run.font,
                "ls",
                stroke_width=0.35 * scale if words.bold else 0,
            )
            x += float(width)
