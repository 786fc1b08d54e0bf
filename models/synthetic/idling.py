"""What the figure does between actions; none of it carries a label.

Several kinds resemble an action on purpose: getting up retraces sitting down and falling in the
other direction, a slow reach raises a hand without swinging it, a held pose may be a raised arm
or a half bend that does not move.
"""

import numpy as np

from models.synthetic.actions import TAU, Cue, Motion, Track, ease, rows, through
from models.synthetic.dice import Dice
from models.synthetic.figure import LIE_BACK, LIE_FRONT, POSTURES, SIT, STAND, Angle, pose
from models.synthetic.ranges import MOTION
from models.types import DoubleArray

BACKGROUND_KINDS: tuple[str, ...] = (
    "idle", "fidget", "reach", "hold", "get_up_floor", "get_up_chair", "turn_around",
    "off_centre", "second_person",
)  # fmt: skip
# What a figure may do while it stands, sits or lies; getting up is placed by the planner.
STANDING_KINDS: tuple[str, ...] = (
    "idle", "fidget", "reach", "hold", "turn_around", "off_centre", "second_person",
)  # fmt: skip
LONE_KINDS: tuple[str, ...] = STANDING_KINDS[:-1]
LOW_KINDS: tuple[str, ...] = ("idle", "fidget", "reach", "hold")

# Hands on hips, arms crossed, one arm up, both ahead, half bent, hand at the head.
_HELD_STANDING: tuple[dict[str, float], ...] = (
    {
        "shoulder_l": -35, "elbow_l": 95, "spread_l": 35,
        "shoulder_r": -35, "elbow_r": 95, "spread_r": 35,
    },
    {"shoulder_l": 25, "elbow_l": 105, "shoulder_r": 25, "elbow_r": 105},
    {"shoulder_r": 150, "elbow_r": 15},
    {"shoulder_l": 95, "elbow_l": 5, "shoulder_r": 90, "elbow_r": 5},
    {
        "torso": 38, "thigh_l": 22, "knee_l": 40, "thigh_r": 18, "knee_r": 40,
        "shoulder_l": 45, "shoulder_r": 45,
    },
    {"shoulder_l": 120, "elbow_l": 100, "neck": -8},
)  # fmt: skip


def _sway(seconds: DoubleArray, base: DoubleArray, dice: Dice) -> DoubleArray:
    """Return poses that sway a little around ``base``."""
    rate = dice.between(MOTION.sway_hz)
    size = np.deg2rad(dice.between(MOTION.sway_degrees))
    start = dice.phase()
    poses = rows(base, len(seconds))
    poses[:, Angle.TORSO] += size * np.sin(TAU * rate * seconds + start)
    poses[:, Angle.ROLL] += size * np.sin(TAU * 0.7 * rate * seconds + 2 * start)
    poses[:, Angle.NECK] += 2 * size * np.sin(TAU * 0.5 * rate * seconds + start)
    for column in (Angle.SHOULDER_L, Angle.SHOULDER_R):
        poses[:, column] += 1.5 * size * np.sin(TAU * rate * seconds + start + column)
    return poses


def _idle(seconds: DoubleArray, cue: Cue, dice: Dice) -> Track:
    return Track(_sway(seconds, POSTURES[cue.posture], dice))


def _fidget(seconds: DoubleArray, cue: Cue, dice: Dice) -> Track:
    """Shift weight, look about, scratch."""
    poses = _sway(seconds, POSTURES[cue.posture], dice)
    rate = dice.between(MOTION.fidget_hz)
    start = dice.phase()
    letter = dice.pick(("L", "R"))
    beat = np.sin(TAU * rate * seconds + start)
    busy = ease(seconds / 0.4) * ease((cue.duration_seconds - seconds) / 0.4)
    if cue.posture == "stand":
        poses[:, Angle.ROLL] += 0.07 * beat
        poses[:, Angle.THIGH_L] += 0.10 * beat
        poses[:, Angle.THIGH_R] -= 0.08 * beat
        poses[:, Angle.KNEE_L] += 0.16 * np.clip(beat, 0, None)
    if dice.chance(0.6):
        to_chest = dice.between((20.0, 55.0)) - np.rad2deg(poses[0, Angle[f"SHOULDER_{letter}"]])
        poses[:, Angle[f"SHOULDER_{letter}"]] += np.deg2rad(to_chest) * busy * 0.6
        poses[:, Angle[f"ELBOW_{letter}"]] += busy * (0.9 + 0.12 * np.sin(TAU * 2 * rate * seconds))
    poses[:, Angle.NECK] += 0.22 * np.sin(TAU * 0.6 * rate * seconds + start)
    return Track(poses)


