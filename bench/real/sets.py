"""What a set of real videos is, and the pieces cut from the recordings of fir-action.

Owns the rule by which recordings are cut. Training sees a piece's tags alone; its instances are
read by the evaluation, and by nothing else.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from models.decode import VideoSource

GRID_FPS = 25
MIN_PIECE_SECONDS = 15
MAX_PIECE_SECONDS = 40
# Neighbouring instances overlap by a row of the labels; a cut may shave that much off.
BORDER_TOLERANCE_SECONDS = 0.25
# A part of an instance that is shorter after a cut is neither a tag nor truth.
MIN_PART_SECONDS = 0.5
TRAIN_DAYS = ("20200626", "20200627")
FIR_FOLDER = Path("labelled/fir-action")
BACKGROUND = "background"
DIGEST_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Instance:
    """One labelled interval, half-open, in seconds of its video."""

    label: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class Shot:
    """Consecutive grid frames of a file: [first, last)."""

    path: Path
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class BenchVideo:
    """One untrimmed video: a stretch of a recording, or shots of many clips one after the other.

    Attributes:
        name: unique in its set.
        split: ``train``, ``test``, or ``quiet`` for test video in which nothing happens.
        shots: what is shown, in order.
        instances: for evaluation, counted from the video's start.
    """

    name: str
    split: str
    shots: tuple[Shot, ...]
    instances: tuple[Instance, ...]

    @property
    def duration_seconds(self) -> float:
        """Length of all shots."""
        return sum(shot.last - shot.first for shot in self.shots) / GRID_FPS

    @property
    def labels(self) -> tuple[str, ...]:
        """The whole-video tags: all that training may know."""
        return tuple(sorted({one.label for one in self.instances}))


@dataclass(frozen=True, slots=True)
class TrimmedClip:
    """A stretch of a training file that shows one class throughout; for backbones only."""

    path: Path
    label: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class RealSet:
    """One set of the benchmark.

    Attributes:
        name: of the set.
        classes: labels in order.
        tious: overlap thresholds at which its labels can be trusted.
        videos: of all splits.
        clips: trimmed training clips, background included.
        facts: what a reader of the table should know, in sentences.
        letterbox: all of a recording's picture is shown, see `bench.real.features.Stretch`.
    """

    name: str
    classes: tuple[str, ...]
    tious: tuple[float, ...]
    videos: tuple[BenchVideo, ...]
    clips: tuple[TrimmedClip, ...]
    facts: tuple[str, ...] = ()
    letterbox: bool = False

    def split(self, name: str) -> tuple[BenchVideo, ...]:
        """Return the videos of one split."""
        return tuple(video for video in self.videos if video.split == name)

    @property
    def digest(self) -> str:
        """Hex digest of what the videos are, for the names of what is made from them."""
        rows = [
            [video.name, *((shot.path.name, shot.first, shot.last) for shot in video.shots)]
            for video in self.videos
        ]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:DIGEST_LENGTH]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object from which `from_json` restores an equal set."""
        document = asdict(self)
        shots = [shot for video in document["videos"] for shot in video["shots"]]
        for one in (*shots, *document["clips"]):
            one["path"] = str(one["path"])
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "RealSet":
        """Restore a set written by `to_json`."""
        videos = [
            BenchVideo(
                name=one["name"],
                split=one["split"],
                shots=tuple(Shot(**{**each, "path": Path(each["path"])}) for each in one["shots"]),
                instances=tuple(Instance(**each) for each in one["instances"]),
            )
            for one in document["videos"]
        ]
        clips = [TrimmedClip(**{**one, "path": Path(one["path"])}) for one in document["clips"]]
        return cls(
            name=document["name"],
            classes=tuple(document["classes"]),
            tious=tuple(document["tious"]),
            videos=tuple(videos),
            clips=tuple(clips),
            facts=tuple(document["facts"]),
            letterbox=document.get("letterbox", False),
        )


