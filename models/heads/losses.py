"""Losses that heads share. Every logarithm is clamped, every mean leaves padding out."""

import torch
from torch import Tensor
from torch.nn import functional

PROBABILITY_EPSILON = 1e-7  # Source: the generalised cross entropy of ASL and AICL code
ZERO_NORM = 1e-6  # a direction is undefined below this length


def normalized_labels(labels: Tensor) -> Tensor:
    """Return f32[B, C] labels divided by their sum; a row without labels stays zero."""
    return labels / labels.sum(dim=1, keepdim=True).clamp(min=1.0)


def clamped(probabilities: Tensor) -> Tensor:
    """Return probabilities cut to [1e-7, 1 - 1e-7], safe before a logarithm."""
    return probabilities.clamp(PROBABILITY_EPSILON, 1 - PROBABILITY_EPSILON)


def normalized_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over videos of cross entropy between softmax and normalised labels.

    Source: ASL and AICL code (CE_n); a video without labels adds nothing.
    """
    log_probabilities = functional.log_softmax(logits, dim=1)
    return -(normalized_labels(labels) * log_probabilities).sum(dim=1).mean()


def normalized_binary_cross_entropy(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over videos and classes of BCE against normalised labels.

    Source: BaS-Net and CoLA code (BCE_n); probabilities come from a softmax there.
    """
    safe = clamped(probabilities)
    targets = normalized_labels(labels)
    return -(targets * safe.log() + (1 - targets) * (1 - safe).log()).mean()


def multiple_instance_bce(
    video_logits: Tensor, snippet_logits: Tensor, labels: Tensor, mask: Tensor
) -> Tensor:
    """Return class-wise sigmoid BCE with every snippet a negative of each absent class.

    A tag says that some snippets show the class, its absence that none does. The mean over
    present classes and the mean over absent ones weigh the same.

    Args:
        video_logits: f32[B, C], of the best snippets.
        snippet_logits: f32[B, T, C].
        labels: f32[B, C] in {0, 1}.
        mask: bool[B, T].
    """
    positive = (functional.softplus(-video_logits) * labels).sum() / labels.sum().clamp(min=1.0)
    weights = (1 - labels)[:, None, :] * mask[..., None].to(labels.dtype)
    negative = (functional.softplus(snippet_logits) * weights).sum()
    return positive + negative / weights.sum().clamp(min=1.0)


def generalized_cross_entropy(
    probabilities: Tensor, targets: Tensor, mask: Tensor, q: float
) -> Tensor:
    """Return the noise-tolerant loss of f32[B, T] probabilities against bool[B, T] targets.

    Positives and negatives are averaged apart, then over videos.

    Source: generalised cross entropy (NeurIPS 2018) as balanced in ASL and AICL code.
    """
    positive = (targets & mask).to(probabilities.dtype)
    negative = (~targets & mask).to(probabilities.dtype)
    miss = (1 - (probabilities + PROBABILITY_EPSILON) ** q) / q
    alarm = (1 - (1 - probabilities + PROBABILITY_EPSILON) ** q) / q
    misses = (miss * positive).sum(dim=1) / (positive.sum(dim=1) + PROBABILITY_EPSILON)
    alarms = (alarm * negative).sum(dim=1) / (negative.sum(dim=1) + PROBABILITY_EPSILON)
    return (misses + alarms).mean()


def masked_mse(one: Tensor, other: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared difference of f32[B, T] sequences over real snippets."""
    weights = mask.to(one.dtype)
    return ((one - other) ** 2 * weights).sum() / weights.sum()


def masked_info_nce(
    anchors: Tensor, candidates: Tensor, positive: Tensor, negative: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the contrastive loss of each anchor against marked candidates.

    For each anchor: -log of the positives' share in the sum of exp(cosine / temperature) over
    positives and negatives. Vectors are normalised here; zero vectors are left out.

    Args:
        anchors: f32[..., A, d].
        candidates: f32[..., M, d].
        positive: bool[..., A, M].
        negative: bool[..., A, M], disjoint with ``positive``.
        temperature: > 0.

    Returns:
        f32[..., A], 0 at anchors without a positive, and bool[..., A], False at those.

    Source: masked InfoNCE as CoLA, AICL and DCC use it.
    """
    anchor_norm, candidate_norm = anchors.norm(dim=-1), candidates.norm(dim=-1)
    usable = (anchor_norm > ZERO_NORM)[..., :, None] & (candidate_norm > ZERO_NORM)[..., None, :]
    positive, negative = positive & usable, negative & usable
    one = functional.normalize(anchors, dim=-1)
    other = functional.normalize(candidates, dim=-1)
    logits = one @ other.transpose(-1, -2) / temperature
    # A finite floor, far below every cosine / temperature, keeps the gradient of rows without
    # any positive finite.
    floor = torch.finfo(logits.dtype).min / 2
    above = logits.masked_fill(~positive, floor).logsumexp(dim=-1)
    whole = logits.masked_fill(~(positive | negative), floor).logsumexp(dim=-1)
    has_positive = positive.any(dim=-1)
    return torch.where(has_positive, whole - above, torch.zeros_like(whole)), has_positive
