"""What every head is: a network from snippet features to activations, and its own loss.

`forward` returns what inference needs; `loss` does the training-only work on what `forward`
already computed. Padding, marked by the mask, never changes the result for real snippets.

A head that learns in stages, keeps a memory or looks at the whole training set overrides the
hooks `start_stage`, `start_epoch` and `after_batch`; one that does not leaves them alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from models.config import HeadSettings, Preset
from models.errors import ContractViolation, RecipeMismatch
from models.recipe import FeatureRecipe
from models.types import Activations, HeadProposals


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """What a head is built for.

    Attributes:
        classes: labels in order, background excluded.
        streams: of the features, in the order in which they stand side by side.
        stream_width: feature width D of one stream.
    """

    classes: tuple[str, ...]
    streams: tuple[str, ...]
    stream_width: int

    @classmethod
    def for_recipe(cls, classes: tuple[str, ...], recipe: FeatureRecipe) -> "HeadSpec":
        """Return the spec of a head on features of this recipe."""
        return cls(classes, recipe.streams, recipe.stream_width)

    @property
    def feature_width(self) -> int:
        """D: the width of all streams side by side."""
        return self.stream_width * len(self.streams)

    def stream_slice(self, stream: str) -> slice:
        """Return where one stream's features lie in D."""
        start = self.streams.index(stream) * self.stream_width
        return slice(start, start + self.stream_width)


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """One forward pass.

    Attributes:
        class_logits: f32[B, T, C], background excluded.
        localization: f32[B, T, C] in [0, 1], what thresholds cut.
        scoring: f32[B, T, C] in [0, 1], what outer-inner contrast scores.
        video_scores: f32[B, C] in [0, 1].
        attention: f32[B, T] in [0, 1], class-agnostic actionness.
        mask: bool[B, T], True at real snippets; values elsewhere mean nothing.
        evidence: further tensors by name that the head's own loss reads.
    """

    class_logits: Tensor
    localization: Tensor
    scoring: Tensor
    video_scores: Tensor
    attention: Tensor
    mask: Tensor
    evidence: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """Where training stands when a batch is seen.

    Attributes:
        stage: its name.
        step, steps: of the optimiser in this stage, from 1, and how many there are.
        epoch, epochs: the same in passes over the videos, from 0.
        videos: int64[B], places of the batch's videos in the training set.
    """

    stage: str
    step: int
    steps: int
    epoch: int
    epochs: int
    videos: Tensor

    @property
    def fraction(self) -> float:
        """How much of the stage lies behind, in [0, 1)."""
        return (self.step - 1) / self.steps


class TrainingVideos(Protocol):
    """The training set as a head may see it: standardised features and whole-video labels."""

    @property
    def labels(self) -> Tensor:
        """f32[N, C] in {0, 1}."""
        ...

    def features(self, video: int) -> Tensor:
        """Return f32[T, D]: every snippet of one video, standardised."""
        ...


