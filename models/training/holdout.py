"""Which videos are kept out of training, and what they say about a head: tags only, no times.

A held-out video never enters training, its statistics or a memory. It chooses the checkpoint and
helps to calibrate scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from models.evaluation.classification import video_map
from models.types import FloatArray, IntArray

MIN_TRAINING_VIDEOS_PER_CLASS = 2
MAX_DRAWS = 20
PROBABILITY_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class HeldOutScore:
    """How well a head's video scores agree with held-out tags.

    Attributes:
        video_map: mean over classes of the average precision of ranking videos, in [0, 1].
        log_loss: mean over videos and classes of the binary cross entropy of video scores.
    """

    video_map: float
    log_loss: float

    def better_than(self, other: "HeldOutScore | None") -> bool:
        """Return whether this, a later checkpoint, is preferred: by ranking, then by log loss.

        Equals go to the later one: a stage that leaves the video scores alone ends trained.
        """
        if other is None:
            return True
        return (self.video_map, -self.log_loss) >= (other.video_map, -other.log_loss)


def split_holdout(
    labels: NDArray[np.bool_], share: float, rng: Generator
) -> tuple[IntArray, IntArray]:
    """Draw the videos to hold out.

    A video is held out only while each of its labels keeps two training videos and each class
    still misses from one: few videos give a smaller share. Held-out videos that cannot rank
    anything, because no class is both in one and missing from another, are not held out at all.

    Args:
        labels: bool[N, C].
        share: wanted, in [0, 1).
        rng: decides the order in which videos are considered.

    Returns:
        int64 training and held-out places, both ascending.
    """
    for _ in range(MAX_DRAWS):
        held = _drawn(labels, round(share * len(labels)), rng)
        present = labels[held].sum(axis=0)
        if ((present > 0) & (present < len(held))).any():
            training = np.setdiff1d(np.arange(len(labels)), held)
            return training.astype(np.int64), held
    return np.arange(len(labels), dtype=np.int64), np.zeros(0, np.int64)


def _drawn(labels: NDArray[np.bool_], wanted: int, rng: Generator) -> IntArray:
    remaining = labels.sum(axis=0)
    kept = len(labels)
    held: list[int] = []
    for video in rng.permutation(len(labels)):
        if len(held) == wanted:
            break
        after = remaining - labels[video]
        enough = (after[labels[video]] >= MIN_TRAINING_VIDEOS_PER_CLASS).all()
        if enough and (after < kept - 1).all():
            held.append(int(video))
            remaining, kept = after, kept - 1
    return np.asarray(sorted(held), np.int64)


def held_out_score(scores: Sequence[FloatArray], labels: NDArray[np.bool_]) -> HeldOutScore:
    """Compare video scores float32[C] of N videos with bool[N, C] tags."""
    stacked = np.clip(np.stack(scores), PROBABILITY_EPSILON, 1 - PROBABILITY_EPSILON)
    loss = -np.where(labels, np.log(stacked), np.log(1 - stacked)).mean()
    return HeldOutScore(video_map(stacked, labels), float(loss))
