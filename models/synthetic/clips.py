"""Trimmed clips: windows of short scenes made of the same parts as untrimmed videos."""

import numpy as np

from models.errors import ContractViolation
from models.synthetic.actions import ACTIONS, Cue, posture_after
from models.synthetic.dice import Dice
from models.synthetic.draw import SceneDrawer
from models.synthetic.idling import BACKGROUND_KINDS, LONE_KINDS, LOW_KINDS
from models.synthetic.plan import (
    Heading,
    Instance,
    VideoPlan,
    VideoSpec,
    draw_heading,
    draw_instance_seconds,
    fill_gap,
    lay_out,
    looks_of,
    new_cue,
)
from models.synthetic.ranges import TIMELINE
from models.types import ByteArray

_AFTER_ACTION_CHANCE = 0.4
_BEFORE_ACTION_CHANCE = 0.4
_LOW_POSTURE_CHANCE = 0.25
# What precedes a clip; a bystander who arrives there is about as common as in whole videos.
_BEFORE = ("idle", "fidget", "idle", "second_person")
_LOW_POSTURES = ("sit", "lie_front", "lie_back")
_STANDING_ACTIONS = tuple(name for name in ACTIONS if name not in {"fall", "sit_down"})


def _posture_for(kind: str, dice: Dice) -> str:
    """Return a posture in which the background kind may begin."""
    if kind == "get_up_chair":
        return "sit"
    if kind == "get_up_floor":
        return dice.pick(("lie_front", "lie_back"))
    if kind in LOW_KINDS and dice.chance(_LOW_POSTURE_CHANCE):
        return dice.pick(_LOW_POSTURES)
    return "stand"


def _lead_in(kind: str, posture: str, dice: Dice, heading: Heading) -> Cue:
    """Return what comes right before a background kind in an untrimmed video."""
    if posture == "stand" and dice.chance(_AFTER_ACTION_CHANCE) and kind != "turn_around":
        label = dice.pick(_STANDING_ACTIONS)
        return new_cue(label, draw_instance_seconds(label, dice), posture, dice)
    if posture == "stand":
        return new_cue(dice.pick(_BEFORE), 1.5, posture, dice, heading)
    return new_cue(dice.pick(LOW_KINDS), 1.5, posture, dice)


def _write_script(kind: str, seconds: float, dice: Dice, heading: Heading) -> tuple[list[Cue], int]:
    """Return cues and the index of the one that shows ``kind`` for at least ``seconds``."""
    if kind in ACTIONS:
        length = max(draw_instance_seconds(kind, dice), seconds + 0.05)
        cue = new_cue(kind, length, "stand", dice)
        before = [new_cue(dice.pick(_BEFORE), 1.0, "stand", dice)]
        return [*before, cue, *fill_gap(4.0, posture_after(cue), dice, heading, LONE_KINDS)], len(
            before
        )
    posture = _posture_for(kind, dice)
    limits = TIMELINE.get_up_seconds if kind.startswith("get_up") else TIMELINE.piece_seconds
    length = max(dice.between(limits), seconds + 0.05)
    script = [
        _lead_in(kind, posture, dice, heading),
        new_cue(kind, length, posture, dice, heading),
    ]
    after = posture_after(script[-1])
    if after == "stand" and dice.chance(_BEFORE_ACTION_CHANCE):
        label = dice.pick(ACTIONS)
        script.append(new_cue(label, draw_instance_seconds(label, dice), after, dice))
    else:
        script.append(new_cue("idle", 1.5, after, dice))
    return script, 1


def plan_clip(spec: VideoSpec, kind: str, num_frames: int) -> tuple[VideoPlan, int]:
    """Return a short scene around ``kind`` and the first frame of a clip inside it.

    Args:
        spec: seed, looks, size and fps; labels and duration are not read.
        kind: an action or a background kind.
        num_frames: of the clip; all of them lie inside the stretch of that kind.

    Raises:
        ContractViolation: unknown kind or looks.
    """
    if kind not in ACTIONS and kind not in BACKGROUND_KINDS:
        known = ", ".join((*ACTIONS, *BACKGROUND_KINDS))
        message = f"Unknown kind {kind!r}; choose from {known}."
        raise ContractViolation(message)
    dice = Dice(spec.seed, 61)
    heading = draw_heading(looks_of(spec), dice)
    start_yaw = heading.yaw
    script, index = _write_script(kind, num_frames / spec.fps, dice, heading)
    stretches = lay_out(script)
    shown = stretches[index]
    first = int(np.ceil(shown.start_seconds * spec.fps - 1e-9))
    last = int(np.floor(shown.end_seconds * spec.fps + 1e-9)) - num_frames
    start = first + dice.whole(max(1, last - first + 1))
    whole = VideoSpec(
        seed=spec.seed,
        duration_seconds=stretches[-1].end_seconds,
        fps=spec.fps,
        width_px=spec.width_px,
        height_px=spec.height_px,
        looks=spec.looks,
    )
    instances = tuple(
        Instance(one.cue.kind, one.start_seconds, one.end_seconds)
        for one in stretches
        if one.cue.kind in ACTIONS
    )
    return VideoPlan(whole, instances, stretches, start_yaw), start


def draw_clip(  # noqa: PLR0913 - a drawing, each argument a plain choice
    seed: int,
    kind: str,
    *,
    num_frames: int,
    looks: str = "train",
    width_px: int = 170,
    height_px: int = 128,
    fps: float = 25.0,
) -> ByteArray:
    """Draw a window of an action or of background behaviour, at a random phase of it.

    Returns:
        uint8[num_frames, height_px, width_px, 3] RGB.

    Raises:
        ContractViolation: unknown kind or looks.
    """
    spec = VideoSpec(seed=seed, fps=fps, width_px=width_px, height_px=height_px, looks=looks)
    plan, start = plan_clip(spec, kind, num_frames)
    drawer = SceneDrawer(plan)
    return np.stack([drawer.frame(start + index) for index in range(num_frames)])
