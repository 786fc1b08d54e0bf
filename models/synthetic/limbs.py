"""Bodies as tapered capsules with outline, fill and highlight, farthest part first."""

from dataclasses import dataclass

import cv2
import numpy as np

from models.synthetic.backdrop import Colour, draw_colour, hsv, shade
from models.synthetic.dice import Dice
from models.synthetic.figure import Body, Joint
from models.synthetic.ranges import LooksRanges
from models.types import ByteArray, DoubleArray

_SHIFT = 4
_FIXED = 1 << _SHIFT
_ARC = np.linspace(-np.pi / 2, np.pi / 2, 6)
# Start joint, end joint, radius at either end, name of the colour.
_PARTS: tuple[tuple[Joint, Joint, float, float, str], ...] = (
    (Joint.PELVIS, Joint.CHEST, 0.072, 0.086, "shirt"),
    (Joint.CHEST, Joint.HEAD, 0.030, 0.030, "skin"),
    (Joint.HIP_L, Joint.KNEE_L, 0.064, 0.046, "trousers"),
    (Joint.KNEE_L, Joint.ANKLE_L, 0.046, 0.032, "shins"),
    (Joint.ANKLE_L, Joint.TOE_L, 0.033, 0.024, "shoes"),
    (Joint.HIP_R, Joint.KNEE_R, 0.064, 0.046, "trousers"),
    (Joint.KNEE_R, Joint.ANKLE_R, 0.046, 0.032, "shins"),
    (Joint.ANKLE_R, Joint.TOE_R, 0.033, 0.024, "shoes"),
    (Joint.SHOULDER_L, Joint.ELBOW_L, 0.043, 0.035, "sleeves"),
    (Joint.ELBOW_L, Joint.HAND_L, 0.034, 0.026, "skin"),
    (Joint.HAND_L, Joint.HAND_L, 0.037, 0.037, "hands"),
    (Joint.SHOULDER_R, Joint.ELBOW_R, 0.043, 0.035, "sleeves"),
    (Joint.ELBOW_R, Joint.HAND_R, 0.034, 0.026, "skin"),
    (Joint.HAND_R, Joint.HAND_R, 0.037, 0.037, "hands"),
    (Joint.HEAD, Joint.HEAD, 1.0, 1.0, "skin"),
    (Joint.HEAD, Joint.HEAD, 0.8, 0.8, "hair"),
)
_HEAD_PART = len(_PARTS) - 2
_HAIR_PART = len(_PARTS) - 1
_TORSO_PART = 0
_STARTS = np.array([part[0] for part in _PARTS])
_ENDS = np.array([part[1] for part in _PARTS])


@dataclass(frozen=True, slots=True)
class Outfit:
    """Colours of one person by part name."""

    colours: dict[str, Colour]


def draw_outfit(looks: LooksRanges, dice: Dice) -> Outfit:
    """Return clothes of distinct colours."""
    bands = looks.cloth_hues
    cloth = [draw_colour(bands, dice, (0.45, 0.95), (0.3, 0.95)) for _ in range(3)]
    skin = hsv(dice.between((12, 32)), dice.between((0.25, 0.6)), dice.between((0.45, 0.95)))
    hair = hsv(dice.between((10, 45)), dice.between((0.2, 0.7)), dice.between((0.08, 0.6)))
    bare = dice.chance(0.3)
    return Outfit(
        {
            "shirt": cloth[0],
            "sleeves": shade(cloth[0], dice.pick((0.72, 1.28))),
            "trousers": cloth[1],
            "shins": skin if bare else shade(cloth[1], dice.pick((0.75, 1.25))),
            "shoes": cloth[2],
            "skin": skin,
            "hands": shade(skin, 1.12),
            "hair": hair,
        }
    )


