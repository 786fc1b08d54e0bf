"""The eight labelled actions: joint angles as functions of time.

Each function draws its style first, in a fixed order, and then evaluates at any instants, so the
same seed gives the same movement at every frame rate. Repeating actions fit a whole number of
repetitions into their duration, so that they start and end near rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from models.synthetic.dice import Dice
from models.synthetic.figure import LIE_BACK, LIE_FRONT, POSTURES, SIT, STAND, Angle, pose
from models.synthetic.ranges import MOTION
from models.types import DoubleArray

ACTIONS: tuple[str, ...] = ("walk", "run", "jump", "wave", "fall", "sit_down", "kick", "bend")
TAU = 2 * float(np.pi)


@dataclass(frozen=True, slots=True)
class Cue:
    """One stretch of behaviour.

    Attributes:
        kind: an action or a background kind.
        duration_seconds: how long it lasts.
        posture: key of POSTURES in which it begins.
        seed: of its style.
        turn_radians: by how much the figure turns round in it.
    """

    kind: str
    duration_seconds: float
    posture: str
    seed: int
    turn_radians: float = 0.0


@dataclass(frozen=True, slots=True)
class Track:
    """Movement sampled at F instants.

    Attributes:
        poses: float64[F, POSE_WIDTH], yaw relative to the cue's start.
        advance: float64[F], forward travel since the cue's start; None: the feet stay put.
    """

    poses: DoubleArray
    advance: DoubleArray | None = None


Motion = Callable[[DoubleArray, Cue, Dice], Track]


def rows(base: DoubleArray, count: int) -> DoubleArray:
    """Return ``base`` repeated: float64[count, POSE_WIDTH]."""
    return np.repeat(base[None, :], count, axis=0)


def ease(share: DoubleArray) -> DoubleArray:
    """Return a smooth step: 0 below 0, 1 above 1, without a jump of speed."""
    clipped = np.clip(share, 0.0, 1.0)
    return np.asarray(clipped * clipped * (3.0 - 2.0 * clipped))


def through(seconds: DoubleArray, keys: Sequence[tuple[float, DoubleArray]]) -> DoubleArray:
    """Return poses that pass ``keys`` (instant, pose) smoothly: float64[F, POSE_WIDTH]."""
    result = rows(keys[0][1], len(seconds))
    for (start, before), (end, after) in pairwise(keys):
        weight = ease((seconds - start) / max(end - start, 1e-6))[:, None]
        inside = seconds >= start
        result[inside] = (before + weight * (after - before))[inside]
    return result


def _cycle(seconds: DoubleArray, duration: float, period: float) -> DoubleArray:
    """Return the share of the running repetition, whole repetitions filling the duration."""
    repetitions = max(1, round(duration / period))
    return np.asarray(np.mod(seconds * repetitions / duration, 1.0))


def _curve(share: DoubleArray, points: Sequence[tuple[float, float]]) -> DoubleArray:
    """Return a smooth curve through (share, value) points."""
    result = np.full_like(share, points[0][1])
    for (start, before), (end, after) in pairwise(points):
        inside = share >= start
        result[inside] = (before + (after - before) * ease((share - start) / (end - start)))[inside]
    return result


def _gait(phase: DoubleArray, thigh: float, knee: float, rest: float) -> DoubleArray:
    """Return a stride's thigh and knee angles of both legs: float64[F, 4] in radians."""
    columns = []
    for shift in (0.0, np.pi):
        turn = phase + shift
        columns.append(thigh * np.sin(turn))
        columns.append(rest + knee * np.clip(np.cos(turn + 0.45), 0.0, None) ** 1.4)
    return np.stack(columns, axis=1)


_LEGS = [Angle.THIGH_L, Angle.KNEE_L, Angle.THIGH_R, Angle.KNEE_R]


def walk(seconds: DoubleArray, _cue: Cue, dice: Dice) -> Track:
    """Walk: upright, arms swinging nearly straight, one foot always down."""
    strides = dice.between(MOTION.walk_strides_hz)
    thigh = np.deg2rad(dice.between(MOTION.walk_thigh_degrees))
    arm = np.deg2rad(dice.between(MOTION.walk_arm_degrees))
    phase = TAU * strides * seconds + dice.phase()
    poses = rows(STAND, len(seconds))
    poses[:, _LEGS] = _gait(phase, thigh, np.deg2rad(52), np.deg2rad(5))
    poses[:, Angle.SHOULDER_L] = -arm * np.sin(phase)
    poses[:, Angle.SHOULDER_R] = arm * np.sin(phase)
    poses[:, [Angle.ELBOW_L, Angle.ELBOW_R]] = np.deg2rad(18)
    poses[:, Angle.TORSO] = np.deg2rad(3) + np.deg2rad(1.5) * np.sin(2 * phase)
    speed = 4 * 0.47 * np.sin(thigh) * strides
    return Track(poses, speed * seconds)


