"""The DCC head's settings and its network: what stays at inference, and what the teacher is.

A trunk (BaS-Net, or STPN) from features to an embedding, a class-agnostic foreground, and class
activations before and after the foreground has pressed them.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.config import HeadSettings
from models.heads.base import HeadSpec
from models.heads.blocks import (
    PointwiseHead,
    PointwiseStack,
    TemporalEmbedding,
    min_max_over_time,
    selected_mean,
    snippet_counts,
    topk_mean,
)
from models.heads.losses import (
    multiple_instance_bce,
    normalized_binary_cross_entropy,
    with_background,
)
from models.heads.region_bank import ContrastScope

EMBEDDING_SLOPE = 0.01  # Source: BaS-Net model.py, LeakyReLU

Trunk = Literal["basnet", "stpn"]
Suppression = Literal["logits", "input"]
Localization = Literal["supp", "base"]
Scaling = Literal["min_max", "min_max_signed", "probability"]
VideoLoss = Literal["softmax_bce", "sigmoid_bce"]
Sparsity = Literal["sum", "mean"]
ClusterSpace = Literal["student", "teacher"]


@dataclass(frozen=True, slots=True)
class DccSettings(HeadSettings):
    """The DCC head.

    Attributes:
        trunk: ``basnet``: two convolutions, a background class, top-k pooling; ``stpn``: one
            convolution, no background class, attention pooling, sigmoid classes.
        width: of the embedding.
        kernel: of its temporal convolutions, odd.
        foreground_width: hidden width of the foreground selection.
        foreground_slope: of its rectifier; 0 is the paper's ReLU, BaS-Net has 0.01.
        projection_width: d of the contrasted vectors, and the projection's hidden width.
        dropout: on the embedding before the class head.
        input_dropout: on the features, training only; the teacher never has it.
        suppress: the foreground multiplies the class ``logits`` (paper) or the ``input`` of a
            second pass (BaS-Net). No effect on ``stpn``.
        topk_divisor: video scores average the best T / this snippets.
        loc: activations that are localized: ``supp`` pressed by the foreground, or ``base``.
        video_loss: ``softmax_bce`` as published, or ``sigmoid_bce`` with every snippet a negative
            of each absent class; the foreground then multiplies class probabilities. ``stpn`` has
            its own loss, on sigmoids.
        scaling: of what is localized: ``min_max`` over time as published; ``min_max_signed`` keeps
            values below 0, which only repeats BaS-Net's segments to the digit; ``probability``,
            which needs no peak in each window: of the classes, for ``supp`` times the foreground.
            ``stpn`` always has the last.
        sparsity: ``sum`` of the foreground over time (BaS-Net) or its ``mean`` (paper).
        sparsity_weight: 1e-4 belongs to the sum, 1e-5 to the mean.
        contrast: without it the head is its trunk, and every stage trains that.
        contrast_scope: regions of which other videos count.
        cluster_space: embedding that is clustered.
        clusters: K per video.
        regions: M, equal parts of a video beside the whole.
        temperature: of the contrast.
        beta_start, beta_end: its weight grows geometrically from one to the other, both > 0.

    Source: DCC (CVPR 2022) with THUMOS14 values as defaults; BaS-Net's code where it is silent.
    """

    trunk: Trunk = "basnet"
    width: int = 2048
    kernel: int = 3
    foreground_width: int = 512
    foreground_slope: float = 0.0
    projection_width: int = 512
    dropout: float = 0.7
    input_dropout: float = 0.0
    suppress: Suppression = "logits"
    topk_divisor: int = 8
    loc: Localization = "supp"
    video_loss: VideoLoss = "softmax_bce"
    scaling: Scaling = "min_max"
    sparsity: Sparsity = "sum"
    sparsity_weight: float = 1e-4
    contrast: bool = True
    contrast_scope: ContrastScope = "bank"
    cluster_space: ClusterSpace = "student"
    clusters: int = 5
    regions: int = 5
    temperature: float = 0.1
    beta_start: float = 0.1
    beta_end: float = 1e4


@dataclass(frozen=True, slots=True)
class TrunkOutput:
    """What a trunk sees; C' is C + 1 with the background last, or C without a background class.

    Attributes:
        embedding: f32[B, T, E], Z.
        foreground: f32[B, T] in [0, 1], Q.
        base, suppressed: f32[B, T, C'] logits, A_b and A_f; equal for the STPN trunk.
        video_base, video_suppressed: f32[B, C'] logits of the video.
    """

    embedding: Tensor
    foreground: Tensor
    base: Tensor
    suppressed: Tensor
    video_base: Tensor
    video_suppressed: Tensor


class DccNetwork(nn.Module):
    """What stays at inference, and what the teacher is a copy of.

    Source: DCC section 3.1 and BaS-Net model.py; STPN (CVPR 2018) with an embedding, which it
    lacks and the contrast needs: no fidelity claimed for that trunk.
    """

    def __init__(self, spec: HeadSpec, settings: DccSettings) -> None:
        super().__init__()
        self.settings = settings
        self.has_background = settings.trunk == "basnet"
        self.is_softmax = self.has_background and settings.video_loss == "softmax_bce"
        widths = [spec.feature_width, settings.width]
        if self.has_background:
            widths.append(settings.width)
        self.embedding = nn.ModuleList(
            TemporalEmbedding(before, after, settings.kernel, EMBEDDING_SLOPE)
            for before, after in pairwise(widths)
        )
        self.dropout = nn.Dropout(settings.dropout)
        num_logits = len(spec.classes) + (1 if self.has_background else 0)
        self.classifier = PointwiseHead(settings.width, num_logits, bias=not self.has_background)
        self.foreground = PointwiseStack(
            spec.feature_width, settings.foreground_width, 1, settings.foreground_slope
        )

    def forward(self, features: Tensor, mask: Tensor) -> TrunkOutput:
        """Map f32[B, T, D] and bool[B, T] to activations."""
        foreground_logits: Tensor = self.foreground(features)
        foreground = torch.sigmoid(foreground_logits)[..., 0]
        embedding = self._embed(features, mask)
        dropped: Tensor = self.dropout(embedding)
        base: Tensor = self.classifier(dropped)
        if not self.has_background:
            pooled = selected_mean(dropped * foreground[..., None], mask[..., None])
            video: Tensor = self.classifier(pooled[:, None])[:, 0]
            return TrunkOutput(embedding, foreground, base, base, video, video)
        if self.settings.suppress == "input":
            pressed = self._embed(features * foreground[..., None], mask)
            suppressed: Tensor = self.classifier(self.dropout(pressed))
        elif self.is_softmax:
            suppressed = base * foreground[..., None]
        else:
            suppressed = logits_of_product(foreground_logits, base)
        counts = snippet_counts(mask, self.settings.topk_divisor)
        return TrunkOutput(
            embedding,
            foreground,
            base,
            suppressed,
            topk_mean(base, counts, mask),
            topk_mean(suppressed, counts, mask),
        )

    def class_probabilities(self, output: TrunkOutput) -> Tensor:
        """Return f32[B, T, C]: what pseudo labels are cut from, the background left out.

        The base activations' probabilities; for STPN its weighted activations, since without a
        background class only the foreground says where nothing happens.
        """
        probabilities = self._probabilities(output.base)
        return probabilities if self.has_background else self._pressed(probabilities, output)

    def video_scores(self, output: TrunkOutput) -> Tensor:
        """Return f32[B, C] in [0, 1]."""
        return self._probabilities(output.video_suppressed)

    def localization(self, output: TrunkOutput, mask: Tensor) -> Tensor:
        """Return f32[B, T, C] in [0, 1]; at most 1 with ``min_max_signed``."""
        pressed = self.settings.loc == "supp"
        if self.has_background and self.settings.scaling != "probability":
            logits = output.suppressed if pressed else output.base
            signed = self.settings.scaling == "min_max_signed"
            return min_max_over_time(logits[..., :-1], mask, signed=signed)
        if not pressed:
            return self._probabilities(output.base)
        if self.has_background and not self.is_softmax:
            return self._probabilities(output.suppressed)
        return self._pressed(self._probabilities(output.base), output)

    def video_loss(self, output: TrunkOutput, labels: Tensor, mask: Tensor) -> Tensor:
        """Return L_MIL of f32[B, C] labels.

        The base activations must show the background, the suppressed ones must not. A video
        without labels asks the base for background alone and spreads the suppressed softmax
        evenly, which is what a foreground of zero gives; with sigmoids it is a negative of every
        class.

        Source: DCC eq. 1 with BaS-Net's normalised labels, since one softmax cannot reach two
        ones, and its mean; STPN for class-wise sigmoids on pooled features.
        """
        if not self.has_background:
            return functional.binary_cross_entropy_with_logits(output.video_base, labels)
        with_one, with_none = with_background(labels, 1.0), with_background(labels, 0.0)
        if self.is_softmax:
            base = torch.softmax(output.video_base, dim=-1)
            suppressed = torch.softmax(output.video_suppressed, dim=-1)
            return normalized_binary_cross_entropy(
                base, with_one
            ) + normalized_binary_cross_entropy(suppressed, with_none)
        return multiple_instance_bce(
            output.video_base, output.base, with_one, mask
        ) + multiple_instance_bce(output.video_suppressed, output.suppressed, with_none, mask)

    def _probabilities(self, logits: Tensor) -> Tensor:
        """Return f32[..., C] of f32[..., C'] logits."""
        if self.is_softmax:
            return torch.softmax(logits, dim=-1)[..., :-1]
        probabilities = torch.sigmoid(logits)
        return probabilities[..., :-1] if self.has_background else probabilities

    def _pressed(self, probabilities: Tensor, output: TrunkOutput) -> Tensor:
        return probabilities * output.foreground[..., None]

    def _embed(self, sequence: Tensor, mask: Tensor) -> Tensor:
        for layer in self.embedding:
            sequence = layer(sequence, mask)
        return sequence


def logits_of_product(one: Tensor, other: Tensor) -> Tensor:
    """Return the logits of sigmoid(one) * sigmoid(other), of broadcast shape."""
    both = one + other
    terms = torch.stack([one.expand_as(both), other.expand_as(both), both])
    return -torch.logsumexp(-terms, dim=0)
