"""One training run: its data, its stages, its checkpoints and which of them is chosen."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.config import InferenceSettings, Preset, TrainingSettings, settings_to_json
from models.errors import Cancelled, TrainingDataInvalid
from models.heads.base import Head, HeadOutput, Moment
from models.prediction import predict
from models.recipe import FeatureRecipe
from models.training.checkpoint import (
    OPTIMIZER_PREFIX,
    Checkpoint,
    optimizer_tensors,
    read_checkpoint,
    remove_checkpoint,
    restore_optimizer,
    write_checkpoint,
)
from models.training.holdout import HeldOutScore, held_out_score, split_holdout
from models.training.sampling import Batch, BatchSource
from models.training.tags import TaggedDataset
from models.types import FeatureSet, FloatArray, StopCallback

LogRecord = dict[str, float]
LogCallback = Callable[[LogRecord], None]

MIN_DEVIATION = 1e-6  # a feature that never changes is centred, not divided
SELECTION_POINTS = 10  # checkpoints compared in the second half of the last stage
LEARNING_RATE_DECAY = 0.1
HEAD_PREFIX, BEST_PREFIX, RNG_KEY = "head.", "best.", "rng.torch"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out; none of it but ``holdout`` changes the weights.

    Attributes:
        holdout: share of the videos kept out of training to choose the checkpoint.
        folder: where a checkpoint is kept; None keeps none.
        resume: go on from the folder's checkpoint, if there is one.
        checkpoint_seconds: at least so much time between two checkpoints.
        device: as torch names it.
        should_stop: asked at every step; a stopped run leaves a checkpoint.
    """

    holdout: float = 0.0
    folder: Path | None = None
    resume: bool = False
    checkpoint_seconds: float = 20.0
    device: str = "cpu"
    should_stop: StopCallback | None = None


@dataclass(frozen=True, slots=True)
class _Runnable:
    """A head in training as `predict` wants it."""

    head: Head
    recipe: FeatureRecipe
    standardize_mean: FloatArray
    standardize_std: FloatArray
    inference: InferenceSettings


class RunVideos:
    """The training set as a head may see it (`models.heads.base.TrainingVideos`)."""

    def __init__(
        self,
        features: list[FloatArray],
        labels: FloatArray,
        statistics: tuple[FloatArray, FloatArray],
        device: str,
    ) -> None:
        self._features, self._statistics, self._device = features, statistics, device
        self._labels = torch.from_numpy(labels).to(device)

    @property
    def labels(self) -> Tensor:
        """f32[N, C]."""
        return self._labels

    def features(self, video: int) -> Tensor:
        """Return f32[T, D], standardised."""
        mean, std = self._statistics
        values = (self._features[video] - mean) / std
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self._device)


