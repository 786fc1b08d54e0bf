"""CleanNet's proposal generator: anchors at every snippet, moved and stretched by regression.

A trunk over the features, a few samples of it inside each anchor, and one linear map per anchor
size. It knows no classes and gives no scores. Step t covers [t, t + 1), so that a snippet's
centre is t + 0.5.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYERS, KERNEL, SLOPE = 3, 3, 0.1  # Source: AutoLoc's trunk; CleanNet shows three convolutions
REGRESSION_DEVIATION = 0.01  # Source: AutoLoc; the first proposals are nearly the anchors
MAX_LOG_STRETCH = 2.0  # ours: no proposal is stretched beyond e^2 of its anchor

TrunkNorm = Literal["group", "batch"]
PointSampling = Literal["tsn", "center"]


@dataclass(frozen=True, slots=True)
class GeneratorShape:
    """What decides the generator's layers.

    Attributes:
        width: channels of the trunk.
        anchors: sizes in snippets.
        points: K, samples of the trunk inside an anchor.
        norm: over the ``group`` of channels and time of one video, or over the ``batch``.
        groups: of channels, where ``norm`` is ``group``; they divide ``width``.
        sampling: ``tsn`` takes one place in each of K equal parts of the anchor, at random in
            training and the middle otherwise; ``center`` takes only the anchor's snippet.
    """

    width: int
    anchors: tuple[int, ...]
    points: int
    norm: TrunkNorm
    groups: int
    sampling: PointSampling


class VideoNorm(nn.Module):
    """Group normalisation over channels and time of each video; padding is not counted."""

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        self.layer = nn.GroupNorm(shape.groups, shape.width)

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """Map f32[B, T, width] to the same shape; zero at padding."""
        groups = sequence.reshape(*sequence.shape[:2], self.layer.num_groups, -1)
        shown = mask[:, :, None, None]
        count = (mask.sum(dim=1) * groups.shape[3]).view(-1, 1, 1, 1)
        mean = groups.masked_fill(~shown, 0.0).sum(dim=(1, 3), keepdim=True) / count
        centred = (groups - mean).masked_fill(~shown, 0.0)
        variance = centred.square().sum(dim=(1, 3), keepdim=True) / count
        flat = (centred * torch.rsqrt(variance + self.layer.eps)).flatten(2)
        scaled: Tensor = flat * self.layer.weight + self.layer.bias
        return scaled.masked_fill(~mask[..., None], 0.0)


class BatchNorm(nn.Module):
    """Batch normalisation over the real snippets of all videos.

    A single snippet has no deviation and is normalised by the running statistics.
    """

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        self.layer = nn.BatchNorm1d(shape.width)

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """Map f32[B, T, width] to the same shape; zero at padding."""
        snippets, layer = sequence[mask], self.layer
        if len(snippets) > 1:
            normed: Tensor = layer(snippets)
        else:
            normed = functional.batch_norm(
                snippets, layer.running_mean, layer.running_var, layer.weight, layer.bias
            )
        return torch.zeros_like(sequence).masked_scatter(mask[..., None], normed)


class ProposalTrunk(nn.Module):
    """Three temporal convolutions without bias, each normalised and rectified, length kept."""

    def __init__(self, in_width: int, shape: GeneratorShape) -> None:
        super().__init__()
        widths = [in_width, *[shape.width] * LAYERS]
        self.convs = nn.ModuleList(
            nn.Conv1d(one, other, KERNEL, padding=KERNEL // 2, bias=False)
            for one, other in pairwise(widths)
        )
        norm = VideoNorm if shape.norm == "group" else BatchNorm
        self.norms = nn.ModuleList(norm(shape) for _ in range(LAYERS))
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.get_parameter("weight"), a=SLOPE)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Map f32[B, T, D] to f32[B, T, width]; padding reads as zeros and stays zero."""
        sequence = features.masked_fill(~mask[..., None], 0.0)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            convolved: Tensor = conv(sequence.transpose(1, 2))
            normed: Tensor = norm(convolved.transpose(1, 2), mask)
            sequence = functional.leaky_relu(normed, SLOPE)
        return sequence


