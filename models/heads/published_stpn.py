"""The inference network of STPN, one per stream, for the public re-implementation's checkpoints.

Each stream gates a linear classifier of its features by its own attention. Both streams propose
runs of their gated activation; a run is scored by the gated mean of both streams' logits inside,
so raw scores are logits and not bounded.

Source: STPN (CVPR 2018) in the re-implementation bellos1203/STPN, code/model.py and code/utils.py.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.config import HeadSettings
from models.heads.base import HeadEntry, HeadOutput, HeadSpec, checked_mask
from models.heads.blocks import PointwiseStack, selected_mean
from models.heads.published import PublishedHead
from models.types import DoubleArray, HeadProposals


@dataclass(frozen=True, slots=True)
class StpnSettings(HeadSettings):
    """The STPN network.

    Attributes:
        attention_width: hidden channels of the attention.
        class_threshold: a stream proposes for classes whose own video score is above this.
        threshold: cut of the gated activation.
        upsample: samples per snippet, linear interpolation.

    Source: code/model.py, code/utils.py.
    """

    attention_width: int = 256
    class_threshold: float = 0.1
    threshold: float = 0.05
    upsample: int = 24


class _Stream(nn.Module):
    """Attention and classifier of one stream."""

    def __init__(self, width: int, num_classes: int, attention_width: int) -> None:
        super().__init__()
        self.attention = PointwiseStack(width, attention_width, 1)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map f32[B, T, D] to logits f32[B, T, C], attention f32[B, T], video scores f32[B, C].

        The bias belongs to the video's logit alone; snippets' logits are without it.
        """
        attention = torch.sigmoid(self.attention(features))
        pooled = selected_mean(attention * features, mask[..., None])
        video_logits: Tensor = self.classifier(pooled)
        logits = features @ self.classifier.weight.T
        return logits, attention[..., 0], torch.sigmoid(video_logits)


class StpnHead(PublishedHead):
    """Both streams of STPN and the runs that each proposes."""

    def __init__(self, spec: HeadSpec, settings: StpnSettings) -> None:
        super().__init__(spec, settings)
        self.streams = nn.ModuleDict(
            {
                stream: _Stream(spec.stream_width, len(spec.classes), settings.attention_width)
                for stream in spec.streams
            }
        )

    def forward(self, features: Tensor, mask: Tensor | None = None) -> HeadOutput:
        """Run the network; see `Head.forward`."""
        valid = checked_mask(features, mask, self.spec)
        outputs = {
            stream: network(features[..., self.spec.stream_slice(stream)], valid)
            for stream, network in self.streams.items()
        }
        logits = torch.stack([one[0] for one in outputs.values()]).mean(dim=0)
        attention = torch.stack([one[1] for one in outputs.values()]).mean(dim=0)
        gated = torch.stack([a[..., None] * torch.sigmoid(x) for x, a, _ in outputs.values()])
        evidence = {}
        for stream, (own_logits, own_attention, own_video) in outputs.items():
            evidence[f"{stream}_gated"] = own_attention[..., None] * torch.sigmoid(own_logits)
            evidence[f"{stream}_score"] = own_attention[..., None] * logits
            evidence[f"{stream}_video"] = own_video
        return HeadOutput(
            class_logits=logits,
            localization=gated.mean(dim=0),
            scoring=gated.mean(dim=0),
            video_scores=torch.stack([one[2] for one in outputs.values()]).amax(dim=0),
            attention=attention,
            mask=valid,
            evidence=evidence,
        )

    def propose(self, output: HeadOutput) -> list[HeadProposals]:
        """Return the runs of every stream and class, scored by gated logits."""
        return [self._propose_one(output, row) for row in range(len(output.mask))]

    def _propose_one(self, output: HeadOutput, row: int) -> HeadProposals:
        classes: list[int] = []
        steps: list[tuple[float, float]] = []
        scores: list[float] = []
        shown = output.mask[row]
        for stream in self.streams:
            video = output.evidence[f"{stream}_video"][row]
            gated = self._upsampled(output.evidence[f"{stream}_gated"][row][shown])
            score = self._upsampled(output.evidence[f"{stream}_score"][row][shown])
            for index in torch.nonzero(video > self.settings.class_threshold)[:, 0].tolist():
                inside = np.concatenate([[False], gated[:, index] > self.settings.threshold])
                changes = np.flatnonzero(np.diff(inside, append=False))
                for start, stop in changes.reshape(-1, 2).tolist():
                    classes.append(index)
                    steps.append((start / self.settings.upsample, stop / self.settings.upsample))
                    scores.append(float(score[start:stop, index].mean()))
        return HeadProposals(
            class_index=np.array(classes, np.int64),
            steps=np.array(steps, np.float64).reshape(-1, 2),
            raw_scores=np.array(scores, np.float64),
        )

    def _upsampled(self, sequence: Tensor) -> DoubleArray:
        """Return float64[T * upsample, C]; the last slope goes on past the last snippet."""
        knots = sequence.detach().double().cpu().numpy()
        if len(knots) == 1:
            return np.repeat(knots, self.settings.upsample, axis=0)
        places = np.arange(len(knots) * self.settings.upsample) / self.settings.upsample
        left = np.minimum(places.astype(np.int64), len(knots) - 2)
        share = (places - left)[:, None]
        return np.asarray(knots[left] * (1 - share) + knots[left + 1] * share, np.float64)


ENTRY = HeadEntry(StpnHead, StpnSettings)
