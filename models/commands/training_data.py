"""What `kinetag train` trains on: tags joined with features, extracted first where needed."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.datasets.features import open_features
from models.errors import InputError, TrainingDataInvalid
from models.feature_store import LocalFeatureStore
from models.pipeline import Localizer, load_localizer, model_folders
from models.training.tags import (
    TaggedDataset,
    Tags,
    build_dataset,
    build_dataset_from_folder,
    read_tags,
    training_subset,
)
from models.types import FeatureSet

SayCallback = Callable[[str], None]
MAX_NAMED = 5
FLOAT_BYTES = 4
MAX_BYTES_IN_MEMORY = 4 << 30  # larger sets are read again whenever a video is drawn


def tagged_features(folder: Path, tags_path: Path, subset: str | None) -> TaggedDataset:
    """Join a folder of features with tags.

    Raises:
        TrainingDataInvalid: either cannot be used, or they do not fit together.
        RecipeMismatch: features have another width than their recipe.
    """
    tags = read_tags(tags_path, subset or training_subset(tags_path))
    features = open_features(folder)
    _require_all(tags, set(features.ids), f"features in {folder.name}")
    dataset = build_dataset_from_folder(tags, features)
    snippets = sum(len(values) for values in dataset.features)
    if snippets * dataset.recipe.feature_width * FLOAT_BYTES > MAX_BYTES_IN_MEMORY:
        return dataset
    return replace(dataset, features=[np.asarray(values) for values in dataset.features])


def tagged_videos(
    folder: Path, tags_path: Path, subset: str | None, extraction: "Extraction"
) -> TaggedDataset:
    """Extract what is not stored yet and join it with tags.

    A tag's video is a file name in the folder, with or without its ending.

    Raises:
        TrainingDataInvalid: a tagged video is not there, or cannot be read.
        WeightsError: the backbone's model cannot be loaded.
    """
    tags = read_tags(tags_path, subset or training_subset(tags_path))
    files = _files_by_id(folder, tags)
    localizer = extraction.load()
    store = LocalFeatureStore(extraction.home / "features")
    loaded: dict[str, FeatureSet] = {}
    for place, video in enumerate(sorted(tags), start=1):
        extraction.say(f"features {place}/{len(tags)}: {files[video].name}")
        try:
            with localizer.open(files[video]) as source:
                loaded[video] = localizer.features(source, store)
        except InputError as error:
            message = f"{files[video].name} cannot be used for training: {error}"
            raise TrainingDataInvalid(message) from error
    return build_dataset(tags, loaded, localizer.recipe)


class Extraction:
    """How features are made of videos.

    Args:
        backbone: model whose recipe and backbone weights are used.
        home: of models, weights and stored features.
        device: auto, cpu or cuda.
        say: hears one line per video.
    """

    def __init__(self, backbone: str, home: Path, device: str, say: SayCallback) -> None:
        self.backbone, self.home, self.device, self.say = backbone, home, device, say

    def load(self) -> Localizer:
        """Load the backbones."""
        return load_localizer(self.backbone, model_folders(self.home), device=self.device)


def _files_by_id(folder: Path, tags: Tags) -> dict[str, Path]:
    if not folder.is_dir():
        message = f"{folder} is no folder of videos."
        raise TrainingDataInvalid(message)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    by_name: dict[str, list[Path]] = {}
    for path in files:
        relative = path.relative_to(folder)
        for key in {path.name, path.stem, str(relative), str(relative.with_suffix(""))}:
            by_name.setdefault(key, []).append(path)
    _require_all(tags, set(by_name), f"video in {folder.name}")
    twice = [video for video in sorted(tags) if len(by_name[video]) > 1]
    if twice:
        message = (
            f"{twice[0]} could be {' or '.join(str(p.name) for p in by_name[twice[0]][:3])}; name "
            "the file with its ending and folder in the tags."
        )
        raise TrainingDataInvalid(message)
    return {video: by_name[video][0] for video in tags}


def _require_all(tags: Mapping[str, object], known: set[str], what: str) -> None:
    missing = sorted(set(tags) - known)
    if missing:
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        message = f"There is no {what} for {', '.join(missing[:MAX_NAMED])}{more}."
        raise TrainingDataInvalid(message)
