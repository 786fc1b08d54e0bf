"""The whole way from a video file to timed segments, as one readable path.

Owns the order of the stages and nothing of their content. A `Localizer` is heavy to build (it
loads weights) and cheap to use; it is bound to one model and therefore to one recipe.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from models.catalog import CATALOG
from models.decode import VideoSource
from models.errors import DeviceUnavailable
from models.evidence import (
    UNCHANGED,
    Evidence,
    LocalizationResult,
    labels_seen,
    make_segments,
)
from models.feature_store import FeatureStore
from models.features import ExtractorSettings, FeatureExtractor
from models.localize.calibration import calibration_from_json
from models.modelcard import LoadedModel, find_model
from models.overrides import LocalizeOverrides
from models.prediction import predict
from models.recipe import FeatureRecipe
from models.types import (
    FeatureSet,
    Progress,
    ProgressCallback,
    StopCallback,
    VideoFacts,
)
from models.weights import find_weights

BUNDLED_FOLDER = Path(__file__).parent / "bundled"
# Share of a run's time: feature extraction against everything after it.
EXTRACTION_SHARE = 0.97


def model_folders(home: Path) -> tuple[Path, ...]:
    """Return the folders searched for models: the user's first, then the bundled one."""
    return (home / "models", BUNDLED_FOLDER)


def choose_device(wanted: str) -> str:
    """Return the torch device for a wish of auto, cpu, cuda or cuda:N.

    Raises:
        DeviceUnavailable: a GPU is asked for and torch finds none.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        message = "There is no GPU that torch can use here; choose --device cpu or auto."
        raise DeviceUnavailable(message)
    return wanted


class Localizer:
    """One model, loaded: backbones, head and their recipe.

    Args:
        model: head and card.
        extractor: of the recipe's features.
        overrides: wishes that go before the model's own settings.

    Attributes:
        recipe: of the features that the model needs.
        model_name: ``name@version``.
        speed: of `models.speeds`, at which the recipe makes features.
        computed_with: how this machine computes features; stored beside every chunk.

    Raises:
        OptionInvalid: the overrides do not fit the model.
    """

    def __init__(
        self,
        model: LoadedModel,
        extractor: FeatureExtractor,
        overrides: LocalizeOverrides = UNCHANGED,
    ) -> None:
        overrides.check_labels(model.card.classes)
        overrides.proposals(model.card.proposals)
        self._model = model
        self._extractor = extractor
        self._overrides = overrides
        self._inference = overrides.inference(model.inference)
        self.recipe: FeatureRecipe = model.card.recipe
        self.model_name = model.card.identity
        self.speed = model.card.speed
        self.computed_with = dict(extractor.computed_with)
        self._calibration = calibration_from_json(model.card.calibration)

    def with_overrides(self, overrides: LocalizeOverrides) -> "Localizer":
        """Return the same loaded model under other wishes; nothing is loaded again.

        Raises:
            OptionInvalid: they do not fit the model.
        """
        return Localizer(self._model, self._extractor, overrides)

    def open(
        self, path: Path, *, name: str | None = None, sha256: str | None = None
    ) -> VideoSource:
        """Return a video source on this model's grid and frame size.

        A known ``sha256`` is trusted and the file is not hashed again.
        """
        return VideoSource(
            path,
            fps=self.recipe.fps,
            short_side_px=self.recipe.short_side_px,
            name=name,
            sha256=sha256,
        )

    @property
    def busy_seconds(self) -> dict[str, float]:
        """Stage of extraction -> seconds spent on it so far, added up over threads."""
        return dict(self._extractor.busy_seconds)

    def num_chunk_frames(self, facts: VideoFacts, chunk: int) -> int:
        """Return the number of grid frames in one chunk of a video."""
        chunk_frames = self.recipe.chunk_snippets * self.recipe.stride_frames
        left_frames = self.recipe.grid(facts.duration_seconds).num_frames - chunk * chunk_frames
        return min(max(0, left_frames), chunk_frames)

    def num_chunks(self, facts: VideoFacts) -> int:
        """Return the number of chunks in which extraction is cut."""
        grid = self.recipe.grid(facts.duration_seconds)
        return math.ceil(grid.num_snippets / self.recipe.chunk_snippets)

    def extract_chunk(
        self,
        source: VideoSource,
        chunk: int,
        store: FeatureStore,
        on_progress: ProgressCallback | None = None,
        should_stop: StopCallback | None = None,
    ) -> bool:
        """Compute and store one chunk of an open source.

        Returns:
            False when it was stored already, computed as this machine would.
        """
        sha256, digest = source.facts.sha256, self.recipe.digest
        known = store.load_chunk(sha256, digest, chunk)
        if known is not None and known.computed_with == self.computed_with:
            return False
        features = self._extractor.extract_chunk(source, chunk, on_progress, should_stop)
        store.store_chunk(sha256, digest, chunk, features)
        return True

    def features(
        self,
        source: VideoSource,
        store: FeatureStore | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> FeatureSet:
        """Return the features of an open source under this model's recipe."""
        return self._extractor.extract(
            source, store=store, video_sha256=source.facts.sha256, on_progress=on_progress
        )

    def localize(
        self,
        source: VideoSource,
        store: FeatureStore | None = None,
        on_progress: ProgressCallback | None = None,
        should_stop: StopCallback | None = None,
    ) -> LocalizationResult:
        """Take an open source all the way; stored chunks are not computed again."""
        facts = source.facts
        features = self._extractor.extract(
            source,
            store=store,
            video_sha256=facts.sha256,
            on_progress=_scaled(on_progress, EXTRACTION_SHARE),
            should_stop=should_stop,
        )
        _report(on_progress, "localizing", EXTRACTION_SHARE)
        evidence = Evidence(
            activations=predict(self._model, features, self._inference),
            grid=self.recipe.grid(facts.duration_seconds),
            proposals=self._model.card.proposals,
            calibration=self._calibration,
            times=source.presentation_times(),
        )
        return LocalizationResult(
            video=facts,
            model=self.model_name,
            speed=self.speed,
            recipe_digest=self.recipe.digest,
            computed_with=features.computed_with,
            segments=make_segments(evidence, self._overrides),
            labels_seen=labels_seen(evidence, self._overrides),
            warnings=(*self._model.card.warnings, *features.warnings),
            evidence=evidence,
        )


