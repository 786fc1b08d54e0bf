"""The joins of fight-surv: short clips of fights and of the same scenes without, strung together.

Owns which clips are joined how. Every drawn choice comes from one seed; clips of one scene never
stand on both sides of the split.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from bench.real.kept import save_array
from bench.real.sets import BACKGROUND, GRID_FPS, BenchVideo, Instance, RealSet, Shot, TrimmedClip
from models.atomic import write_text_atomic
from models.decode import VideoSource
from models.types import ByteArray, DoubleArray

FIGHT_FOLDER = Path("labelled/fight-surv")
FIGHT = "fight"
ASPECT = 4 / 3
# Clips have lost their length as a clue when none keeps more than this.
CLIP_FRAMES = 50
# A clip that is cut in two is cut here or later, and as long before its end.
MIN_SHOT_FRAMES = 15
CUT_SHARE = 0.5
# Half of a background clip's cuts send its parts to different places, the others swap them.
PART_SHARE = 0.5
FIGHTS_PER_JOIN = (1, 4)
BACKGROUNDS_PER_JOIN = (5, 15)
SEED = 3
PLAN_VERSION = 1  # raised when the rules here change
TEST_SHARE = 1 / 3
# Median pictures that correlate more than this show one scene; chosen by eye.
SAME_SCENE = 0.8
SCENE_SIZE_PX = (32, 24)
SCENE_FRAMES = 6
# That of the bundled recipe, whose frames are needed anyway.
SCENE_CLIP_PX = 128
SCENE_BLUR_PX = 1.5
TRAIN_JOINS, TRAIN_QUIET_JOINS, TEST_JOINS, TEST_QUIET_JOINS = 36, 12, 30, 16


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive grid frames of one labelled clip: [first, last)."""

    clip: str
    label: str
    first: int
    last: int


def scene_groups(pictures: DoubleArray) -> list[int]:
    """Return for each picture, float64[N, P], the number of its scene: linked by correlation."""
    centred = pictures - pictures.mean(axis=1, keepdims=True)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    alike = unit @ unit.T > SAME_SCENE
    groups = list(range(len(pictures)))
    for one in range(len(pictures)):
        for other in np.flatnonzero(alike[one, :one]):
            old, new = groups[int(other)], groups[one]
            groups = [new if group == old else group for group in groups]
    return groups


def split_clips(
    labels: Mapping[str, str], groups: Mapping[str, int], rng: np.random.Generator
) -> dict[str, str]:
    """Return clip -> ``train`` or ``test``; a scene goes to the test while no label has its share.

    Args:
        labels: clip -> label.
        groups: clip -> scene.
        rng: draws the order of the scenes.
    """
    room = {
        label: round(TEST_SHARE * sum(one == label for one in labels.values()))
        for label in set(labels.values())
    }
    split = dict.fromkeys(labels, "train")
    for group in rng.permutation(sorted(set(groups.values()))):
        members = [clip for clip in sorted(labels) if groups[clip] == group]
        counts = {label: sum(labels[clip] == label for clip in members) for label in room}
        if all(counts[label] <= room[label] for label in room):
            split.update(dict.fromkeys(members, "test"))
            room = {label: room[label] - counts[label] for label in room}
    return split


def clip_units(
    clip: str, label: str, num_frames: int, rng: np.random.Generator
) -> list[tuple[Part, ...]]:
    """Return the units of one clip: parts that stay together.

    A cut clip has its parts swapped; a background's may also become units of their own. So shots
    are as short inside a fight as outside, and a cut says nothing about fights.
    """
    length = min(num_frames, CLIP_FRAMES)
    if length < 2 * MIN_SHOT_FRAMES or rng.random() >= CUT_SHARE:
        return [(Part(clip, label, 0, length),)]
    at = int(rng.integers(MIN_SHOT_FRAMES, length - MIN_SHOT_FRAMES + 1))
    early, late = Part(clip, label, 0, at), Part(clip, label, at, length)
    if label == BACKGROUND and rng.random() < PART_SHARE:
        return [(early,), (late,)]
    return [(late, early)]


def plan_join(
    fights: Sequence[tuple[str, int]],
    backgrounds: Sequence[tuple[str, int]],
    rng: np.random.Generator,
    *,
    quiet: bool,
) -> list[Part]:
    """Draw one join: 1-4 fights (none when quiet) and 5-15 background clips in random order.

    Args:
        fights: (clip, number of its grid frames) to draw from, without replacement.
        backgrounds: likewise.
        rng: of all draws.
        quiet: no fight; a background clip more for each fight that could have been.
    """
    low, high = FIGHTS_PER_JOIN
    num_fights = int(rng.integers(low, high + 1))
    num_backgrounds = int(rng.integers(BACKGROUNDS_PER_JOIN[0], BACKGROUNDS_PER_JOIN[1] + 1))
    if quiet:
        num_fights, num_backgrounds = 0, num_backgrounds + num_fights
    units: list[tuple[Part, ...]] = []
    for clips, label, count in (
        (fights, FIGHT, num_fights),
        (backgrounds, BACKGROUND, num_backgrounds),
    ):
        for index in rng.permutation(len(clips))[:count]:
            units += clip_units(clips[index][0], label, clips[index][1], rng)
    order = rng.permutation(len(units))
    return [part for index in order for part in units[index]]