class TrainingRun:
    """One training run: its data, and what changes while it goes on."""

    def __init__(
        self, dataset: TaggedDataset, method: str, settings: Preset, seed: int, options: RunOptions
    ) -> None:
        self.dataset, self.method, self.settings = dataset, method, settings
        self.seed, self.options = seed, options
        rng = np.random.default_rng([seed, len(settings.stages)])
        self.training, self.held_out = split_holdout(dataset.labels, options.holdout, rng)
        self.features = [dataset.features[index] for index in self.training]
        self.statistics = feature_statistics(
            self.features, dataset.recipe.feature_width, settings.stages[0].standardize
        )
        self.labels = dataset.labels[self.training].astype(np.float32)
        self.log: list[LogRecord] = []
        self.seconds_before = 0.0
        self.best: dict[str, Tensor] = {}
        self.best_score: HeldOutScore | None = None
        self.best_step = 0

    def train(self, head: Head, on_log: LogCallback | None) -> None:
        """Run all stages, or what is left of them; the head ends as the chosen checkpoint."""
        head.to(self.options.device)
        videos = RunVideos(self.features, self.labels, self.statistics, self.options.device)
        saved = self._saved()
        started = time.monotonic()
        for index, stage in enumerate(self.settings.stages):
            if saved is not None and index < saved.facts["stage"]:
                continue
            head.start_stage(stage.stage, videos)
            loop = StageLoop(self, head, index, videos)
            if saved is not None and index == saved.facts["stage"]:
                loop.restore(saved)
            loop.run(started, on_log)
        if self.best:
            head.load_trained_state(self.best)
        if self.options.folder is not None:
            remove_checkpoint(self.options.folder)
        head.to("cpu").eval()

    def compare(self, head: Head, step: int) -> HeldOutScore | None:
        """Keep this checkpoint if its held-out tags are the best so far; the last without any."""
        score = self._held_out_score(head)
        if score is None or score.better_than(self.best_score):
            self.best_score, self.best_step = score, step
            if score is not None:
                self.best = {name: v.detach().clone() for name, v in head.trained_state().items()}
        return score

    def _held_out_score(self, head: Head) -> HeldOutScore | None:
        if len(self.held_out) == 0:
            return None
        runnable = _Runnable(head, self.dataset.recipe, *self.statistics, self.settings.inference)
        scores = []
        for index in self.held_out:
            values = self.dataset.features[index]
            seconds = np.zeros((len(values), 2))
            feature_set = FeatureSet(values, seconds, self.dataset.recipe.digest, 0.0)
            scores.append(predict(runnable, feature_set).video_scores)
        head.train()
        return held_out_score(scores, self.dataset.labels[self.held_out])

    def fingerprint(self) -> str:
        """Return a digest of everything that decides the weights."""
        digest = hashlib.sha256()
        facts = [self.method, self.seed, self.options.holdout, self.settings.name]
        facts += [settings_to_json(self.settings.head), settings_to_json(self.settings.inference)]
        facts += [settings_to_json(stage) for stage in self.settings.stages]
        facts += [list(self.dataset.ids), list(self.dataset.classes), self.dataset.recipe.digest]
        digest.update(json.dumps(facts, sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self.dataset.labels).tobytes())
        for values in self.dataset.features:
            digest.update(np.ascontiguousarray(values, np.float32).tobytes())
        return digest.hexdigest()

    def _saved(self) -> Checkpoint | None:
        if self.options.folder is None or not self.options.resume:
            return None
        saved = read_checkpoint(self.options.folder, self.fingerprint())
        if saved is not None:
            self.log = list(saved.facts["log"])
            self.seconds_before = float(saved.facts["seconds"])
            self.best = saved.part(BEST_PREFIX)
            self.best_step = int(saved.facts["best_step"])
            if saved.facts["best_score"] is not None:
                self.best_score = HeldOutScore(*saved.facts["best_score"])
        return saved


