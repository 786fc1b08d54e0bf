"""The real engine: tasks computed by a loaded model.

torch, PyAV and OpenCV are imported on first use, in a worker's child; the device is chosen here
and nowhere else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.feature_store import LocalFeatureStore
from models.types import LocalizationResult, ProgressCallback, StopCallback, VideoFacts
from workers.work import FinishedChunk, FinishedVideo, Outcome, PlannedVideo, TaskInput

if TYPE_CHECKING:
    from models.pipeline import Localizer


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Where models and features are, and what computes.

    Attributes:
        model_folders: searched in order for a model's name.
        feature_folder: root of the feature store.
        device: ``cpu`` or ``cuda``, or ``cuda:N``.
        num_threads: for flow and network together; 0 is every core.
    """

    model_folders: tuple[Path, ...]
    feature_folder: Path
    device: str = "cpu"
    num_threads: int = 0


def facts_to_json(facts: VideoFacts) -> dict[str, Any]:
    """Return everything known of a video, the names that users see beside our own."""
    return {
        **asdict(facts),
        "duration": facts.duration_seconds,
        "vfr": facts.variable_frame_rate,
        "width": facts.width_px,
        "height": facts.height_px,
    }


def facts_from_json(document: dict[str, Any]) -> VideoFacts:
    """Restore the facts a plan task stored; unknown keys are ignored."""
    names = {field.name for field in fields(VideoFacts)}
    return VideoFacts(**{key: value for key, value in document.items() if key in names})


class LocalizerEngine:
    """The real engine: one loaded model at a time, reused by the tasks that follow."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._store = LocalFeatureStore(settings.feature_folder)
        self._loaded: tuple[str, Localizer] | None = None

    def run(
        self, work: TaskInput, on_progress: ProgressCallback, should_stop: StopCallback
    ) -> Outcome:
        """Compute one task: ``plan``, ``chunk`` or ``join``."""
        localizer = self._localizer(work.task.model)
        if work.task.kind == "plan":
            return self._plan(localizer, work)
        facts = facts_from_json(work.task.payload["facts"])
        if work.task.kind == "chunk":
            computed = localizer.extract_chunk(
                work.path, facts, work.task.index, self._store, on_progress, should_stop
            )
            return FinishedChunk(computed)
        result = localizer.finish(work.path, facts, self._store, on_progress, should_stop)
        return _finished(result)

    def _plan(self, localizer: Localizer, work: TaskInput) -> PlannedVideo:
        facts = localizer.probe(work.path, name=work.task.video_name)
        num_chunks = localizer.num_chunks(facts)
        digest = localizer.recipe.digest
        done = {c for c in range(num_chunks) if self._store.has_chunk(facts.sha256, digest, c)}
        return PlannedVideo(num_chunks, facts_to_json(facts), frozenset(done))

    def _localizer(self, spec: str) -> Localizer:
        if self._loaded is None or self._loaded[0] != spec:
            # Here, and not at the top: this import loads torch, and only a worker's child may.
            from models.pipeline import load_localizer  # noqa: PLC0415

            self._loaded = None  # two models at once may not fit into memory
            loaded = load_localizer(
                spec,
                self._settings.model_folders,
                device=self._settings.device,
                num_threads=self._settings.num_threads,
            )
            self._loaded = (spec, loaded)
        return self._loaded[1]


def _finished(result: LocalizationResult) -> FinishedVideo:
    from models.exports import to_native  # noqa: PLC0415 - beside the science it renders

    return FinishedVideo(to_native(result), _activations_to_json(result))


def _activations_to_json(result: LocalizationResult) -> dict[str, Any] | None:
    from models.exports import activations_to_json  # noqa: PLC0415 - beside the science it renders

    if result.activations is None or result.snippet_seconds is None:
        return None
    seconds = result.snippet_seconds.mean(axis=1).tolist()
    return {"seconds": seconds, **activations_to_json(result.activations)}