def join_instances(parts: Sequence[Part]) -> tuple[Instance, ...]:
    """Return the fights of a join in seconds; fights that touch are one."""
    found: list[Instance] = []
    at = 0
    for part in parts:
        start, at = at, at + part.last - part.first
        if part.label == BACKGROUND:
            continue
        begin, end = start / GRID_FPS, at / GRID_FPS
        if found and found[-1].end_seconds == begin:
            found[-1] = replace(found[-1], end_seconds=end)
        else:
            found.append(Instance(part.label, begin, end))
    return tuple(found)


def fitted(frames: ByteArray, short_side_px: int) -> ByteArray:
    """Return uint8[F, H, W, 3] of 4:3: each frame scaled to cover that, its middle kept."""
    height, width = short_side_px, round(short_side_px * ASPECT)
    scale = max(width / frames.shape[2], height / frames.shape[1])
    size = (max(width, round(frames.shape[2] * scale)), max(height, round(frames.shape[1] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.stack(
        [
            cv2.resize(frame, size, interpolation=method)[top : top + height, left : left + width]
            for frame in frames
        ]
    ).astype(np.uint8, copy=False)


def read_clip(path: Path, short_side_px: int, folder: Path) -> ByteArray:
    """Return the grid frames that a clip may contribute, at the size of the joins.

    Args:
        path: of the clip.
        short_side_px: of the frames.
        folder: where frames are kept that were read before.
    """
    kept = folder / "clips" / f"{short_side_px}px" / f"{path.parent.name}-{path.stem}.npy"
    if not kept.exists():
        with VideoSource(path, fps=GRID_FPS, short_side_px=None) as source:
            save_array(kept, fitted(source.read(0, CLIP_FRAMES), short_side_px))
    frames: ByteArray = np.load(kept, allow_pickle=False)
    return frames


def scene_picture(frames: ByteArray) -> DoubleArray:
    """Return float64[P]: the median over time of a clip's blurred, shrunken frames."""
    chosen = frames[:: max(1, len(frames) // SCENE_FRAMES)]
    small = [
        cv2.resize(
            cv2.GaussianBlur(f, (0, 0), SCENE_BLUR_PX), SCENE_SIZE_PX, interpolation=cv2.INTER_AREA
        )
        for f in chosen
    ]
    return np.asarray(np.median(np.stack(small), axis=0), np.float64).ravel()


def load_fight(data: Path, folder: Path) -> RealSet:
    """Return the joins of fight-surv, read back where they were built before.

    Args:
        data: folder of the data.
        folder: of what is kept for this set.
    """
    kept = folder / "set.json"
    key = {"seed": SEED, "version": PLAN_VERSION, "data": str(data.resolve())}
    if kept.exists():
        document = json.loads(kept.read_text(encoding="utf-8"))
        if document["key"] == key:
            return RealSet.from_json(document["set"])
    built = build_fight(data, folder)
    write_text_atomic(kept, json.dumps({"key": key, "set": built.to_json()}) + "\n")
    return built


def build_fight(data: Path, kept: Path) -> RealSet:
    """Draw the joins of fight-surv; nothing is written, a join is a list of frame ranges."""
    folder = data / FIGHT_FOLDER
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        labels = {row["clip"]: row["label"] or BACKGROUND for row in csv.DictReader(file)}
    frames = {clip: read_clip(folder / clip, SCENE_CLIP_PX, kept) for clip in sorted(labels)}
    groups = scene_groups(np.stack([scene_picture(frames[clip]) for clip in sorted(labels)]))
    rng = np.random.default_rng(SEED)
    split = split_clips(labels, dict(zip(sorted(labels), groups, strict=True)), rng)

    def pool(side: str, label: str) -> list[tuple[str, int]]:
        chosen = [clip for clip in sorted(labels) if (split[clip], labels[clip]) == (side, label)]
        return [(clip, len(frames[clip])) for clip in chosen]

    videos: list[BenchVideo] = []
    for name, side, count, quiet in (
        ("train", "train", TRAIN_JOINS, False),
        ("train", "train", TRAIN_QUIET_JOINS, True),
        ("test", "test", TEST_JOINS, False),
        ("quiet", "test", TEST_QUIET_JOINS, True),
    ):
        fights, backgrounds = pool(side, FIGHT), pool(side, BACKGROUND)
        for index in range(count):
            parts = plan_join(fights, backgrounds, rng, quiet=quiet)
            title = f"{name}-{'quiet' if quiet else 'join'}-{index:02d}"
            shots = tuple(Shot(folder / part.clip, part.first, part.last) for part in parts)
            videos.append(BenchVideo(title, name, shots, join_instances(parts)))
    counts = {
        side: tuple(len(pool(side, label)) for label in (FIGHT, BACKGROUND))
        for side in ("train", "test")
    }
    fact = (
        f"Clips (fight, no fight): {counts['train']} to train, {counts['test']} to test, "
        f"in {len(set(groups))} scenes of which none is on both sides."
    )
    return RealSet(
        name="fight-surv",
        classes=(FIGHT,),
        tious=(0.1, 0.2, 0.3, 0.4, 0.5),
        videos=tuple(videos),
        clips=tuple(
            TrimmedClip(folder / clip, label, 0.0, count / GRID_FPS)
            for label in (FIGHT, BACKGROUND)
            for clip, count in pool("train", label)
        ),
        facts=(fact,),
    )
