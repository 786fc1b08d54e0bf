"""Feature sequences with actions planted in them: training data whose truth is known exactly.

Each class, each background and each video's surroundings is a random prototype; a snippet is its
prototype plus noise, rectified. Nothing is drawn and nothing is decoded, so a head can be judged
in seconds.

Source: the acceptance generator of the head specification: unit prototypes with independent
halves per stream, noise 0.5, instances of 3 to 20 snippets in videos of 60 to 400. There the
noise is read per prototype of unit length; here a prototype's entries have the deviation
``signal`` and each entry gets noise of deviation ``noise``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from models.errors import ContractViolation
from models.types import DoubleArray, FloatArray

MAX_DRAWS = 100


@dataclass(frozen=True, slots=True)
class PlantedSettings:
    """What is planted.

    Attributes:
        num_classes: C.
        stream_width: D is twice this.
        min_snippets, max_snippets: length of a video, both inclusive.
        signal, noise: deviation of a prototype's entries and of the noise on each.
        num_backgrounds: prototypes that all videos share.
        context_share: share of the videos in which every instance of an action lies inside a
            stretch of that action's own context, which begins before it and ends after it.
        context_margin: most snippets of context on either side.
    """

    num_classes: int = 5
    stream_width: int = 64
    min_snippets: int = 60
    max_snippets: int = 400
    signal: float = 0.25
    noise: float = 0.5
    num_backgrounds: int = 4
    context_share: float = 0.0
    context_margin: int = 12


@dataclass(frozen=True, slots=True)
class PlantedVideo:
    """One video.

    Attributes:
        features: float32[T, D].
        labels: bool[C].
        instances: class, first snippet and one past the last.
    """

    features: FloatArray
    labels: NDArray[np.bool_]
    instances: tuple[tuple[int, int, int], ...]


class PlantedWorld:
    """Prototypes drawn once, videos drawn from them; the same seed gives the same world."""

    def __init__(self, settings: PlantedSettings, seed: int) -> None:
        self.settings = settings
        self.rng: Generator = np.random.default_rng(seed)
        self._actions = [self._prototype() for _ in range(settings.num_classes)]
        self._contexts = [self._prototype() for _ in range(settings.num_classes)]
        self._backgrounds = [self._prototype() for _ in range(settings.num_backgrounds)]

    def videos(self, count: int) -> list[PlantedVideo]:
        """Return videos in which each class is in at least two and missing from some.

        Raises:
            ContractViolation: so few videos hardly ever come out that way.
        """
        for _ in range(MAX_DRAWS):
            drawn = [self._video() for _ in range(count)]
            counts = np.sum([one.labels for one in drawn], axis=0)
            if counts.min() > 1 and counts.max() < count:
                return drawn
        message = f"{count} videos are too few for {self.settings.num_classes} classes"
        raise ContractViolation(message)

    def action_free(self, count: int) -> list[PlantedVideo]:
        """Return videos without any action."""
        return [self._video(actions=False) for _ in range(count)]

    def _prototype(self) -> DoubleArray:
        width = 2 * self.settings.stream_width
        return np.asarray(self.settings.signal * self.rng.standard_normal(width), np.float64)

    def _video(self, *, actions: bool = True) -> PlantedVideo:
        settings, rng = self.settings, self.rng
        length = int(rng.integers(settings.min_snippets, settings.max_snippets + 1))
        surroundings = (self._backgrounds[rng.integers(len(self._backgrounds))]) / 2
        clean = np.tile(surroundings + self._prototype() / 2, (length, 1))
        classes = rng.choice(settings.num_classes, rng.integers(1, 3), replace=False)
        with_context = rng.random() < settings.context_share
        instances: list[tuple[int, int, int]] = []
        place = int(rng.integers(3, 15))
        while actions and place < length - 40:  # room for an instance and its margins
            label, size = int(rng.choice(classes)), int(rng.integers(3, 21))
            if with_context:
                before, after = rng.integers(3, settings.context_margin + 1, 2)
                clean[max(0, place - before) : place + size + after] = self._contexts[label]
            clean[place : place + size] = self._actions[label]
            instances.append((label, place, place + size))
            place += size + settings.context_margin + int(rng.integers(6, 25))
        noisy = np.maximum(0.0, clean + settings.noise * rng.standard_normal(clean.shape))
        labels = np.zeros(settings.num_classes, np.bool_)
        labels[[one[0] for one in instances]] = True
        return PlantedVideo(noisy.astype(np.float32), labels, tuple(instances))
