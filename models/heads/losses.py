"""Losses that heads share. Every logarithm is clamped, every mean leaves padding out."""

import torch
from torch import Tensor
from torch.nn import functional

from models.heads.blocks import snippet_counts, topk_mean

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


def probability_cross_entropy(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over videos of cross entropy between f32[B, C] and normalised labels.

    Source: ACM-Net and RSKP code (CE_n on probabilities).
    """
    return -(normalized_labels(labels) * clamped(probabilities).log()).sum(dim=1).mean()


def with_background(labels: Tensor, background: float) -> Tensor:
    """Return f32[B, C + 1]: labels and, last, how much the background class is present."""
    return torch.cat([labels, torch.full_like(labels[:, :1], background)], dim=1)


def attention_sum(attention: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over videos of the sum over real snippets of f32[B, T].

    Source: the sparsity loss of BaS-Net's public code.
    """
    return attention.masked_fill(~mask, 0.0).sum(dim=1).mean()


def attention_margin(attention: Tensor, mask: Tensor, divisor: int) -> Tensor:
    """Return the mean over videos of (mean of the lowest) - (mean of the highest) T / divisor.

    Source: RSKP code.
    """
    counts = snippet_counts(mask, divisor)
    highest = topk_mean(attention[..., None], counts, mask)
    lowest = -topk_mean(-attention[..., None], counts, mask)
    return (lowest - highest).mean()


def guide_loss(attention: Tensor, background: Tensor, mask: Tensor, *, mean: bool) -> Tensor:
    """Return how far foreground attention is from 1 - background score, both f32[B, T].

    Summed over real snippets, or averaged with ``mean``; then averaged over videos.

    Source: ACM-Net code sums over time with a detached attention, which the caller decides; the
    text of the two-stream semantic network averages.
    """
    gaps = (1 - attention - background).abs().masked_fill(~mask, 0.0).sum(dim=1)
    return (gaps / mask.sum(dim=1) if mean else gaps).mean()


def distillation(prediction: Tensor, target: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Return the cross entropy of softened f32[B, T, C] logits, mean over real snippets.

    The target gives no gradient.

    Source: RSKP code: softmax(target / temperature) against log softmax(prediction / temperature).
    """
    soft = torch.softmax(target.detach() / temperature, dim=-1)
    logs = functional.log_softmax(prediction / temperature, dim=-1)
    per_snippet = -(soft * logs).sum(dim=-1).masked_fill(~mask, 0.0)
    return per_snippet.sum() / mask.sum()


def class_distillation(
    prediction: Tensor, target: Tensor, mask: Tensor, temperature: float
) -> Tensor:
    """Return `distillation` with a sigmoid per class, mean over real snippets and classes."""
    soft = torch.sigmoid(target.detach() / temperature)
    losses = functional.binary_cross_entropy_with_logits(
        prediction / temperature, soft, reduction="none"
    )
    return losses.mean(dim=-1).masked_fill(~mask, 0.0).sum() / mask.sum()


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
