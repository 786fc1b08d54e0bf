"""From a segment's raw score to a score people can use: a probability in [0, 1].

Needs numpy only, so that stored activations can be scored again. `models.training.calibrate`
fits what is applied here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KIND = "logistic"


@dataclass(frozen=True, slots=True)
class ScoreCalibration:
    """A logistic curve over raw scores.

    Attributes:
        slope: > 0, so that order never changes.
        offset: log odds at a raw score of 0.
    """

    slope: float
    offset: float

    def probability(self, raw_score: float) -> float:
        """Return the calibrated score in [0, 1] of a finite raw score."""
        logit = self.slope * raw_score + self.offset
        if logit >= 0:
            return 1.0 / (1.0 + math.exp(-logit))
        grown = math.exp(logit)  # cannot overflow: the exponent is negative
        return grown / (1.0 + grown)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `calibration_from_json` reads."""
        return {"kind": KIND, "slope": self.slope, "offset": self.offset}


def calibration_from_json(document: Mapping[str, Any] | None) -> ScoreCalibration | None:
    """Read a model card's calibration; None where scores are not calibrated.

    Raises:
        ValueError: it is of a kind unknown here, or its slope is not positive and finite.
    """
    if document is None:
        return None
    if document.get("kind") != KIND:
        message = f"unknown calibration {document.get('kind')!r}"
        raise ValueError(message)
    slope, offset = float(document["slope"]), float(document["offset"])
    if not (slope > 0 and math.isfinite(slope) and math.isfinite(offset)):
        message = f"calibration with slope {slope} and offset {offset}"
        raise ValueError(message)
    return ScoreCalibration(slope, offset)


def public_score(raw_score: float, calibration: ScoreCalibration | None) -> float:
    """Return a segment's score: calibrated, or else its raw score cut to [0, 1]."""
    if calibration is not None:
        return calibration.probability(raw_score)
    return min(1.0, max(0.0, raw_score))
