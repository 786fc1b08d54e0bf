"""A dictionary of class centroids, and the loss that pulls snippets to the one of their class.

Rows are the C classes and, last, the background. Which class a snippet has is decided outside or
by `assigned_classes`; where the embedding comes from is not known here.

Source: the two-stream network with semantic-aware mechanisms (CVPR 2023), section 3.5.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.heads.base import TrainingVideos

DISTANCE_EPSILON = 1e-8  # under the root: the gradient at distance 0 is 0 instead of undefined


class ClassDictionary(nn.Module):
    """C + 1 learnable centroids; at first uniform in [0, 1], as the paper has it in one place."""

    def __init__(self, num_rows: int, width: int) -> None:
        super().__init__()
        self.centroids = nn.Parameter(torch.rand(num_rows, width))

    @torch.no_grad()
    def set_to_means(self, videos: TrainingVideos, embed: Callable[[Tensor], Tensor]) -> None:
        """Set every row to the mean of its class; see `class_means`."""
        self.centroids.copy_(class_means(videos, embed))

    def pull(self, embedding: Tensor, classes: Tensor, mask: Tensor) -> Tensor:
        """Return the mean distance of snippets to the centroids of their classes.

        Args:
            embedding: f32[B, T, E].
            classes: int64[B, T], rows of the dictionary.
            mask: bool[B, T].

        Returns:
            Scalar: the Euclidean distance, not squared, averaged over the real snippets of each
            video and then over videos. It moves both the embedding and the centroids.

        Source: equation 6 of the paper; 1e-8 under the root is ours.
        """
        squares = ((embedding - self.centroids[classes]) ** 2).sum(dim=2)
        distances = (squares + DISTANCE_EPSILON).sqrt().masked_fill(~mask, 0.0)
        return (distances.sum(dim=1) / mask.sum(dim=1)).mean()


@torch.no_grad()
def class_means(videos: TrainingVideos, embed: Callable[[Tensor], Tensor]) -> Tensor:
    """Return f32[C + 1, E]: the mean of all snippets of the videos labelled with each class.

    The last row, the background's, is the mean over all videos; so is the row of a class that
    no video has. ``embed`` maps f32[T, D] to f32[T, E].

    Source: section 4.1 of the paper for the classes; it says nothing of the background.
    """
    sums: Tensor | None = None
    counts = torch.zeros(videos.labels.shape[1] + 1, dtype=torch.float64)
    for index, labels in enumerate(videos.labels.cpu().double()):
        values = embed(videos.features(index)).double()
        member = torch.cat([labels, torch.ones(1, dtype=torch.float64)])
        counts += member * len(values)
        share = member.to(values.device)[:, None] * values.sum(dim=0)
        sums = share if sums is None else sums + share
    if sums is None:
        message = "class means need at least one video"
        raise ValueError(message)
    means = sums / counts.clamp(min=1.0).to(sums.device)[:, None]
    means[:-1][(counts[:-1] == 0).to(sums.device)] = means[-1]
    return means.float()


def assigned_classes(logits: Tensor, labels: Tensor | None = None) -> Tensor:
    """Return int64[B, T]: the best of C + 1 classes at each snippet, background last.

    With ``labels``, f32[B, C], only a video's own classes and the background take part.
    """
    if labels is None:
        return logits.argmax(dim=2)
    allowed = torch.cat([labels > 0, torch.ones_like(labels[:, :1], dtype=torch.bool)], dim=1)
    return logits.masked_fill(~allowed[:, None, :], float("-inf")).argmax(dim=2)


def largest_share(classes: Tensor, mask: Tensor) -> Tensor:
    """Return which share of the real snippets has the most frequent class, a scalar in (0, 1].

    It goes to 1 when all snippets are pulled to one centroid: the failure to watch for.
    """
    chosen = classes[mask]
    return chosen.bincount().max() / chosen.new_tensor(len(chosen), dtype=torch.float32)
