"""Camera and light: how the view and the brightness change over a video."""

from dataclasses import dataclass

import numpy as np

from models.synthetic.actions import TAU, ease
from models.synthetic.dice import Dice
from models.synthetic.plan import VideoPlan
from models.synthetic.ranges import SCENE, LooksRanges
from models.types import DoubleArray

# The followed figure stays within this share of the frame height around the middle.
_MOST_LAG_SHARE = 0.13
# Where the feet stand: below the middle by this share of the figure.
_FEET_BELOW_MIDDLE = 0.54


@dataclass(frozen=True, slots=True)
class Camera:
    """The view of every frame.

    Attributes:
        centre: float64[F], place along the scene in the middle of the frame, in body heights.
        scale: float64[F], pixels per body height.
        middle: float64[F], column of ``centre`` in pixels.
        ground: float64[F], row of the ground under the figure in pixels.
    """

    centre: DoubleArray
    scale: DoubleArray
    middle: DoubleArray
    ground: DoubleArray


def _wobble(seconds: DoubleArray, dice: Dice, slowest_hz: float, fastest_hz: float) -> DoubleArray:
    """Return a smooth aperiodic curve of amplitude about 1: float64[F]."""
    result = np.zeros_like(seconds)
    for _ in range(4):
        rate = dice.between((slowest_hz, fastest_hz))
        result += 0.4 * np.sin(TAU * rate * seconds + dice.phase())
    return result


def _off_centre(plan: VideoPlan, seconds: DoubleArray, dice: Dice) -> DoubleArray:
    """Return by which share of the frame height the view leaves the figure: float64[F]."""
    result = np.zeros_like(seconds)
    for stretch in plan.stretches:
        if stretch.cue.kind != "off_centre":
            continue
        size = dice.side() * dice.between(SCENE.off_centre_share)
        move = min(0.5, 0.45 * stretch.cue.duration_seconds)
        result += (
            size
            * ease((seconds - stretch.start_seconds) / move)
            * ease((stretch.end_seconds - seconds) / move)
        )
    return result


def follow(plan: VideoPlan, looks: LooksRanges, root: DoubleArray, seconds: DoubleArray) -> Camera:
    """Return the view that follows the figure at ``root`` (float64[F], body heights)."""
    dice = Dice(plan.spec.seed, 21)
    height = plan.spec.height_px
    base = dice.between(looks.figure_share) * height
    zoom = dice.between(looks.zoom_depth) * _wobble(seconds, dice, 0.04, 0.2)
    scale = base * (1 + np.clip(zoom, -0.12, 0.12))
    lag = dice.between(looks.follow_seconds)
    blend = 1.0 - np.exp(-1.0 / (plan.spec.fps * lag))
    most = _MOST_LAG_SHARE * height / base
    centre = np.empty_like(root)
    now = root[0]
    for index, target in enumerate(root):
        now += blend * (target - now)
        now = min(max(now, target - most), target + most)
        centre[index] = now
    pan = dice.between(SCENE.pan_share) * _wobble(seconds, dice, 0.05, 0.25)
    centre = centre + (pan + _off_centre(plan, seconds, dice)) * height / base
    shake = dice.between(looks.shake_share) * height
    middle = plan.spec.width_px / 2 + shake * _wobble(seconds, dice, 0.8, 5.0)
    ground = height / 2 + _FEET_BELOW_MIDDLE * base + shake * _wobble(seconds, dice, 0.8, 5.0)
    return Camera(centre, scale, middle, ground)


def light_gains(plan: VideoPlan, looks: LooksRanges, seconds: DoubleArray) -> DoubleArray:
    """Return the brightness factor per frame and colour channel: float64[F, 3]."""
    dice = Dice(plan.spec.seed, 22)
    drift = 1 + dice.between(looks.light_drift) * _wobble(seconds, dice, 0.02, 0.25)
    minutes = plan.spec.duration_seconds / 60
    steps = dice.generator.poisson(dice.between(SCENE.light_steps_per_minute) * minutes)
    for _ in range(int(steps)):
        start = dice.between((0.0, plan.spec.duration_seconds))
        until = start + dice.between((0.4, 8.0))
        factor = dice.between(SCENE.light_step_factor)
        drift[(seconds >= start) & (seconds < until)] *= factor
    tint = np.array([dice.between((0.93, 1.07)) for _ in range(3)])
    return np.asarray(np.clip(drift, 0.45, 1.6)[:, None] * tint)
