"""What every head is: a network from snippet features to activations, and its own loss.

`forward` returns what inference needs; `loss` does the training-only work on what `forward`
already computed. Padding, marked by the mask, never changes the result for real snippets.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.errors import ContractViolation, RecipeMismatch
from models.recipe import FeatureRecipe
from models.types import Activations


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


class Head(nn.Module, ABC):
    """Base of all heads.

    Raises:
        RecipeMismatch: the features lack a stream that the head needs.
    """

    required_streams: ClassVar[tuple[str, ...]] = ()
    trainable: ClassVar[bool] = True

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
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
        self, output: HeadOutput, labels: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of f32[B, C] whole-video labels in {0, 1}, and its parts."""

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
        return Activations(
            localization=output.localization[0].float().cpu().numpy(),
            scoring=output.scoring[0].float().cpu().numpy(),
            video_scores=output.video_scores[0].float().cpu().numpy(),
            attention=output.attention[0].float().cpu().numpy(),
            classes=self.spec.classes,
        )


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
