"""What `kinetag train` trains on: tags joined with features, extracted first where needed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.datasets.features import open_features
from models.decode import VideoSource
from models.errors import InputError, RecipeMismatch, TrainingDataInvalid
from models.feature_store import LocalFeatureStore
from models.features import ExtractorSettings, FeatureExtractor
from models.modelcard import find_model
from models.pipeline import choose_device, model_folders, with_weights
from models.speeds import EXACT, RGB_ONLY, recipe_at, rgb_alone
from models.training.tags import (
    TaggedDataset,
    Tags,
    build_dataset,
    build_dataset_from_folder,
    read_tags,
    training_subset,
)
from models.types import FeatureSet
from models.weights import find_weights

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
    folder: Path,
    tags_path: Path,
    subset: str | None,
    extraction: "Extraction",
    speeds: Sequence[str] = (),
) -> dict[str, TaggedDataset]:
    """Extract what is not stored yet, at each speed, and join it with tags.

    A tag's video is a file name in the folder, with or without its ending. The RGB stream is
    computed once where another speed computes it anyway.

    Args:
        folder: of videos.
        tags_path: see `read_tags`.
        subset: of the tags; None takes the one meant for training.
        extraction: how features are made.
        speeds: of `models.speeds`; none takes the backbone's own.

    Returns:
        The training set at each speed, in the order of ``speeds``.

    Raises:
        TrainingDataInvalid: a tagged video is not there, or cannot be read.
        WeightsError: the backbone's model cannot be loaded, or has no such speed.
    """
    tags = read_tags(tags_path, subset or training_subset(tags_path))
    files = _files_by_id(folder, tags)
    extractors = extraction.load(speeds)
    loaded: dict[str, dict[str, FeatureSet]] = {speed: {} for speed in speeds or extractors}
    for place, video in enumerate(sorted(tags), start=1):
        extraction.say(f"features {place}/{len(tags)}: {files[video].name}")
        for speed, extractor in extractors.items():
            loaded[speed][video] = extraction.features(extractor, files[video])
    recipes = {speed: extractor.recipe for speed, extractor in extractors.items()}
    if RGB_ONLY in loaded and RGB_ONLY not in extractors:
        wider = next(iter(extractors))
        found = loaded[wider].items()
        loaded[RGB_ONLY] = {video: rgb_alone(one, recipes[wider]) for video, one in found}
        recipes[RGB_ONLY] = recipe_at(recipes[wider], RGB_ONLY)
    return {speed: build_dataset(tags, found, recipes[speed]) for speed, found in loaded.items()}


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
        self._store = LocalFeatureStore(home / "features")

    def load(self, speeds: Sequence[str]) -> dict[str, FeatureExtractor]:
        """Load the backbones for each speed that has to be computed; none is the model's own.

        Raises:
            RecipeMismatch: the model's recipe cannot be had at one of the speeds.
            WeightsError: the model or its backbones cannot be loaded.
        """
        folders = model_folders(self.home)
        model = find_model(self.backbone, folders)
        own = model.card.speed
        wanted = tuple(speeds) or (own,)
        missing = [speed for speed in wanted if own not in {EXACT, speed}]
        if missing:
            message = (
                f"The model {model.card.identity} makes features at speed {own} alone; choose it, "
                f"or a --backbone that has {missing[0]}."
            )
            raise RecipeMismatch(message)
        computed = [speed for speed in wanted if speed != RGB_ONLY] or [RGB_ONLY]
        extractors = {}
        for speed in wanted:
            recipe = model.recipe if speed == own else recipe_at(model.recipe, speed)
            if speed not in computed:
                continue
            weights = find_weights(with_weights(recipe), (model.model_folder, *folders))
            settings = ExtractorSettings(device=choose_device(self.device))
            extractors[speed] = FeatureExtractor(recipe, weights, settings)
        return extractors

    def features(self, extractor: FeatureExtractor, path: Path) -> FeatureSet:
        """Return one video's features; what is stored is not computed again.

        Raises:
            TrainingDataInvalid: the video cannot be read.
        """
        recipe = extractor.recipe
        try:
            with VideoSource(path, fps=recipe.fps, short_side_px=recipe.short_side_px) as source:
                sha256 = source.facts.sha256
                return extractor.extract(source, store=self._store, video_sha256=sha256)
        except InputError as error:
            message = f"{path.name} cannot be used for training: {error}"
            raise TrainingDataInvalid(message) from error


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
