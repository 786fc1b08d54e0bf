"""THUMOS14 in its official text files and in the tables that detection code derives from them.

Only videos with an instance of the 20 classes, or an ambiguous interval, appear in these files.
"""

import csv
from dataclasses import replace
from io import StringIO
from pathlib import Path

from models.datasets.instances import (
    AmbiguousInterval,
    AnnotatedInstance,
    AnnotationSet,
    VideoEntry,
    checked_instance,
    checked_seconds,
    labels_by_video,
)
from models.errors import TrainingDataInvalid

# Source: THUMOS14 detclasslist.txt; alphabetical, the index is used by every public code base.
THUMOS14_CLASSES = (
    "BaseballPitch",
    "BasketballDunk",
    "Billiards",
    "CleanAndJerk",
    "CliffDiving",
    "CricketBowling",
    "CricketShot",
    "Diving",
    "FrisbeeCatch",
    "GolfSwing",
    "HammerThrow",
    "HighJump",
    "JavelinThrow",
    "LongJump",
    "PoleVault",
    "Shotput",
    "SoccerPenalty",
    "TennisSwing",
    "ThrowDiscus",
    "VolleyballSpiking",
)
AMBIGUOUS = "Ambiguous"
SUBSETS = {"test": "test", "val": "validation"}
TEST_PREFIX = "video_test_"
VALIDATION_PREFIX = "video_validation_"
# Source: the exclusion list of WTAL-Uncertainty-Modeling's README. 270: most of its instances lie
# beyond its end; 1292: no instance of the 20 classes; 1496: wrong annotation.
EXCLUDED_TEST_VIDEOS = ("video_test_0000270", "video_test_0001292", "video_test_0001496")
FIELDS_PER_LINE = 3
GTAD_COLUMNS = {"video", "type", "start", "end"}
RTD_COLUMNS = {"video-name", "t-init", "t-end", "label-idx", "video-duration"}
AMBIGUOUS_INDEX = -1

Row = tuple[str, str, tuple[str, str]]  # video, label, times as written


def is_evalkit_folder(folder: Path) -> bool:
    """Return whether a folder holds the official per-class files."""
    return any(folder.glob("*_test.txt")) or any(folder.glob("*_val.txt"))


def read_evalkit(folder: Path, times: bool) -> AnnotationSet:
    """Read ``<Class>_<test|val>.txt`` and ``Ambiguous_<test|val>.txt`` of the evaluation kit.

    Lines are ``<video>  <start> <end>``; fields are parted by any amount of white space.

    Args:
        folder: with the files of one or both subsets.
        times: False leaves every time unread.

    Raises:
        TrainingDataInvalid: a line has another form.
    """
    rows: list[Row] = []
    ambiguous: list[AmbiguousInterval] = []
    subsets: dict[str, str] = {}
    for path in sorted([*folder.glob("*_test.txt"), *folder.glob("*_val.txt")]):
        label, _, suffix = path.stem.rpartition("_")
        if label == AMBIGUOUS:
            ambiguous += read_ambiguous(path) if times else ()
            continue
        for video, written in _lines(path):
            rows.append((video, label, written))
            subsets.setdefault(video, SUBSETS[suffix])
    return _annotation(folder.name, rows, ambiguous, subsets, times)


def read_ambiguous(path: Path) -> tuple[AmbiguousInterval, ...]:
    """Read a list of ambiguous intervals, ``<video>  <start> <end>`` per line, in seconds.

    Raises:
        TrainingDataInvalid: the file cannot be read or a line has another form.
    """
    return tuple(
        (video, *checked_seconds(path.name, video, written)) for video, written in _lines(path)
    )