def cut_points(num_frames: int, instances: Iterable[tuple[float, float]]) -> list[int]:
    """Cut a recording into pieces of 15 to 40 s at borders of instances or in background.

    Cuts lie on borders, or on whole seconds. Among all ways to cut, the one with the fewest cuts
    inside an instance is taken, then the one with the most pieces, then the earliest cuts; so an
    instance is cut only where it is longer than any piece allows.

    Args:
        num_frames: of the recording on the grid.
        instances: (start, end) in seconds.

    Returns:
        The first frame of each piece, then ``num_frames``. A recording shorter than two least
        pieces stays whole.
    """
    spans = [(start * GRID_FPS, end * GRID_FPS) for start, end in instances]
    shortest, longest = MIN_PIECE_SECONDS * GRID_FPS, MAX_PIECE_SECONDS * GRID_FPS
    borders = {round(at) for span in spans for at in span}
    seconds = set(range(GRID_FPS, num_frames, GRID_FPS))
    frames = sorted(at for at in borders | seconds if 0 < at < num_frames)
    points = [0, *frames, num_frames]
    tolerance = BORDER_TOLERANCE_SECONDS * GRID_FPS
    inside = [
        int(any(start + tolerance < at < end - tolerance for start, end in spans)) for at in points
    ]
    # Per point: (cuts inside instances, minus pieces) up to it, and the piece's first point.
    best: list[tuple[tuple[int, int], int] | None] = [((0, 0), -1)] + [None] * (len(points) - 1)
    for here in range(1, len(points)):
        for before in range(here):
            known = best[before]
            if known is None or not shortest <= points[here] - points[before] <= longest:
                continue
            cost = (known[0][0] + inside[here], known[0][1] - 1)
            found = best[here]
            if found is None or cost < found[0]:
                best[here] = (cost, before)
    if best[-1] is None:
        return [0, num_frames]
    cuts = [len(points) - 1]
    while cuts[-1] > 0:
        entry = best[cuts[-1]]
        assert entry is not None  # noqa: S101 - only reached points are linked
        cuts.append(entry[1])
    return [points[index] for index in reversed(cuts)]


def instances_in(
    instances: Iterable[Instance], start_seconds: float, end_seconds: float
) -> tuple[Instance, ...]:
    """Return the parts of instances inside a stretch, counted from its start.

    A part shorter than 0.5 s is dropped unless it is the whole instance.
    """
    kept = []
    for one in instances:
        start = max(one.start_seconds, start_seconds)
        end = min(one.end_seconds, end_seconds)
        whole = one.end_seconds - one.start_seconds
        if end - start >= min(MIN_PART_SECONDS, whole) and end > start:
            kept.append(Instance(one.label, start - start_seconds, end - start_seconds))
    return tuple(kept)


def gaps(instances: Sequence[Instance], duration_seconds: float) -> list[tuple[float, float]]:
    """Return the intervals of a recording that no instance covers."""
    found, at = [], 0.0
    for one in sorted(instances, key=lambda one: one.start_seconds):
        if one.start_seconds > at:
            found.append((at, one.start_seconds))
        at = max(at, one.end_seconds)
    if duration_seconds > at:
        found.append((at, duration_seconds))
    return found


def read_instances(path: Path) -> dict[str, list[Instance]]:
    """Return clip -> instances of a ``clip,label,start_s,end_s`` file."""
    found: dict[str, list[Instance]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            one = Instance(row["label"], float(row["start_s"]), float(row["end_s"]))
            found.setdefault(row["clip"], []).append(one)
    return found


def build_fir(data: Path, *, letterbox: bool) -> RealSet:
    """Cut the fir-action recordings; nothing is written, pieces are ranges of grid frames.

    Args:
        data: folder of the data.
        letterbox: show all of the picture. The ceiling camera sees people at its sides, which the
            recipes' centre crop cuts off.
    """
    folder = data / FIR_FOLDER
    videos: list[BenchVideo] = []
    clips: list[TrimmedClip] = []
    for clip, instances in sorted(read_instances(folder / "labels.csv").items()):
        path = folder / clip
        with VideoSource(path, fps=GRID_FPS, short_side_px=None) as source:
            num_frames = source.num_frames
        split = "train" if path.name[:8] in TRAIN_DAYS else "test"
        cuts = cut_points(num_frames, [(one.start_seconds, one.end_seconds) for one in instances])
        for index, (first, last) in enumerate(pairwise(cuts)):
            name = f"{path.stem[:15]}-{index:02d}"
            inside = instances_in(instances, first / GRID_FPS, last / GRID_FPS)
            videos.append(BenchVideo(name, split, (Shot(path, first, last),), inside))
        if split == "train":
            clips += [
                TrimmedClip(path, one.label, one.start_seconds, one.end_seconds)
                for one in instances
            ]
            clips += [
                TrimmedClip(path, BACKGROUND, start, end)
                for start, end in gaps(instances, num_frames / GRID_FPS)
            ]
    return RealSet(
        name="fir-action, letterboxed" if letterbox else "fir-action",
        classes=tuple(sorted({one.label for video in videos for one in video.instances})),
        tious=(0.1, 0.2, 0.3, 0.4, 0.5),
        videos=tuple(videos),
        clips=tuple(clips),
        letterbox=letterbox,
    )
