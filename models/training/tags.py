"""Whole-video tags, read and joined with features into a training set.

Time never enters: whatever an annotation says about times is left unread here.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from models.datasets.activitynet import is_bsn
from models.datasets.annotations import read_annotations
from models.datasets.features import FeatureFolder
from models.datasets.instances import Tags as Tags
from models.datasets.instances import listed, tags_of
from models.errors import TrainingDataInvalid
from models.recipe import FeatureRecipe
from models.types import FeatureSet, FloatArray

TAG_COLUMNS = ("video", "label")
JSON_LINES = {".jsonl", ".ndjson"}
TRAINING_SUBSETS = {"train", "training"}
TEST_SUBSET = "test"


@dataclass(frozen=True, slots=True)
class TaggedDataset:
    """Features of whole videos with their tags.

    Attributes:
        ids: of the N videos.
        features: float32[T, D] per video, T >= 1, from one recipe.
        labels: bool[N, C].
        classes: the C labels in order.
        recipe: of the features.
    """

    ids: tuple[str, ...]
    features: Sequence[FloatArray]
    labels: NDArray[np.bool_]
    classes: tuple[str, ...]
    recipe: FeatureRecipe

    def check(self) -> None:
        """Check that a head can be trained on this.

        Raises:
            TrainingDataInvalid: in one sentence, what to repair.
        """
        if not self.ids or not self.classes:
            message = "There is nothing to train on: give at least two videos and one label."
            raise TrainingDataInvalid(message)
        if len(self.features) != len(self.ids) or self.labels.shape != (
            len(self.ids),
            len(self.classes),
        ):
            message = (
                f"The training set is inconsistent: {len(self.ids)} videos, {len(self.features)} "
                f"feature arrays and labels of shape {self.labels.shape} for "
                f"{len(self.classes)} classes."
            )
            raise TrainingDataInvalid(message)
        for name, values in zip(self.ids, self.features, strict=True):
            _check_features(name, values, self.recipe.feature_width)
        self._check_balance()

    def _check_balance(self) -> None:
        counts = self.labels.sum(axis=0)
        never = [name for name, count in zip(self.classes, counts, strict=True) if count == 0]
        if never:
            message = (
                f"No video is tagged {listed(never)}; tag at least one or leave the class out."
            )
            raise TrainingDataInvalid(message)
        always = [
            name for name, count in zip(self.classes, counts, strict=True) if count == len(self.ids)
        ]
        if always:
            message = (
                f"Every video is tagged {listed(always)}, so nothing shows what its absence "
                "looks like; add videos without it, or background videos with no label."
            )
            raise TrainingDataInvalid(message)


def read_tags(path: Path, subset: str | None = None) -> Tags:
    """Read tags: video id -> its labels, sorted, none for a background video.

    Forms are told apart by suffix and content: CSV with the columns ``video,label`` (one row per
    pair; an empty label marks a background video), JSON lines ``{"video": ..., "labels": [...]}``,
    an ActivityNet ground truth, and every folder that `read_annotations` knows (W-TALC's arrays,
    THUMOS14's evaluation kit, BSN's pair). Of ground truths, the labels alone are read.

    Args:
        path: the file, UTF-8, or the folder.
        subset: keep only videos of this subset, where the file states subsets.

    Raises:
        TrainingDataInvalid: the file cannot be read as any of these.
    """
    if path.is_dir():
        return tags_of(read_annotations(path, times=False), subset)
    text = _text_of(path)
    if path.suffix.lower() == ".csv":
        return _tags_from_csv(path.name, text)
    if path.suffix.lower() in JSON_LINES:
        return _tags_from_json_lines(path.name, text, subset)
    if path.suffix.lower() == ".json":
        document = _parsed(path.name, text)
        if is_bsn(document):
            return tags_of(read_annotations(path, times=False), subset)
        return _tags_from_activitynet(path.name, document, subset)
    message = f"The tags file {path.name} must end in .csv, .jsonl or .json, or be a folder."
    raise TrainingDataInvalid(message)


def training_subset(path: Path) -> str | None:
    """Return the subset of a tags source that is meant for training; None when it states none.

    ``training`` or ``train`` where there is one; ``validation`` where the only other is ``test``,
    as in THUMOS14, whose own training set is trimmed.

    Raises:
        TrainingDataInvalid: the source cannot be read, or states subsets without telling which.
    """
    stated = _stated_subsets(path)
    meant = sorted(stated & TRAINING_SUBSETS) or sorted(stated - {TEST_SUBSET})
    if len(meant) == 1 or not stated:
        return next(iter(meant), None)
    message = f"{path.name} states the subsets {listed(sorted(stated))}; say which one to train on."
    raise TrainingDataInvalid(message)


def _stated_subsets(path: Path) -> set[str]:
    if path.is_dir() or path.suffix.lower() == ".json":
        entries = read_annotations(path, times=False).videos.values()
        return {entry.subset for entry in entries if entry.subset is not None}
    if path.suffix.lower() in JSON_LINES:
        lines = _text_of(path).splitlines()
        records = [_parsed(path.name, line) for line in lines if line.strip()]
        return {str(one["subset"]) for one in records if one.get("subset") is not None}
    return set()


def build_dataset(
    tags: Mapping[str, Iterable[str]],
    features: Mapping[str, FeatureSet],
    recipe: FeatureRecipe,
    classes: Sequence[str] | None = None,
) -> TaggedDataset:
    """Join tags with features; videos in the order of their ids.

    Args:
        tags: video id -> labels.
        features: video id -> features; ids without tags are left out.
        recipe: that every feature set must come from.
        classes: labels in order; by default all that occur, sorted.

    Raises:
        TrainingDataInvalid: a video has no features or another recipe's, a label is not among the
            classes, or a head cannot be trained on the result.
    """
    missing = sorted(set(tags) - set(features))
    if missing:
        message = f"No features were found for {listed(missing)}; extract them first."
        raise TrainingDataInvalid(message)
    ids = tuple(sorted(tags))
    foreign = [name for name in ids if features[name].recipe_digest != recipe.digest]
    if foreign:
        message = (
            f"The features of {listed(foreign)} come from another recipe than {recipe.name} "
            f"({recipe.digest}); extract them again with it."
        )
        raise TrainingDataInvalid(message)
    return _joined(tags, ids, [features[name].values for name in ids], recipe, classes)


def build_dataset_from_folder(
    tags: Mapping[str, Iterable[str]], folder: FeatureFolder, classes: Sequence[str] | None = None
) -> TaggedDataset:
    """Join tags with a folder of features, which are read when they are used, not kept.

    Args:
        tags: video id -> labels.
        folder: its videos without tags are left out.
        classes: labels in order; by default all that occur, sorted.

    Raises:
        TrainingDataInvalid, RecipeMismatch: as `build_dataset` and `FeatureFolder.load`.
    """
    missing = sorted(set(tags) - set(folder.ids))
    if missing:
        message = (
            f"No features were found for {listed(missing)} in {folder.folder.name}; extract them "
            "first, or check that its files are named after the videos."
        )
        raise TrainingDataInvalid(message)
    ids = tuple(sorted(tags))
    return _joined(tags, ids, folder.sequence(ids), folder.recipe, classes)


def _joined(
    tags: Mapping[str, Iterable[str]],
    ids: tuple[str, ...],
    features: Sequence[FloatArray],
    recipe: FeatureRecipe,
    classes: Sequence[str] | None,
) -> TaggedDataset:
    found = sorted({label for name in ids for label in tags[name]})
    names = tuple(found if classes is None else classes)
    unknown = sorted(set(found) - set(names))
    if unknown:
        message = f"The tags use {listed(unknown)}, which the list of classes does not have."
        raise TrainingDataInvalid(message)
    labels = np.array([[name in set(tags[video]) for name in names] for video in ids], np.bool_)
    dataset = TaggedDataset(
        ids=ids,
        features=features,
        labels=labels.reshape(len(ids), len(names)),
        classes=names,
        recipe=recipe,
    )
    dataset.check()
    return dataset


def _check_features(name: str, values: FloatArray, width: int) -> None:
    if values.ndim != 2 or values.shape[1] != width or len(values) == 0:  # noqa: PLR2004  # T, D
        message = (
            f"The features of {name} have shape {values.shape}, but the recipe asks for "
            f"(snippets, {width}); extract them again."
        )
        raise TrainingDataInvalid(message)
    if not np.isfinite(values).all():
        message = f"The features of {name} hold values that are not finite; extract them again."
        raise TrainingDataInvalid(message)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"The tags file {path.name} cannot be read as UTF-8 text ({error})."
        raise TrainingDataInvalid(message) from error


def _tags_from_csv(name: str, text: str) -> Tags:
    try:
        return _tags_from_rows(name, csv.DictReader(StringIO(text)))
    except csv.Error as error:
        message = f"The tags file {name} is no proper CSV ({error})."
        raise TrainingDataInvalid(message) from error


def _tags_from_rows(name: str, reader: "csv.DictReader[str]") -> Tags:
    columns = tuple(column.strip() for column in reader.fieldnames or ())
    if set(columns) != set(TAG_COLUMNS):
        message = (
            f"The tags file {name} has the columns {', '.join(columns) or 'none'}; it needs "
            f"exactly {' and '.join(TAG_COLUMNS)}."
        )
        raise TrainingDataInvalid(message)
    reader.fieldnames = columns
    found: dict[str, set[str]] = {}
    for row in reader:
        video, label = (row["video"] or "").strip(), (row["label"] or "").strip()
        if not video or None in row:
            message = f"Line {reader.line_num} of {name} is not of the form video,label."
            raise TrainingDataInvalid(message)
        found.setdefault(video, set()).update({label} if label else set())
    return _frozen(found)


def _tags_from_json_lines(name: str, text: str, subset: str | None) -> Tags:
    found: dict[str, set[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        record = _parsed(f"line {number} of {name}", line)
        unknown = sorted(set(record) - {"video", "labels", "subset"})
        if unknown:
            message = (
                f"Line {number} of {name} has the unknown fields {listed(unknown)}; it may have "
                "video, labels and subset."
            )
            raise TrainingDataInvalid(message)
        video, labels = record.get("video"), record.get("labels")
        if not isinstance(video, str) or not video or not _is_label_list(labels):
            message = (
                f'Line {number} of {name} needs "video", a name, and "labels", a list of names.'
            )
            raise TrainingDataInvalid(message)
        if subset is None or record.get("subset", subset) == subset:
            found.setdefault(video, set()).update(labels)
    return _frozen(found)


def _tags_from_activitynet(name: str, document: Mapping[str, Any], subset: str | None) -> Tags:
    database = document.get("database")
    if not isinstance(database, dict):
        message = f'{name} is no ActivityNet ground truth: it has no "database".'
        raise TrainingDataInvalid(message)
    found: dict[str, set[str]] = {}
    for video, entry in database.items():
        annotations = entry.get("annotations") if isinstance(entry, dict) else None
        if not isinstance(annotations, list):
            message = f"{video} in {name} has no list of annotations."
            raise TrainingDataInvalid(message)
        labels = [one.get("label") if isinstance(one, dict) else None for one in annotations]
        if not _is_label_list(labels):
            message = f"An annotation of {video} in {name} has no label."
            raise TrainingDataInvalid(message)
        if subset is None or entry.get("subset") == subset:
            found.setdefault(str(video), set()).update(labels)
    return _frozen(found)


def _parsed(where: str, text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"There is no valid JSON in {where} ({error.msg})."
        raise TrainingDataInvalid(message) from error
    if not isinstance(document, dict):
        message = f"There must be one JSON object in {where}."
        raise TrainingDataInvalid(message)
    return document


def _is_label_list(labels: object) -> TypeGuard[list[str]]:
    return isinstance(labels, list) and all(isinstance(one, str) and one for one in labels)


def _frozen(found: Mapping[str, set[str]]) -> Tags:
    if not found:
        message = "The tags file names no video."
        raise TrainingDataInvalid(message)
    return {video: tuple(sorted(labels)) for video, labels in found.items()}