def _reach(seconds: DoubleArray, cue: Cue, dice: Dice) -> Track:
    """Raise a hand slowly, once; take it back slowly when there is time."""
    move = dice.between(MOTION.reach_move_seconds)
    target = dice.between((55.0, 150.0))
    stoop = dice.between((-4.0, 24.0))
    letter = dice.pick(("L", "R"))
    poses = _sway(seconds, POSTURES[cue.posture], dice)
    out = ease(seconds / move) * ease((cue.duration_seconds - seconds) / move)
    column = Angle[f"SHOULDER_{letter}"]
    poses[:, column] += out * (np.deg2rad(target) - POSTURES[cue.posture][column])
    poses[:, Angle[f"ELBOW_{letter}"]] *= 1 - 0.6 * out
    if cue.posture in {"stand", "sit"}:
        poses[:, Angle.TORSO] += np.deg2rad(stoop) * out
    return Track(poses)


def _hold(seconds: DoubleArray, cue: Cue, dice: Dice) -> Track:
    """Take a pose and keep it."""
    base = POSTURES[cue.posture].copy()
    if cue.posture == "stand":
        held = pose(**dice.pick(_HELD_STANDING))
        changed = held != 0
        base[changed] = held[changed]
    return Track(_sway(seconds, base, dice))


def _get_up_chair(seconds: DoubleArray, cue: Cue, dice: Dice) -> Track:
    """Lean forward, push off the knees, straighten."""
    lean = dice.between((34.0, 50.0))
    loaded = SIT.copy()
    loaded[Angle.TORSO] = np.deg2rad(lean)
    risen = pose(torso=lean * 0.8, thigh_l=38, thigh_r=40, knee_l=48, knee_r=50, stance=5,
                 shoulder_l=40, shoulder_r=42, elbow_l=20, elbow_r=20)  # fmt: skip
    whole = cue.duration_seconds
    keys = [(0.0, SIT), (0.34 * whole, loaded), (0.68 * whole, risen), (whole, STAND)]
    return Track(through(seconds, keys))


def _get_up_floor(seconds: DoubleArray, cue: Cue, dice: Dice) -> Track:
    """From the front over hands and knees, from the back over sitting up; then a crouch."""
    torso = dice.between((32.0, 52.0))
    crouch = pose(torso=torso, thigh_l=95, thigh_r=70, knee_l=122, knee_r=118, stance=6,
                  shoulder_l=55, shoulder_r=60, elbow_l=15, elbow_r=15)  # fmt: skip
    whole = cue.duration_seconds
    if cue.posture == "lie_back":
        halfway = pose(torso=-12, thigh_l=92, thigh_r=104, knee_l=48, knee_r=70, stance=8,
                       shoulder_l=-30, shoulder_r=-35, spread_l=15, spread_r=15)  # fmt: skip
        start = LIE_BACK
    else:
        halfway = pose(torso=68, thigh_l=12, thigh_r=-6, knee_l=92, knee_r=80, stance=6,
                       shoulder_l=75, shoulder_r=70, elbow_l=5, elbow_r=5)  # fmt: skip
        start = LIE_FRONT
    keys = [(0.0, start), (0.42 * whole, halfway), (0.70 * whole, crouch), (whole, STAND)]
    return Track(through(seconds, keys))


def _turn_around(seconds: DoubleArray, cue: Cue, dice: Dice) -> Track:
    """Turn on the spot with small steps."""
    poses = _sway(seconds, POSTURES[cue.posture], dice)
    share = ease(seconds / max(0.75 * cue.duration_seconds, 0.1))
    poses[:, Angle.YAW] = cue.turn_radians * share
    stepping = np.sin(np.pi * share) * np.sin(TAU * 1.4 * seconds)
    poses[:, Angle.KNEE_L] += 0.35 * np.clip(stepping, 0, None)
    poses[:, Angle.THIGH_L] += 0.20 * np.clip(stepping, 0, None)
    poses[:, Angle.KNEE_R] += 0.35 * np.clip(-stepping, 0, None)
    poses[:, Angle.THIGH_R] += 0.20 * np.clip(-stepping, 0, None)
    return Track(poses)


_MOTIONS: dict[str, Motion] = {
    "idle": _idle,
    "fidget": _fidget,
    "reach": _reach,
    "hold": _hold,
    "get_up_floor": _get_up_floor,
    "get_up_chair": _get_up_chair,
    "turn_around": _turn_around,
    "off_centre": _idle,
    "second_person": _fidget,
}


def pass_time(seconds: DoubleArray, cue: Cue) -> Track:
    """Return the movement of a background cue at ``seconds`` after its start."""
    return _MOTIONS[cue.kind](seconds, cue, Dice(cue.seed, 2))