class Head(nn.Module, ABC):
    """Base of all heads.

    Attributes:
        required_streams: that the features must have.
        trainable: False for heads that come with their weights.
        training_only: names of submodules, parameters and buffers that inference does not need;
            they are kept in checkpoints and left out of saved models.

    Raises:
        RecipeMismatch: the features lack a stream that the head needs.
    """

    required_streams: ClassVar[tuple[str, ...]] = ()
    trainable: ClassVar[bool] = True
    training_only: ClassVar[tuple[str, ...]] = ()

    def __init__(self, spec: HeadSpec, settings: Any) -> None:  # noqa: ANN401 - each its own
        super().__init__()
        self.settings = settings
        missing = [name for name in self.required_streams if name not in spec.streams]
        if missing:
            message = (
                f"The {type(self).__name__} head needs the streams "
                f"{' and '.join(self.required_streams)}, but these features have only "
                f"{' and '.join(spec.streams)}; use a two-stream recipe."
            )
            raise RecipeMismatch(message)
        self.spec = spec

    @abstractmethod
    def forward(self, features: Tensor, mask: Tensor | None = None) -> HeadOutput:
        """Run the head on f32[B, T, D]; ``mask`` bool[B, T] is True at real snippets."""

    @abstractmethod
    def loss(
        self, output: HeadOutput, labels: Tensor, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of f32[B, C] whole-video labels in {0, 1}, and its parts.

        It is called in training mode, after `forward` on the same batch.
        """

    def start_stage(self, stage: str, videos: TrainingVideos) -> None:
        """Get ready for a stage: freeze, copy, initialise from the training set.

        Whatever modules, parameters and buffers the stage needs must exist, in their shapes, when
        this returns: a resumed run calls it and then restores their values.
        """

    def stage_parameters(self, stage: str) -> Iterable[nn.Parameter]:
        """Return what the optimiser of a stage changes."""
        del stage
        return [one for one in self.parameters() if one.requires_grad]

    def start_epoch(self, moment: Moment, videos: TrainingVideos) -> None:
        """Do what happens once per pass over the videos, before its first batch."""

    def after_batch(self, output: HeadOutput, labels: Tensor, moment: Moment) -> None:
        """Do what follows the optimiser's step on a batch, for instance update a memory."""

    def propose(self, output: HeadOutput) -> list[HeadProposals] | None:
        """Return the intervals that the head itself proposes, per sample; None for most heads."""
        del output
        return None

    def stream_attention(self, output: HeadOutput) -> dict[str, Tensor]:
        """Return f32[B, T] in [0, 1] by stream: what each sees; empty for most heads."""
        del output
        return {}

    def trained_state(self) -> dict[str, Tensor]:
        """Return the state dict without what only training needs."""
        return {
            name: value
            for name, value in self.state_dict().items()
            if name.split(".")[0] not in self.training_only
        }

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `trained_state` returned; every name and shape must agree.

        Raises:
            ContractViolation: a name is missing or unknown.
        """
        expected = self.trained_state()
        if set(expected) != set(state):
            message = f"head state differs in {sorted(set(expected) ^ set(state))[:5]}"
            raise ContractViolation(message)
        with torch.no_grad():
            for name, value in expected.items():
                value.copy_(state[name])

    @torch.no_grad()
    def activations(self, features: Tensor) -> Activations:
        """Return the activations of one video, f32[T, D] with T >= 1, already standardised.

        Raises:
            ContractViolation: the features are empty or of another width.
        """
        if features.ndim != 2 or len(features) == 0:  # noqa: PLR2004  # T and D
            message = f"features must be [T, {self.spec.feature_width}], got {features.shape}"
            raise ContractViolation(message)
        self.eval()
        output: HeadOutput = self(features[None])
        proposals = self.propose(output)
        return Activations(
            localization=output.localization[0].float().cpu().numpy(),
            scoring=output.scoring[0].float().cpu().numpy(),
            video_scores=output.video_scores[0].float().cpu().numpy(),
            attention=output.attention[0].float().cpu().numpy(),
            classes=self.spec.classes,
            proposals=None if proposals is None else proposals[0],
            stream_attention={
                stream: values[0].float().cpu().numpy()
                for stream, values in self.stream_attention(output).items()
            },
        )


@dataclass(frozen=True, slots=True)
class HeadEntry:
    """What the registry knows of a head; each head's file has one named ``ENTRY``.

    Attributes:
        head: the class; built as ``head(spec, settings)``.
        settings: its settings' class, whose defaults are complete.
        presets: by name; without any, ``small`` is the default of everything.
        plain: settings that switch off what the head adds to its base, for comparisons.
    """

    head: type[Head]
    settings: type[HeadSettings]
    presets: tuple[Preset, ...] = ()
    plain: tuple[tuple[str, Any], ...] = ()

    def preset(self, name: str) -> Preset | None:
        """Return a preset by name, or None."""
        return self.all_presets().get(name)

    def all_presets(self) -> dict[str, Preset]:
        """Return the presets by name, at least ``small`` for a head that can be trained."""
        if self.presets or not self.head.trainable:
            return {one.name: one for one in self.presets}
        return {"small": Preset("small", self.settings())}


def checked_mask(features: Tensor, mask: Tensor | None, spec: HeadSpec) -> Tensor:
    """Return bool[B, T]; all True without a mask.

    Raises:
        ContractViolation: shapes disagree, or a sample has no real snippet.
    """
    expected = (*features.shape[:2], spec.feature_width)
    if tuple(features.shape) != expected or features.shape[1] == 0:
        message = f"features must be [B, T, {spec.feature_width}], got {tuple(features.shape)}"
        raise ContractViolation(message)
    if mask is None:
        return torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
    if mask.shape != features.shape[:2] or not bool(mask.any(dim=1).all()):
        message = f"mask must be [B, T] with a real snippet in each row, got {tuple(mask.shape)}"
        raise ContractViolation(message)
    return mask.bool()
