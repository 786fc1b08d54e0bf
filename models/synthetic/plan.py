"""What happens when: the timeline of one video, with its exact ground truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import ContractViolation
from models.synthetic.actions import ACTIONS, Cue, posture_after
from models.synthetic.dice import Dice
from models.synthetic.idling import LONE_KINDS, LOW_KINDS, STANDING_KINDS
from models.synthetic.ranges import LOOKS, SCENE, TIMELINE, LooksRanges, Range

_INSTANCE_SECONDS = dict(TIMELINE.instance_seconds)
_LOW_ENDINGS = ("fall", "sit_down")
_MAX_LABELS = 3
# Gaps of a tight video may shrink to this share of what was drawn.
_MOST_SQUEEZE = 0.7
# Instances that do not fit are drawn again, so many times.
_MAX_TRIES = 40
# Left for the background before the first instance.
_SPARE_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """Which video to draw.

    Attributes:
        seed: decides everything that the other fields leave open.
        labels: the actions that occur; None draws 1 to 3 of them, () makes a video without any.
        duration_seconds: at least 10 s per label.
        fps: frames per second.
        width_px, height_px: even sizes suit most encoders.
        looks: ``train`` or ``test``, see `models.synthetic.ranges`.
    """

    seed: int
    labels: tuple[str, ...] | None = None
    duration_seconds: float = 60.0
    fps: float = 25.0
    width_px: int = 170
    height_px: int = 128
    looks: str = "train"


@dataclass(frozen=True, slots=True)
class Instance:
    """One labelled action: half-open, in seconds from the first frame."""

    label: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """One cue at its place in the video."""

    cue: Cue
    start_seconds: float

    @property
    def end_seconds(self) -> float:
        """Where the next stretch begins."""
        return self.start_seconds + self.cue.duration_seconds


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """A whole video, ready to be drawn.

    Attributes:
        spec: what was asked for.
        instances: ground truth in order of time.
        stretches: everything the figure does, without gaps, from 0 to the end.
        start_yaw_radians: where the figure faces at first; 0 is to the right.
    """

    spec: VideoSpec
    instances: tuple[Instance, ...]
    stretches: tuple[Stretch, ...]
    start_yaw_radians: float

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        return max(1, round(self.spec.duration_seconds * self.spec.fps))


def looks_of(spec: VideoSpec) -> LooksRanges:
    """Return the ranges of the spec's looks.

    Raises:
        ContractViolation: there are no such looks.
    """
    if spec.looks not in LOOKS:
        message = f"Looks {spec.looks!r} do not exist; use one of {', '.join(LOOKS)}."
        raise ContractViolation(message)
    return LOOKS[spec.looks]


@dataclass(slots=True)
class Heading:
    """Where the figure faces while a script is written."""

    looks: LooksRanges
    dice: Dice
    mild: float
    left: bool

    @property
    def yaw(self) -> float:
        """Yaw in radians."""
        return self.mild + (float(np.pi) if self.left else 0.0)

    def turn(self) -> float:
        """Turn to the other side and return by how much, in radians."""
        mild = draw_mild_yaw(self.looks, self.dice)
        change = mild - self.mild + (-float(np.pi) if self.left else float(np.pi))
        self.left, self.mild = not self.left, mild
        return change


def draw_mild_yaw(looks: LooksRanges, dice: Dice) -> float:
    """Return a small turn out of the side view, in radians."""
    return float(np.deg2rad(dice.side() * dice.between(looks.yaw_degrees)))


def draw_heading(looks: LooksRanges, dice: Dice) -> Heading:
    """Return a heading to either side."""
    return Heading(looks, dice, draw_mild_yaw(looks, dice), dice.chance(0.5))


def new_cue(
    kind: str, seconds: float, posture: str, dice: Dice, heading: Heading | None = None
) -> Cue:
    """Return a cue with a fresh style; a turn changes ``heading``."""
    turn = heading.turn() if heading is not None and kind == "turn_around" else 0.0
    return Cue(kind, seconds, posture, dice.whole(2**31), turn)


def draw_instance_seconds(label: str, dice: Dice) -> float:
    """Return a length for one instance, rounded to milliseconds."""
    return round(dice.between(_INSTANCE_SECONDS[label]), 3)


def _split(seconds: float, dice: Dice) -> list[float]:
    """Return lengths of background pieces that sum to ``seconds``."""
    pieces = []
    remaining = seconds
    while remaining > 1.8 * TIMELINE.piece_seconds[0]:
        longest = min(TIMELINE.piece_seconds[1], remaining - TIMELINE.piece_seconds[0])
        pieces.append(round(dice.between((TIMELINE.piece_seconds[0], longest)), 3))
        remaining -= pieces[-1]
    pieces.append(remaining)
    return pieces


def fill_gap(
    seconds: float, posture: str, dice: Dice, heading: Heading, kinds: tuple[str, ...]
) -> list[Cue]:
    """Return background cues that last ``seconds`` and end standing, drawn from ``kinds``."""
    cues = []
    remaining = seconds
    if posture != "stand":
        rise = round(min(dice.between(TIMELINE.get_up_seconds), 0.55 * remaining), 3)
        rest = round(dice.between((0.4, max(0.45, remaining - rise - 1.0))), 3)
        cues += [new_cue(dice.pick(LOW_KINDS), part, posture, dice) for part in _split(rest, dice)]
        kind = "get_up_chair" if posture == "sit" else "get_up_floor"
        cues.append(new_cue(kind, rise, posture, dice))
        remaining -= rest + rise
    last = ""
    for part in _split(remaining, dice):
        kind = dice.pick([name for name in kinds if name != last])
        cues.append(new_cue(kind, part, "stand", dice, heading))
        last = kind
    return cues


def _draw_labels(spec: VideoSpec, dice: Dice) -> tuple[str, ...]:
    if spec.labels is not None:
        unknown = sorted(set(spec.labels) - set(ACTIONS))
        if unknown:
            message = f"Unknown actions {', '.join(unknown)}; choose from {', '.join(ACTIONS)}."
            raise ContractViolation(message)
        if len(set(spec.labels)) != len(spec.labels):
            message = "Name each action once in VideoSpec.labels."
            raise ContractViolation(message)
        return spec.labels
    most = max(1, min(_MAX_LABELS, int(spec.duration_seconds // 10)))
    count = 1 + dice.whole(most)
    return tuple(str(label) for label in dice.generator.permutation(ACTIONS)[:count])


def _least_gap(label: str, dice: Dice) -> float:
    """Return the shortest background that may follow an action."""
    if label in _LOW_ENDINGS:
        return dice.between(TIMELINE.low_gap_seconds)
    close = dice.chance(TIMELINE.close_gap_chance)
    return dice.between(TIMELINE.close_gap_seconds if close else TIMELINE.gap_seconds)


def _draw_performances(
    labels: tuple[str, ...], seconds: float, dice: Dice
) -> list[tuple[str, float, float]]:
    """Return (label, length, shortest gap after it), every label at least once."""
    budget = dice.between(TIMELINE.action_share) * seconds
    chosen: list[tuple[str, float, float]] = []
    used = spent = 0.0
    order = [str(label) for label in dice.generator.permutation(labels)]
    for _ in range(_MAX_TRIES + len(order)):
        required = len(chosen) < len(order)
        label = order[len(chosen)] if required else dice.pick(order)
        length = draw_instance_seconds(label, dice)
        gap = _least_gap(label, dice)
        if required:
            owed = sum(_INSTANCE_SECONDS[other][0] for other in order[len(chosen) + 1 :])
            shortest = _INSTANCE_SECONDS[label][0]
            length = round(max(shortest, min(length, budget - used - owed)), 3)
        elif used + length > budget or spent + length + gap > seconds - _SPARE_SECONDS:
            continue
        chosen.append((label, length, gap))
        used += length
        spent += length + gap
    shuffled = dice.generator.permutation(len(chosen))
    return [chosen[index] for index in shuffled]


def _gap_lengths(
    performances: list[tuple[str, float, float]], seconds: float, first: float, dice: Dice
) -> list[float]:
    """Return the background before each performance and after the last, to the millisecond."""
    least = [first, *(gap for _, _, gap in performances)]
    if performances and performances[-1][0] not in _LOW_ENDINGS:
        least[-1] = dice.between(TIMELINE.edge_seconds)
    action = sum(length for _, length, _ in performances)
    spare = seconds - action - sum(least)
    if spare < 0:
        squeeze = (seconds - action) / sum(least)
        if squeeze >= _MOST_SQUEEZE:
            return [gap * squeeze for gap in least]
        message = "The video is too short for its labels; allow at least 10 seconds per label."
        raise ContractViolation(message)
    shares = dice.generator.gamma(1.5, size=len(least))
    return [low + spare * share for low, share in zip(least, shares / shares.sum(), strict=True)]


def lay_out(script: list[Cue]) -> tuple[Stretch, ...]:
    """Place cues one after the other."""
    stretches = []
    start = 0.0
    for cue in script:
        stretches.append(Stretch(cue, start))
        start += cue.duration_seconds
    return tuple(stretches)


def plan_video(spec: VideoSpec) -> VideoPlan:
    """Decide what happens in a video.

    Raises:
        ContractViolation: unknown looks or labels, or too short for the labels.
    """
    looks = looks_of(spec)
    dice = Dice(spec.seed, 11)
    heading = draw_heading(looks, dice)
    start_yaw = heading.yaw
    labels = _draw_labels(spec, dice)
    seconds = spec.duration_seconds
    performances = _draw_performances(labels, seconds, dice) if labels else []
    first = dice.between(TIMELINE.edge_seconds)
    posture = "stand"
    if dice.chance(TIMELINE.start_low_chance) and seconds >= 10 * len(labels) + 5:
        posture = dice.pick(("sit", "lie_front", "lie_back"))
        first = dice.between(TIMELINE.low_gap_seconds)
    gaps = _gap_lengths(performances, seconds, first, dice)
    company = dice.chance(SCENE.bystander_chance)
    kinds = STANDING_KINDS if company else LONE_KINDS
    script: list[Cue] = []
    instances: list[Instance] = []
    now = 0.0
    for (label, length, _), gap in zip(performances, gaps[:-1], strict=True):
        start = round(now + gap, 3)
        script += fill_gap(start - now, posture, dice, heading, kinds)
        cue = new_cue(label, length, "stand", dice)
        script.append(cue)
        posture = posture_after(cue)
        now = round(start + length, 3)
        instances.append(Instance(label, start, now))
    script += fill_gap(seconds - now, posture, dice, heading, kinds)
    return VideoPlan(
        spec=spec,
        instances=tuple(instances),
        stretches=lay_out(script),
        start_yaw_radians=start_yaw,
    )


def ground_truth_json(plan: VideoPlan) -> dict[str, Any]:
    """Return the plan's ground truth as one entry of an ActivityNet-style ``database``."""
    return {
        "duration": plan.spec.duration_seconds,
        "subset": plan.spec.looks,
        "annotations": [
            {"label": one.label, "segment": [one.start_seconds, one.end_seconds]}
            for one in plan.instances
        ],
    }


