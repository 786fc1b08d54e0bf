"""Which pseudo labels to trust: snippets of one video are clustered and vote within clusters.

Nothing here is differentiated; a clustering depends on its sequence and its seed only.
"""

import torch
from torch import Tensor
from torch.nn import functional

LLOYD_STEPS = 10  # of assignment and new centres; ours, the DCC paper names none


@torch.no_grad()
def cluster_snippets(sequence: Tensor, mask: Tensor, num_clusters: int, seeds: Tensor) -> Tensor:
    """Assign the snippets of each video to clusters of that video by k-means.

    Centres begin by k-means++: the first is drawn evenly, each further one with a chance in
    proportion to the squared distance from the nearest centre so far. A cluster that loses all
    members keeps its centre. Fewer distinct snippets than clusters leave clusters empty.

    Args:
        sequence: f32[B, T, E], finite at real snippets.
        mask: bool[B, T], a real snippet in each row.
        num_clusters: >= 1.
        seeds: int64[B], >= 0, one per video: the same seed makes the same draws.

    Returns:
        int64[B, T] in [0, num_clusters); meaningless at padding.

    Source: Lloyd's algorithm with the seeding of k-means++ (SODA 2007).
    """
    points = sequence.masked_fill(~mask[..., None], 0.0)
    centres = _first_centres(points, mask, num_clusters, seeds)
    for _ in range(LLOYD_STEPS):
        members = memberships(torch.cdist(points, centres).argmin(dim=2), mask, num_clusters)
        sizes = members.sum(dim=1)[..., None]
        means = members.transpose(1, 2) @ points / sizes.clamp(min=1)
        centres = torch.where(sizes > 0, means, centres)
    return torch.cdist(points, centres).argmin(dim=2)


def memberships(clusters: Tensor, mask: Tensor, num_clusters: int) -> Tensor:
    """Return f32[B, T, K]: 1 where a real snippet is in a cluster, else 0."""
    return functional.one_hot(clusters, num_clusters).float() * mask[..., None]


def voting_confidence(labels: Tensor, clusters: Tensor, mask: Tensor, num_clusters: int) -> Tensor:
    """Return f32[B, T, L]: the share of a snippet's cluster that carries its pseudo label.

    Args:
        labels: bool[B, T, L], pseudo labels of L classes.
        clusters: int64[B, T], as `cluster_snippets` returns them.
        mask: bool[B, T].
        num_clusters: K.

    Returns:
        In (0, 1] at real snippets, 0 at padding.

    Source: DCC (CVPR 2022), eq. 4.
    """
    members = memberships(clusters, mask, num_clusters)
    sizes = members.sum(dim=1)[..., None].clamp(min=1)
    positive_share = members @ (members.transpose(1, 2) @ labels.float() / sizes)
    agreeing = torch.where(labels, positive_share, 1 - positive_share)
    return agreeing.masked_fill(~mask[..., None], 0.0)


def _first_centres(points: Tensor, mask: Tensor, num_clusters: int, seeds: Tensor) -> Tensor:
    """Return f32[B, K, E]: k-means++ centres, each a real snippet."""
    draws = torch.stack(
        [torch.rand(num_clusters, generator=_generator(seed)) for seed in seeds.tolist()]
    ).to(points)
    rows = torch.arange(len(points), device=points.device)
    even = mask.to(points.dtype)
    nearest = even
    centres = []
    for place in range(num_clusters):
        # Once every snippet coincides with a centre, any will do.
        chances = torch.where(nearest.sum(dim=1, keepdim=True) > 0, nearest, even)
        chosen = _drawn(chances, draws[:, place])
        centres.append(points[rows, chosen])
        distances = ((points - centres[-1][:, None]) ** 2).sum(dim=2) * even
        nearest = distances if place == 0 else torch.minimum(nearest, distances)
    return torch.stack(centres, dim=1)


def _drawn(chances: Tensor, draws: Tensor) -> Tensor:
    """Return int64[B]: one place per row of f32[B, T] chances >= 0 for f32[B] draws in [0, 1)."""
    upto = chances.cumsum(dim=1)
    below = (upto <= draws[:, None] * upto[:, -1:]).sum(dim=1)
    # Rounding can carry a draw past the last place that has a chance.
    places = torch.arange(chances.shape[1], device=chances.device)
    last = (places * (chances > 0)).amax(dim=1)
    return torch.minimum(below, last)


def _generator(seed: int) -> torch.Generator:
    generator = torch.Generator()
    generator.manual_seed(seed)
    return generator
