"""Draws the frames of a plan: backdrop, distractors, chairs, people, light and noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from models.synthetic.backdrop import PANORAMA_WIDTH, Backdrop, draw_colour, paint_backdrop
from models.synthetic.camera import Camera, follow, light_gains
from models.synthetic.chairs import paint_chair
from models.synthetic.dice import Dice
from models.synthetic.distractors import Sight, draw_distractor, draw_distractors
from models.synthetic.limbs import FigurePainter, Outfit, draw_outfit
from models.synthetic.plan import VideoPlan, looks_of
from models.synthetic.ranges import SCENE, LooksRanges
from models.synthetic.staging import Bystander, Chair, Stage, set_stage
from models.types import ByteArray, DoubleArray, IntArray

# Figures are drawn at twice the size and averaged down.
_SUPERSAMPLING = 2
_NOISE_FRAMES = 3
_NOISE_MARGIN_PX = 32
# Bystanders stand so much farther back on the floor, in body heights.
_BYSTANDER_BACK = 0.05
# A narrower blur changes nothing at 8 bits and costs time.
_LEAST_BLUR_PX = 0.25


@dataclass(frozen=True, slots=True)
class _Grain:
    """Sensor noise: a bank int16 and where each frame reads from it."""

    bank: IntArray
    picks: IntArray


class SceneDrawer:
    """Everything prepared to draw any frame of one plan."""

    def __init__(self, plan: VideoPlan) -> None:
        spec = plan.spec
        looks = looks_of(spec)
        self.spec = spec
        self.seconds: DoubleArray = np.arange(plan.num_frames) / spec.fps
        self.stage: Stage = set_stage(plan, looks, self.seconds)
        self.camera: Camera = follow(plan, looks, self.stage.root, self.seconds)
        self._gains = light_gains(plan, looks, self.seconds)
        self._distractors = draw_distractors(plan, looks)
        dice = Dice(spec.seed, 51)
        self._blur = dice.between(looks.blur_px) * spec.height_px / 128
        self._horizon = dice.between((0.04, 0.22))
        self._parallax = dice.between(SCENE.ground_parallax)
        widest = spec.width_px / float(self.camera.scale.min())
        density = 1.25 * float(np.mean(self.camera.scale))
        self._backdrop: Backdrop = paint_backdrop(looks, Dice(spec.seed, 52), density, widest)
        self._shadow = draw_colour(looks.wall_hues, dice, (0.1, 0.3), (0.12, 0.3))
        self._wood = draw_colour(looks.wall_hues, dice, (0.3, 0.8), (0.25, 0.9))
        self._painters = self._people(looks)
        self._grain = self._draw_grain(dice.between(looks.noise_levels))

    def _people(self, looks: LooksRanges) -> list[tuple[FigurePainter, float]]:
        """Return painters and how much higher on the floor each stands, farthest first."""
        people = [
            (
                FigurePainter(one.joints, one.body, _clothe(one, looks, self.spec.seed)),
                _BYSTANDER_BACK,
            )
            for one in self.stage.bystanders
        ]
        outfit = draw_outfit(looks, Dice(self.spec.seed, 53))
        return [*people, (FigurePainter(self.stage.joints, self.stage.body, outfit), 0.0)]

    def _draw_grain(self, sigma: float) -> _Grain:
        dice = Dice(self.spec.seed, 54)
        rows = self.spec.height_px + _NOISE_MARGIN_PX
        columns = self.spec.width_px + _NOISE_MARGIN_PX
        shape = (_NOISE_FRAMES, rows, columns, 3)
        noise = dice.generator.standard_normal(shape, dtype=np.float32) * np.float32(sigma)
        bank = np.rint(noise).astype(np.int16)
        limits = [_NOISE_FRAMES, _NOISE_MARGIN_PX, _NOISE_MARGIN_PX]
        picks = dice.generator.integers(0, limits, size=(len(self.seconds), 3))
        return _Grain(bank, picks)

    def frame(self, index: int) -> ByteArray:
        """Return frame ``index``: uint8[H, W, 3] RGB."""
        spec = self.spec
        canvas = np.empty(
            (_SUPERSAMPLING * spec.height_px, _SUPERSAMPLING * spec.width_px, 3), np.uint8
        )
        unit = _SUPERSAMPLING * float(self.camera.scale[index])
        middle = _SUPERSAMPLING * float(self.camera.middle[index])
        ground = _SUPERSAMPLING * float(self.camera.ground[index])
        centre = float(self.camera.centre[index])
        view = (middle, ground, unit, centre)
        self._paint_backdrop(canvas, view)
        self._paint_distractors(canvas, index, view, in_front=False)
        for chair in self.stage.chairs:
            self._paint_chair(canvas, chair, view)
        for painter, back in self._painters:
            self._paint_shadow(canvas, painter.place(index), back, view)
            painter.paint(canvas, index, (middle, ground - back * unit, unit, centre))
        self._paint_distractors(canvas, index, view, in_front=True)
        return self._finish(canvas, index)

    def _paint_backdrop(self, canvas: ByteArray, view: tuple[float, float, float, float]) -> None:
        middle, ground, unit, centre = view
        back = self._backdrop
        height, width = canvas.shape[:2]
        horizon = min(max(round(ground - self._horizon * unit), 0), height)
        step = back.density / unit
        period = PANORAMA_WIDTH * back.density
        for image, rows, pace, origin in (
            (back.wall, slice(0, horizon), self._parallax, back.wall.shape[0] - horizon * step),
            (back.floor, slice(horizon, height), 1.0, 0.0),
        ):
            size = rows.stop - rows.start
            if size <= 0:
                continue
            left = (centre * pace - middle / unit) * back.density % period
            matrix = np.array([[step, 0.0, left], [0.0, step, origin]])
            canvas[rows] = cv2.warpAffine(
                image, matrix, (width, size),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip

    def _paint_shadow(
        self, canvas: ByteArray, place: float, back: float, view: tuple[float, float, float, float]
    ) -> None:
        middle, ground, unit, centre = view
        spot = (round(middle + (place - centre) * unit), round(ground - back * unit))
        axes = (round(0.2 * unit), round(0.04 * unit))
        cv2.ellipse(canvas, spot, axes, 0, 0, 360, self._shadow, -1)

    def _paint_distractors(
        self,
        canvas: ByteArray,
        index: int,
        view: tuple[float, float, float, float],
        *,
        in_front: bool,
    ) -> None:
        middle, ground, unit, centre = view
        now = float(self.seconds[index])
        for item in self._distractors:
            if item.in_front != in_front or not item.start_seconds <= now < item.end_seconds:
                continue
            half_way = 0.5 * (item.start_seconds + item.end_seconds)
            anchor = self._centre_at(half_way) + item.place + item.speed * (now - half_way)
            column = middle + (anchor - centre) * unit
            row = ground + (0.06 if in_front else -0.06) * unit
            draw_distractor(canvas, item, Sight(column, row, unit, now - item.start_seconds))

    def _centre_at(self, seconds: float) -> float:
        last = len(self.seconds) - 1
        return float(self.camera.centre[min(max(round(seconds * self.spec.fps), 0), last)])

    def _paint_chair(
        self, canvas: ByteArray, chair: Chair, view: tuple[float, float, float, float]
    ) -> None:
        middle, ground, unit, centre = view
        paint_chair(
            canvas,
            (middle + (chair.place - centre) * unit, ground),
            unit,
            chair.yaw_radians,
            self.stage.body.shank,
            self._wood,
        )

    def _finish(self, canvas: ByteArray, index: int) -> ByteArray:
        size = (self.spec.width_px, self.spec.height_px)
        small = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
        if self._blur > _LEAST_BLUR_PX:
            small = cv2.GaussianBlur(small, (0, 0), self._blur)
        levels = np.arange(256, dtype=np.float64)[:, None] * self._gains[index]
        table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None]
        lit = cv2.LUT(small, table)
        which, top, left = self._grain.picks[index]
        noise = self._grain.bank[
            which, top : top + self.spec.height_px, left : left + self.spec.width_px
        ]
        return np.asarray(cv2.add(lit, noise, dtype=cv2.CV_8U), dtype=np.uint8)


def _clothe(person: Bystander, looks: LooksRanges, seed: int) -> Outfit:
    return draw_outfit(looks, Dice(seed, 53, 1 + person.number))


def draw_frames(plan: VideoPlan) -> Iterator[ByteArray]:
    """Yield the frames of a plan: uint8[H, W, 3] RGB; frame i shows the instant i / fps."""
    drawer = SceneDrawer(plan)
    for index in range(plan.num_frames):
        yield drawer.frame(index)
