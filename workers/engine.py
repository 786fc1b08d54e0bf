"""The real engine: tasks computed by a loaded model.

torch, PyAV and OpenCV are imported on first use, in a worker's child; the device is chosen here
and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.evidence import LocalizationResult
from models.evidence_file import write_evidence
from models.exports import selected, to_native
from models.feature_store import FeatureStore, LocalFeatureStore
from models.overrides import LocalizeOverrides
from models.types import ProgressCallback, StopCallback, VideoFacts
from service.tracing import span
from workers.arithmetic import Adjustment, Arithmetic, adjustment, choose_arithmetic
from workers.probing import look_at
from workers.work import (
    FinishedChunk,
    FinishedVideo,
    Outcome,
    PlannedVideo,
    ProbedVideo,
    TaskInput,
    Unable,
)

if TYPE_CHECKING:
    from models.decode import VideoSource
    from models.pipeline import Localizer

MAX_REFUSED = 15
"""How many arithmetics per model are remembered as out of reach; more than any fleet mixes."""


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


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model in memory; ``adjusted`` None is this machine's default."""

    model: str
    adjusted: Adjustment | None
    localizer: Localizer


@dataclass(frozen=True, slots=True)
class _OpenVideo:
    """A video kept open for the next chunk of it; its grid and frame size are the recipe's."""

    key: tuple[str, float, int | None]
    source: VideoSource


@dataclass(slots=True)
class _Known:
    """What was found out about one model on this machine.

    Attributes:
        own: its arithmetic by default.
        precisions: that the device has hardware for.
        refused: arithmetics that no settings gave, though some might have.
    """

    own: Arithmetic
    precisions: frozenset[str]
    refused: list[Arithmetic] = field(default_factory=list)