def run(seconds: DoubleArray, _cue: Cue, dice: Dice) -> Track:
    """Run: leaning, elbows bent, high knees, a flight phase in each step."""
    strides = dice.between(MOTION.run_strides_hz)
    thigh = np.deg2rad(dice.between(MOTION.run_thigh_degrees))
    knee = np.deg2rad(dice.between(MOTION.run_knee_degrees))
    lean = np.deg2rad(dice.between(MOTION.run_lean_degrees))
    lift = dice.between(MOTION.run_lift)
    phase = TAU * strides * seconds + dice.phase()
    poses = rows(STAND, len(seconds))
    poses[:, _LEGS] = _gait(phase, thigh, knee, np.deg2rad(18))
    poses[:, [Angle.THIGH_L, Angle.THIGH_R]] += np.deg2rad(14)
    poses[:, Angle.SHOULDER_L] = lean - 0.95 * np.sin(phase)
    poses[:, Angle.SHOULDER_R] = lean + 0.95 * np.sin(phase)
    poses[:, [Angle.ELBOW_L, Angle.ELBOW_R]] = np.deg2rad(92)
    poses[:, Angle.TORSO] = lean + np.deg2rad(2) * np.sin(2 * phase)
    poses[:, Angle.LIFT] = lift * np.clip(-np.cos(2 * phase), 0.0, None)
    speed = 1.45 * 4 * 0.47 * np.sin(thigh) * strides * 0.62
    return Track(poses, speed * seconds)


def jump(seconds: DoubleArray, cue: Cue, dice: Dice) -> Track:
    """Jump on the spot, again and again: crouch, push off with the arms, fly, land."""
    period = dice.between(MOTION.jump_period_seconds)
    lift = dice.between(MOTION.jump_lift)
    crouch = np.deg2rad(dice.between(MOTION.jump_crouch_degrees))
    share = _cycle(seconds, cue.duration_seconds, period)
    depth = _curve(share, [(0, 0.15), (0.26, 1), (0.42, 0), (0.76, 0), (0.88, 0.8), (1, 0.15)])
    arms = _curve(share, [(0, -5), (0.24, -55), (0.45, 135), (0.62, 150), (0.84, 40), (1, -5)])
    flight = np.clip((share - 0.40) / 0.38, 0.0, 1.0)
    poses = rows(STAND, len(seconds))
    for letter, lag in (("L", 1.0), ("R", 0.95)):
        poses[:, Angle[f"THIGH_{letter}"]] = crouch * depth * lag
        poses[:, Angle[f"KNEE_{letter}"]] = 1.85 * crouch * depth * lag + 0.05
        poses[:, Angle[f"SHOULDER_{letter}"]] = np.deg2rad(arms) * lag
    poses[:, Angle.TORSO] = 0.62 * crouch * depth
    poses[:, Angle.LIFT] = lift * 4 * flight * (1 - flight)
    return Track(poses)


def wave(seconds: DoubleArray, _cue: Cue, dice: Dice) -> Track:
    """Wave: a raised forearm (or both) swings to and fro."""
    rate = dice.between(MOTION.wave_hz)
    swing = np.deg2rad(dice.between(MOTION.wave_swing_degrees))
    raised = dice.between((105.0, 140.0))
    both = dice.chance(MOTION.wave_both_arms_chance)
    first = dice.pick(("L", "R"))
    start = dice.phase()
    poses = rows(STAND, len(seconds))
    beat = np.sin(TAU * rate * seconds + start)
    for letter in ("L", "R"):
        if letter == first or both:
            side = 1.0 if letter == first else -1.0
            poses[:, Angle[f"SHOULDER_{letter}"]] = np.deg2rad(raised) + 0.22 * swing * side * beat
            poses[:, Angle[f"ELBOW_{letter}"]] = np.deg2rad(172 - raised) + swing * side * beat
            poses[:, Angle[f"SPREAD_{letter}"]] = np.deg2rad(16)
    poses[:, Angle.ROLL] = np.deg2rad(2) * np.sin(TAU * 0.5 * rate * seconds + start)
    return Track(poses)