class ProposalGenerator(nn.Module):
    """Trunk, samples inside each anchor, regression, decoding.

    Source: CleanNet (ICCV 2019) §3.3.1 and its figure 2, with a trunk and an initialisation as in
    AutoLoc's training prototxt; normalisation per video, K = 3 and clamped stretches are ours.
    """

    def __init__(self, in_width: int, shape: GeneratorShape) -> None:
        super().__init__()
        self.shape = shape
        self.points = shape.points if shape.sampling == "tsn" else 1
        self.trunk = ProposalTrunk(in_width, shape)
        # Per anchor size: a convolution of kernel K over its K samples, without padding.
        sizes, inputs = len(shape.anchors), self.points * shape.width
        self.weight = nn.Parameter(REGRESSION_DEVIATION * torch.randn(sizes, 2, inputs))
        self.bias = nn.Parameter(torch.zeros(sizes, 2))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return f32[B, T, A, 2]: start and end of each snippet's proposals in steps.

        They are cut to the real snippets of their video; what stands at padding means nothing.
        """
        lengths = mask.sum(dim=1)
        sequence: Tensor = self.trunk(features, mask)
        samples = gather_linear(sequence, self._places(lengths, features.shape[1]), lengths)
        regression = torch.einsum("btai,aoi->btao", samples.flatten(3), self.weight) + self.bias
        return decode(regression, self.shape.anchors, lengths)

    def _places(self, lengths: Tensor, num_steps: int) -> Tensor:
        """Return f32[B, T, A, K]: where inside each anchor the trunk is read, in steps."""
        shape = (len(lengths), num_steps, len(self.shape.anchors), self.points)
        parts = torch.arange(self.points, device=lengths.device, dtype=torch.float32)
        random = self.training and self.shape.sampling == "tsn"
        share = torch.rand(shape, device=lengths.device) if random else torch.full(shape, 0.5)
        offsets = (parts + share.to(lengths.device)) / self.points - 0.5
        sizes = torch.tensor(self.shape.anchors, device=lengths.device, dtype=torch.float32)
        centres = torch.arange(num_steps, device=lengths.device) + 0.5
        return centres[:, None, None] + offsets * sizes[:, None]


def gather_linear(sequence: Tensor, places: Tensor, lengths: Tensor) -> Tensor:
    """Read sequences between snippets.

    Args:
        sequence: f32[B, T, D]; the value of a snippet stands at its centre t + 0.5.
        places: f32[B, T', A, K] in steps; beyond the first and the last centre their value holds.
        lengths: int64[B], real snippets.

    Returns:
        f32[B, T', A, K, D].
    """
    last = (lengths - 1).view(-1, 1, 1, 1)
    position = torch.minimum((places - 0.5).clamp(min=0.0), last.to(places.dtype))
    left = position.long()
    right = torch.minimum(left + 1, last)
    share = (position - left)[..., None]
    video = torch.arange(len(sequence), device=sequence.device).view(-1, 1, 1, 1)
    return sequence[video, left] * (1 - share) + sequence[video, right] * share


def decode(regression: Tensor, anchors: tuple[int, ...], lengths: Tensor) -> Tensor:
    """Return intervals f32[B, T, A, 2] in steps from regression f32[B, T, A, 2].

    The centre moves by anchor size * r_c, the length is anchor size * exp(r_w); the interval is
    then cut to [0, length].

    Source: CleanNet (ICCV 2019) §3.3.1.
    """
    sizes = torch.tensor(anchors, device=regression.device, dtype=regression.dtype)
    snippets = torch.arange(regression.shape[1], device=regression.device) + 0.5
    centres = snippets[:, None] + sizes * regression[..., 0]
    stretch = regression[..., 1].clamp(-MAX_LOG_STRETCH, MAX_LOG_STRETCH)
    halves = sizes * torch.exp(stretch) / 2
    ends = lengths.view(-1, 1, 1).to(regression.dtype)
    intervals = torch.stack([centres - halves, centres + halves], dim=-1)
    return torch.minimum(intervals.clamp(min=0.0), ends[..., None])


def anchor_intervals(num_steps: int, anchors: tuple[int, ...], lengths: Tensor) -> Tensor:
    """Return f32[B, T, A, 2]: the anchors themselves, cut to each video."""
    shape = (len(lengths), num_steps, len(anchors), 2)
    return decode(torch.zeros(shape, device=lengths.device), anchors, lengths)
