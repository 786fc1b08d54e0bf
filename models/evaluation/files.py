"""Reads the files an evaluation compares. Strict: what cannot be meant is refused by name.

Ground truth and results have the shape of ActivityNet; ambiguous stretches that of THUMOS14.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from models.errors import EvaluationDataInvalid
from models.evaluation.records import AmbiguousInterval, Detection, GroundTruth

MAX_NAMED_SUBSETS = 8
AMBIGUOUS_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class GroundTruthFile:
    """One subset of a ground truth file, or all of it.

    Attributes:
        instances: in the order of the file.
        videos: of the subset, with and without instances.
        other_videos: of the other subsets.
    """

    instances: tuple[GroundTruth, ...]
    videos: frozenset[str]
    other_videos: frozenset[str]


def read_ground_truth_file(path: Path, subset: str | None = None) -> GroundTruthFile:
    """Read an ActivityNet ground truth file: ``database.<video>.{subset, annotations}``.

    Raises:
        EvaluationDataInvalid: the file has another form, names a video twice, holds a time that
            is no number or a negative length, or no video of the subset has an instance.
    """
    database = _read_object(path, "database")
    try:
        chosen = {
            video: entry
            for video, entry in database.items()
            if subset is None or entry.get("subset") == subset
        }
        instances = tuple(
            GroundTruth(video, str(item["label"]), *_segment(path, video, item["segment"]))
            for video, entry in chosen.items()
            for item in entry["annotations"]
        )
        subsets = sorted({str(entry.get("subset")) for entry in database.values()})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _malformed(path, "ground truth", error) from error
    if not instances and subset is not None:
        named = ", ".join(subsets[:MAX_NAMED_SUBSETS])
        message = f"{path.name} has no instance in subset {subset}; its subsets are: {named}."
        raise EvaluationDataInvalid(message)
    if not instances:
        message = f"{path.name} has no instance to evaluate against; choose another ground truth."
        raise EvaluationDataInvalid(message)
    return GroundTruthFile(instances, frozenset(chosen), frozenset(database) - frozenset(chosen))


def read_ground_truth(path: Path, subset: str | None = None) -> list[GroundTruth]:
    """Read the instances alone; errors of `read_ground_truth_file`."""
    return list(read_ground_truth_file(path, subset).instances)


def read_detections(path: Path) -> list[Detection]:
    """Read the detections of an ActivityNet result file: ``results.<video>``.

    Raises:
        EvaluationDataInvalid: the file has another form, names a video twice, or holds a time or
            score that is no number or a negative length.
    """
    results = _read_object(path, "results")
    try:
        return [
            Detection(
                video,
                str(item["label"]),
                *_segment(path, video, item["segment"]),
                _number(path, video, item["score"], "score"),
            )
            for video, items in results.items()
            for item in items
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _malformed(path, "result", error) from error


def read_ambiguous(path: Path) -> tuple[AmbiguousInterval, ...]:
    """Read ambiguous stretches: a line each with video, start and end in seconds.

    Columns are separated by any run of blanks: THUMOS14's own file has two after the video.

    Raises:
        EvaluationDataInvalid: a line has another form, or the file has none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path.name} cannot be read as text; give a file of ambiguous stretches."
        raise EvaluationDataInvalid(message) from error
    stretches = tuple(_stretches(path, lines))
    if not stretches:
        message = f"{path.name} holds no ambiguous stretch; leave --ambiguous out if there is none."
        raise EvaluationDataInvalid(message)
    return stretches


def _stretches(path: Path, lines: Iterable[str]) -> Iterator[AmbiguousInterval]:
    for number, line in enumerate(lines, 1):
        columns = line.split()
        if not columns:
            continue
        try:
            video, *times = columns
            start, end = _segment(path, video, times)
        except ValueError as error:
            message = (
                f"Line {number} of {path.name} must hold {AMBIGUOUS_COLUMNS} columns, "
                f"video, start and end in seconds, but holds {line.strip()!r}."
            )
            raise EvaluationDataInvalid(message) from error
        yield video, start, end


def _segment(path: Path, video: str, values: Iterable[Any]) -> tuple[float, float]:
    start, end = (_number(path, video, value, "segment") for value in values)
    if end < start:
        message = f"{path.name}: a segment of video {video} ends before it starts ({start}, {end})."
        raise EvaluationDataInvalid(message)
    return start, end


def _number(path: Path, video: str, value: Any, what: str) -> float:  # noqa: ANN401 - JSON
    number = float(value)
    if not isfinite(number):
        message = f"{path.name}: a {what} of video {video} is {number}, which is no finite number."
        raise EvaluationDataInvalid(message)
    return number


def _read_object(path: Path, key: str) -> Mapping[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) != len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            message = f"{path.name} has the key {twice!r} twice in one object; merge the entries."
            raise EvaluationDataInvalid(message)
        return entries

    try:
        document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
        inner = document[key]
    except FileNotFoundError as error:
        message = f"There is no file {path}; check the path."
        raise EvaluationDataInvalid(message) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _malformed(path, key, error) from error
    if not isinstance(inner, dict):
        raise _malformed(path, key, TypeError(f"{key} is no object"))
    return inner


def _malformed(path: Path, kind: str, error: Exception) -> EvaluationDataInvalid:
    message = f"{path.name} is not an ActivityNet file with a proper {kind} part ({error!r})."
    return EvaluationDataInvalid(message)
