"""Things that move more than the figure does and mean nothing."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from models.synthetic.actions import TAU
from models.synthetic.backdrop import Colour, draw_colour, shade
from models.synthetic.dice import Dice
from models.synthetic.plan import VideoPlan
from models.synthetic.ranges import SCENE, LooksRanges
from models.types import ByteArray

KINDS: tuple[str, ...] = ("ball", "car", "door", "flag", "screen", "cart")


@dataclass(frozen=True, slots=True)
class Distractor:
    """One event.

    Attributes:
        kind: one of KINDS.
        start_seconds, end_seconds: when it can be seen.
        speed: body heights per second, signed.
        place: where it is half way, in body heights from the camera.
        size: in body heights.
        height: above the ground in body heights.
        rate_hz: of bouncing, swinging, flickering.
        colour: RGB.
        in_front: drawn over the figure.
    """

    kind: str
    start_seconds: float
    end_seconds: float
    speed: float
    place: float
    size: float
    height: float
    rate_hz: float
    colour: Colour
    in_front: bool


@dataclass(frozen=True, slots=True)
class Sight:
    """Where a distractor is on the canvas.

    Attributes:
        column, row: of its foot, in canvas pixels.
        unit: canvas pixels per body height.
        seconds: since it began.
    """

    column: float
    row: float
    unit: float
    seconds: float


def draw_distractors(plan: VideoPlan, looks: LooksRanges) -> list[Distractor]:
    """Draw the events of a video, independent of what the figure does."""
    dice = Dice(plan.spec.seed, 31)
    whole = plan.spec.duration_seconds
    rate = dice.between(SCENE.distractors_per_minute)
    events = []
    for _ in range(int(dice.generator.poisson(rate * whole / 60))):
        kind = dice.pick(KINDS)
        start = dice.between((-1.0, whole))
        moving = kind in {"ball", "car", "cart"}
        events.append(
            Distractor(
                kind=kind,
                start_seconds=start,
                end_seconds=start + dice.between(SCENE.distractor_seconds),
                speed=dice.side() * dice.between(SCENE.crossing_speed) if moving else 0.0,
                place=dice.between((-0.3, 0.3))
                if moving
                else dice.side() * dice.between((0.2, 0.8)),
                size=dice.between(SCENE.distractor_size),
                height=dice.between((0.0, 0.35)),
                rate_hz=dice.between((0.5, 1.6)),
                colour=draw_colour(looks.cloth_hues, dice, (0.3, 0.95), (0.3, 0.95)),
                in_front=kind == "ball" and dice.chance(0.25),
            )
        )
    return events


def _box(
    canvas: ByteArray, corner: tuple[float, float], size: tuple[float, float], colour: Colour
) -> None:
    first = (round(corner[0]), round(corner[1]))
    second = (round(corner[0] + size[0]), round(corner[1] + size[1]))
    cv2.rectangle(canvas, first, second, colour, -1)


def _ball(canvas: ByteArray, item: Distractor, sight: Sight) -> None:
    radius = 0.2 * item.size * sight.unit
    hop = abs(np.sin(np.pi * item.rate_hz * sight.seconds)) * (0.2 + item.height) * sight.unit
    centre = (round(sight.column), round(sight.row - radius - hop))
    cv2.circle(canvas, centre, round(radius), shade(item.colour, 0.5), -1)
    cv2.circle(canvas, centre, round(0.9 * radius), item.colour, -1)
    turn = sight.seconds * item.speed * 4
    spot = (
        round(centre[0] + 0.5 * radius * float(np.cos(turn))),
        round(centre[1] + 0.5 * radius * float(np.sin(turn))),
    )
    cv2.circle(canvas, spot, round(0.3 * radius), shade(item.colour, 1.5), -1)


def _car(canvas: ByteArray, item: Distractor, sight: Sight) -> None:
    width, height = 1.1 * item.size * sight.unit, 0.22 * item.size * sight.unit
    wheel = 0.09 * item.size * sight.unit
    left, top = sight.column - width / 2, sight.row - wheel - height
    _box(
        canvas,
        (left + 0.2 * width, top - 0.8 * height),
        (0.55 * width, height),
        shade(item.colour, 0.8),
    )
    _box(
        canvas,
        (left + 0.26 * width, top - 0.65 * height),
        (0.2 * width, 0.55 * height),
        (190, 210, 220),
    )
    _box(
        canvas,
        (left + 0.5 * width, top - 0.65 * height),
        (0.2 * width, 0.55 * height),
        (190, 210, 220),
    )
    _box(canvas, (left, top), (width, height), item.colour)
    for share in (0.22, 0.78):
        centre = (round(left + share * width), round(sight.row - wheel))
        cv2.circle(canvas, centre, round(wheel), (30, 30, 30), -1)
        turn = sight.seconds * item.speed * 9
        rim = (
            round(centre[0] + 0.6 * wheel * float(np.cos(turn))),
            round(centre[1] + 0.6 * wheel * float(np.sin(turn))),
        )
        cv2.line(canvas, centre, rim, (200, 200, 200), max(1, round(0.3 * wheel)))


def _cart(canvas: ByteArray, item: Distractor, sight: Sight) -> None:
    width, height = 0.55 * item.size * sight.unit, 0.75 * item.size * sight.unit
    left, top = sight.column - width / 2, sight.row - height
    _box(canvas, (left, top), (width, 0.88 * height), item.colour)
    for share in (0.25, 0.5, 0.75):
        _box(canvas, (left, top + share * height), (width, 0.06 * height), shade(item.colour, 0.6))
    for share in (0.15, 0.85):
        centre = (round(left + share * width), round(sight.row - 0.06 * height))
        cv2.circle(canvas, centre, round(0.08 * height), (40, 40, 40), -1)


def _door(canvas: ByteArray, item: Distractor, sight: Sight) -> None:
    width, height = 0.5 * item.size * sight.unit, 1.15 * item.size * sight.unit
    left, top = sight.column - width / 2, sight.row - height
    _box(canvas, (left, top), (width, height), shade(item.colour, 0.35))
    opening = 0.5 + 0.5 * np.cos(TAU * 0.7 * item.rate_hz * sight.seconds)
    leaf = max(0.05, float(opening)) * width
    slant = 0.08 * height * (1 - float(opening))
    corners = [
        (left, top),
        (left + leaf, top - slant),
        (left + leaf, sight.row + slant),
        (left, sight.row),
    ]
    cv2.fillConvexPoly(canvas, np.rint(corners).astype(np.int32), item.colour)
    knob = (round(left + 0.85 * leaf), round(sight.row - 0.5 * height))
    cv2.circle(canvas, knob, max(1, round(0.05 * width)), (230, 220, 120), -1)


def _flag(canvas: ByteArray, item: Distractor, sight: Sight) -> None:
    top = sight.row - 1.45 * sight.unit
    foot = (round(sight.column), round(sight.row))
    cv2.line(
        canvas,
        foot,
        (round(sight.column), round(top)),
        (90, 80, 70),
        max(1, round(0.03 * sight.unit)),
    )
    length, depth = 0.65 * item.size * sight.unit, 0.4 * item.size * sight.unit
    side = 1.0 if item.place < 0 else -1.0
    along = np.linspace(0.0, 1.0, 9)
    swing = (
        0.12 * sight.unit * along * np.sin(TAU * (2.0 * item.rate_hz * sight.seconds - 1.1 * along))
    )
    columns = sight.column + side * length * along
    upper = np.stack([columns, top + swing], axis=1)
    lower = np.stack([columns, top + depth + swing], axis=1)[::-1]
    cv2.fillPoly(canvas, [np.rint(np.concatenate([upper, lower])).astype(np.int32)], item.colour)
    middle = np.stack([columns, top + 0.5 * depth + swing], axis=1)
    stripe = np.rint(middle).astype(np.int32)
    cv2.polylines(
        canvas, [stripe], False, shade(item.colour, 1.5), max(1, round(0.08 * sight.unit))
    )


def _screen(canvas: ByteArray, item: Distractor, sight: Sight) -> None:
    width, height = 0.7 * item.size * sight.unit, 0.5 * item.size * sight.unit
    left, top = sight.column - width / 2, sight.row - 1.1 * sight.unit
    _box(canvas, (left - 2, top - 2), (width + 4, height + 4), (25, 25, 25))
    beat = 4.0 * item.rate_hz * sight.seconds
    glow = 0.75 + 0.6 * float(np.sin(TAU * beat)) * float(np.sin(5 * beat))
    _box(canvas, (left, top), (width, height), shade(item.colour, glow))
    bar = (beat * 0.8) % 1.0
    _box(canvas, (left + bar * 0.8 * width, top), (0.2 * width, height), shade(item.colour, 1.6))


_DRAWERS: dict[str, Callable[[ByteArray, Distractor, Sight], None]] = {
    "ball": _ball,
    "car": _car,
    "door": _door,
    "flag": _flag,
    "screen": _screen,
    "cart": _cart,
}


def draw_distractor(canvas: ByteArray, item: Distractor, sight: Sight) -> None:
    """Draw one event onto ``canvas`` (uint8[H, W, 3], changed in place)."""
    _DRAWERS[item.kind](canvas, item, sight)
