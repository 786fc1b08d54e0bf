"""Decides which detections found an instance, per class, overlap threshold and protocol.

Matching never crosses videos, so its outcome is kept per detection with the detection's video:
average precision and resampling over videos both start from here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import ContractViolation, EvaluationDataInvalid
from models.evaluation.protocols import PROTOCOLS, Protocol
from models.evaluation.records import THUMOS_TIOUS, AmbiguousInterval, Detection, GroundTruth
from models.types import DoubleArray, IntArray

BoolArray = NDArray[np.bool_]
VerdictArray = NDArray[np.int8]
# float64[K, G] overlaps, float64[N] thresholds -> int64[N, K], the instance each detection found.
Matcher = Callable[[DoubleArray, DoubleArray], IntArray]

TRUE_POSITIVE, FALSE_POSITIVE, NOT_COUNTED = 1, 0, -1
NONE_FOUND = -1
# 25 frames per second in windows of 16. Source: RSKP evaluation/detectionMAP.py.
SNIPPETS_PER_SECOND = 25 / 16
MAX_NAMED_LABELS = 5


@dataclass(frozen=True, slots=True)
class ClassMatches:
    """The ranked detections of one class; K of them, N thresholds, V videos.

    Attributes:
        label: of the class.
        scores: float64[K], descending.
        video_indices: int64[K], into `Matches.videos`.
        verdicts: int8[N, K]: TRUE_POSITIVE, FALSE_POSITIVE or NOT_COUNTED.
        truths_per_video: int64[V], instances.
    """

    label: str
    scores: DoubleArray
    video_indices: IntArray
    verdicts: VerdictArray
    truths_per_video: IntArray


@dataclass(frozen=True, slots=True)
class Matches:
    """What one set of detections is worth, before it is summed up.

    Attributes:
        protocol: that matched.
        tious: thresholds, in order.
        videos: every video with an instance or a detection, sorted.
        classes: one entry per class of the ground truth, by label.
    """

    protocol: Protocol
    tious: tuple[float, ...]
    videos: tuple[str, ...]
    classes: tuple[ClassMatches, ...]


@dataclass(frozen=True, slots=True)
class _Table:
    """Intervals as columns: class and video index int64[K], spans float64[K, 2]."""

    classes: IntArray
    videos: IntArray
    spans: DoubleArray

    def take(self, order: IntArray) -> "_Table":
        return _Table(self.classes[order], self.videos[order], self.spans[order])


def match_detections(
    detections: Sequence[Detection],
    ground_truth: Sequence[GroundTruth],
    protocol: str = "anet",
    tious: Sequence[float] = THUMOS_TIOUS,
    ambiguous: Sequence[AmbiguousInterval] = (),
) -> Matches:
    """Match detections with instances of their class and video.

    Args:
        detections: in any order; of equal scores see `Protocol.ties_by_video`.
        ground_truth: of equally overlapping instances the first is the better one, and
            ``evalkit`` goes through them in this order.
        protocol: a name of `PROTOCOLS`.
        tious: thresholds in (0, 1].
        ambiguous: of any video; ``anet`` knows none and leaves them aside.

    Raises:
        EvaluationDataInvalid: there is no ground truth, a detection has a label unknown to it, a
            time or score is not a number, or an interval ends before it starts.
        ContractViolation: an unknown protocol or a threshold outside (0, 1].
    """
    rules = _rules(protocol, tious)
    if not ground_truth:
        message = "There is nothing to evaluate against: the ground truth has no instance."
        raise EvaluationDataInvalid(message)
    labels = {label: i for i, label in enumerate(sorted({one.label for one in ground_truth}))}
    refuse_unknown_labels(detections, labels)
    names = {one.video for one in ground_truth} | {one.video for one in detections}
    videos = {name: i for i, name in enumerate(sorted(names))}
    truths = _table(ground_truth, labels, videos)
    found = _table(detections, labels, videos)
    scores = np.fromiter((one.score for one in detections), np.float64, len(detections))
    _refuse_bad_numbers(detections, np.isfinite(scores), "score that is no number")
    if rules.on_snippets:
        truths, found = _on_snippets(truths), _on_snippets(found)
    order = np.lexsort((found.videos, -scores) if rules.ties_by_video else (-scores,))
    found, scores = found.take(order), scores[order]
    verdicts = _verdicts(found, truths, np.asarray(tious, np.float64), rules, ambiguous, videos)
    return Matches(
        protocol=rules,
        tious=tuple(float(one) for one in tious),
        videos=tuple(videos),
        classes=tuple(
            ClassMatches(
                label=label,
                scores=scores[of_class],
                video_indices=found.videos[of_class],
                verdicts=verdicts[:, of_class],
                truths_per_video=np.bincount(
                    truths.videos[truths.classes == index], minlength=len(videos)
                ).astype(np.int64),
            )
            for label, index in labels.items()
            for of_class in [np.flatnonzero(found.classes == index)]
        ),
    )


def pairwise_tiou(spans: DoubleArray, others: DoubleArray) -> DoubleArray:
    """Return float64[K, G]: intersection over union of float64[K, 2] with float64[G, 2].

    Two intervals without length have overlap 0, even with themselves.
    """
    inter = np.minimum(spans[:, None, 1], others[None, :, 1]) - np.maximum(
        spans[:, None, 0], others[None, :, 0]
    )
    inter = np.maximum(inter, 0.0)
    union = np.ptp(spans, axis=1)[:, None] + np.ptp(others, axis=1)[None, :] - inter
    ious: DoubleArray = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return ious


def detections_choose(overlaps: DoubleArray, tious: DoubleArray) -> IntArray:
    """Let detections, best score first, take the free instance with which they overlap most.

    Args:
        overlaps: float64[K, G] of one class in one video, detections in rank order.
        tious: float64[N]; an overlap equal to one suffices.

    Returns:
        int64[N, K]: the instance that each detection found at each threshold, or NONE_FOUND.
    """
    found = np.full((len(tious), len(overlaps)), NONE_FOUND, np.int64)
    free = np.ones((len(tious), overlaps.shape[1]), np.bool_)
    rows = np.arange(len(tious))
    for rank in np.flatnonzero(overlaps.max(axis=1) >= tious.min()):
        candidates = np.where(free, overlaps[rank], -1.0)
        best = candidates.argmax(axis=1)
        takes = candidates[rows, best] >= tious
        found[takes, rank] = best[takes]
        free[rows[takes], best[takes]] = False
    return found


def truths_choose(overlaps: DoubleArray, tious: DoubleArray) -> IntArray:
    """Let instances, in their order, take the free detection with which they overlap most.

    Arguments and result as of `detections_choose`, except that an overlap must exceed the
    threshold. The score decides only between detections that overlap equally.
    """
    found = np.full((len(tious), len(overlaps)), NONE_FOUND, np.int64)
    rows = np.arange(len(tious))
    for truth in range(overlaps.shape[1]):
        candidates = np.where(found == NONE_FOUND, overlaps[:, truth], -1.0)
        best = candidates.argmax(axis=1)
        takes = candidates[rows, best] > tious
        found[rows[takes], best[takes]] = truth
    return found


def unknown_labels(detections: Sequence[Detection], known: Collection[str]) -> tuple[str, ...]:
    """Return the predicted labels that the ground truth does not have, sorted."""
    return tuple(sorted({one.label for one in detections} - set(known)))


def refuse_unknown_labels(detections: Sequence[Detection], known: Collection[str]) -> None:
    """Raise where a label is predicted that the ground truth does not have.

    Raises:
        EvaluationDataInvalid: naming the labels.
    """
    unknown = unknown_labels(detections, known)
    if unknown:
        named = ", ".join(unknown[:MAX_NAMED_LABELS])
        more = len(unknown) - MAX_NAMED_LABELS
        message = (
            f"The ground truth has no instance of the predicted label{'s' * (len(unknown) > 1)} "
            f"{named}{f' and {more} more' if more > 0 else ''}; correct the labels, or leave "
            "them out with --ignore-unknown-labels."
        )
        raise EvaluationDataInvalid(message)


def _rules(protocol: str, tious: Sequence[float]) -> Protocol:
    if protocol not in PROTOCOLS:
        message = f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}"
        raise ContractViolation(message)
    if not tious or not all(0 < one <= 1 for one in tious):
        message = f"tIoU thresholds must be in (0, 1], got {list(tious)}"
        raise ContractViolation(message)
    return PROTOCOLS[protocol]


def _table(
    items: Sequence[Detection] | Sequence[GroundTruth],
    labels: Mapping[str, int],
    videos: Mapping[str, int],
) -> _Table:
    count = len(items)
    spans = np.array([(one.start_seconds, one.end_seconds) for one in items], np.float64)
    spans = spans.reshape(count, 2)
    finite = np.asarray(np.isfinite(spans).all(axis=1), np.bool_)
    forward = np.asarray(np.less_equal(spans[:, 0], spans[:, 1]), np.bool_)
    _refuse_bad_numbers(items, finite, "time that is no number")
    _refuse_bad_numbers(items, forward, "segment that ends before it starts")
    return _Table(
        np.fromiter((labels[one.label] for one in items), np.int64, count),
        np.fromiter((videos[one.video] for one in items), np.int64, count),
        spans,
    )


def _refuse_bad_numbers(
    items: Sequence[Detection] | Sequence[GroundTruth], fine: BoolArray, what: str
) -> None:
    if not fine.all():
        one = items[int(np.argmin(fine))]
        kind = "prediction" if isinstance(one, Detection) else "ground truth instance"
        message = f"A {kind} of {one.label} in video {one.video} has a {what}."
        raise EvaluationDataInvalid(message)


def _on_snippets(table: _Table) -> _Table:
    """Round to the snippet grid, halves to the even snippet."""
    return _Table(table.classes, table.videos, np.rint(table.spans * SNIPPETS_PER_SECOND))


def _verdicts(
    found: _Table,
    truths: _Table,
    tious: DoubleArray,
    rules: Protocol,
    ambiguous: Sequence[AmbiguousInterval],
    videos: Mapping[str, int],
) -> VerdictArray:
    """Return int8[N, K] for detections in rank order."""
    touching = _touching(found, ambiguous, rules, videos)
    removed = touching & (rules.ambiguous == "removed")
    matcher: Matcher = truths_choose if rules.truths_choose else detections_choose
    truth_groups = group_positions(truths.classes * len(videos) + truths.videos)
    hits = np.zeros((len(tious), len(found.classes)), np.bool_)
    for key, group in group_positions(found.classes * len(videos) + found.videos).items():
        members = group[~removed[group]]
        if key in truth_groups and members.size:
            overlaps = pairwise_tiou(found.spans[members], truths.spans[truth_groups[key]])
            hits[:, members] = matcher(overlaps, tious) != NONE_FOUND
    verdicts = np.where(hits, TRUE_POSITIVE, FALSE_POSITIVE).astype(np.int8)
    verdicts[touching[None, :] & ~hits] = NOT_COUNTED
    return verdicts


def group_positions(keys: IntArray) -> dict[int, IntArray]:
    """Return, per distinct key of int64[K], the ascending positions that hold it."""
    order = np.argsort(keys, kind="stable")
    distinct, starts = np.unique(keys[order], return_index=True)
    parts = np.split(order, starts[1:])
    return {int(key): part for key, part in zip(distinct, parts, strict=True)} if keys.size else {}


def _touching(
    found: _Table,
    ambiguous: Sequence[AmbiguousInterval],
    rules: Protocol,
    videos: Mapping[str, int],
) -> BoolArray:
    """Return bool[K]: the detection shares time with an ambiguous stretch of its video."""
    touching = np.zeros(len(found.classes), np.bool_)
    if rules.ambiguous == "unknown":
        return touching
    for video, *seconds in ambiguous:
        span = np.asarray(seconds, np.float64)
        start, end = np.rint(span * SNIPPETS_PER_SECOND) if rules.on_snippets else span
        shared = np.minimum(found.spans[:, 1], end) - np.maximum(found.spans[:, 0], start)
        touching |= (found.videos == videos.get(video, NONE_FOUND)) & (shared > 0)
    return touching
