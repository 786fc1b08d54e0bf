"""Walls and floors: wide pictures drawn once per video, past which the camera moves."""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from models.synthetic.dice import Dice
from models.synthetic.ranges import LooksRanges, Range
from models.types import ByteArray

Colour = tuple[int, int, int]
# The picture repeats after so many body heights.
PANORAMA_WIDTH = 8.0
WALL_HEIGHT = 2.6
FLOOR_DEPTH = 1.1


def hsv(hue_degrees: float, saturation: float, value: float) -> Colour:
    """Return an RGB colour."""
    red, green, blue = colorsys.hsv_to_rgb((hue_degrees % 360) / 360, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_colour(bands: tuple[Range, ...], dice: Dice, saturation: Range, value: Range) -> Colour:
    """Return a colour whose hue lies in one of ``bands``."""
    hue = dice.between(dice.pick(bands))
    return hsv(hue, dice.between(saturation), dice.between(value))


def shade(colour: Colour, factor: float) -> Colour:
    """Return ``colour`` made darker (factor < 1) or lighter."""
    red, green, blue = (min(255, max(0, round(part * factor))) for part in colour)
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Backdrop:
    """Prepared pictures.

    Attributes:
        wall, floor: uint8[H, W, 3], the panorama and a repeated margin to its right.
        density: pixels per body height.
    """

    wall: ByteArray
    floor: ByteArray
    density: float


def _bands(image: ByteArray, unit: float, other: Colour, dice: Dice) -> None:
    step = unit * dice.between((0.14, 0.45))
    if dice.chance(0.5):
        for row in np.arange(0, image.shape[0], 2 * step):
            image[int(row) : int(row + step)] = other
    else:
        for column in np.arange(0, image.shape[1], 2 * step):
            image[:, int(column) : int(column + step)] = other


def _blotches(image: ByteArray, unit: float, other: Colour, dice: Dice) -> None:
    for _ in range(90):
        centre = (dice.whole(image.shape[1]), dice.whole(image.shape[0]))
        axes = (int(unit * dice.between((0.05, 0.3))), int(unit * dice.between((0.05, 0.25))))
        colour = shade(other, dice.between((0.75, 1.25)))
        cv2.ellipse(image, centre, axes, dice.between((0, 180)), 0, 360, colour, -1)


def _bricks(image: ByteArray, unit: float, other: Colour, dice: Dice) -> None:
    height = unit * dice.between((0.10, 0.2))
    width = 2.2 * height
    line = max(1, int(unit * 0.018))
    for index, row in enumerate(np.arange(0, image.shape[0], height)):
        cv2.line(image, (0, int(row)), (image.shape[1], int(row)), other, line)
        for column in np.arange((index % 2) * width / 2, image.shape[1], width):
            cv2.line(image, (int(column), int(row)), (int(column), int(row + height)), other, line)


def _panels(image: ByteArray, unit: float, other: Colour, dice: Dice) -> None:
    for _ in range(26):
        left, top = dice.whole(image.shape[1]), dice.whole(image.shape[0])
        size = (int(unit * dice.between((0.2, 0.6))), int(unit * dice.between((0.2, 0.7))))
        corner = (left + size[0], top + size[1])
        cv2.rectangle(image, (left, top), corner, shade(other, dice.between((0.6, 1.4))), -1)
        cv2.rectangle(image, (left, top), corner, shade(other, 0.4), max(1, int(unit * 0.015)))


def _checks(image: ByteArray, unit: float, other: Colour, dice: Dice) -> None:
    step = unit * dice.between((0.12, 0.32))
    rows = (np.arange(image.shape[0]) / step).astype(int)
    columns = (np.arange(image.shape[1]) / step).astype(int)
    image[(rows[:, None] + columns[None, :]) % 2 == 1] = other


def _dots(image: ByteArray, unit: float, other: Colour, dice: Dice) -> None:
    step = unit * dice.between((0.16, 0.34))
    radius = int(step * dice.between((0.2, 0.36)))
    for index, row in enumerate(np.arange(0, image.shape[0], step)):
        for column in np.arange((index % 2) * step / 2, image.shape[1], step):
            cv2.circle(image, (int(column), int(row)), radius, other, -1)


def _hatching(image: ByteArray, unit: float, other: Colour, dice: Dice) -> None:
    step = unit * dice.between((0.14, 0.34))
    line = max(1, int(step * dice.between((0.2, 0.45))))
    slope = int(dice.side() * image.shape[0])
    for column in np.arange(-image.shape[0], image.shape[1] + image.shape[0], step):
        cv2.line(image, (int(column), 0), (int(column) + slope, image.shape[0]), other, line)


def _skyline(image: ByteArray, unit: float, other: Colour, dice: Dice) -> None:
    column = 0
    while column < image.shape[1]:
        width = int(unit * dice.between((0.25, 0.7)))
        top = int(image.shape[0] - unit * dice.between((0.5, 2.2)))
        colour = shade(other, dice.between((0.6, 1.3)))
        cv2.rectangle(image, (column, top), (column + width, image.shape[0]), colour, -1)
        step = max(2, int(unit * 0.12))
        for row in range(top + step, image.shape[0], 2 * step):
            for window in range(column + step // 2, column + width - step, 2 * step):
                corner = (window + step // 2, row + step // 2)
                cv2.rectangle(image, (window, row), corner, shade(colour, 1.5), -1)
        column += width + int(unit * dice.between((0.0, 0.3)))


def _plain(_image: ByteArray, _unit: float, _other: Colour, _dice: Dice) -> None:
    return


def _boards(image: ByteArray, unit: float, other: Colour, _dice: Dice) -> None:
    line = max(1, int(unit * 0.015))
    for row in np.arange(0, image.shape[0], unit * 0.13):
        cv2.line(image, (0, int(row)), (image.shape[1], int(row)), other, line)
    for index, column in enumerate(np.arange(0, image.shape[1], unit * 0.5)):
        top = int(unit * 0.13 * (index % 4))
        cv2.line(image, (int(column), top), (int(column), top + int(unit * 0.13)), other, line)


def _speckle(image: ByteArray, unit: float, other: Colour, dice: Dice) -> None:
    for _ in range(260):
        centre = (dice.whole(image.shape[1]), dice.whole(image.shape[0]))
        cv2.circle(image, centre, max(1, int(unit * dice.between((0.01, 0.03)))), other, -1)


def _tiles(image: ByteArray, unit: float, other: Colour, _dice: Dice) -> None:
    line = max(1, int(unit * 0.02))
    for row in np.arange(0, image.shape[0], unit * 0.2):
        cv2.line(image, (0, int(row)), (image.shape[1], int(row)), other, line)
    for column in np.arange(0, image.shape[1], unit * 0.36):
        cv2.line(image, (int(column), 0), (int(column - unit * 0.4), image.shape[0]), other, line)


TEXTURES: dict[str, Callable[[ByteArray, float, Colour, Dice], None]] = {
    "bands": _bands,
    "blotches": _blotches,
    "bricks": _bricks,
    "panels": _panels,
    "checks": _checks,
    "dots": _dots,
    "hatching": _hatching,
    "skyline": _skyline,
    "plain": _plain,
    "boards": _boards,
    "speckle": _speckle,
    "tiles": _tiles,
}


def _furnish(image: ByteArray, unit: float, bands: tuple[Range, ...], dice: Dice) -> None:
    """Stand a few posts and boxes against the wall."""
    for _ in range(3 + dice.whole(5)):
        left = dice.whole(image.shape[1])
        width = int(unit * dice.between((0.05, 0.35)))
        top = int(image.shape[0] - unit * dice.between((0.2, 1.6)))
        colour = draw_colour(bands, dice, (0.1, 0.5), (0.2, 0.8))
        cv2.rectangle(image, (left, top), (left + width, image.shape[0]), colour, -1)
        edge = max(1, int(0.02 * unit))
        cv2.line(image, (left, top), (left, image.shape[0]), shade(colour, 0.6), edge)


def _paint(texture: str, rows: float, density: float, looks: LooksRanges, dice: Dice) -> ByteArray:
    base = draw_colour(looks.wall_hues, dice, (0.08, 0.45), (0.35, 0.85))
    other = shade(base, dice.pick((0.62, 0.75, 0.85, 1.15, 1.3)))
    shape = (int(rows * density), int(PANORAMA_WIDTH * density), 3)
    image: ByteArray = np.full(shape, base, np.uint8)
    TEXTURES[texture](image, density, other, dice)
    return image


def _lengthen(image: ByteArray, margin_px: int) -> ByteArray:
    repeats = 1 + margin_px // image.shape[1]
    return np.ascontiguousarray(np.concatenate([image, *[image] * repeats], axis=1))


def paint_backdrop(looks: LooksRanges, dice: Dice, density: float, view_width: float) -> Backdrop:
    """Return the pictures of one video.

    Args:
        looks: ranges.
        dice: draws.
        density: pixels per body height.
        view_width: widest view in body heights.
    """
    wall = _paint(dice.pick(looks.wall_textures), WALL_HEIGHT, density, looks, dice)
    _furnish(wall, density, looks.wall_hues, dice)
    floor = _paint(dice.pick(looks.floor_textures), FLOOR_DEPTH, density, looks, dice)
    margin = int((view_width + 0.5) * density)
    return Backdrop(_lengthen(wall, margin), _lengthen(floor, margin), density)
