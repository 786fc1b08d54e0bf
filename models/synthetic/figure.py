"""The figure: a pose as joint angles, a body as lengths, and the joints' places in space.

A pose is a row of ``POSE_WIDTH`` numbers (radians; lift and advance in body heights). Torso and
thighs are measured against the vertical, everything else against its parent. Local axes: x where
the figure faces, y up, z to its left.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from models.types import DoubleArray


class Angle(IntEnum):
    """Columns of a pose."""

    TORSO = 0
    ROLL = 1
    NECK = 2
    SHOULDER_L = 3
    SPREAD_L = 4
    ELBOW_L = 5
    SHOULDER_R = 6
    SPREAD_R = 7
    ELBOW_R = 8
    THIGH_L = 9
    KNEE_L = 10
    THIGH_R = 11
    KNEE_R = 12
    STANCE = 13
    LIFT = 14
    YAW = 15


POSE_WIDTH = len(Angle)


class Joint(IntEnum):
    """Rows of a joint array."""

    PELVIS = 0
    CHEST = 1
    HEAD = 2
    SHOULDER_L = 3
    ELBOW_L = 4
    HAND_L = 5
    SHOULDER_R = 6
    ELBOW_R = 7
    HAND_R = 8
    HIP_L = 9
    KNEE_L = 10
    ANKLE_L = 11
    TOE_L = 12
    HIP_R = 13
    KNEE_R = 14
    ANKLE_R = 15
    TOE_R = 16


@dataclass(frozen=True, slots=True)
class Body:
    """Lengths of one body in body heights; ``girth`` scales every limb's radius."""

    torso: float
    upper_arm: float
    forearm: float
    thigh: float
    shank: float
    foot: float
    head_radius: float
    girth: float

    @property
    def shoulder_half(self) -> float:
        """Half the distance between the shoulders."""
        return 0.095 * self.girth

    @property
    def hip_half(self) -> float:
        """Half the distance between the hips."""
        return 0.055 * self.girth


def build_body(leg: float, arm: float, girth: float, head_radius: float) -> Body:
    """Return a body of standing height 1 from its leg and arm length."""
    ankle = 0.03
    torso = 1.0 - leg - ankle - 2 * head_radius - 0.035
    return Body(
        torso=torso,
        upper_arm=0.5 * arm,
        forearm=0.5 * arm,
        thigh=0.5 * leg,
        shank=0.5 * leg,
        foot=0.085,
        head_radius=head_radius,
        girth=girth,
    )


def pose(**degrees: float) -> DoubleArray:
    """Return float64[POSE_WIDTH] from angles in degrees by column name; LIFT is a length."""
    row = np.zeros(POSE_WIDTH)
    for name, value in degrees.items():
        column = Angle[name.upper()]
        row[column] = value if column is Angle.LIFT else np.deg2rad(value)
    return row


_ARMS_LOW = {"spread_l": 8.0, "spread_r": 8.0, "elbow_l": 14.0, "elbow_r": 14.0}
STAND = pose(thigh_l=3, thigh_r=-3, knee_l=3, knee_r=3, stance=4, **_ARMS_LOW)
SIT = pose(
    torso=-6, thigh_l=84, thigh_r=90, knee_l=84, knee_r=92, stance=5, neck=4,
    shoulder_l=32, shoulder_r=38, elbow_l=52, elbow_r=48, spread_l=6, spread_r=6,
)  # fmt: skip
LIE_FRONT = pose(
    torso=88, thigh_l=-86, thigh_r=-90, knee_l=4, knee_r=10, stance=8, neck=-18,
    shoulder_l=140, shoulder_r=120, elbow_l=60, elbow_r=75, spread_l=20, spread_r=20,
)  # fmt: skip
LIE_BACK = pose(
    torso=-88, thigh_l=92, thigh_r=112, knee_l=10, knee_r=58, stance=8, neck=14,
    shoulder_l=20, shoulder_r=35, elbow_l=30, elbow_r=50, spread_l=25, spread_r=25,
)  # fmt: skip
POSTURES: dict[str, DoubleArray] = {
    "stand": STAND,
    "sit": SIT,
    "lie_front": LIE_FRONT,
    "lie_back": LIE_BACK,
}


def foot_reach(poses: DoubleArray, body: Body) -> DoubleArray:
    """Return float64[F]: how far the feet's middle is in front of the pelvis."""
    thighs = poses[:, (Angle.THIGH_L, Angle.THIGH_R)]
    shanks = thighs - poses[:, (Angle.KNEE_L, Angle.KNEE_R)]
    reach = body.thigh * np.sin(thighs) + body.shank * np.sin(shanks)
    return np.asarray(reach.mean(axis=1))


