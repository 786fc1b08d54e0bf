"""Annotations in ActivityNet's JSON form, and version 1.3 as BSN splits it into JSON and CSV.

BaS-Net's ``gt.json`` of THUMOS14 has the same form, with seconds written as texts.
"""

import csv
import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from models.datasets.instances import (
    AnnotatedInstance,
    AnnotationSet,
    VideoEntry,
    checked_instance,
    labels_by_video,
)
from models.errors import TrainingDataInvalid

BSN_INSTANCES = "*anno_action*.json"
BSN_VIDEOS = "*video_info*.csv"
MAX_SECONDS = 1e9  # thirty years; more is a mistake
BSN_COLUMNS = {"video", "seconds", "subset"}


def read_activitynet(path: Path, document: Mapping[str, Any], times: bool) -> AnnotationSet:
    """Read ``{"database": {video: {"subset", "duration", "annotations": [...]}}}``.

    Args:
        path: the file, for messages.
        document: its JSON object.
        times: False leaves every segment unread.

    Raises:
        TrainingDataInvalid: an entry has another form.
    """
    database = document["database"]
    if not isinstance(database, dict):
        message = f'{path.name} is no ActivityNet ground truth: its "database" is no object.'
        raise TrainingDataInvalid(message)
    subsets = {
        video: entry.get("subset") if isinstance(entry, dict) else None
        for video, entry in database.items()
    }
    durations = {
        video: entry.get("duration") if isinstance(entry, dict) else None
        for video, entry in database.items()
    }
    return _annotation(path.name, database, subsets, durations, times)


def is_bsn(document: object) -> bool:
    """Return whether a JSON document is BSN's list of instances."""
    first = next(iter(document.values()), None) if isinstance(document, dict) else None
    return isinstance(first, dict) and {"annotations", "duration_second"} <= set(first)


def read_bsn(path: Path, document: Mapping[str, Any], times: bool) -> AnnotationSet:
    """Read BSN's pair for ActivityNet 1.3: instances in JSON, subsets in the CSV beside it.

    Source: BSN-boundary-sensitive-network data/activitynet_annotations. Its ids begin with
    ``v_``; 19,228 of the 19,994 videos are in it.

    Raises:
        TrainingDataInvalid: the table is absent, or a part has another form.
    """
    tables = sorted(path.parent.glob(BSN_VIDEOS))
    if len(tables) != 1:
        message = (
            f"{path.name} needs the table of its videos ({BSN_VIDEOS}) beside it; found "
            f"{len(tables)}."
        )
        raise TrainingDataInvalid(message)
    try:
        rows = list(csv.DictReader(StringIO(tables[0].read_text(encoding="utf-8-sig"))))
        if rows and not set(rows[0]) >= BSN_COLUMNS:
            message = f"{tables[0].name} lacks the columns {', '.join(sorted(BSN_COLUMNS))}."
            raise TrainingDataInvalid(message)
        subsets = {row["video"]: row["subset"] for row in rows}
        durations = {row["video"]: float(row["seconds"]) for row in rows}
    except (OSError, ValueError, TypeError, csv.Error) as error:
        message = f"{tables[0].name} cannot be read ({error}); fetch it again."
        raise TrainingDataInvalid(message) from error
    missing = sorted(set(document) - set(subsets))
    if missing:
        message = f"{tables[0].name} has no row for {missing[0]}; fetch both files again."
        raise TrainingDataInvalid(message)
    return _annotation(path.name, document, subsets, durations, times)


def load_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        TrainingDataInvalid: there is none.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path.name} cannot be read as JSON ({error}); fetch it again."
        raise TrainingDataInvalid(message) from error
    if not isinstance(document, dict):
        message = f"There must be one JSON object in {path.name}."
        raise TrainingDataInvalid(message)
    return document


def _annotation(
    where: str,
    database: Mapping[str, Any],
    subsets: Mapping[str, Any],
    durations: Mapping[str, Any],
    times: bool,
) -> AnnotationSet:
    pairs: list[tuple[str, str]] = []
    instances: list[AnnotatedInstance] = []
    for video, entry in database.items():
        for label, one in _labelled(where, video, entry):
            pairs.append((video, label))
            if times:
                instances.append(checked_instance(where, video, label, one.get("segment")))
    tags = labels_by_video(pairs)
    return AnnotationSet(
        classes=tuple(sorted({label for _, label in pairs})),
        instances=tuple(instances),
        videos={
            video: VideoEntry(
                subset=_subset(where, video, subsets.get(video)),
                duration_seconds=_duration(where, video, durations.get(video)),
                labels=tags.get(video, ()),
            )
            for video in database
        },
    )


def _labelled(where: str, video: str, entry: object) -> list[tuple[str, Mapping[str, Any]]]:
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    if not isinstance(annotations, list):
        message = f"{video} in {where} has no list of annotations."
        raise TrainingDataInvalid(message)
    found: list[tuple[str, Mapping[str, Any]]] = []
    for one in annotations:
        label = one.get("label") if isinstance(one, dict) else None
        if not isinstance(label, str) or not label:
            message = f"An annotation of {video} in {where} has no label."
            raise TrainingDataInvalid(message)
        found.append((label, one))
    return found


def _subset(where: str, video: str, subset: object) -> str | None:
    if subset is not None and not isinstance(subset, str):
        message = f"The subset of {video} in {where} is no name."
        raise TrainingDataInvalid(message)
    return subset


def _duration(where: str, video: str, seconds: object) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, int | float) and 0 <= seconds < MAX_SECONDS:
        return float(seconds)
    message = f"The duration of {video} in {where} is no number of seconds."
    raise TrainingDataInvalid(message)
