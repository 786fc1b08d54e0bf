"""What is compared: annotated instances, detections and the threshold ranges of the field.

Times are float64 seconds; nothing here reads a file or computes a figure.
"""

from dataclasses import dataclass

# The range of the weakly supervised THUMOS14 tables, and the official one of ActivityNet.
THUMOS_TIOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
ACTIVITYNET_TIOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

# Video, start_seconds, end_seconds: a stretch in which nobody can say what happens.
AmbiguousInterval = tuple[str, float, float]


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """One annotated instance; half-open seconds."""

    video: str
    label: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class Detection:
    """One predicted segment; half-open seconds, any score."""

    video: str
    label: str
    start_seconds: float
    end_seconds: float
    score: float
