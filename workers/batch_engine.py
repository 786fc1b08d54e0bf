"""One loaded model for a batch in this process; importing it loads torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.decode import display_name
from models.exports import selected, to_native
from models.feature_store import LocalFeatureStore
from models.features import ExtractorSettings
from models.overrides import LocalizeOverrides
from models.pipeline import load_localizer, model_folders
from models.types import ProgressCallback, StopCallback
from workers.batch_posters import draw_posters


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What the command line says about computing.

    Attributes:
        model: NAME[@VERSION][:SPEED].
        speed: empty leaves it to the model.
        options: changes to its localization, as `models.overrides` reads them.
        home: folder of models.
        features: folder of the feature store.
        keep_features: whether a file's features outlive its result.
        posters: folder for moments of the videos; None draws none.
    """

    model: str
    speed: str
    device: str
    precision: str
    home: Path
    features: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_features: bool = True
    posters: Path | None = None


class LocalizerBatchEngine:
    """A `workers.batch_run.BatchEngine`: loads the model once.

    Raises:
        PipelineError: the model cannot be loaded, or the options do not fit it.
    """

    def __init__(self, choice: EngineChoice) -> None:
        settings = ExtractorSettings(device=choice.device, precision=choice.precision)
        self._overrides = LocalizeOverrides.from_json(choice.options)
        self._localizer = load_localizer(
            choice.model, model_folders(choice.home), settings, speed=choice.speed
        ).with_overrides(self._overrides)
        self._store = LocalFeatureStore(choice.features)
        self._keep = choice.keep_features
        self._posters = choice.posters
        # The name alone does not tell the speed, which is one of the model's heads.
        self.model = f"{self._localizer.model_name}:{self._localizer.speed}"
        self.recipe = self._localizer.recipe.digest
        self.options: Mapping[str, Any] = dict(choice.options)

    def localize(
        self, path: Path, sha256: str, on_progress: ProgressCallback, should_stop: StopCallback
    ) -> dict[str, Any]:
        """Compute one file; chunks that are stored are not computed again."""
        with self._localizer.open(path, name=path.name, sha256=sha256) as source:
            result = self._localizer.localize(source, self._store, on_progress, should_stop)
            if self._posters is not None:
                draw_posters(source, self._posters)
        return selected(to_native(result), self._overrides)

    def rename(self, native: dict[str, Any], path: Path) -> dict[str, Any]:
        """Put another file's name into a result."""
        return {**native, "video": {**native["video"], "name": display_name(path.name)}}

    def forget(self, sha256: str) -> None:
        """Remove the features stored under a hash."""
        self._store.delete_video(sha256)

    def settle(self, sha256: str) -> None:
        """Drop the features of a finished file, unless they are to be kept."""
        if not self._keep:
            self._store.delete_video(sha256)
