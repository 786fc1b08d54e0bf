"""From features and whole-video tags to a head.

One loop (`models.training.run`) for every trainable head and all of its stages. On one CPU the
same seed gives the same weights, also when the run was interrupted and resumed. Held-out videos,
if any, choose the checkpoint by their tags; without them the last step is kept. Time never enters.
"""

from dataclasses import dataclass, field
from typing import Any

import torch

from models.config import InferenceSettings, Preset, settings_to_json
from models.errors import ContractViolation
from models.heads.base import Head, HeadSpec
from models.heads.registry import build_head
from models.modelcard import ModelCard
from models.recipe import FeatureRecipe
from models.training.holdout import HeldOutScore
from models.training.run import LogCallback, LogRecord, RunOptions, TrainingRun
from models.training.tags import TaggedDataset
from models.types import FloatArray, IntArray

__all__ = ["LogCallback", "LogRecord", "RunOptions", "TrainedHead", "train_head"]


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
        training_videos, held_out_videos: int64, places in the dataset.
        chosen_step: of the last stage.
        held_out: score of the chosen checkpoint; None without held-out videos.
        log: the records given to the log callback.
    """

    head: Head
    method: str
    recipe: FeatureRecipe
    standardize_mean: FloatArray
    standardize_std: FloatArray
    settings: Preset
    seed: int
    training_videos: IntArray
    held_out_videos: IntArray
    chosen_step: int
    held_out: HeldOutScore | None = None
    log: list[LogRecord] = field(default_factory=list)

    @property
    def inference(self) -> InferenceSettings:
        """How the head is fed at inference."""
        return self.settings.inference

    @property
    def num_videos(self) -> int:
        """It was trained on, without those held out."""
        return len(self.training_videos)

    def card(self, name: str, version: str) -> ModelCard:
        """Return the card to save this head with; add licence, metrics and the like to it."""
        training: dict[str, Any] = {
            "preset": self.settings.name,
            "seed": self.seed,
            "num_videos": self.num_videos,
            "num_held_out_videos": len(self.held_out_videos),
            "chosen_step": self.chosen_step,
            "chosen_by": "held-out tags" if self.held_out is not None else "last step",
            "final": self.log[-1] if self.log else {},
            "stages": [settings_to_json(stage) for stage in self.settings.stages],
        }
        return ModelCard(
            name=name,
            version=version,
            method=self.method,
            classes=self.head.spec.classes,
            recipe=self.recipe,
            head_settings=settings_to_json(self.settings.head),
            inference=self.settings.inference,
            proposals=self.settings.proposals,
            training=training,
        )


def train_head(
    dataset: TaggedDataset,
    method: str,
    settings: Preset,
    seed: int,
    on_log: LogCallback | None = None,
    run: RunOptions | None = None,
) -> TrainedHead:
    """Train a head from features and whole-video tags.

    Args:
        dataset: checked here.
        method: name of a trainable head.
        settings: a preset or one derived from it; its head settings must suit the method.
        seed: of initialisation, dropout, batches, crops and the held-out draw. Global random
            state is left alone.
        on_log: called with a flat record of numbers every ``log_every`` steps and at the last of
            each stage.
        run: hold-out, checkpoints, device; without it all videos train and nothing is kept.

    Returns:
        The chosen checkpoint's head: best on held-out tags, else the last step's.

    Raises:
        TrainingDataInvalid: the dataset cannot be used, the loss stopped being finite, or a
            checkpoint is of another run.
        RecipeMismatch: the features lack a stream the head needs.
        ModelUnknown: there is no such head.
        Cancelled: ``should_stop`` answered True; a checkpoint is left if there is a folder.
    """
    dataset.check()
    options = run if run is not None else RunOptions()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        spec = HeadSpec.for_recipe(dataset.classes, dataset.recipe)
        head = build_head(method, spec, settings.head)
        if not head.trainable:
            message = f"the {method} head is not trained"
            raise ContractViolation(message)
        training_run = TrainingRun(dataset, method, settings, seed, options)
        training_run.train(head, on_log)
    return TrainedHead(
        head=head,
        method=method,
        recipe=dataset.recipe,
        standardize_mean=training_run.statistics[0],
        standardize_std=training_run.statistics[1],
        settings=settings,
        seed=seed,
        training_videos=training_run.training,
        held_out_videos=training_run.held_out,
        chosen_step=training_run.best_step,
        held_out=training_run.best_score,
        log=training_run.log,
    )
