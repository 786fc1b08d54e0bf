"""Snippets and videos classified by their cosine to learned centres.

One prediction module serves a head's own features and every refined version of them.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.heads.blocks import attention_pooling, class_attention_pooling, cosine_logits


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is said of one version of the features.

    Attributes:
        agnostic: f32[B, C + 1] logits of the feature pooled by the attention.
        classwise: f32[B, C + 1] logits of the features pooled per class.
        attention: f32[B, T] in [0, 1].
        logits: f32[B, T, C + 1] class activations.

    The background is last everywhere.
    """

    agnostic: Tensor
    classwise: Tensor
    attention: Tensor
    logits: Tensor

    def evidence(self, branch: str) -> dict[str, Tensor]:
        """Return the fields under the names by which `from_evidence` finds them."""
        return {f"{branch}.{one.name}": getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_evidence(cls, evidence: dict[str, Tensor], branch: str) -> "Prediction":
        """Return what `evidence` stored."""
        return cls(*(evidence[f"{branch}.{one.name}"] for one in fields(cls)))


class CosinePrediction(nn.Module):
    """Centres of C classes and of the background, and one of the foreground.

    The foreground's starts opposite the background's.

    Args:
        width: E, of features and centres.
        num_classes: C, background excluded.
        scale: of every cosine.

    Source: RSKP main_branch.py: PredictionModule, ac_center, fg_center.
    """

    def __init__(self, width: int, num_classes: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.class_centres = nn.Parameter(torch.empty(num_classes + 1, width))
        nn.init.xavier_uniform_(self.class_centres)
        self.foreground_centre = nn.Parameter(-self.class_centres.detach()[-1:].clone())

    def forward(self, embedding: Tensor, mask: Tensor) -> Prediction:
        """Classify f32[B, T, E] with a bool[B, T] mask of real snippets."""
        logits = self.classify(embedding)
        foreground = cosine_logits(embedding, self.foreground_centre, self.scale)
        attention = torch.sigmoid(foreground)[..., 0]
        agnostic = attention_pooling(embedding, attention, mask)
        classwise = class_attention_pooling(embedding, torch.sigmoid(logits), mask)
        own = functional.cosine_similarity(classwise, self.class_centres[None], dim=-1)
        return Prediction(
            agnostic=self.classify(agnostic),
            classwise=self.scale * own,
            attention=attention,
            logits=logits,
        )

    def classify(self, features: Tensor) -> Tensor:
        """Return f32[..., C + 1] logits of single features f32[..., E]."""
        return cosine_logits(features, self.class_centres, self.scale)