def read_detection_table(path: Path, text: str, times: bool) -> AnnotationSet | None:
    """Read the CSV of G-TAD or of RTD-Action; None when the columns are of neither.

    Source: G-TAD's ``*_Annotation.csv`` (ambiguous rows have the type ``Ambiguous``); RTD-Action's
    ``thumos14_test_groundtruth.csv`` (class index into the 20 classes, -1 for ambiguous rows).

    Raises:
        TrainingDataInvalid: a row has another form.
    """
    reader = csv.DictReader(StringIO(text))
    durations: dict[str, float] = {}
    try:
        columns = set(reader.fieldnames or ())
        table = list(reader)
        if columns >= GTAD_COLUMNS:
            rows = [(one["video"], one["type"], (one["start"], one["end"])) for one in table]
        elif columns >= RTD_COLUMNS:
            rows = [
                (one["video-name"], _class_name(one["label-idx"]), (one["t-init"], one["t-end"]))
                for one in table
            ]
            durations = {one["video-name"]: float(one["video-duration"]) for one in table}
        else:
            return None
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        message = f"A row of {path.name} is malformed ({error}); fetch the file again."
        raise TrainingDataInvalid(message) from error
    ambiguous: list[AmbiguousInterval] = []
    if times:
        ambiguous = [
            (video, *checked_seconds(path.name, video, written))
            for video, label, written in rows
            if label == AMBIGUOUS
        ]
    kept = [row for row in rows if row[1] != AMBIGUOUS]
    subsets = {video: _subset_of(video) for video, _, _ in kept}
    return _annotation(path.name, kept, ambiguous, subsets, times, durations)


def thumos_variant(annotations: AnnotationSet, variant: str) -> AnnotationSet:
    """Return THUMOS14 with its 210 or its 212 test videos.

    ``212`` keeps every test video that has an instance; ``210`` leaves out the three videos that
    most code bases exclude (270, 1292, 1496). The other subsets stay as they are.

    Raises:
        TrainingDataInvalid: the variant is unknown, or the annotation has not that many videos.
    """
    if variant not in {"210", "212"}:
        message = f"The variant {variant} of THUMOS14 is not known; choose 210 or 212."
        raise TrainingDataInvalid(message)
    excluded = set(EXCLUDED_TEST_VIDEOS) if variant == "210" else set()
    with_instance = {one.video for one in annotations.instances}
    kept = {
        video
        for video, entry in annotations.videos.items()
        if entry.subset != "test" or (video in with_instance and video not in excluded)
    }
    count = sum(annotations.videos[video].subset == "test" for video in kept)
    if count != int(variant):
        message = (
            f"The variant {variant} needs THUMOS14 with {variant} annotated test videos, but this "
            f"annotation has {count}; choose another variant or another file."
        )
        raise TrainingDataInvalid(message)
    chosen = annotations.of_videos(kept)
    ambiguous = tuple(one for one in chosen.ambiguous if one[0] not in excluded)
    return replace(chosen, ambiguous=ambiguous)


def _lines(path: Path) -> list[tuple[str, tuple[str, str]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path.name} cannot be read as text ({error}); fetch it again."
        raise TrainingDataInvalid(message) from error
    found: list[tuple[str, tuple[str, str]]] = []
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if fields and len(fields) != FIELDS_PER_LINE:
            message = f"Line {number} of {path.name} is not of the form: video start end."
            raise TrainingDataInvalid(message)
        if fields:
            found.append((fields[0], (fields[1], fields[2])))
    return found


def _class_name(index: str) -> str:
    number = int(index)
    return AMBIGUOUS if number == AMBIGUOUS_INDEX else dict(enumerate(THUMOS14_CLASSES))[number]


def _subset_of(video: str) -> str | None:
    if video.startswith(TEST_PREFIX):
        return "test"
    return "validation" if video.startswith(VALIDATION_PREFIX) else None


def _annotation(
    where: str,
    rows: list[Row],
    ambiguous: list[AmbiguousInterval],
    subsets: dict[str, str] | dict[str, str | None],
    times: bool,
    durations: dict[str, float] | None = None,
) -> AnnotationSet:
    if not rows:
        message = f"{where} holds no instance; name the folder or file with the annotations."
        raise TrainingDataInvalid(message)
    instances: tuple[AnnotatedInstance, ...] = ()
    if times:
        instances = tuple(checked_instance(where, *row) for row in rows)
    tags = labels_by_video([(video, label) for video, label, _ in rows])
    return AnnotationSet(
        classes=tuple(sorted({label for _, label, _ in rows})),
        instances=instances,
        videos={
            video: VideoEntry(subsets[video], (durations or {}).get(video), labels)
            for video, labels in tags.items()
        },
        ambiguous=tuple(ambiguous),
    )