def _part_points(joints: DoubleArray, body: Body) -> tuple[DoubleArray, DoubleArray]:
    """Return part ends float64[F, P, 2, 3] and radii float64[P, 2] in body heights."""
    ends = np.stack([joints[:, _STARTS], joints[:, _ENDS]], axis=2)
    radii = np.array([part[2:4] for part in _PARTS]) * body.girth
    radii[_HEAD_PART] = body.head_radius
    radii[_HAIR_PART] = 0.80 * body.head_radius
    # Hair sits on the upper back of the head, away from where the figure faces.
    up = joints[:, Joint.HEAD] - joints[:, Joint.CHEST]
    up /= np.maximum(np.linalg.norm(up, axis=1, keepdims=True), 1e-6)
    across = joints[:, Joint.SHOULDER_L] - joints[:, Joint.SHOULDER_R]
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    back = np.cross(across, up)
    offset = body.head_radius * (0.34 * up + 0.36 * back)
    ends[:, _HAIR_PART] += offset[:, None, :]
    return ends, radii


def _outlines(ends: DoubleArray, radii: DoubleArray) -> DoubleArray:
    """Return capsule polygons: ends float64[F, P, 2, 2] px, radii [F, P, 2] -> [F, P, 12, 2]."""
    step = ends[:, :, 1] - ends[:, :, 0]
    angle = np.arctan2(step[..., 1], step[..., 0])[..., None]
    near = angle + np.pi + _ARC
    far = angle + _ARC
    polygon = np.empty((*ends.shape[:2], 2 * len(_ARC), 2))
    polygon[:, :, : len(_ARC), 0] = ends[:, :, :1, 0] + radii[:, :, :1] * np.cos(near)
    polygon[:, :, : len(_ARC), 1] = ends[:, :, :1, 1] + radii[:, :, :1] * np.sin(near)
    polygon[:, :, len(_ARC) :, 0] = ends[:, :, 1:, 0] + radii[:, :, 1:] * np.cos(far)
    polygon[:, :, len(_ARC) :, 1] = ends[:, :, 1:, 1] + radii[:, :, 1:] * np.sin(far)
    return polygon


class FigurePainter:
    """Polygons of one person over all frames, drawn frame by frame."""

    def __init__(self, joints: DoubleArray, body: Body, outfit: Outfit) -> None:
        ends, self._radii = _part_points(joints, body)
        self._ends = ends
        depth = ends[..., 2].mean(axis=2)
        depth[:, _TORSO_PART] += 0.004
        depth[:, _HEAD_PART] -= 0.001
        # Hair covers the head unless the face is turned to the viewer.
        depth[:, _HAIR_PART] -= 0.022
        self._order = np.argsort(-depth, axis=1, kind="stable")
        self._fills = [outfit.colours[part[4]] for part in _PARTS]
        self._edges = [shade(colour, 0.38) for colour in self._fills]
        self._lights = [shade(colour, 1.22) for colour in self._fills]
        centre = np.median(depth, axis=1, keepdims=True)
        self._far = depth > centre + 0.05

    def place(self, frame: int) -> float:
        """Return where the pelvis is along the scene."""
        return float(self._ends[frame, _TORSO_PART, 0, 0])

    def paint(self, canvas: ByteArray, frame: int, view: tuple[float, float, float, float]) -> None:
        """Draw one frame onto ``canvas``.

        Args:
            canvas: uint8[H, W, 3], changed in place.
            frame: index.
            view: column of the view's centre, row of the ground, pixels per body height, and
                the place along the scene that is at that column.
        """
        middle, ground, unit, centre = view
        ends = self._ends[frame : frame + 1, :, :, :2].copy()
        ends[..., 0] = middle + (ends[..., 0] - centre) * unit
        ends[..., 1] = ground - ends[..., 1] * unit
        radii = self._radii[None] * unit
        edge = max(1.0, 0.011 * unit)
        light = ends + np.array([-0.28, -0.34]) * radii[..., None]
        polygons = np.concatenate(
            [_outlines(ends, radii + edge), _outlines(ends, radii), _outlines(light, 0.45 * radii)]
        )
        points = np.rint(polygons * _FIXED).astype(np.int32)
        for part in self._order[frame]:
            far = self._far[frame, part]
            fill, bright = self._fills[part], self._lights[part]
            if far:
                fill, bright = shade(fill, 0.78), fill
            cv2.fillConvexPoly(canvas, points[0, part], self._edges[part], cv2.LINE_8, _SHIFT)
            cv2.fillConvexPoly(canvas, points[1, part], fill, cv2.LINE_8, _SHIFT)
            cv2.fillConvexPoly(canvas, points[2, part], bright, cv2.LINE_8, _SHIFT)
