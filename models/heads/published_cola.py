"""The inference network of CoLA, for its published checkpoints.

Class activations are rectified, so their sum over classes is a class-agnostic actionness.
Proposals come from cuts of both sequences, each scaled to [0, 1] over the video.

Source: CoLA (CVPR 2021) and its public code, core/model.py and core/utils.py.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.config import HeadSettings
from models.heads.base import HeadEntry, HeadOutput, HeadSpec, checked_mask
from models.heads.blocks import (
    PointwiseHead,
    TemporalEmbedding,
    min_max_over_time,
    snippet_counts,
    topk_mean,
)
from models.heads.published import PublishedHead


@dataclass(frozen=True, slots=True)
class ColaSettings(HeadSettings):
    """The CoLA network.

    Attributes:
        width: channels of the embedding.
        kernel: of its temporal convolution.
        topk_divisor: video scores average the best T / this snippets.

    Source: core/config.py (R_EASY) and core/model.py.
    """

    width: int = 2048
    kernel: int = 3
    topk_divisor: int = 5


class ColaHead(PublishedHead):
    """Embedding, rectified class activations and their sum."""

    def __init__(self, spec: HeadSpec, settings: ColaSettings) -> None:
        super().__init__(spec, settings)
        self.embedding = TemporalEmbedding(spec.feature_width, settings.width, settings.kernel)
        self.classifier = PointwiseHead(settings.width, len(spec.classes), bias=False)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> HeadOutput:
        """Run the network; see `Head.forward`."""
        valid = checked_mask(features, mask, self.spec)
        embedding: Tensor = self.embedding(features, valid)
        logits = torch.relu(self.classifier(embedding))
        video_logits = topk_mean(logits, snippet_counts(valid, self.settings.topk_divisor), valid)
        actionness = logits.sum(dim=-1)
        scaled = min_max_over_time(logits, valid)
        return HeadOutput(
            class_logits=logits,
            localization=scaled,
            scoring=scaled,
            video_scores=torch.softmax(video_logits, dim=-1),
            attention=min_max_over_time(actionness[..., None], valid)[..., 0],
            mask=valid,
            evidence={
                "embedding": embedding,
                "actionness": actionness,
                "video_logits": video_logits,
            },
        )


ENTRY = HeadEntry(ColaHead, ColaSettings)
