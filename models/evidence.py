"""What a result stands on, and the result made from it: segments without pixels and without model.

Whoever keeps the evidence of a video can cut it again with other thresholds, in numpy alone. The
first result is made here too, so that making it again with the same settings gives the same.
"""

from dataclasses import dataclass

import numpy as np

from models.config import ProposalSettings
from models.localize.calibration import ScoreCalibration, public_score
from models.localize.segments import localize_activations
from models.overrides import LocalizeOverrides
from models.presentation import PresentationTimes
from models.timegrid import TimeGrid
from models.types import Activations, DoubleArray, MediaWarning, Segment, VideoFacts

UNCHANGED = LocalizeOverrides()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that decides the segments of one video, once a head has looked at it.

    Attributes:
        activations: of the whole video.
        grid: of the video under the model's recipe.
        proposals: the model's own settings, before anybody's wishes.
        calibration: of the model's scores; None where they are not calibrated.
        times: of the video's frames.
    """

    activations: Activations
    grid: TimeGrid
    proposals: ProposalSettings
    calibration: ScoreCalibration | None
    times: PresentationTimes

    def step_seconds(self) -> DoubleArray:
        """Return float64[T]: the instant that each step of the activations stands for.

        The middle of its window, cut to the video; of a stretched sequence the middle of the step.
        """
        num_steps = len(self.activations.localization)
        if num_steps == self.grid.num_snippets:
            return np.asarray(self.grid.snippet_seconds().mean(axis=1), np.float64)
        middles = np.arange(num_steps, dtype=np.float64) + 0.5
        seconds = self.grid.activation_seconds(middles, num_steps, centered=True)
        return np.minimum(seconds, self.grid.duration_seconds)


@dataclass(frozen=True, slots=True)
class LocalizationResult:
    """Everything known after one run over one video; `models.exports` renders it."""

    video: VideoFacts
    model: str
    recipe_digest: str
    computed_with: dict[str, str]
    segments: tuple[Segment, ...]
    labels_seen: dict[str, float]
    warnings: tuple[MediaWarning, ...]
    evidence: Evidence | None = None
    speed: str = "exact"


def make_segments(
    evidence: Evidence, overrides: LocalizeOverrides = UNCHANGED
) -> tuple[Segment, ...]:
    """Return all segments of a video, best first; of labels and scores nothing is left out yet.

    Raises:
        OptionInvalid: the overrides do not fit the model.
    """
    settings = overrides.proposals(evidence.proposals)
    proposals = localize_activations(evidence.activations, evidence.grid, settings)
    starts = np.array([one.start_seconds for one in proposals], dtype=np.float64)
    ends = np.array([one.end_seconds for one in proposals], dtype=np.float64)
    start_frames = evidence.times.frames_at(starts)
    # The end is exclusive: one past the frame on screen just before the segment ends.
    end_frames = evidence.times.frames_at(np.nextafter(ends, 0.0)) + 1
    return tuple(
        Segment(
            label=evidence.activations.classes[one.class_index],
            score=public_score(one.raw_score, evidence.calibration),
            raw_score=one.raw_score,
            start_seconds=one.start_seconds,
            end_seconds=one.end_seconds,
            start_frame=start_frame,
            end_frame=end_frame,
        )
        for one, start_frame, end_frame in zip(
            proposals, start_frames.tolist(), end_frames.tolist(), strict=True
        )
    )


def labels_seen(evidence: Evidence, overrides: LocalizeOverrides = UNCHANGED) -> dict[str, float]:
    """Return the video scores of the classes that are localized."""
    threshold = overrides.proposals(evidence.proposals).class_threshold
    activations = evidence.activations
    scores = zip(activations.classes, activations.video_scores.tolist(), strict=True)
    return {label: score for label, score in scores if score >= threshold}
