"""Which snippets of a video a head sees, and how samples of different length share a batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from models.config import TrainSampling
from models.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of several videos.

    Attributes:
        features: float32[B, T, D], zero where padded.
        mask: bool[B, T], True at real snippets.
        labels: float32[B, C].
    """

    features: FloatArray
    mask: NDArray[np.bool_]
    labels: FloatArray


def perturbed_positions(num_snippets: int, num_samples: int, rng: Generator) -> IntArray:
    """Return int64[num_samples] jittered positions over a whole video, repeating if it is short.

    Base positions are i * N / T; where neighbours fall on different snippets a uniform draw
    between them, both inclusive, else the snippet itself.

    Source: BaS-Net thumos_features.py, also in ASL, AICL and CoLA.
    """
    bases = np.arange(num_samples) * num_snippets // num_samples
    nexts = np.append(bases[1:], num_snippets - 1)
    return rng.integers(bases, np.maximum(bases, nexts) + 1).astype(np.int64)


def cropped_positions(num_snippets: int, num_samples: int, rng: Generator) -> IntArray:
    """Return int64[<= num_samples]: a random stretch at native spacing, all of a short video."""
    length = min(num_snippets, num_samples)
    start = int(rng.integers(0, num_snippets - length + 1))
    return np.arange(start, start + length, dtype=np.int64)


def train_positions(
    num_snippets: int, num_samples: int, sampling: TrainSampling, rng: Generator
) -> IntArray:
    """Return the positions of one training sample."""
    if sampling == "perturb":
        return perturbed_positions(num_snippets, num_samples, rng)
    return cropped_positions(num_snippets, num_samples, rng)


def video_order(num_videos: int, batch_size: int, rng: Generator) -> Iterator[IntArray]:
    """Yield batches of video indices for ever: each epoch a new order, no video twice in it.

    What an epoch leaves over opens the next one, so that every batch is full.
    """
    size = min(batch_size, num_videos)
    waiting = np.zeros(0, np.int64)
    while True:
        while len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(num_videos).astype(np.int64)])
        yield waiting[:size]
        waiting = waiting[size:]


def padded_batch(samples: Sequence[FloatArray], labels: FloatArray) -> Batch:
    """Stack float32[T_i, D] samples, zero-padded to the longest, with labels float32[B, C]."""
    length = max(len(sample) for sample in samples)
    features = np.zeros((len(samples), length, samples[0].shape[1]), np.float32)
    mask = np.zeros((len(samples), length), np.bool_)
    for row, sample in enumerate(samples):
        features[row, : len(sample)] = sample
        mask[row, : len(sample)] = True
    return Batch(features, mask, labels)