def stratified_specs(  # noqa: PLR0913 - one plan, each argument a plain choice
    count: int,
    *,
    base_seed: int,
    looks: str,
    min_videos_per_class: int,
    duration_range_seconds: Range = (30.0, 50.0),
    action_free: bool = False,
    fps: float = 25.0,
    width_px: int = 170,
    height_px: int = 128,
) -> list[VideoSpec]:
    """Return specs in which every action occurs in at least ``min_videos_per_class`` videos.

    Args:
        count: videos; with ``action_free`` none of them holds an action.
        base_seed: video i has seed ``base_seed + i``.
        looks: ``train`` or ``test``.
        min_videos_per_class: at most ``count * 3 / 8`` can be had.
        duration_range_seconds: drawn evenly, rounded to 0.1 s; at least 30 s for three labels.
        action_free: draw background only.
        fps: of every video.
        width_px: of every video.
        height_px: of every video.

    Raises:
        ContractViolation: the minimum cannot be met.
    """
    dice = Dice(base_seed, 13)
    labels: list[set[str]] = [set() for _ in range(count)]
    if not action_free:
        labels = _deal_labels(count, min_videos_per_class, dice)
    return [
        VideoSpec(
            seed=base_seed + index,
            labels=tuple(sorted(chosen)),
            duration_seconds=round(dice.between(duration_range_seconds), 1),
            fps=fps,
            width_px=width_px,
            height_px=height_px,
            looks=looks,
        )
        for index, chosen in enumerate(labels)
    ]


def _deal_labels(count: int, minimum: int, dice: Dice) -> list[set[str]]:
    """Return 1 to 3 labels per video, the rarest dealt first."""
    sizes = [1 + dice.whole(_MAX_LABELS) for _ in range(count)]
    order = [int(i) for i in dice.generator.permutation(count)]
    raised = 0
    while sum(sizes) < minimum * len(ACTIONS) and raised < 2 * count:
        sizes[order[raised % count]] = min(_MAX_LABELS, sizes[order[raised % count]] + 1)
        raised += 1
    used = dict.fromkeys(ACTIONS, 0)
    labels: list[set[str]] = []
    for size in sizes:
        shuffled = [str(label) for label in dice.generator.permutation(ACTIONS)]
        chosen = sorted(shuffled, key=lambda label: used[label])[:size]
        labels.append(set(chosen))
        for label in chosen:
            used[label] += 1
    if min(used.values()) < minimum:
        message = f"{count} videos cannot hold every action in {minimum} of them; ask for fewer."
        raise ContractViolation(message)
    return labels
