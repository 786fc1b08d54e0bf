"""The inference network of ACM-Net, for its published checkpoints.

Each snippet is split by attention into action, context and background; class logits weighted by
the action share give the sequence that is cut, and the action share itself is cut as well.

Source: ACM-Net (arXiv 2104.02967) and its public code, model/ACMNet.py and main_thu.py.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.config import HeadSettings
from models.heads.base import HeadEntry, HeadOutput, HeadSpec, checked_mask
from models.heads.blocks import PointwiseHead, TemporalEmbedding, snippet_counts, topk_mean
from models.heads.published import PublishedHead

ATTENTION_NAMES = ("action", "context", "background")


@dataclass(frozen=True, slots=True)
class AcmNetSettings(HeadSettings):
    """The ACM-Net network.

    Attributes:
        width: channels of the embedding; as wide as the features in the published network.
        kernel: of its temporal convolution.
        action_divisor, context_divisor, background_divisor: video scores of each kind average the
            best T / this snippets.
        attention_share: of the action attention in the sequence that scores proposals.

    Source: config/model_config.py, THUMOS14 values; ActivityNet has 2, 10, 10 and a share of 0.3
    (main_act.py).
    """

    width: int = 2048
    kernel: int = 3
    action_divisor: int = 8
    context_divisor: int = 3
    background_divisor: int = 3
    attention_share: float = 0.0


class AcmNetHead(PublishedHead):
    """Embedding, three-way attention and a snippet classifier with background last."""

    def __init__(self, spec: HeadSpec, settings: AcmNetSettings) -> None:
        super().__init__(spec, settings)
        self.embedding = TemporalEmbedding(spec.feature_width, settings.width, settings.kernel)
        self.attention = PointwiseHead(settings.width, len(ATTENTION_NAMES))
        self.classifier = PointwiseHead(settings.width, len(spec.classes) + 1)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> HeadOutput:
        """Run the network; see `Head.forward`."""
        valid = checked_mask(features, mask, self.spec)
        embedding: Tensor = self.embedding(features, valid)
        attention = torch.softmax(self.attention(embedding), dim=-1)
        logits: Tensor = self.classifier(embedding)
        divisors = (
            self.settings.action_divisor,
            self.settings.context_divisor,
            self.settings.background_divisor,
        )
        evidence = {"embedding": embedding, "attention": attention}
        for index, (name, divisor) in enumerate(zip(ATTENTION_NAMES, divisors, strict=True)):
            weighted = logits * attention[..., index : index + 1]
            evidence[f"{name}_logits"] = weighted
            evidence[f"{name}_video_logits"] = topk_mean(
                weighted, snippet_counts(valid, divisor), valid
            )
        num_classes = len(self.spec.classes)
        localization = torch.softmax(evidence["action_logits"], dim=-1)[..., :num_classes]
        action = attention[..., 0]
        share = self.settings.attention_share
        return HeadOutput(
            class_logits=logits[..., :num_classes],
            localization=localization,
            scoring=(1 - share) * localization + share * action[..., None],
            video_scores=torch.softmax(evidence["action_video_logits"], -1)[:, :num_classes],
            attention=action,
            mask=valid,
            evidence=evidence,
        )


ENTRY = HeadEntry(AcmNetHead, AcmNetSettings)
