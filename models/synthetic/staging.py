"""From a timeline to places: poses blended over every frame, chairs, people standing about."""

from dataclasses import dataclass

import numpy as np

from models.synthetic.actions import ACTIONS, Cue, Track, ease, perform
from models.synthetic.dice import Dice
from models.synthetic.figure import Angle, Body, build_body, foot_reach, place_joints
from models.synthetic.idling import pass_time
from models.synthetic.plan import Stretch, VideoPlan, draw_mild_yaw, lay_out, new_cue
from models.synthetic.ranges import MOTION, SCENE, LooksRanges
from models.types import DoubleArray


@dataclass(frozen=True, slots=True)
class Chair:
    """A seat: place of the sitter's pelvis along the scene, and where the sitter faces."""

    place: float
    yaw_radians: float


@dataclass(frozen=True, slots=True)
class Bystander:
    """Another person: joints float64[F, J, 3], and a number that decides the clothes."""

    joints: DoubleArray
    body: Body
    number: int


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything with a place, for every frame.

    Attributes:
        body: of the figure.
        joints: float64[F, J, 3] as `place_joints` returns them.
        root: float64[F], the pelvis along the scene.
        chairs: seats in the scene.
        bystanders: other people.
    """

    body: Body
    joints: DoubleArray
    root: DoubleArray
    chairs: tuple[Chair, ...]
    bystanders: tuple[Bystander, ...]


def draw_body(looks: LooksRanges, dice: Dice) -> Body:
    """Return a body within the looks."""
    return build_body(
        dice.between(looks.leg_share),
        dice.between(looks.arm_share),
        dice.between(looks.limb_girth),
        dice.between(looks.head_radius),
    )


def _track(seconds: DoubleArray, cue: Cue) -> Track:
    return perform(seconds, cue) if cue.kind in ACTIONS else pass_time(seconds, cue)


def _transition(cue: Cue, number: int) -> float:
    """Return how long the figure takes to get into or out of a background cue."""
    drawn = Dice(cue.seed, 3, number).between(MOTION.transition_seconds)
    return min(drawn, 0.45 * cue.duration_seconds)


@dataclass(slots=True)
class _Actor:
    """State of the figure between two stretches."""

    body: Body
    yaw: float
    place: float
    last_pose: DoubleArray | None = None

    def play(
        self, stretch: Stretch, following: Cue | None, seconds: DoubleArray
    ) -> tuple[DoubleArray, DoubleArray]:
        """Return poses and places at ``seconds`` (whole-video time) and go to the end."""
        cue = stretch.cue
        local = np.concatenate([[0.0], seconds - stretch.start_seconds, [cue.duration_seconds]])
        track = _track(local, cue)
        poses = track.poses.copy()
        poses[:, Angle.YAW] += self.yaw
        turned = self.yaw + cue.turn_radians
        if cue.kind not in ACTIONS:
            poses = self._blend(poses, local, cue, following, turned)
        if track.advance is None:
            reach = foot_reach(poses, self.body)
            advance = reach[0] - reach
        else:
            advance = track.advance
        places = self.place + advance * np.cos(poses[:, Angle.YAW])
        self.place, self.yaw, self.last_pose = float(places[-1]), turned, poses[-1]
        return poses[1:-1], places[1:-1]

    def _blend(
        self,
        poses: DoubleArray,
        local: DoubleArray,
        cue: Cue,
        following: Cue | None,
        turned: float,
    ) -> DoubleArray:
        """Lead from the last pose into a background cue, and out of it into an action."""
        if self.last_pose is not None:
            weight = ease(local / _transition(cue, 0))[:, None]
            poses = self.last_pose + weight * (poses - self.last_pose)
        if following is not None and following.kind in ACTIONS:
            target = _track(np.zeros(1), following).poses[0].copy()
            target[Angle.YAW] += turned
            weight = ease((cue.duration_seconds - local) / _transition(cue, 1))[:, None]
            poses = target + weight * (poses - target)
        return poses


def _frames_of(stretch: Stretch, seconds: DoubleArray, last: bool) -> tuple[int, int]:
    start = int(np.searchsorted(seconds, stretch.start_seconds - 1e-9))
    stop = len(seconds) if last else int(np.searchsorted(seconds, stretch.end_seconds - 1e-9))
    return start, max(start, stop)


def _bystander(
    place: float, looks: LooksRanges, seed: int, number: int, seconds: DoubleArray
) -> Bystander:
    """Return an idle person at ``place`` who fidgets and looks about the whole time."""
    dice = Dice(seed, 41, number)
    body = draw_body(looks, dice)
    yaw = draw_mild_yaw(looks, dice) + (np.pi if dice.chance(0.5) else 0.0)
    until = float(seconds[-1]) + 1.0
    script = []
    while until > 0:
        length = dice.between((2.0, 5.0))
        script.append(new_cue(dice.pick(("idle", "fidget")), length, "stand", dice))
        until -= length
    actor = _Actor(body, yaw, place)
    stretches = lay_out(script)
    poses, places = [], []
    for index, stretch in enumerate(stretches):
        start, stop = _frames_of(stretch, seconds, index == len(stretches) - 1)
        following = stretches[index + 1].cue if index + 1 < len(stretches) else None
        some, where = actor.play(stretch, following, seconds[start:stop])
        poses.append(some)
        places.append(where)
    joints = place_joints(np.concatenate(poses), np.concatenate(places), body)
    return Bystander(joints, body, number)


def _add_apart(places: list[float], place: float, distance: float) -> None:
    if all(abs(place - other) >= distance for other in places):
        places.append(place)


def set_stage(plan: VideoPlan, looks: LooksRanges, seconds: DoubleArray) -> Stage:
    """Return the places of everything at ``seconds`` (float64[F], ascending)."""
    dice = Dice(plan.spec.seed, 42)
    body = draw_body(looks, dice)
    actor = _Actor(body, plan.start_yaw_radians, 0.0)
    poses, places = [], []
    chairs: list[Chair] = []
    people: list[float] = []
    for index, stretch in enumerate(plan.stretches):
        final = index == len(plan.stretches) - 1
        start, stop = _frames_of(stretch, seconds, final)
        following = None if final else plan.stretches[index + 1].cue
        if index == 0 and stretch.cue.posture == "sit":
            chairs.append(Chair(actor.place, actor.yaw))
        some, where = actor.play(stretch, following, seconds[start:stop])
        poses.append(some)
        places.append(where)
        if stretch.cue.kind == "sit_down":
            chairs.append(Chair(actor.place, actor.yaw))
        if stretch.cue.kind == "second_person":
            _add_apart(people, actor.place + dice.side() * dice.between((0.32, 0.62)), 0.8)
    if dice.chance(SCENE.spare_chair_chance):
        for _ in range(1 + dice.whole(3)):
            place = actor.place * dice.between((-0.2, 1.2)) + dice.between((-0.5, 0.5))
            chairs.append(Chair(place, draw_mild_yaw(looks, dice) + np.pi * dice.whole(2)))
    root = np.concatenate(places)
    bystanders = tuple(
        _bystander(place, looks, plan.spec.seed, number, seconds)
        for number, place in enumerate(people)
    )
    joints = place_joints(np.concatenate(poses), root, body)
    return Stage(body, joints, root, tuple(chairs), bystanders)