def fall(seconds: DoubleArray, cue: Cue, dice: Dice) -> Track:
    """Lose balance, flail, drop to the ground and writhe there."""
    stumble = dice.between(MOTION.fall_stumble_seconds)
    drop = stumble + dice.between(MOTION.fall_drop_seconds)
    rate = dice.between(MOTION.writhe_hz)
    flail = dice.between((2.2, 3.0))
    backward = falls_backward(cue)
    side = -1.0 if backward else 1.0
    lying = LIE_BACK if backward else LIE_FRONT
    tilt = pose(torso=side * 28, thigh_l=-8 + 26 * side, thigh_r=-22 * side, knee_l=28, knee_r=22,
                shoulder_l=70, shoulder_r=20, elbow_l=30, elbow_r=30, spread_l=35, spread_r=35,
                stance=6)  # fmt: skip
    buckle = pose(torso=side * 50, thigh_l=48 if backward else 20, thigh_r=30 if backward else -20,
                  knee_l=70, knee_r=72, shoulder_l=105, shoulder_r=85, elbow_l=15, elbow_r=20,
                  spread_l=25, spread_r=25, stance=6)  # fmt: skip
    middle = stumble + 0.5 * (drop - stumble)
    keys = [(0.0, STAND), (stumble, tilt), (middle, buckle), (drop, lying)]
    poses = through(seconds, keys)
    wild = ease(seconds / 0.2) * (1 - ease((seconds - middle) / 0.4))
    poses[:, Angle.SHOULDER_L] += 0.9 * wild * np.sin(TAU * flail * seconds)
    poses[:, Angle.SHOULDER_R] += 0.9 * wild * np.cos(TAU * flail * seconds)
    since = np.clip(seconds - drop, 0.0, None)
    strength = ease(since / 0.25)
    beat = TAU * rate * since
    for letter, shift in (("L", 0.0), ("R", 2.0)):
        pull = strength * (0.5 - 0.5 * np.cos(beat + shift) - (0.5 - 0.5 * np.cos(shift)))
        poses[:, Angle[f"THIGH_{letter}"]] += side * -0.1 * pull + (0.55 * pull if backward else 0)
        poses[:, Angle[f"KNEE_{letter}"]] += 1.15 * np.abs(pull)
        poses[:, Angle[f"SHOULDER_{letter}"]] += 0.6 * strength * np.sin(beat + shift)
    poses[:, Angle.TORSO] += -side * 0.2 * strength * np.sin(beat) ** 2
    poses[:, Angle.LIFT] += 0.03 * np.sin(np.pi * np.clip(since / 0.22, 0, 1))
    travel = 0.34 * ease(seconds / drop) + 0.12 * ease(seconds / stumble)
    return Track(poses, side * travel)


def falls_backward(cue: Cue) -> bool:
    """Return whether this fall ends on the back."""
    return Dice(cue.seed, 7).chance(MOTION.fall_backward_chance)


def sit_down(seconds: DoubleArray, cue: Cue, dice: Dice) -> Track:
    """Sit down: lean forward, reach back for the seat, lower, then shuffle into place."""
    lowering = cue.duration_seconds * dice.between(MOTION.sit_lowering_share)
    lean = dice.between(MOTION.sit_lean_degrees)
    rate = dice.between((1.1, 1.6))
    ready = pose(
        torso=lean * 0.75,
        thigh_l=26,
        thigh_r=24,
        knee_l=34,
        knee_r=33,
        stance=5,
        shoulder_l=-30,
        shoulder_r=-34,
        elbow_l=10,
        elbow_r=10,
        spread_l=12,
        spread_r=12,
    )
    low = pose(
        torso=lean,
        thigh_l=62,
        thigh_r=66,
        knee_l=76,
        knee_r=80,
        stance=5,
        shoulder_l=-42,
        shoulder_r=-46,
        elbow_l=24,
        elbow_r=22,
        spread_l=14,
        spread_r=14,
    )
    seated = SIT.copy()
    seated[Angle.TORSO] = np.deg2rad(lean * 0.6)
    seated[[Angle.SHOULDER_L, Angle.SHOULDER_R]] = np.deg2rad(-28)
    keys = [(0.0, STAND), (0.32 * lowering, ready), (0.72 * lowering, low), (lowering, seated),
            (cue.duration_seconds, SIT)]  # fmt: skip
    poses = through(seconds, keys)
    rest = max(cue.duration_seconds - lowering, 0.1)
    since = np.clip((seconds - lowering) / rest, 0.0, 1.0)
    shuffle = np.sin(np.pi * since) * np.sin(TAU * rate * (seconds - lowering))
    poses[:, Angle.TORSO] += 0.16 * shuffle
    poses[:, Angle.THIGH_L] += 0.10 * shuffle
    poses[:, Angle.THIGH_R] -= 0.10 * shuffle
    return Track(poses)


