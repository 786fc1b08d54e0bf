"""What a head remembers of each class beyond the video at hand: a few features per class.

Two rules: `ClassMemory.blend` ages what is stored, `ClassMemory.keep_best` keeps the best ever
seen. Which features are offered, and when, the head decides. Buffers, so checkpoints hold them.
"""

import math

import torch
from torch import Tensor, nn

EMPTY_SCORE = -1.0  # below every probability: an empty slot loses against any candidate


class ClassMemory(nn.Module):
    """S slots of one feature and one score per class, empty at first.

    Args:
        num_classes: C.
        slots: S.
        width: E, of a feature.
    """

    features: Tensor
    scores: Tensor
    filled: Tensor

    def __init__(self, num_classes: int, slots: int, width: int) -> None:
        super().__init__()
        self.slots = slots
        self.register_buffer("features", torch.zeros(num_classes, slots, width))
        self.register_buffer("scores", torch.zeros(num_classes, slots))
        self.register_buffer("filled", torch.zeros(num_classes, slots, dtype=torch.bool))

    @torch.no_grad()
    def keep_best(self, label: int, features: Tensor, scores: Tensor) -> None:
        """Keep the S best of what one class has stored and what is offered; scores never age.

        Args:
            label: the class.
            features: f32[K, E], K >= 0.
            scores: f32[K], probabilities.

        Source: RSKP model/memory.py; ties go to what was stored first.
        """
        old = torch.where(self.filled[label], self.scores[label], EMPTY_SCORE)
        all_scores = torch.cat([old, scores.to(old.dtype)])
        all_features = torch.cat([self.features[label], features.to(self.features.dtype)])
        best = all_scores.argsort(descending=True, stable=True)[: self.slots]
        self.features[label] = all_features[best]
        self.scores[label] = all_scores[best].clamp(min=0.0)
        self.filled[label] = all_scores[best] > EMPTY_SCORE

    @torch.no_grad()
    def blend(self, label: int, features: Tensor, scores: Tensor, share: float) -> None:
        """Move one class's slots, rank by rank, towards the S best of what is offered.

        Where fewer than S are offered they repeat; an empty slot takes the new feature whole;
        nothing offered changes nothing.

        Args:
            label: the class.
            features: f32[K, E].
            scores: f32[K], probabilities.
            share: of the new features, in [0, 1]; 1 replaces.

        Source: ISSF (AAAI 2024), equation 7; repetition is ours.
        """
        if len(scores) == 0:
            return
        best = scores.argsort(descending=True, stable=True)[: self.slots]
        best = best[torch.arange(self.slots, device=best.device) % len(best)]
        shares = torch.where(self.filled[label], share, 1.0)
        self.features[label] = torch.lerp(self.features[label], features[best], shares[:, None])
        self.scores[label] = torch.lerp(self.scores[label], scores[best], shares)
        self.filled[label] = True

    def recall(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is stored of the classes of f32[B, C] labels; a video's classes side by side.

        Returns:
            f32[1, K, E], the slots of every class that any of the videos has, and bool[B, K],
            which of them are filled and belong to a class of the video. K may be 0.
        """
        present = (labels > 0).any(dim=0)
        members = (labels[:, present] > 0)[..., None] & self.filled[present][None]
        return self.features[present].flatten(0, 1)[None], members.flatten(1)


def memory_share(initial: float, progress: float) -> float:
    """Return how much of the memory a new feature replaces, at most 1.

    It is ``initial`` * ln(exp(progress) + 1): 0.693, 0.974, 1.313 of ``initial`` at the start,
    half-way and at the end of training.

    Args:
        initial: eta0, > 0.
        progress: epoch / epochs, in [0, 1].

    Source: ISSF (AAAI 2024), equation 8; the cut at 1 is ours.
    """
    return min(1.0, initial * math.log(math.exp(progress) + 1))