class StageLoop:
    """One stage of a run."""

    def __init__(self, run: "TrainingRun", head: Head, index: int, videos: RunVideos) -> None:
        self.owner, self.head, self.index, self.videos = run, head, index, videos
        self.settings: TrainingSettings = run.settings.stages[index]
        self.optimizer = _optimizer(head, self.settings)
        seed = run.seed if index == 0 else [run.seed, index]
        rng = np.random.default_rng(seed)
        self.source = BatchSource(run.features, run.labels, run.statistics, self.settings, rng)
        self.steps = self.settings.num_steps(len(run.features))
        self.steps_per_epoch = self.settings.steps_per_epoch(len(run.features))
        self.done = 0
        self.saved_at = time.monotonic()
        self.print: str | None = None

    def run(self, started: float, on_log: LogCallback | None) -> None:
        """Take every step that is left."""
        self.head.train()
        last = self.index == len(self.owner.settings.stages) - 1
        chosen_at = _selection_steps(self.steps) if last else frozenset()
        for step in range(self.done + 1, self.steps + 1):
            loss, parts = self._step(step)
            self.done = step
            record: LogRecord = {}
            if step % self.settings.log_every == 0 or step == self.steps:
                seconds = self.owner.seconds_before + time.monotonic() - started
                record = self._record(loss, parts, seconds)
            if step in chosen_at and (score := self.owner.compare(self.head, step)) is not None:
                record |= {"held_out_video_map": score.video_map}
                record |= {"held_out_log_loss": score.log_loss, "step": float(step)}
            if record:
                self.owner.log.append(record)
                if on_log is not None:
                    on_log(record)
            self._keep(started)

    def _step(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Take one optimiser step; return the last batch's loss and its parts."""
        settings, device = self.settings, self.owner.options.device
        for group in self.optimizer.param_groups:
            group["lr"] = _learning_rate(settings, step)
        self.optimizer.zero_grad(set_to_none=True)
        seen: list[tuple[HeadOutput, Tensor, Moment]] = []
        loss, parts = torch.zeros(()), dict[str, Tensor]()
        for place in range(settings.accumulate):
            batch: Batch = self.source.take()
            labels = torch.from_numpy(batch.labels).to(device)
            moment = self._moment(step, torch.from_numpy(batch.videos))
            if place == 0 and (step - 1) % self.steps_per_epoch == 0:
                self.head.start_epoch(moment, self.videos)
            features = torch.from_numpy(batch.features).to(device)
            output = self.head(features, torch.from_numpy(batch.mask).to(device))
            loss, parts = self.head.loss(output, labels, moment)
            _require_finite(loss, step)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            seen.append((output, labels, moment))
        self.optimizer.step()
        with torch.no_grad():
            for output, labels, moment in seen:
                self.head.after_batch(output, labels, moment)
        return loss.detach(), {name: value.detach() for name, value in parts.items()}

    def _moment(self, step: int, videos: Tensor) -> Moment:
        return Moment(
            stage=self.settings.stage,
            step=step,
            steps=self.steps,
            epoch=(step - 1) // self.steps_per_epoch,
            epochs=math.ceil(self.steps / self.steps_per_epoch),
            videos=videos,
        )

    def _record(self, loss: Tensor, parts: dict[str, Tensor], seconds: float) -> LogRecord:
        record = {"stage": float(self.index), "step": float(self.done), "loss": float(loss)}
        record |= {f"loss_{name}": float(part) for name, part in parts.items()}
        record["seconds"] = round(seconds, 3)
        return record

    def _keep(self, started: float) -> None:
        """Write a checkpoint when it is time; stop when asked."""
        run, now = self.owner, time.monotonic()
        stopping = run.options.should_stop is not None and run.options.should_stop()
        if run.options.folder is not None:
            waited = now - self.saved_at
            if stopping or waited >= run.options.checkpoint_seconds or self.done == self.steps:
                write_checkpoint(run.options.folder, self._checkpoint(now - started))
                self.saved_at = now
        if stopping:
            message = "Training was stopped; --resume goes on from its checkpoint."
            raise Cancelled(message)

    def _checkpoint(self, seconds: float) -> Checkpoint:
        run = self.owner
        tensors = {HEAD_PREFIX + name: value for name, value in self.head.state_dict().items()}
        tensors |= optimizer_tensors(self.optimizer)
        tensors |= {BEST_PREFIX + name: value for name, value in run.best.items()}
        tensors[RNG_KEY] = torch.random.get_rng_state()
        if self.print is None:
            self.print = run.fingerprint()
        score = run.best_score
        facts = {
            "fingerprint": self.print,
            "stage": self.index,
            "step": self.done,
            "source": self.source.state(),
            "log": run.log,
            "seconds": run.seconds_before + seconds,
            "best_step": run.best_step,
            "best_score": None if score is None else [score.video_map, score.log_loss],
        }
        return Checkpoint(tensors, facts)

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint of this stage."""
        self.head.load_state_dict(saved.part(HEAD_PREFIX))
        restore_optimizer(self.optimizer, saved.part(OPTIMIZER_PREFIX))
        torch.random.set_rng_state(saved.tensors[RNG_KEY])
        self.source.restore(saved.facts["source"])
        self.done = int(saved.facts["step"])


def _optimizer(head: Head, settings: TrainingSettings) -> torch.optim.Optimizer:
    parameters = list(head.stage_parameters(settings.stage))
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
    return torch.optim.Adam(
        parameters,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
    )


def _learning_rate(settings: TrainingSettings, step: int) -> float:
    if settings.decay_every <= 0:
        return settings.learning_rate
    return float(
        settings.learning_rate * LEARNING_RATE_DECAY ** ((step - 1) // settings.decay_every)
    )


def _selection_steps(steps: int) -> frozenset[int]:
    """Return the steps whose checkpoints are compared: evenly in the second half, and the last."""
    points = np.linspace(steps / 2, steps, SELECTION_POINTS)
    return frozenset(max(1, round(point)) for point in points.tolist())


def feature_statistics(
    features: Sequence[FloatArray], width: int, standardize: bool
) -> tuple[FloatArray, FloatArray]:
    """Return float32[D] mean and deviation over all snippets of all videos."""
    if not standardize:
        return np.zeros(width, np.float32), np.ones(width, np.float32)
    count = sum(len(values) for values in features)
    mean = sum((v.sum(axis=0, dtype=np.float64) for v in features), np.zeros(width)) / count
    squares = sum((((v - mean) ** 2).sum(axis=0) for v in features), np.zeros(width))
    deviation = np.sqrt(squares / count)
    deviation[deviation < MIN_DEVIATION] = 1.0
    return mean.astype(np.float32), deviation.astype(np.float32)


def _require_finite(loss: Tensor, step: int) -> None:
    if not bool(torch.isfinite(loss)):
        message = (
            f"Training diverged at step {step}; lower the learning rate or check the features "
            "for extreme values."
        )
        raise TrainingDataInvalid(message)