class LocalizerEngine:
    """The real engine: one loaded model and one open video at a time, reused by what follows.

    Opening a video means reading its whole index and starting a decoder, which for a long file
    costs more than a chunk's decoding; consecutive tasks of a video open it once.
    """

    def __init__(self, settings: EngineSettings, store: FeatureStore | None = None) -> None:
        self._settings = settings
        self._store = store or LocalFeatureStore(settings.feature_folder)
        self._loaded: _Loaded | None = None
        self._known: dict[str, _Known] = {}
        self._video: _OpenVideo | None = None

    def run(
        self, work: TaskInput, on_progress: ProgressCallback, should_stop: StopCallback
    ) -> Outcome:
        """Compute one task: ``probe``, ``plan``, ``chunk`` or ``join``."""
        try:
            match work.task.kind:
                case "probe":
                    return self._probe(work, on_progress)
                case "plan":
                    return self._plan(work)
                case "chunk":
                    return self._chunk(work, on_progress, should_stop)
                case _:
                    return self._join(work, on_progress, should_stop)
        except BaseException:
            # Whatever went wrong, or was broken off in the middle, the next task starts afresh.
            self.rest()
            raise

    def rest(self) -> None:
        """End the decoder of the video that is still open, if one is."""
        if self._video is not None:
            video, self._video = self._video, None
            video.source.close()

    def _probe(self, work: TaskInput, on_progress: ProgressCallback) -> ProbedVideo:
        facts, strip = look_at(work, on_progress)
        document = facts_to_json(facts)
        if strip is None:
            return ProbedVideo(document)
        return ProbedVideo({**document, "thumbnails": strip.to_json()}, strip.jpeg)

    def _plan(self, work: TaskInput) -> PlannedVideo:
        model = work.task.model
        localizer = self._localizer(model)
        # What does not fit the model is refused now, not after hours of work.
        localizer.with_overrides(LocalizeOverrides.from_json(work.task.options))
        facts = self._source(localizer, work).facts
        num_chunks = localizer.num_chunks(facts)
        arithmetic, done = choose_arithmetic(
            self._store.arithmetic(facts.sha256, localizer.recipe.digest),
            num_chunks,
            localizer.computed_with,
            lambda wanted: self._localizer_for(model, wanted) is not None,
        )
        return PlannedVideo(
            num_chunks, facts_to_json(facts), done, arithmetic, localizer.recipe.digest
        )

    def _chunk(
        self, work: TaskInput, on_progress: ProgressCallback, should_stop: StopCallback
    ) -> Outcome:
        task = work.task
        localizer = self._localizer_for(task.model, task.computed_with)
        if localizer is None:
            return Unable(self._known[task.model].own)
        source = self._source(localizer, work)
        before = localizer.busy_seconds
        with span("infer", kind="chunk", index=task.index):
            computed = localizer.extract_chunk(
                source, task.index, self._store, on_progress, should_stop
            )
        spent = {
            stage: seconds - before.get(stage, 0.0)
            for stage, seconds in localizer.busy_seconds.items()
        }
        num_frames = localizer.num_chunk_frames(source.facts, task.index)
        return FinishedChunk(computed, localizer.computed_with, num_frames, spent)

    def _join(
        self, work: TaskInput, on_progress: ProgressCallback, should_stop: StopCallback
    ) -> FinishedVideo:
        task = work.task
        # Any arithmetic will do: chunks that are all there and alike are not computed again.
        localizer = self._localizer_for(task.model, task.computed_with)
        localizer = localizer or self._localizer(task.model)
        source = self._source(localizer, work)
        overrides = LocalizeOverrides.from_json(task.options)
        wished = localizer.with_overrides(overrides)
        with span("infer", kind="join"):
            result = wished.localize(source, self._store, on_progress, should_stop)
        self.rest()
        return _finished(result, overrides)

    def _source(self, localizer: Localizer, work: TaskInput) -> VideoSource:
        """Return the task's video, open, on the grid of the model's recipe."""
        recipe, task = localizer.recipe, work.task
        key = (task.video_id, recipe.fps, recipe.short_side_px)
        if self._video is None or self._video.key != key:
            self.rest()
            # Who looks first hashes what is really there, whatever was said when it was stored.
            known: Mapping[str, Any] = task.payload["facts"] or {}
            with span("decode"):
                source = localizer.open(work.path, name=task.video_name, sha256=known.get("sha256"))
                self._video = _OpenVideo(key, source.__enter__())
        return self._video.source

    def _localizer_for(self, model: str, wanted: Arithmetic | None) -> Localizer | None:
        """Return the model loaded so that it computes as wanted; None where it cannot."""
        loaded = self._loaded
        if (
            loaded is not None
            and loaded.model == model
            and loaded.localizer.computed_with == wanted
        ):
            return loaded.localizer
        if model not in self._known:
            self._localizer(model)
        known = self._known[model]
        if wanted is None or wanted == known.own:
            return self._localizer(model)
        adjusted = adjustment(wanted, known.own, known.precisions)
        if adjusted is None or wanted in known.refused:
            return None
        localizer = self._localizer(model, adjusted)
        if localizer.computed_with == wanted:
            return localizer
        known.refused = [*known.refused[-MAX_REFUSED:], wanted]
        return None

    def _localizer(self, model: str, adjusted: Adjustment | None = None) -> Localizer:
        loaded = self._loaded
        if loaded is None or (loaded.model, loaded.adjusted) != (model, adjusted):
            # Here, and not at the top: this import loads torch, and only a worker's child may.
            from models.features import ExtractorSettings  # noqa: PLC0415
            from models.pipeline import load_localizer  # noqa: PLC0415

            self._loaded = None  # two models at once may not fit into memory
            localizer = load_localizer(
                model,
                self._settings.model_folders,
                ExtractorSettings(
                    device=self._settings.device,
                    num_threads=self._settings.num_threads,
                    precision=adjusted.precision if adjusted is not None else "auto",
                    batch_size=adjusted.batch_size if adjusted is not None else 0,
                ),
            )
            self._loaded = loaded = _Loaded(model, adjusted, localizer)
            if adjusted is None:
                known = self._known.get(model)
                if known is None or known.own != localizer.computed_with:
                    precisions = _native_precisions(self._settings.device)
                    self._known[model] = _Known(localizer.computed_with, precisions)
        return loaded.localizer


def _native_precisions(device: str) -> frozenset[str]:
    from models.backbones.precision import has_native_bf16  # noqa: PLC0415 - loads torch
    from models.pipeline import choose_device  # noqa: PLC0415 - loads torch

    native = {"fp32", "bf16"} if has_native_bf16(choose_device(device)) else {"fp32"}
    return frozenset(native)


def _finished(result: LocalizationResult, overrides: LocalizeOverrides) -> FinishedVideo:
    kept = None if result.evidence is None else write_evidence(result.evidence)
    return FinishedVideo(selected(to_native(result), overrides), kept)
