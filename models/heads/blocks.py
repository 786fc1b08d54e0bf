"""Blocks that heads share: temporal embedding, class head, actionness, pooling, selection.

All sequences are [B, T, ...] with a bool[B, T] mask of real snippets.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class TemporalEmbedding(nn.Module):
    """Temporal convolution and a rectifier, length kept; padding reads as zeros beyond the ends.

    Args:
        in_width, width: D before and after.
        kernel: odd; 1 is a linear map per snippet.
        negative_slope: of the rectifier; 0 is ReLU.
    """

    def __init__(self, in_width: int, width: int, kernel: int, negative_slope: float = 0.0) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        if kernel % 2 == 0:
            message = f"kernel must be odd so that the length is kept, got {kernel}"
            raise ValueError(message)
        self.conv = nn.Conv1d(in_width, width, kernel, padding=kernel // 2)

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """Map f32[B, T, D] to f32[B, T, width]."""
        silenced = sequence.masked_fill(~mask[..., None], 0.0)
        embedded: Tensor = self.conv(silenced.transpose(1, 2))
        return functional.leaky_relu(embedded, self.negative_slope).transpose(1, 2)


class PointwiseHead(nn.Module):
    """One linear map per snippet: class logits, or one actionness logit."""

    def __init__(self, width: int, out_width: int, *, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, out_width, 1, bias=bias)

    def forward(self, sequence: Tensor) -> Tensor:
        """Map f32[B, T, width] to f32[B, T, out_width]."""
        logits: Tensor = self.conv(sequence.transpose(1, 2))
        return logits.transpose(1, 2)


class PointwiseStack(nn.Module):
    """Two linear maps per snippet with a rectifier between: D to ``hidden`` to ``out_width``."""

    def __init__(
        self, width: int, hidden: int, out_width: int, negative_slope: float = 0.0
    ) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.first = PointwiseHead(width, hidden)
        self.second = PointwiseHead(hidden, out_width)

    def forward(self, sequence: Tensor) -> Tensor:
        """Map f32[B, T, width] to f32[B, T, out_width]."""
        hidden: Tensor = functional.leaky_relu(self.first(sequence), self.negative_slope)
        out: Tensor = self.second(hidden)
        return out


def cosine_logits(sequence: Tensor, centres: Tensor, scale: float) -> Tensor:
    """Return f32[..., C]: scaled cosines between f32[..., D] and f32[C, D] centres.

    Source: RSKP main_branch.py.
    """
    one = functional.normalize(sequence, dim=-1)
    other = functional.normalize(centres, dim=-1)
    return scale * (one @ other.transpose(-1, -2))


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Return f32[B, T, ...]: softmax over real snippets, 0 at padding."""
    shaped = mask.view(*mask.shape, *[1] * (logits.ndim - mask.ndim))
    return torch.softmax(logits.masked_fill(~shaped, float("-inf")), dim=1)


def snippet_counts(mask: Tensor, divisor: int) -> Tensor:
    """Return int64[B]: real snippets / divisor rounded down, at least 1."""
    return (mask.sum(dim=1) // divisor).clamp(min=1)


def top_selection(ranking: Tensor, counts: Tensor, member: Tensor) -> Tensor:
    """Select the highest-ranked members along time.

    Args:
        ranking: f32[B, T, ...].
        counts: int64[B], how many to select at most.
        member: bool, broadcastable to ``ranking``: who may be selected.

    Returns:
        bool like ``ranking``; fewer than asked where members are fewer. Ties: earlier first.
    """
    member = member.expand_as(ranking)
    order = ranking.masked_fill(~member, float("-inf")).argsort(dim=1, descending=True, stable=True)
    shape = (1, ranking.shape[1], *[1] * (ranking.ndim - 2))
    places = torch.arange(ranking.shape[1], device=ranking.device).view(shape)
    ranks = torch.empty_like(order).scatter_(1, order, places.expand_as(order))
    limits = counts.view(-1, *[1] * (ranking.ndim - 1))
    return (ranks < limits) & member


def selected_mean(sequence: Tensor, selection: Tensor) -> Tensor:
    """Return the mean of f32[B, T, ...] over selected snippets; 0 where none is selected."""
    weights = selection.to(sequence.dtype)
    return (sequence * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def topk_mean_by(sequence: Tensor, ranking: Tensor, counts: Tensor, mask: Tensor) -> Tensor:
    """Return f32[B, C]: mean of f32[B, T, C] where another sequence of that shape is highest."""
    return selected_mean(sequence, top_selection(ranking, counts, mask[..., None]))


def topk_mean(sequence: Tensor, counts: Tensor, mask: Tensor) -> Tensor:
    """Return f32[B, C]: mean of the highest values of f32[B, T, C] per class."""
    return topk_mean_by(sequence, sequence.detach(), counts, mask)


def attention_pooling(sequence: Tensor, attention: Tensor, mask: Tensor) -> Tensor:
    """Return f32[B, D]: f32[B, T, D] averaged with weights f32[B, T] >= 0."""
    weights = attention.masked_fill(~mask, 0.0)[..., None]
    total = weights.sum(dim=1)
    return (sequence * weights).sum(dim=1) / (total + torch.finfo(total.dtype).eps)


def class_attention_pooling(sequence: Tensor, attention: Tensor, mask: Tensor) -> Tensor:
    """Return f32[B, C, D]: f32[B, T, D] averaged per class with weights f32[B, T, C] >= 0."""
    weights = attention.masked_fill(~mask[..., None], 0.0).transpose(1, 2)
    total = weights.sum(dim=2, keepdim=True)
    silenced = sequence.masked_fill(~mask[..., None], 0.0)
    return (weights @ silenced) / (total + torch.finfo(total.dtype).eps)


def min_max_over_time(sequence: Tensor, mask: Tensor, *, signed: bool = False) -> Tensor:
    """Return f32[B, T, C] scaled per row and class so that its real snippets span [0, 1].

    Negative values count as 0, or with ``signed`` stay below 0, so that interpolation crosses 0
    where BaS-Net's does; a sequence without any spread becomes 0.

    Source: BaS-Net utils.py: (v - relu(min)) / (relu(max) - relu(min)).
    """
    shown = mask[..., None]
    low = sequence.masked_fill(~shown, float("inf")).amin(dim=1, keepdim=True).clamp(min=0)
    high = sequence.masked_fill(~shown, float("-inf")).amax(dim=1, keepdim=True).clamp(min=0)
    spread = high - low
    scaled = (sequence - low) / torch.where(spread > 0, spread, torch.ones_like(spread))
    bounded = scaled.clamp(max=1) if signed else scaled.clamp(0, 1)
    return (bounded * (spread > 0)).masked_fill(~shown, 0.0)


def above_own_median(sequence: Tensor, mask: Tensor) -> Tensor:
    """Return bool[B, T]: real snippets strictly above the median of f32[B, T] in their row.

    The median of an even number of values is the mean of the middle two.
    """
    ordered = sequence.masked_fill(~mask, float("inf")).sort(dim=1).values
    count = mask.sum(dim=1, keepdim=True)
    lower = ordered.gather(1, (count - 1) // 2)
    upper = ordered.gather(1, count // 2)
    return (sequence > (lower + upper) / 2) & mask