def _limb(
    start: DoubleArray, pitch: DoubleArray, spread: DoubleArray, length: float
) -> DoubleArray:
    """Return the end of a limb that hangs from ``start``: float64[F, 3]."""
    step = np.stack(
        [np.sin(pitch) * np.cos(spread), -np.cos(pitch) * np.cos(spread), np.sin(spread)], axis=1
    )
    return start + length * step


def _joints_around_pelvis(poses: DoubleArray, body: Body) -> DoubleArray:
    joints = np.zeros((len(poses), len(Joint), 3))
    torso, roll = poses[:, Angle.TORSO], poses[:, Angle.ROLL]
    spine = np.stack([np.sin(torso) * np.cos(roll), np.cos(torso) * np.cos(roll), np.sin(roll)], 1)
    joints[:, Joint.CHEST] = body.torso * spine
    neck = torso + poses[:, Angle.NECK]
    skull = np.stack([np.sin(neck) * np.cos(roll), np.cos(neck) * np.cos(roll), np.sin(roll)], 1)
    joints[:, Joint.HEAD] = joints[:, Joint.CHEST] + (body.head_radius + 0.035) * skull
    across = np.stack([np.zeros_like(roll), -np.sin(roll), np.cos(roll)], axis=1)
    for sign, letter in ((1.0, "L"), (-1.0, "R")):
        shoulder = joints[:, Joint.CHEST] - 0.03 * spine + sign * body.shoulder_half * across
        # Arms are measured against the torso, whose "down" is its own pitch turned over.
        pitch = poses[:, Angle[f"SHOULDER_{letter}"]] - torso
        spread = sign * poses[:, Angle[f"SPREAD_{letter}"]]
        elbow = _limb(shoulder, pitch, spread, body.upper_arm)
        bent = pitch + poses[:, Angle[f"ELBOW_{letter}"]]
        hip = np.zeros_like(shoulder)
        hip[:, 2] = sign * body.hip_half
        stance = sign * poses[:, Angle.STANCE]
        thigh = poses[:, Angle[f"THIGH_{letter}"]]
        knee = _limb(hip, thigh, stance, body.thigh)
        shank = thigh - poses[:, Angle[f"KNEE_{letter}"]]
        ankle = _limb(knee, shank, stance, body.shank)
        joints[:, Joint[f"SHOULDER_{letter}"]] = shoulder
        joints[:, Joint[f"ELBOW_{letter}"]] = elbow
        joints[:, Joint[f"HAND_{letter}"]] = _limb(elbow, bent, 0.6 * spread, body.forearm)
        joints[:, Joint[f"HIP_{letter}"]] = hip
        joints[:, Joint[f"KNEE_{letter}"]] = knee
        joints[:, Joint[f"ANKLE_{letter}"]] = ankle
        # A foot stays level under a leg that stands and follows a shank that swings away.
        toe = np.pi / 2 + np.clip(shank, -1.4, 1.4) * 0.75
        joints[:, Joint[f"TOE_{letter}"]] = _limb(ankle, toe, np.zeros_like(toe), body.foot)
    return joints


_CONTACTS = (
    (Joint.PELVIS, 0.075), (Joint.CHEST, 0.075), (Joint.HEAD, 0.07), (Joint.KNEE_L, 0.04),
    (Joint.KNEE_R, 0.04), (Joint.ANKLE_L, 0.03), (Joint.ANKLE_R, 0.03),
)  # fmt: skip


def place_joints(poses: DoubleArray, advance: DoubleArray, body: Body) -> DoubleArray:
    """Return where the joints are, the lowest one resting on the ground.

    Args:
        poses: float64[F, POSE_WIDTH].
        advance: float64[F], where the pelvis is along the scene.
        body: lengths.

    Returns:
        float64[F, J, 3]: along the scene, up from the ground, away from the viewer.
    """
    local = _joints_around_pelvis(poses, body)
    lowest = np.min([local[:, joint, 1] - radius for joint, radius in _CONTACTS], axis=0)
    height = poses[:, Angle.LIFT] - lowest
    yaw = poses[:, Angle.YAW]
    cosine, sine = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    placed = np.empty_like(local)
    placed[:, :, 0] = local[:, :, 0] * cosine - local[:, :, 2] * sine + advance[:, None]
    placed[:, :, 1] = local[:, :, 1] + height[:, None]
    placed[:, :, 2] = local[:, :, 0] * sine + local[:, :, 2] * cosine
    return placed
