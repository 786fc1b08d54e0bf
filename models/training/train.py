"""The training loop: from features and whole-video tags to a head.

One loop for every trainable head, the same on every run with the same seed on one CPU. The last
step is kept; nothing is selected by any score.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from models.config import InferenceSettings, Preset, TrainingSettings, settings_to_json
from models.errors import ContractViolation, TrainingDataInvalid
from models.heads.base import Head, HeadSpec
from models.heads.registry import build_head
from models.modelcard import ModelCard
from models.recipe import FeatureRecipe
from models.training.sampling import Batch, padded_batch, train_positions, video_order
from models.training.tags import TaggedDataset
from models.types import FloatArray

LogRecord = dict[str, float]
LogCallback = Callable[[LogRecord], None]

MIN_DEVIATION = 1e-6  # a feature that never changes is centred, not divided


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """A head with everything needed to run and to save it.

    Attributes:
        head: in evaluation mode, on the CPU.
        method: its name in `models.heads.registry`.
        recipe: of the features it was trained on.
        standardize_mean, standardize_std: float32[D]; 0 and 1 without standardisation.
        settings: what decided it.
        seed: of the run.
        num_videos: it was trained on.
        log: the records given to the log callback.
    """

    head: Head
    method: str
    recipe: FeatureRecipe
    standardize_mean: FloatArray
    standardize_std: FloatArray
    settings: Preset
    seed: int
    num_videos: int
    log: list[LogRecord] = field(default_factory=list)

    @property
    def inference(self) -> InferenceSettings:
        """How the head is fed at inference."""
        return self.settings.inference

    def card(self, name: str, version: str) -> ModelCard:
        """Return the card to save this head with; add licence, metrics and the like to it."""
        return ModelCard(
            name=name,
            version=version,
            method=self.method,
            classes=self.head.spec.classes,
            recipe=self.recipe,
            head_settings=settings_to_json(self.settings.head),
            inference=self.settings.inference,
            proposals=self.settings.proposals,
            training={
                "preset": self.settings.name,
                "seed": self.seed,
                "num_videos": self.num_videos,
                "final": self.log[-1] if self.log else {},
                **settings_to_json(self.settings.training),
            },
        )


def train_head(
    dataset: TaggedDataset,
    method: str,
    settings: Preset,
    seed: int,
    on_log: LogCallback | None = None,
) -> TrainedHead:
    """Train a head from features and whole-video tags.

    Args:
        dataset: checked here.
        method: name of a trainable head.
        settings: a preset or one derived from it; its head settings must suit the method.
        seed: of initialisation, dropout, batches and crops. Global random state is left alone.
        on_log: called with a flat record of numbers every ``log_every`` steps and at the last.

    Returns:
        The head after the last step.

    Raises:
        TrainingDataInvalid: the dataset cannot be used, or the loss stopped being finite.
        RecipeMismatch: the features lack a stream the head needs.
        ModelUnknown: there is no such head.
    """
    dataset.check()
    training = settings.training
    mean, std = _statistics(dataset, training.standardize)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        spec = HeadSpec.for_recipe(dataset.classes, dataset.recipe)
        head = build_head(method, spec, settings.head)
        if not head.trainable:
            message = f"the {method} head is not trained"
            raise ContractViolation(message)
        log = _run_steps(head, _batches(dataset, training, seed, (mean, std)), training, on_log)
    head.eval()
    return TrainedHead(
        head, method, dataset.recipe, mean, std, settings, seed, len(dataset.ids), log
    )


def _statistics(dataset: TaggedDataset, standardize: bool) -> tuple[FloatArray, FloatArray]:
    """Return float32[D] mean and deviation over all snippets of all videos."""
    width = dataset.recipe.feature_width
    if not standardize:
        return np.zeros(width, np.float32), np.ones(width, np.float32)
    count = sum(len(values) for values in dataset.features)
    mean = sum((v.sum(axis=0, dtype=np.float64) for v in dataset.features), np.zeros(width)) / count
    squares = sum((((v - mean) ** 2).sum(axis=0) for v in dataset.features), np.zeros(width))
    deviation = np.sqrt(squares / count)
    deviation[deviation < MIN_DEVIATION] = 1.0
    return mean.astype(np.float32), deviation.astype(np.float32)


def _batches(
    dataset: TaggedDataset,
    training: TrainingSettings,
    seed: int,
    statistics: tuple[FloatArray, FloatArray],
) -> Iterator[Batch]:
    rng = np.random.default_rng(seed)
    mean, std = statistics
    labels = dataset.labels.astype(np.float32)
    for videos in video_order(len(dataset.ids), training.batch_size, rng):
        samples = []
        for index in videos:
            values = dataset.features[index]
            chosen = train_positions(len(values), training.num_snippets, training.sampling, rng)
            samples.append((values[chosen] - mean) / std)
        yield padded_batch(samples, labels[videos])


def _run_steps(
    head: Head, batches: Iterator[Batch], training: TrainingSettings, on_log: LogCallback | None
) -> list[LogRecord]:
    optimizer = torch.optim.Adam(
        head.parameters(),
        lr=training.learning_rate,
        betas=(training.beta1, training.beta2),
        weight_decay=training.weight_decay,
    )
    head.train()
    log: list[LogRecord] = []
    started = time.monotonic()
    for step in range(1, training.steps + 1):
        batch = next(batches)
        output = head(torch.from_numpy(batch.features), torch.from_numpy(batch.mask))
        loss, parts = head.loss(output, torch.from_numpy(batch.labels), step)
        _require_finite(loss, step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        if step % training.log_every == 0 or step == training.steps:
            record = {"step": float(step), "loss": float(loss.detach())}
            record |= {f"loss_{name}": float(part.detach()) for name, part in parts.items()}
            record["seconds"] = round(time.monotonic() - started, 3)
            log.append(record)
            if on_log is not None:
                on_log(record)
    return log


def _require_finite(loss: Tensor, step: int) -> None:
    if not bool(torch.isfinite(loss)):
        message = (
            f"Training diverged at step {step}; lower the learning rate or check the features "
            "for extreme values."
        )
        raise TrainingDataInvalid(message)
