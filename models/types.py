"""The values that travel through the pipeline. Frozen, typed, without behaviour beyond checks.

Shapes use the letters of models/README.md: F frames, T snippets, D feature width, C classes,
K proposals, H, W. Seconds count from the first presentation time of the video.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
ByteArray = NDArray[np.uint8]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MediaWarning:
    """Something a user should know about a result that was still produced.

    Attributes:
        code: stable identifier, for instance ``frames_lost`` or ``demo_model``.
        message: one sentence.
        seconds: from which second of the video it holds; None when it concerns the whole.
    """

    code: str
    message: str
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the native result's ``warnings`` list."""
        return {"code": self.code, "message": self.message, "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What is known of one video file.

    Attributes:
        name: display name, never used as a path.
        sha256: hex digest of the file's bytes.
        duration_seconds: end of the last frame minus the first presentation time.
        nominal_fps: frames per second the container declares, or the measured mean; 0 if unknown.
        variable_frame_rate: presentation intervals differ by more than container rounding.
        width_px, height_px: as displayed, after rotation metadata.
        num_source_frames: video packets that carry a frame to be shown.
        codec: FFmpeg's name of the decoder.
        container: FFmpeg's names of the file's format, separated by commas.
    """

    name: str
    sha256: str
    duration_seconds: float
    nominal_fps: float
    variable_frame_rate: bool
    width_px: int
    height_px: int
    num_source_frames: int
    codec: str
    container: str = ""


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """The snippet features of one video.

    Attributes:
        values: float32[T, D], streams side by side in the recipe's order (RGB first).
        seconds: float64[T, 2], start and end of each snippet's window.
        recipe_digest: digest of the FeatureRecipe that made them.
        duration_seconds: of the video.
        computed_with: numeric precision and kernel versions, one and the same inside one video.
        warnings: what went wrong while the frames were read.
    """

    values: FloatArray
    seconds: DoubleArray
    recipe_digest: str
    duration_seconds: float
    computed_with: dict[str, str] = field(default_factory=dict)
    warnings: tuple[MediaWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class HeadProposals:
    """Intervals that a head proposes and scores itself.

    Attributes:
        class_index: int64[K].
        steps: float64[K, 2], start and end on the activation sequence; step t covers [t, t + 1).
        raw_scores: float64[K].
    """

    class_index: IntArray
    steps: DoubleArray
    raw_scores: DoubleArray


@dataclass(frozen=True, slots=True)
class Activations:
    """What a head says about one video, numpy only: the evidence behind segments.

    Attributes:
        localization: float32[T, C] in [0, 1], the sequence that thresholds cut.
        scoring: float32[T, C] in [0, 1], the sequence that outer-inner contrast scores.
        video_scores: float32[C] in [0, 1].
        attention: float32[T] in [0, 1], class-agnostic actionness.
        classes: the C labels in order.
        window_scores: float32[T, C], the video scores of overlapping windows cross-faded over
            time; None when the head saw the whole video at once.
        proposals: the head's own; None for heads whose sequences are cut at thresholds.
        stream_attention: stream -> float32[T] in [0, 1], the actionness that each stream sees by
            itself; empty for heads that look at all streams as one.
    """

    localization: FloatArray
    scoring: FloatArray
    video_scores: FloatArray
    attention: FloatArray
    classes: tuple[str, ...]
    window_scores: FloatArray | None = None
    proposals: HeadProposals | None = None
    stream_attention: dict[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate interval of one class, half-open, float64 seconds."""

    class_index: int
    start_seconds: float
    end_seconds: float
    raw_score: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A timed action: the product's answer.

    ``score`` is in [0, 1]; ``raw_score`` is the outer-inner contrast as computed.
    ``start_frame`` and ``end_frame`` are source frame indices by presentation time, end exclusive.
    """

    label: str
    score: float
    raw_score: float
    start_seconds: float
    end_seconds: float
    start_frame: int
    end_frame: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: ``stage`` is one of design's stage words, ``fraction`` in [0, 1]."""

    stage: str
    fraction: float


ProgressCallback = Callable[[Progress], None]
StopCallback = Callable[[], bool]
