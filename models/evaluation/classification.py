"""How well whole videos are told apart: the figure that chooses a checkpoint without timestamps."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import EvaluationDataInvalid
from models.types import DoubleArray


def video_map(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean over classes of `video_average_precision`, in [0, 1].

    Classes that no video has are left out.

    Args:
        scores: float[N, C], one row per video; any scale, compared within a class only.
        labels: bool[N, C], the whole-video tags.

    Raises:
        EvaluationDataInvalid: the shapes differ, a score is no number, or no video has a class.
    """
    per_class = video_average_precision(scores, labels)
    if np.isnan(per_class).all():
        message = "No video has any class, so there is no video-level average precision."
        raise EvaluationDataInvalid(message)
    return float(np.nanmean(per_class))


def video_average_precision(scores: ArrayLike, labels: ArrayLike) -> DoubleArray:
    """Return float64[C]: average precision per class, NaN where no video has it.

    The sum over distinct scores, highest first, of the gain in recall times the precision so
    far. Videos of equal score enter together, so their order plays no part and a constant score
    is worth the share of positives. No interpolation.

    Args:
        scores: float[N, C].
        labels: bool[N, C].

    Raises:
        EvaluationDataInvalid: the shapes differ, or a score is no number.

    Source: the definition of average precision in information retrieval, as in scikit-learn's
    average_precision_score.
    """
    values, truths = np.asarray(scores, np.float64), np.asarray(labels).astype(np.bool_)
    expected_axes = 2
    if values.shape != truths.shape or values.ndim != expected_axes:
        message = (
            "Scores and labels must be arrays of videos by classes of the same shape, "
            f"got {values.shape} and {truths.shape}."
        )
        raise EvaluationDataInvalid(message)
    if not np.isfinite(values).all():
        message = "A video score is no finite number; look for NaN in the features or the loss."
        raise EvaluationDataInvalid(message)
    columns = [_average_precision(*pair) for pair in zip(values.T, truths.T, strict=True)]
    return np.asarray(columns, np.float64)


def _average_precision(scores: DoubleArray, truths: NDArray[np.bool_]) -> float:
    num_positive = int(truths.sum())
    if not num_positive:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    found = truths[order].cumsum()
    # A run of equal scores is judged once, at its last video.
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    precision = found[ends] / (ends + 1)
    gains = np.diff(found[ends], prepend=0) / num_positive
    return float((precision * gains).sum())
