"""Refined snippet features: each snippet is rewritten from others of its video, or from a memory.

Two ways: `BoundaryRefinement` lets every snippet look at the snippets where the video changes and
at the others; `propagate` exchanges knowledge between snippets and a few prototypes that
`video_prototypes` finds. All sequences are [B, T, E] with a bool[B, T] mask of real snippets.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.heads.blocks import PointwiseStack, cosine_logits, top_selection

Saliency = Literal["l1", "l2", "cosine", "random"]
Scaling = Literal["cos5", "cos20", "raw", "sqrt"]

ATTENTION_SCALE = 5.0  # Source: RSKP main_branch.py, on cosines
SHARP_SCALE = 20.0  # as that of the published class logits
SUM_EPSILON = 1e-9  # Source: the same
RANDOM_SEED = 0  # of the arbitrary order that ``random`` saliency has at inference
ROUNDING = 1e-6  # 0.9 * 10 snippets are 9 of them, whatever the last bit says


def snippet_changes(embedding: Tensor, kind: Saliency, *, training: bool = False) -> Tensor:
    """Return f32[B, T]: how much each snippet differs from the one before, without gradient.

    The first snippet, which has none before it, takes the second one's value; a lone one 0.

    Args:
        embedding: f32[B, T, E], before any dropout, whose masks would drown small changes.
        kind: ``l1`` as published; ``l2``, ``cosine`` (1 - cosine) and ``random`` are compared
            with it. ``random`` draws from torch's global generator in training and is one fixed
            order otherwise.
        training: see ``random``.

    Source: ISSF (AAAI 2024), equation 1 and table 3; the value of the first snippet is ours.
    """
    clean = embedding.detach()
    batch, length = clean.shape[:2]
    if kind == "random":
        if training:
            return torch.rand(batch, length, device=clean.device)
        fixed = torch.Generator().manual_seed(RANDOM_SEED)
        return torch.rand(length, generator=fixed).to(clean.device).expand(batch, length)
    if length == 1:
        return clean.new_zeros(batch, 1)
    before, after = clean[:, :-1], clean[:, 1:]
    if kind == "cosine":
        changes = 1 - functional.cosine_similarity(before, after, dim=-1)
    else:
        changes = (after - before).norm(p=1 if kind == "l1" else 2, dim=-1)
    return torch.cat([changes[:, :1], changes], dim=1)


def salient_snippets(
    changes: Tensor, mask: Tensor, share: float, *, mark_previous: bool = False
) -> Tensor:
    """Return bool[B, T]: the real snippets that change most, at least one.

    Args:
        changes: f32[B, T] of `snippet_changes`.
        mask: bool[B, T].
        share: of the real snippets that are salient, rounded down.
        mark_previous: also mark the snippet before each, so that up to twice the share is salient.

    Source: ISSF, equations 2 and 3; its released helper for ``mark_previous``, which also lets
    the snippet before the first wrap to the last: left out.
    """
    counts = (mask.sum(dim=1).double() * share + ROUNDING).floor().long().clamp(min=1)
    salient = top_selection(changes, counts, mask)
    if mark_previous:
        before = functional.pad(salient[:, 1:], (0, 1))
        salient = (salient | before) & mask
    return salient


class ChannelUnit(nn.Module):
    """Adds to each feature itself, weighted by a softmax over its own dimensions.

    The softmax sums to 1 over E dimensions, so that what is added is about 1 / E of the feature.

    Args:
        width: E.
        reduction: E / this is the width between the two linear maps.

    Source: ISSF, equation 4.
    """

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.weigh = PointwiseStack(width, max(1, width // reduction), width)

    def forward(self, sequence: Tensor) -> Tensor:
        """Map f32[B, T, E] to f32[B, T, E]."""
        weights: Tensor = self.weigh(sequence)
        return torch.softmax(weights, dim=-1) * sequence + sequence


def _shares(logits: Tensor, members: Tensor) -> Tensor:
    """Return the softmax of f32[B, T, K] over bool[B, K] members; all 0 without any."""
    shown = members[:, None, :]
    floor = torch.finfo(logits.dtype).min / 2  # finite, so that rows without members are too
    return torch.softmax(logits.masked_fill(~shown, floor), dim=-1) * shown


def temporal_unit(queries: Tensor, keys: Tensor, members: Tensor, scaling: Scaling) -> Tensor:
    """Rewrite each query as a mean of the keys, weighted by their likeness to it.

    Args:
        queries: f32[B, T, E].
        keys: f32[B or 1, K, E].
        members: bool[B, K], the keys that count; without any the result is 0.
        scaling: of the likeness before the softmax over keys: ``cos5`` is 5 * cosine, ``cos20``
            20 * cosine, ``raw`` the plain product as printed, ``sqrt`` the product / sqrt(E).

    Returns:
        f32[B, T, E].

    Source: ISSF, equations 5 and 9, which print ``raw``; RSKP for ``cos5``, the default of the
    head: plain products of wide features leave all weight on one key.
    """
    if scaling in {"cos5", "cos20"}:
        scale = ATTENTION_SCALE if scaling == "cos5" else SHARP_SCALE
        logits = cosine_logits(queries, keys, scale)
    else:
        logits = queries @ keys.transpose(-1, -2)
        if scaling == "sqrt":
            logits = logits / math.sqrt(queries.shape[-1])
    return _shares(logits, members) @ keys


class BoundaryRefinement(nn.Module):
    """Every snippet from the salient snippets of its video, and a little from the others.

    Args:
        width: E.
        reduction: of both channel units, which share nothing.
        salient_weight: sigma, of the part from salient snippets.
        scaling: of the temporal unit.

    Source: ISSF, equations 4 to 6.
    """

    def __init__(self, width: int, reduction: int, salient_weight: float, scaling: Scaling) -> None:
        super().__init__()
        self.salient_weight, self.scaling = salient_weight, scaling
        self.salient_unit = ChannelUnit(width, reduction)
        self.other_unit = ChannelUnit(width, reduction)

    def forward(self, embedding: Tensor, salient: Tensor, mask: Tensor) -> Tensor:
        """Map f32[B, T, E] to f32[B, T, E]; where a set is empty, its part is 0."""
        salient_keys: Tensor = self.salient_unit(embedding)
        other_keys: Tensor = self.other_unit(embedding)
        others = mask & ~salient
        one = temporal_unit(embedding, salient_keys, salient, self.scaling)
        two = temporal_unit(embedding, other_keys, others, self.scaling)
        return self.salient_weight * one + (1 - self.salient_weight) * two


def _assignment(embedding: Tensor, prototypes: Tensor, members: Tensor, mask: Tensor) -> Tensor:
    """Return f32[B, K, T]: each real snippet's shares of the prototypes; 0 at padding."""
    shares = _shares(cosine_logits(embedding, prototypes, ATTENTION_SCALE), members)
    return (shares * mask[..., None]).transpose(1, 2)


