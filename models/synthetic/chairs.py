"""A chair: seat, back and legs, turned like its sitter."""

import cv2
import numpy as np

from models.synthetic.backdrop import Colour, shade
from models.types import ByteArray, DoubleArray

_HALF_WIDTH = 0.10
_SEAT_BACK, _SEAT_FRONT = -0.13, 0.13
_SEAT_DROP = 0.035
_BACK_HEIGHT = 0.34


def _corners(
    foot: tuple[float, float], unit: float, yaw_radians: float, points: list[tuple[float, ...]]
) -> DoubleArray:
    """Return canvas places of (forward, up, aside) points: float64[N, 2]."""
    ahead, up, aside = np.array(points).T
    along = ahead * np.cos(yaw_radians) - aside * np.sin(yaw_radians)
    away = ahead * np.sin(yaw_radians) + aside * np.cos(yaw_radians)
    # A slight view from above: what is farther away is drawn higher.
    return np.stack([foot[0] + along * unit, foot[1] - (up + 0.12 * away) * unit], axis=1)


def paint_chair(
    canvas: ByteArray,
    foot: tuple[float, float],
    unit: float,
    yaw_radians: float,
    shank: float,
    colour: Colour,
) -> None:
    """Draw a chair for a sitter of that shank length; ``foot`` is below the sitter's pelvis."""
    seat = shank - _SEAT_DROP
    edge = max(1, round(0.035 * unit))
    for ahead in (_SEAT_BACK, _SEAT_FRONT):
        for aside in (-_HALF_WIDTH, _HALF_WIDTH):
            points: list[tuple[float, ...]] = [(ahead, 0.0, aside), (ahead, seat, aside)]
            low, high = np.rint(_corners(foot, unit, yaw_radians, points)).astype(int)
            start, end = (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))
            cv2.line(canvas, start, end, shade(colour, 0.55), edge)
    top: list[tuple[float, ...]] = [
        (_SEAT_BACK, seat, -_HALF_WIDTH), (_SEAT_FRONT, seat, -_HALF_WIDTH),
        (_SEAT_FRONT, seat, _HALF_WIDTH), (_SEAT_BACK, seat, _HALF_WIDTH),
        (_SEAT_FRONT, seat - 0.05, -_HALF_WIDTH), (_SEAT_BACK, seat - 0.05, -_HALF_WIDTH),
        (_SEAT_FRONT, seat - 0.05, _HALF_WIDTH), (_SEAT_BACK, seat - 0.05, _HALF_WIDTH),
    ]  # fmt: skip
    lean = _SEAT_BACK - 0.04
    rest: list[tuple[float, ...]] = [
        (_SEAT_BACK, seat, -_HALF_WIDTH), (lean, seat + _BACK_HEIGHT, -_HALF_WIDTH),
        (lean, seat + _BACK_HEIGHT, _HALF_WIDTH), (_SEAT_BACK, seat, _HALF_WIDTH),
        (_SEAT_BACK - 0.04, seat, 0.0), (lean - 0.04, seat + _BACK_HEIGHT, 0.0),
    ]  # fmt: skip
    for points, tone in ((rest, 0.8), (top, 1.0)):
        places = np.rint(_corners(foot, unit, yaw_radians, points)).astype(np.int32)
        cv2.fillConvexPoly(canvas, cv2.convexHull(places), shade(colour, tone))