def _scaled(on_progress: ProgressCallback | None, share: float) -> ProgressCallback | None:
    if on_progress is None:
        return None
    return lambda progress: on_progress(replace(progress, fraction=progress.fraction * share))


def _report(on_progress: ProgressCallback | None, stage: str, fraction: float) -> None:
    if on_progress is not None:
        on_progress(Progress(stage, fraction))


def load_localizer(
    model: str,
    folders: Sequence[Path],
    settings: ExtractorSettings | None = None,
    *,
    speed: str = "",
) -> Localizer:
    """Load a model by ``NAME[@VERSION][:SPEED]`` with the backbones of its recipe.

    Args:
        model: as above; see `models.speeds.ModelChoice`.
        folders: searched in order.
        settings: how features are computed; its device may be ``auto``, as it is without any.
        speed: takes the place of a speed in ``model``; empty leaves the choice to the model.

    Raises:
        ModelUnknown: no folder holds such a model, or it has no head for that speed.
        WeightsMissing: the model's backbone weights are not on this machine.
        WeightsInvalid: a weights file is corrupt.
    """
    loaded = find_model(model, folders, speed)
    weights = find_weights(with_weights(loaded.card.recipe), (loaded.model_folder, *folders))
    settings = settings if settings is not None else ExtractorSettings(device="auto")
    settings = replace(settings, device=choose_device(settings.device))
    return Localizer(loaded, FeatureExtractor(loaded.card.recipe, weights, settings))


def with_weights(recipe: FeatureRecipe) -> FeatureRecipe:
    """Return a recipe that names weights: its own, or the published ones of its backbone.

    Models imported from published checkpoints were trained on features that others extracted;
    their recipes name a backbone and no weights.
    """
    if recipe.weights:
        return recipe
    for record in CATALOG.values():
        known = record.recipe
        same = (known.backbone, known.width, known.stream_width) == (
            recipe.backbone,
            recipe.width,
            recipe.stream_width,
        )
        weights = tuple(one for one in known.weights if one[0] in recipe.streams)
        if same and len(weights) == len(recipe.streams):
            return replace(known, streams=recipe.streams, weights=weights)
    return recipe


def localize_video(
    localizer: Localizer,
    path: Path,
    *,
    name: str | None = None,
    store: FeatureStore | None = None,
    on_progress: ProgressCallback | None = None,
    should_stop: StopCallback | None = None,
) -> LocalizationResult:
    """Localize the actions of one video file, in this process.

    Raises:
        InputError: the file cannot be used.
        ResourceError: memory or disk gave out.
        Cancelled: ``should_stop`` answered True.
    """
    with localizer.open(path, name=name or path.name) as source:
        return localizer.localize(source, store, on_progress, should_stop)
