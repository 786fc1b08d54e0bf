"""The inference network of CMCS, for its published checkpoints.

Several class branches on one embedding learn different parts of an action; their mean is the
class activation sequence. One network sees both streams side by side, or one network per stream
does and all their outputs are averaged.

A run is where a class's activation, scaled to [0, 1] over the video, is above its own mean. The
sequence to cut is therefore (1 + scaled - mean) / 2, which is cut at one half.

Source: CMCS (CVPR 2019) and its public code, model.py, test.py and detect.py.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from models.config import HeadSettings
from models.heads.base import HeadEntry, HeadOutput, HeadSpec, checked_mask
from models.heads.blocks import (
    PointwiseHead,
    TemporalEmbedding,
    masked_softmax,
    min_max_over_time,
)
from models.heads.published import PublishedHead

Fusion = Literal["early", "late"]


@dataclass(frozen=True, slots=True)
class CmcsSettings(HeadSettings):
    """The CMCS network.

    Attributes:
        fusion: ``early`` = one network on both streams, ``late`` = one per stream.
        branches: class branches.
        width: channels of the embedding.
        branch_width: channels of each branch.
        attention_width: channels of the attention.
        kernel: of the branches' temporal convolution.
        stride_frames: frames between snippets, over which the mean is taken.

    Source: configs/trained/trained-thumos-I3D.json.
    """

    fusion: Fusion = "early"
    branches: int = 4
    width: int = 32
    branch_width: int = 16
    attention_width: int = 16
    kernel: int = 3
    stride_frames: int = 16


class _Network(nn.Module):
    """One CMCS network on features of one width."""

    def __init__(self, in_width: int, num_outputs: int, settings: CmcsSettings) -> None:
        super().__init__()
        self.embedding = TemporalEmbedding(in_width, settings.width, 1)
        self.branches = nn.ModuleList(
            TemporalEmbedding(settings.width, settings.branch_width, settings.kernel)
            for _ in range(settings.branches)
        )
        self.classifiers = nn.ModuleList(
            PointwiseHead(settings.branch_width, num_outputs) for _ in range(settings.branches)
        )
        self.attention_embedding = TemporalEmbedding(settings.width, settings.attention_width, 1)
        self.attention = PointwiseHead(settings.attention_width, 1)

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map f32[B, T, D] to logits f32[B, T, C + 1], weights f32[B, T], f32[B, C + 1]."""
        embedding: Tensor = self.embedding(features, mask)
        scores: list[Tensor] = [
            classifier(branch(embedding, mask))
            for branch, classifier in zip(self.branches, self.classifiers, strict=True)
        ]
        logits = torch.stack(scores).mean(dim=0)
        weights = masked_softmax(self.attention(self.attention_embedding(embedding, mask)), mask)
        return logits, weights[..., 0], (logits * weights).sum(dim=1)


class CmcsHead(PublishedHead):
    """The network or the two networks of CMCS, and what its detector cuts."""

    def __init__(self, spec: HeadSpec, settings: CmcsSettings) -> None:
        super().__init__(spec, settings)
        num_outputs = len(spec.classes) + 1  # background last
        widths = {"both": spec.feature_width}
        if settings.fusion == "late":
            widths = dict.fromkeys(spec.streams, spec.stream_width)
        self.networks = nn.ModuleDict(
            {name: _Network(width, num_outputs, settings) for name, width in widths.items()}
        )

    def forward(self, features: Tensor, mask: Tensor | None = None) -> HeadOutput:
        """Run the networks; see `Head.forward`."""
        valid = checked_mask(features, mask, self.spec)
        outputs = [
            network(self._input(features, name), valid) for name, network in self.networks.items()
        ]
        logits, weights, video_logits = (
            torch.stack([one[place] for one in outputs]).mean(dim=0) for place in range(3)
        )
        num_classes = len(self.spec.classes)
        probabilities = torch.softmax(logits, dim=-1)
        scaled = min_max_over_time(probabilities[..., :num_classes], valid)
        mean = self._mean_between_snippets(scaled, valid)
        return HeadOutput(
            class_logits=logits[..., :num_classes],
            localization=(1 + scaled - mean) / 2,
            scoring=scaled,
            video_scores=torch.softmax(video_logits, dim=-1)[:, :num_classes],
            attention=(1 - probabilities[..., num_classes]).clamp(0, 1),
            mask=valid,
            evidence={"logits": logits, "weights": weights, "video_logits": video_logits},
        )

    def _input(self, features: Tensor, network: str) -> Tensor:
        return features if network == "both" else features[..., self.spec.stream_slice(network)]

    def _mean_between_snippets(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """Return f32[B, 1, C]: the mean over frames of the sequence interpolated to frames.

        It is taken from the first snippet to the last, n snippets and s frames apart, so over
        s (n - 1) + 1 frames: a snippet inside weighs s of them and either end (s + 1) / 2.
        """
        stride = self.settings.stride_frames
        count = mask.sum(dim=1, keepdim=True)
        places = torch.arange(mask.shape[1], device=mask.device)[None]
        ends = (places == 0).to(sequence.dtype) + (places == count - 1).to(sequence.dtype)
        weights = mask.to(sequence.dtype) * stride - ends * (stride - 1) / 2
        total: Tensor = (sequence * weights[..., None]).sum(dim=1, keepdim=True)
        frames = (stride * (count - 1) + 1)[..., None]
        return torch.div(total, frames)


ENTRY = HeadEntry(CmcsHead, CmcsSettings)
