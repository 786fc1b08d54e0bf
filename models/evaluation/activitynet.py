"""Protocol ``P-ANET`` under its own name, with what a caller of it needs.

``evaluate`` in `models.evaluation.scoring` serves this protocol and the two others.
"""

from collections.abc import Sequence

from models.evaluation.files import read_detections, read_ground_truth
from models.evaluation.records import ACTIVITYNET_TIOUS, THUMOS_TIOUS, Detection, GroundTruth
from models.evaluation.scoring import EvaluationResult, evaluate

__all__ = [
    "ACTIVITYNET_TIOUS",
    "THUMOS_TIOUS",
    "Detection",
    "EvaluationResult",
    "GroundTruth",
    "mean_average_precision",
    "read_detections",
    "read_ground_truth",
]


def mean_average_precision(
    predictions: Sequence[Detection],
    ground_truth: Sequence[GroundTruth],
    tiou_thresholds: Sequence[float] = THUMOS_TIOUS,
) -> EvaluationResult:
    """Evaluate detections under ``anet``.

    Per class, predictions of all videos are ranked by score. Each takes the free instance of its
    class and video with which it overlaps most, if that overlap reaches the threshold; otherwise
    it is a false positive. Average precision is the area under the precision envelope, all
    points. A class without predictions has 0.

    Raises:
        EvaluationDataInvalid: there is no ground truth, a prediction has a label unknown to it,
            or a time or score is not a number.
    """
    return evaluate(predictions, ground_truth, "anet", tiou_thresholds)
