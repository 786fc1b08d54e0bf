"""Annotation folders of W-TALC: one array per fact, one element per video.

``videoname subset labels labels_all segments classlist duration``.npy, in any of the sets that use
this layout (W-TALC, 3C-Net, SF-Net, CO2-Net, RSKP). Lists are object arrays, read safely.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.datasets.instances import (
    AmbiguousInterval,
    AnnotatedInstance,
    AnnotationSet,
    VideoEntry,
    checked_instance,
    listed,
)
from models.datasets.object_arrays import is_object_array, read_object_array, read_plain_array
from models.datasets.thumos import read_ambiguous
from models.errors import TrainingDataInvalid

NAMES_FILE = "videoname.npy"
# Every array such a folder may hold; whoever looks for features in it passes them over.
ARRAY_FILES = frozenset(
    f"{name}.npy"
    for name in (
        "videoname",
        "subset",
        "labels",
        "labels_all",
        "segments",
        "classlist",
        "classlist_20classes",
        "duration",
        "extracted_fps",
        "original_fps",
        "resolution",
        "url",
    )
)


def is_wtalc_folder(folder: Path) -> bool:
    """Return whether a folder holds such arrays."""
    return (folder / NAMES_FILE).is_file()


def read_wtalc(folder: Path, times: bool) -> AnnotationSet:
    """Read a folder of arrays, with the ambiguous intervals of ``Ambiguous_test.txt`` if there.

    Args:
        folder: with the arrays.
        times: False leaves the arrays about instances (``segments``, ``labels``) and the ambiguous
            intervals unopened: a video's tags stand in ``labels_all``.

    Raises:
        TrainingDataInvalid: an array is absent, malformed or of another length than the rest.

    Source: wtalc-pytorch video_dataset.py: ``labels_all`` holds what heads are trained from.
    """
    names = read_names(folder)
    subsets = _texts(folder / "subset.npy", len(names))
    tags = [sorted(set(one)) for one in _text_lists(folder / "labels_all.npy", len(names))]
    classes = tuple(_texts(folder / "classlist.npy"))
    strange = sorted({label for one in tags for label in one} - set(classes))
    if strange:
        message = f"labels_all.npy in {folder.name} uses {listed(strange)}, not in classlist.npy."
        raise TrainingDataInvalid(message)
    durations = _durations(folder / "duration.npy", len(names))
    return AnnotationSet(
        classes=classes,
        instances=tuple(_instances(folder, names)) if times else (),
        videos={
            name: VideoEntry(subset, duration, tuple(labels))
            for name, subset, duration, labels in zip(names, subsets, durations, tags, strict=True)
        },
        ambiguous=_ambiguous(folder) if times else (),
    )


def read_names(folder: Path) -> list[str]:
    """Return the ids of the videos, in the order of every other array.

    Raises:
        TrainingDataInvalid: the file is malformed or names a video twice.
    """
    names = _texts(folder / NAMES_FILE)
    if len(set(names)) != len(names):
        message = f"{NAMES_FILE} in {folder.name} names a video twice; fetch it again."
        raise TrainingDataInvalid(message)
    return names


def read_subsets(folder: Path, count: int) -> list[str]:
    """Return the subset of each video.

    Raises:
        TrainingDataInvalid: the file is malformed or of another length.
    """
    return _texts(folder / "subset.npy", count)


def _instances(folder: Path, names: list[str]) -> list[AnnotatedInstance]:
    labels = _text_lists(folder / "labels.npy", len(names))
    path = folder / "segments.npy"
    segments = _lists(path, len(names))
    found: list[AnnotatedInstance] = []
    for name, own_labels, own_segments in zip(names, labels, segments, strict=True):
        if len(own_labels) != len(own_segments):
            message = (
                f"{folder.name} has {len(own_labels)} labels and {len(own_segments)} segments for "
                f"{name}; fetch labels.npy and segments.npy again."
            )
            raise TrainingDataInvalid(message)
        found += [
            checked_instance(path.name, name, label, times)
            for label, times in zip(own_labels, own_segments, strict=True)
        ]
    return found


def _ambiguous(folder: Path) -> tuple[AmbiguousInterval, ...]:
    path = folder / "Ambiguous_test.txt"
    return read_ambiguous(path) if path.is_file() else ()


def _texts(path: Path, count: int | None = None) -> list[str]:
    values = _plain(path)
    if values.ndim != 1 or values.dtype.kind not in "SU":
        message = f"{path.name} must be a list of names, got {values.dtype.str}{values.shape}."
        raise TrainingDataInvalid(message)
    _require_count(path, values, count)
    try:
        return [one.decode() if isinstance(one, bytes) else str(one) for one in values.tolist()]
    except UnicodeDecodeError as error:
        message = f"{path.name} holds a name that is no UTF-8 text; fetch it again."
        raise TrainingDataInvalid(message) from error


def _durations(path: Path, count: int) -> list[float | None]:
    if not path.is_file():
        return [None] * count
    values = _plain(path)
    if values.dtype.kind not in "iuf" or values.size != len(values):
        message = f"{path.name} must hold one number of seconds per video."
        raise TrainingDataInvalid(message)
    _require_count(path, values, count)
    return [float(one) for one in values.ravel()]


def _plain(path: Path) -> NDArray[Any]:
    """Return an array of plain values; names stored as objects become an array of texts."""
    if path.is_file() and is_object_array(path):
        values = read_object_array(path).tolist()
        if not all(isinstance(one, str | bytes) for one in values):
            message = f"{path.name} must be a list of names."
            raise TrainingDataInvalid(message)
        return np.array(
            [one.decode("latin-1") if isinstance(one, bytes) else one for one in values]
        )
    values = read_plain_array(path)
    if not values.ndim:
        message = f"{path.name} holds no array; fetch it again."
        raise TrainingDataInvalid(message)
    return values


def _text_lists(path: Path, count: int) -> list[list[str]]:
    lists = _lists(path, count)
    if not all(isinstance(label, str) and label for labels in lists for label in labels):
        message = f"{path.name} must hold a list of names per video."
        raise TrainingDataInvalid(message)
    return lists


def _lists(path: Path, count: int) -> list[list[Any]]:
    """Return one list per video; where all are equally long, numpy has made a table of them."""
    if path.is_file() and not is_object_array(path):
        table: list[Any] = _plain(path).tolist()
    else:
        values = read_object_array(path)
        table = [one.tolist() if isinstance(one, np.ndarray) else one for one in values.tolist()]
    _require_count(path, table, count)
    if not all(isinstance(one, list | tuple) for one in table):
        message = f"{path.name} must hold one list per video."
        raise TrainingDataInvalid(message)
    return [list(one) for one in table]


def _require_count(path: Path, values: NDArray[Any] | list[Any], count: int | None) -> None:
    if count is not None and len(values) != count:
        message = f"{path.name} has {len(values)} entries for {count} videos; fetch it again."
        raise TrainingDataInvalid(message)
