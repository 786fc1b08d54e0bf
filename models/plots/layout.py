"""Where everything of a timeline's picture stands. Both renderers draw what comes out of here.

From the top: names, pictures of the video, the ruler, one lane per class, notes. Narrow pictures
have the labels above their lanes instead of beside them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from models.errors import ContractViolation
from models.plots.lanes import MAX_LANES, Bar, Lane, bars, choose_lanes, thinned
from models.plots.lettering import clean, fit, text_width, wrapped
from models.plots.primitives import Area, Box, Curve, Drawing, Item, Line, Strip, Tile, Words
from models.plots.ruler import length, ticks
from models.plots.scene import Scene
from models.plots.wording import described, hint, left_out_notes, subtitle, summary

MIN_WIDTH_PX, MAX_WIDTH_PX = 320, 4096
MIN_HEIGHT_PX, MAX_HEIGHT_PX = 160, 4096
WIDEST_UNITS = 1600
"""Wider pictures show the same, larger: what hangs on a wall is read from further away."""
DEFAULT_WIDTH_PX = 1200
ROOMY_PX: Final = 640
"""From this width on labels stand beside their lanes."""

TITLE_PX, PLAIN_PX, SMALL_PX = 19.0, 13.0, 11.5
NOTE_LINE_PX = 17.0
RULER_PX = 24.0
TICK_SPACE_PX = 84.0
LANE_GAP_PX = 6.0
LABEL_ABOVE_PX = 19.0
CURVE_LANE_PX, BAR_LANE_PX = 58.0, 32.0
MIN_LANE_PX, MAX_LANE_PX = 18.0, 140.0
TALL_LANE_PX = 40.0
"""From this height on a lane has its curve above its segments, and a second line of text."""
BAR_SHARE, MIN_BAR_PX, MAX_BAR_PX = 0.3, 14.0, 24.0
LANE_PAD_PX = 5.0
MAX_GUTTER_SHARE = 0.24
EMPTY_PX = 64.0
MAX_POINTS = 2000
SCORE_SPACE_PX = 34.0


@dataclass(frozen=True, slots=True)
class PictureChoice:
    """How a timeline is drawn.

    Attributes:
        width_px: 320 to 4096.
        height_px: 160 to 4096; None takes what the lanes need.
        labels: exactly these classes; None chooses.
        curves: whether activations are drawn where they are known.

    Raises:
        ContractViolation: a size is out of its range.
    """

    width_px: int = DEFAULT_WIDTH_PX
    height_px: int | None = None
    labels: tuple[str, ...] | None = None
    curves: bool = True

    def __post_init__(self) -> None:
        """Check the ranges once."""
        fits = MIN_WIDTH_PX <= self.width_px <= MAX_WIDTH_PX and (
            self.height_px is None or MIN_HEIGHT_PX <= self.height_px <= MAX_HEIGHT_PX
        )
        if not fits:
            message = (
                f"a picture is {MIN_WIDTH_PX} to {MAX_WIDTH_PX} pixels wide and {MIN_HEIGHT_PX} "
                f"to {MAX_HEIGHT_PX} high, got {self.width_px} x {self.height_px}"
            )
            raise ContractViolation(message)


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """From seconds to pixels, ``left`` being the beginning of the video."""

    left: float
    width: float
    duration_seconds: float

    @property
    def right(self) -> float:
        """The end of the video, pixels."""
        return self.left + self.width

    def x(self, seconds: float) -> float:
        """Return the pixel of an instant."""
        return self.left + seconds * self.width / self.duration_seconds


DEFAULT_CHOICE = PictureChoice()


def lay_out(scene: Scene, choice: PictureChoice = DEFAULT_CHOICE) -> Drawing:
    """Return the drawing of a scene."""
    return _Layout(scene, choice).draw()


class _Layout:
    def __init__(self, scene: Scene, choice: PictureChoice) -> None:
        self.scene = scene
        self.choice = choice
        self.zoom = max(1.0, choice.width_px / WIDEST_UNITS)
        self.page_width = choice.width_px / self.zoom
        self.page_height = None if choice.height_px is None else choice.height_px / self.zoom
        self.roomy = self.page_width >= ROOMY_PX
        self.margin = 28.0 if self.roomy else 16.0
        self.back: list[Item] = []
        self.items: list[Item] = []
        self.with_curves = choice.curves and scene.curves is not None
        lanes = choose_lanes(scene, choice.labels, self._max_lanes())
        self.lanes = lanes.lanes
        self.notes = (*left_out_notes(lanes), *scene.notes)
        gutter = self._gutter() if self.roomy else 0.0
        width = self.page_width - 2 * self.margin - gutter
        self.axis = TimeAxis(self.margin + gutter, width, scene.duration_seconds)

    def draw(self) -> Drawing:
        """Put everything in its place, from the top down."""
        note_lines = self._note_lines()
        top = self._head()
        top = self._strip(top)
        lanes_top = top + RULER_PX
        lane_px = self._lane_px(lanes_top, len(note_lines))
        bottom = self._lanes(lanes_top, lane_px)
        self._ruler(top, bottom)
        bottom = self._write_notes(bottom, note_lines)
        needed_px = min(MAX_HEIGHT_PX, round((bottom + self.margin) * self.zoom))
        height_px = self.choice.height_px or needed_px
        page = Box(0, 0, self.page_width, height_px / self.zoom, "page")
        return Drawing(
            self.choice.width_px,
            height_px,
            f"Timeline of {self.scene.name}",
            described(self.scene),
            (page, *self.back, *self.items),
            self.zoom,
        )

    def _max_lanes(self) -> int:
        if self.page_height is None:
            return MAX_LANES
        above = 0.0 if self.roomy else LABEL_ABOVE_PX
        fixed = 110.0 + RULER_PX + (self._strip_px() if self.scene.thumbnails else 0.0)
        room = self.page_height - fixed
        return max(1, min(MAX_LANES, int(room // (MIN_LANE_PX + LANE_GAP_PX + above))))

    def _gutter(self) -> float:
        widest = max((text_width(clean(one.label), PLAIN_PX) for one in self.lanes), default=0.0)
        most = MAX_GUTTER_SHARE * self.page_width
        return min(max(widest + 18.0, 96.0), most)

    def _head(self) -> float:
        """Write the names; return where they end."""
        scene, left, width = self.scene, self.margin, self.page_width - 2 * self.margin
        legend = self._legend() if self.roomy else 0.0
        y = self.margin + TITLE_PX * 0.8
        title = fit(scene.name, width - legend, TITLE_PX, bold=True)
        self.items.append(Words(left, y, title, TITLE_PX, "text", bold=True))
        y += 22.0
        for line in wrapped(subtitle(scene), width, PLAIN_PX, 2):
            self.items.append(Words(left, y, line, PLAIN_PX, "quiet"))
            y += NOTE_LINE_PX
        return y + 4.0

    def _legend(self) -> float:
        """Draw what the dashed line and the curve mean; return the width that it takes."""
        curves = self.scene.curves
        if not self.with_curves or curves is None or not self.lanes:
            return 0.0
        x, y = self.page_width - self.margin, self.margin + TITLE_PX * 0.8
        first = x
        if curves.threshold is not None:
            text = f"threshold {curves.threshold:.3g}"
            self.items.append(Words(x, y, text, SMALL_PX, "quiet", "end"))
            x -= text_width(text, SMALL_PX) + 6.0
            self.items.append(Line(x - 22.0, y - 4.0, x, y - 4.0, "quiet", 1.0, 4.0))
            x -= 22.0 + 20.0
        text = "activation"
        self.items.append(Words(x, y, text, SMALL_PX, "quiet", "end"))
        x -= text_width(text, SMALL_PX) + 6.0
        hump = np.array([(0, 0), (4, 0), (8, -7), (13, -10), (17, -6), (22, 0)], np.float64)
        places = hump + np.array([x - 22.0, y])
        self.items.append(Area(places, "quiet", 0.25))
        self.items.append(Curve(places, "quiet", 1.25))
        return first - x + 22.0 + 24.0

    def _strip_px(self) -> float:
        return 58.0 if self.roomy else 44.0

    def _strip(self, top: float) -> float:
        strip = self.scene.thumbnails
        if strip is None or not strip.seconds:
            return top
        height = self._strip_px()
        shape = strip.tile_width_px / strip.tile_height_px
        count = max(1, round(self.axis.width / (height * shape)))
        width = self.axis.width / count
        self.items.extend(
            Tile(self.axis.left + place * width, top, width, height, strip, _nearest(strip, middle))
            for place, middle in enumerate(
                (np.arange(count) + 0.5) * self.scene.duration_seconds / count
            )
        )
        return top + height + 4.0

    def _ruler(self, top: float, bottom: float) -> None:
        """Write the times and draw their lines: over the lanes' background, under all else."""
        y = top + RULER_PX - 9.0
        most = max(2, int(self.axis.width // TICK_SPACE_PX))
        shown_to = -1.0
        for tick in ticks(self.scene.duration_seconds, most, self.scene.recorded_at):
            x = self.axis.x(tick.seconds)
            half = text_width(tick.text, SMALL_PX) / 2
            middle = min(max(x, self.axis.left + half - 3.0), self.axis.right - half + 3.0)
            self.back.append(Line(x, top + RULER_PX - 5.0, x, bottom, "line"))
            if middle - half > shown_to:
                self.items.append(Words(middle, y, tick.text, SMALL_PX, "quiet", "middle"))
                shown_to = middle + half + 6.0

    def _lane_px(self, top: float, num_notes: int) -> float:
        natural = CURVE_LANE_PX if self.with_curves else BAR_LANE_PX
        count = max(1, len(self.lanes))
        above = 0.0 if self.roomy else LABEL_ABOVE_PX
        height = self.page_height
        if height is None:
            most = (MAX_HEIGHT_PX / self.zoom - top - 200.0) / count - LANE_GAP_PX - above
            return max(MIN_LANE_PX, min(natural, most))
        notes = num_notes * NOTE_LINE_PX + (10.0 if num_notes else 0.0)
        empty = 0.0 if self.scene.num_segments else EMPTY_PX
        room = height - self.margin - notes - top - empty
        return min(max(room / count - LANE_GAP_PX - above, MIN_LANE_PX), MAX_LANE_PX)

    def _lanes(self, top: float, lane_px: float) -> float:
        """Draw the lanes from ``top`` on; return where they end."""
        y = top
        if not any(lane.marks for lane in self.lanes):
            y = self._nothing(y)
        for lane in self.lanes:
            if not self.roomy:
                self._label_above(lane, y + 13.0)
                y += LABEL_ABOVE_PX
            else:
                self._label_beside(lane, y, lane_px)
            self._lane(lane, y, lane_px)
            y += lane_px + LANE_GAP_PX
        return y - LANE_GAP_PX if self.lanes else y

    def _nothing(self, y: float) -> float:
        """Say that nothing was found; return where the next thing stands."""
        height = EMPTY_PX - LANE_GAP_PX
        x = self.axis.left + self.axis.width / 2
        self.items.append(Box(self.axis.left, y, self.axis.width, height, "lane", 6.0))
        self.items.append(
            Words(x, y + 25.0, "Nothing found", PLAIN_PX + 1, "text", "middle", bold=True)
        )
        what = "these classes" if self.choice.labels is not None else "any class"
        reason = f"No segment of {what} in {length(self.scene.duration_seconds)} of video."
        shown = fit(reason, self.axis.width - 16.0, SMALL_PX)
        self.items.append(Words(x, y + 43.0, shown, SMALL_PX, "quiet", "middle"))
        return y + EMPTY_PX

    def _label_beside(self, lane: Lane, y: float, lane_px: float) -> None:
        room = self.axis.left - self.margin - 14.0
        tall = lane_px >= TALL_LANE_PX
        size = PLAIN_PX if lane_px >= MIN_LANE_PX + 2 else SMALL_PX
        baseline = y + lane_px / 2 + (-3.0 if tall else 4.5)
        label = fit(clean(lane.label), room - 12.0, size)
        self.items.append(
            Box(self.margin, baseline - 8.5, 4.0, 10.0 if not tall else 25.0, _ink(lane), 2.0)
        )
        self.items.append(Words(self.margin + 12.0, baseline, label, size, "text"))
        if tall:
            counts = fit(summary(lane), room - 12.0, SMALL_PX)
            self.items.append(Words(self.margin + 12.0, baseline + 16.0, counts, SMALL_PX, "quiet"))

    def _label_above(self, lane: Lane, baseline: float) -> None:
        counts = summary(lane)
        taken = text_width(counts, SMALL_PX)
        self.items.append(Box(self.axis.left, baseline - 9.0, 4.0, 10.0, _ink(lane), 2.0))
        label = fit(clean(lane.label), self.axis.width - taken - 24.0, PLAIN_PX)
        self.items.append(Words(self.axis.left + 10.0, baseline, label, PLAIN_PX, "text"))
        self.items.append(Words(self.axis.right, baseline, counts, SMALL_PX, "quiet", "end"))

    def _lane(self, lane: Lane, y: float, lane_px: float) -> None:
        axis = self.axis
        self.back.append(Box(axis.left, y, axis.width, lane_px, "lane", min(6.0, lane_px / 3)))
        found = bars(lane.marks, axis.width / axis.duration_seconds, axis.width)
        has_curve = self.with_curves and lane.column is not None and lane_px >= TALL_LANE_PX
        if has_curve:
            bar_px = min(max(lane_px * BAR_SHARE, MIN_BAR_PX), MAX_BAR_PX)
            bar_y = y + lane_px - bar_px - 3.0
            self._activation(lane, found, y + LANE_PAD_PX, bar_y - 3.0)
        else:
            pad = min(LANE_PAD_PX, lane_px / 6)
            bar_px, bar_y = lane_px - 2 * pad, y + pad
        for bar in found:
            self._bar(lane, bar, bar_y, bar_px)

    def _activation(self, lane: Lane, found: list[Bar], top: float, base: float) -> None:
        curves = self.scene.curves
        if curves is None or lane.column is None or len(curves.seconds) == 0:
            return
        axis, ink = self.axis, _ink(lane)
        for bar in found:
            shade = Box(axis.left + bar.x, top, bar.width, base - top, ink, 0.0, 0.13)
            self.items.append(shade)
        values = curves.values[:, lane.column]
        seconds, peaks = thinned(curves.seconds, values, min(MAX_POINTS, int(axis.width)))
        x = axis.left + seconds * axis.width / axis.duration_seconds
        y = base - np.clip(peaks, 0.0, 1.0) * (base - top)
        # The first and the last value hold to the ends of the video.
        ends = np.array([axis.left, *x.tolist(), axis.right])
        line = np.stack([ends, np.array([y[0], *y.tolist(), y[-1]])], axis=1)
        floor = np.array([(axis.right, base), (axis.left, base)])
        self.items.append(Area(np.concatenate([line, floor]), ink, 0.24))
        self.items.append(Curve(line, ink, 1.4))
        if curves.threshold is not None:
            level = base - curves.threshold * (base - top)
            self.items.append(Line(axis.left, level, axis.right, level, "quiet", 1.0, 4.0, 0.8))

    def _bar(self, lane: Lane, bar: Bar, y: float, height: float) -> None:
        x = self.axis.left + bar.x
        radius = min(3.5, bar.width / 3, height / 3)
        said = hint(clean(lane.label), bar)
        self.items.append(Box(x, y, bar.width, height, _ink(lane), radius, 1.0, said))
        if bar.count == 1 and bar.width >= SCORE_SPACE_PX and height >= SMALL_PX:
            middle = x + bar.width / 2
            score = f"{bar.score:.2f}"
            baseline = y + height / 2 + 4.0
            self.items.append(Words(middle, baseline, score, SMALL_PX, "on_color", "middle"))

    def _note_lines(self) -> list[str]:
        width = self.page_width - 2 * self.margin
        return [line for note in self.notes for line in wrapped(note, width, SMALL_PX, 2)]

    def _write_notes(self, bottom: float, lines: list[str]) -> float:
        if not lines:
            return bottom
        y = bottom + 10.0
        for line in lines:
            y += NOTE_LINE_PX
            self.items.append(Words(self.margin, y - 3.0, line, SMALL_PX, "quiet"))
        return y


def _ink(lane: Lane) -> str:
    return f"class-{lane.slot}"


def _nearest(strip: Strip, seconds: float) -> int:
    return int(np.abs(np.asarray(strip.seconds) - seconds).argmin())