def kick(seconds: DoubleArray, cue: Cue, dice: Dice) -> Track:
    """Kick forward, again and again: wind up behind, strike high, come back."""
    period = dice.between(MOTION.kick_period_seconds)
    height = dice.between(MOTION.kick_height_degrees)
    alternate = dice.chance(MOTION.kick_alternate_chance)
    first = dice.pick((0, 1))
    share = _cycle(seconds, cue.duration_seconds, period)
    count = np.floor(seconds * max(1, round(cue.duration_seconds / period)) / cue.duration_seconds)
    right = np.mod(count + first, 2) == 1 if alternate else np.full(len(seconds), bool(first))
    thigh = np.deg2rad(
        _curve(share, [(0, 0), (0.28, -36), (0.50, height), (0.60, height - 8), (0.86, 8), (1, 0)])
    )
    knee = np.deg2rad(
        _curve(share, [(0, 4), (0.30, 82), (0.50, 6), (0.62, 14), (0.82, 34), (1, 4)])
    )
    effort = _curve(share, [(0, 0), (0.28, -0.5), (0.52, 1), (0.85, 0.1), (1, 0)])
    poses = rows(STAND, len(seconds))
    for letter, active, other in (("L", ~right, "R"), ("R", right, "L")):
        poses[active, Angle[f"THIGH_{letter}"]] = thigh[active]
        poses[active, Angle[f"KNEE_{letter}"]] = knee[active]
        poses[active, Angle[f"KNEE_{other}"]] = 0.18 + 0.12 * np.abs(effort[active])
        poses[active, Angle[f"THIGH_{other}"]] = 0.08
        poses[active, Angle[f"SHOULDER_{letter}"]] = -0.75 * effort[active]
        poses[active, Angle[f"SHOULDER_{other}"]] = 0.85 * effort[active]
    poses[:, [Angle.ELBOW_L, Angle.ELBOW_R]] = np.deg2rad(45)
    poses[:, [Angle.SPREAD_L, Angle.SPREAD_R]] = np.deg2rad(18)
    poses[:, Angle.TORSO] = -0.26 * effort
    return Track(poses, np.zeros(len(seconds)))


def bend(seconds: DoubleArray, cue: Cue, dice: Dice) -> Track:
    """Bend down to the ground with both hands, again and again, hands busy below."""
    period = dice.between(MOTION.bend_period_seconds)
    depth = np.deg2rad(dice.between(MOTION.bend_depth_degrees))
    knees = np.deg2rad(dice.between((8.0, 38.0)))
    rate = dice.between((1.6, 2.4))
    share = _cycle(seconds, cue.duration_seconds, period)
    low = (0.5 - 0.5 * np.cos(TAU * share)) ** 0.62
    busy = 0.22 * low**3 * np.sin(TAU * rate * seconds)
    poses = rows(STAND, len(seconds))
    poses[:, Angle.TORSO] = np.deg2rad(6) + (depth - np.deg2rad(6)) * low
    # Arms hang towards the ground while the torso turns over.
    for letter, sign in (("L", 1.0), ("R", -1.0)):
        poses[:, Angle[f"SHOULDER_{letter}"]] = 0.98 * depth * low + sign * busy
        poses[:, Angle[f"THIGH_{letter}"]] = (0.5 * knees - 0.14) * low
        poses[:, Angle[f"KNEE_{letter}"]] = 0.05 + knees * low
    return Track(poses)


_MOTIONS: dict[str, Motion] = {
    "walk": walk,
    "run": run,
    "jump": jump,
    "wave": wave,
    "fall": fall,
    "sit_down": sit_down,
    "kick": kick,
    "bend": bend,
}


def perform(seconds: DoubleArray, cue: Cue) -> Track:
    """Return the movement of an action cue at ``seconds`` after its start."""
    return _MOTIONS[cue.kind](seconds, cue, Dice(cue.seed, 1))


def posture_after(cue: Cue) -> str:
    """Return the posture (key of POSTURES) in which a cue ends."""
    if cue.kind == "fall":
        return "lie_back" if falls_backward(cue) else "lie_front"
    if cue.kind == "sit_down":
        return "sit"
    if cue.kind in {"get_up_floor", "get_up_chair"} or cue.kind in ACTIONS:
        return "stand"
    return cue.posture if cue.posture in POSTURES else "stand"
