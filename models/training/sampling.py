"""Which snippets of a video a head sees, and how samples of different length share a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from models.config import TrainingSettings, TrainSampling
from models.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of several videos.

    Attributes:
        features: float32[B, T, D], zero where padded.
        mask: bool[B, T], True at real snippets.
        labels: float32[B, C].
        videos: int64[B], their places in the training set.
    """

    features: FloatArray
    mask: NDArray[np.bool_]
    labels: FloatArray
    videos: IntArray


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


def redrawn_positions(num_snippets: int, num_samples: int, rng: Generator) -> IntArray:
    """Return int64[num_samples]: as `perturbed_positions`, but a short video is drawn from freely.

    A video of fewer snippets gives sorted draws with repetition, one of exactly as many itself.

    Source: ACM-Net dataset_class.py.
    """
    if num_snippets > num_samples:
        return perturbed_positions(num_snippets, num_samples, rng)
    if num_snippets == num_samples:
        return np.arange(num_snippets, dtype=np.int64)
    return np.sort(rng.integers(0, num_snippets, num_samples)).astype(np.int64)


def train_positions(
    num_snippets: int, num_samples: int, sampling: TrainSampling, rng: Generator
) -> IntArray:
    """Return the positions of one training sample."""
    if sampling == "perturb":
        return perturbed_positions(num_snippets, num_samples, rng)
    if sampling == "perturb_short":
        return redrawn_positions(num_snippets, num_samples, rng)
    if sampling == "full":
        return np.arange(num_snippets, dtype=np.int64)
    return cropped_positions(num_snippets, num_samples, rng)


class VideoOrder:
    """Batches of videos for ever: each epoch a new order, no video twice in it.

    What an epoch leaves over opens the next one, so that every batch is full.
    """

    def __init__(self, num_videos: int, batch_size: int, rng: Generator) -> None:
        self._num_videos = num_videos
        self._size = min(batch_size, num_videos)
        self._rng = rng
        self.waiting = np.zeros(0, np.int64)

    def take(self) -> IntArray:
        """Return int64[batch size]: the videos of the next batch."""
        while len(self.waiting) < self._size:
            fresh = self._rng.permutation(self._num_videos).astype(np.int64)
            self.waiting = np.concatenate([self.waiting, fresh])
        taken, self.waiting = self.waiting[: self._size], self.waiting[self._size :]
        return taken


def padded_batch(samples: Sequence[FloatArray], labels: FloatArray, videos: IntArray) -> Batch:
    """Stack float32[T_i, D] samples, zero-padded to the longest, with labels float32[B, C]."""
    length = max(len(sample) for sample in samples)
    features = np.zeros((len(samples), length, samples[0].shape[1]), np.float32)
    mask = np.zeros((len(samples), length), np.bool_)
    for row, sample in enumerate(samples):
        features[row, : len(sample)] = sample
        mask[row, : len(sample)] = True
    return Batch(features, mask, labels, videos)


class BatchSource:
    """The batches of one stage; the same seed gives the same ones, and it can be resumed.

    Args:
        features: float32[T, D] per video, standardised when a sample is taken.
        labels: float32[N, C].
        statistics: float32[D] mean and deviation.
        settings: of the stage.
        rng: decides order and positions.
    """

    def __init__(
        self,
        features: Sequence[FloatArray],
        labels: FloatArray,
        statistics: tuple[FloatArray, FloatArray],
        settings: TrainingSettings,
        rng: Generator,
    ) -> None:
        self._features, self._labels, self._statistics = features, labels, statistics
        self._settings, self._rng = settings, rng
        self._order = VideoOrder(len(features), settings.batch_size, rng)

    def take(self) -> Batch:
        """Return the next batch."""
        settings, (mean, std) = self._settings, self._statistics
        videos = self._order.take()
        samples = []
        for index in videos:
            values = self._features[index]
            chosen = train_positions(
                len(values), settings.num_snippets, settings.sampling, self._rng
            )
            samples.append((values[chosen] - mean) / std)
        return padded_batch(samples, self._labels[videos], videos)

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs, as JSON."""
        return {
            "rng": self._rng.bit_generator.state,
            "waiting": [int(index) for index in self._order.waiting],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._rng.bit_generator.state = state["rng"]
        self._order.waiting = np.asarray(state["waiting"], np.int64)