def _row_normalized(assignment: Tensor) -> Tensor:
    return assignment / (assignment.sum(dim=-1, keepdim=True) + SUM_EPSILON)


def video_prototypes(embedding: Tensor, start: Tensor, mask: Tensor, iterations: int) -> Tensor:
    """Return f32[B, K, E]: prototypes of each video, by expectation and maximisation.

    Snippets are shared out among the prototypes by softmax of 5 * cosine; each prototype becomes
    the mean of its shares.

    Args:
        embedding: f32[B, T, E].
        start: f32[K, E], learned, the same for all videos.
        mask: bool[B, T].
        iterations: of both steps.

    Source: RSKP main_branch.py.
    """
    prototypes = start.expand(len(embedding), -1, -1)
    members = torch.ones(prototypes.shape[:2], dtype=torch.bool, device=mask.device)
    silenced = embedding.masked_fill(~mask[..., None], 0.0)
    for _ in range(iterations):
        assignment = _assignment(embedding, prototypes, members, mask)
        prototypes = _row_normalized(assignment) @ silenced
    return prototypes


def propagate(
    embedding: Tensor, prototypes: Tensor, members: Tensor, mask: Tensor, share: float
) -> Tensor:
    """Let snippets and prototypes inform each other until nothing changes.

    With Z the assignment [K, T] of snippets to prototypes M and Zn its rows divided by their sum,
    the alternation x' = w Zt m + (1 - w) x, m' = w Zn x' + (1 - w) M has the fixed point
    (1 - w) (I - w2 Zt Zn)^-1 (w Zt M + x). The inverse of T rows is taken through one of K rows:
    (I - w2 Zt Zn)^-1 = I + w2 Zt (I - w2 Zn Zt)^-1 Zn (Woodbury).

    Args:
        embedding: f32[B, T, E], x.
        prototypes: f32[B or 1, K, E], M.
        members: bool[B, K], the prototypes that count.
        mask: bool[B, T].
        share: w, in [0, 1).

    Returns:
        f32[B, T, E]; without members (1 - w) x.

    Source: RSKP main_branch.py:random_walk, which inverts T rows; the shorter way is ours.
    """
    assignment = _assignment(embedding, prototypes, members, mask)
    normalized = _row_normalized(assignment)
    informed = share * assignment.transpose(1, 2) @ prototypes + embedding
    silenced = informed.masked_fill(~mask[..., None], 0.0)
    exchange = share**2 * normalized @ assignment.transpose(1, 2)
    coupling = torch.eye(exchange.shape[1], dtype=exchange.dtype, device=exchange.device) - exchange
    settled: Tensor = torch.linalg.solve(coupling, normalized @ silenced)
    back: Tensor = assignment.transpose(1, 2) @ settled
    return (1 - share) * (informed + share**2 * back)
