"""What the best-scored detections of a class are wrong about, and which instances nobody found.

The first G detections of each class are judged, G being its number of instances: as many as a
perfect detector would need. With threshold a, and b = BACKGROUND_TIOU, the first line that holds
names the detection's kind:

| kind | the detection ... |
| --- | --- |
| true positive | found an instance of its class: tIoU >= a, and no better-scored one took it |
| double | overlaps an instance of its class, tIoU >= a, that a better-scored one took |
| wrong class | overlaps an instance of another class, tIoU >= a |
| poor boundary | overlaps an instance of its class, tIoU >= b |
| wrong class and boundary | overlaps an instance of another class, tIoU >= b |
| background | overlaps nothing with tIoU >= b |

An instance is missed where no detection at all, however low its score, found it. Matching is that
of protocol ``anet`` on seconds, whichever protocol gave the mean average precision beside it.

Source: Alwassel et al., Diagnosing Error in Temporal Action Detectors (ECCV 2018) and its program
DETAD: the kinds, b = 0.1, G per class and the lengths. There the profile goes on to 10 G.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from models.errors import ContractViolation, EvaluationDataInvalid
from models.evaluation.matching import (
    NONE_FOUND,
    BoolArray,
    detections_choose,
    group_positions,
    pairwise_tiou,
    refuse_unknown_labels,
)
from models.evaluation.records import Detection, GroundTruth
from models.types import DoubleArray, IntArray

KINDS = (
    "true positive",
    "double",
    "wrong class",
    "poor boundary",
    "wrong class and boundary",
    "background",
)
TRUE, DOUBLE, WRONG_CLASS, POOR_BOUNDARY, WRONG_BOTH, BACKGROUND = range(len(KINDS))
BACKGROUND_TIOU = 0.1
DEFAULT_TIOU = 0.5
LENGTHS = ("XS", "S", "M", "L", "XL")
# Inner borders between the lengths, seconds. Source: DETAD.
THUMOS_LENGTHS = (3.0, 6.0, 12.0, 18.0)
ACTIVITYNET_LENGTHS = (30.0, 60.0, 120.0, 180.0)


@dataclass(frozen=True, slots=True)
class ErrorAnalysis:
    """Counts of kinds per class and per instance length; L lengths.

    Attributes:
        tiou: threshold a.
        classes: labels in order.
        kinds: int64[C, 6], detections per `KINDS`.
        instances, missed: int64[C].
        length_borders_seconds: the L - 1 inner borders; a length on a border is the shorter one.
        length_kinds: int64[L, 6], each detection with the instance it is about; background is
            about none, so its column is 0.
        length_instances, length_missed: int64[L].
    """

    tiou: float
    classes: tuple[str, ...]
    kinds: IntArray
    instances: IntArray
    missed: IntArray
    length_borders_seconds: tuple[float, ...]
    length_kinds: IntArray
    length_instances: IntArray
    length_missed: IntArray

    def to_json(self) -> dict[str, Any]:
        """Return counts and shares (of the judged detections, of the instances) as JSON."""
        per_class = zip(self.classes, self.kinds, self.instances, self.missed, strict=True)
        per_length = zip(
            LENGTHS, self.length_kinds, self.length_instances, self.length_missed, strict=True
        )
        return {
            "tiou": self.tiou,
            "background_tiou": BACKGROUND_TIOU,
            "matching": "anet",
            "all": _row(self.kinds.sum(axis=0), self.instances.sum(), self.missed.sum()),
            "per_class": {label: _row(*counts) for label, *counts in per_class},
            "length_borders_seconds": list(self.length_borders_seconds),
            "per_length": {name: _row(*counts) for name, *counts in per_length},
        }

    def table(self) -> str:
        """Return a text table in percent, a row per kind and the missed instances below."""
        total, judged = self.kinds.sum(axis=0), int(self.kinds.sum())
        lines = [f"errors at tIoU {self.tiou:g}: the {judged} best-scored detections, G per class"]
        lines += [
            f"  {name:26}{count:>6}{_share(count, judged):>8.1%}"
            for name, count in zip(KINDS, total, strict=True)
        ]
        missed, instances = int(self.missed.sum()), int(self.instances.sum())
        lines.append(
            f"  {'missed instances':26}{missed:>6}{_share(missed, instances):>8.1%} of {instances}"
        )
        rows = zip(
            LENGTHS, self.length_texts(), self.length_instances, self.length_missed, strict=True
        )
        lines += [
            f"    {f'{name}, {text}':24}{count:>6}{_share(count, of):>8.1%} of {of}"
            for name, text, of, count in rows
        ]
        return "\n".join(lines)

    def length_texts(self) -> list[str]:
        """Return what XS to XL mean, in seconds."""
        borders = [f"{one:.3g}" for one in self.length_borders_seconds]
        inner = [f"{low}-{high} s" for low, high in pairwise(borders)]
        return [f"up to {borders[0]} s", *inner, f"over {borders[-1]} s"]


def analyse_errors(
    detections: Sequence[Detection],
    ground_truth: Sequence[GroundTruth],
    tiou: float = DEFAULT_TIOU,
    length_borders_seconds: Sequence[float] | None = None,
) -> ErrorAnalysis:
    """Name the kind of every judged detection; see the table of this module.

    Args:
        detections: in any order; equal scores keep it.
        ground_truth: at least one instance.
        tiou: threshold a in (0, 1].
        length_borders_seconds: four ascending borders, for instance THUMOS_LENGTHS; by default
            those that split the instances into fifths.

    Raises:
        EvaluationDataInvalid: there is no ground truth, or a label is unknown to it.
        ContractViolation: the threshold or the borders are not as described.
    """
    borders = _borders(ground_truth, tiou, length_borders_seconds)
    labels = {label: i for i, label in enumerate(sorted({one.label for one in ground_truth}))}
    refuse_unknown_labels(detections, labels)
    ranked = sorted(detections, key=lambda one: -one.score)
    found_classes = np.asarray([labels[one.label] for one in ranked], np.int64)
    truth_classes = np.asarray([labels[one.label] for one in ground_truth], np.int64)
    claims, about, kinds = _judge(ranked, ground_truth, (found_classes, truth_classes), tiou)
    missed = ~np.isin(np.arange(len(ground_truth)), claims)
    instances = np.bincount(truth_classes, minlength=len(labels))
    judged = np.zeros(len(ranked), np.bool_)
    for index, members in group_positions(found_classes).items():
        judged[members[: instances[index]]] = True
    lengths = np.searchsorted(borders, np.ptp(_spans(ground_truth), axis=1))
    concerned = judged & (about != NONE_FOUND)
    return ErrorAnalysis(
        tiou=float(tiou),
        classes=tuple(labels),
        kinds=_crosstab(found_classes[judged], kinds[judged], len(labels)),
        instances=instances.astype(np.int64),
        missed=np.bincount(truth_classes[missed], minlength=len(labels)).astype(np.int64),
        length_borders_seconds=tuple(float(one) for one in borders),
        length_kinds=_crosstab(lengths[about[concerned]], kinds[concerned], len(LENGTHS)),
        length_instances=np.bincount(lengths, minlength=len(LENGTHS)).astype(np.int64),
        length_missed=np.bincount(lengths[missed], minlength=len(LENGTHS)).astype(np.int64),
    )


def _borders(
    ground_truth: Sequence[GroundTruth], tiou: float, given: Sequence[float] | None
) -> DoubleArray:
    if not ground_truth:
        message = "There is nothing to evaluate against: the ground truth has no instance."
        raise EvaluationDataInvalid(message)
    if not 0 < tiou <= 1:
        message = f"tiou must be in (0, 1], got {tiou}"
        raise ContractViolation(message)
    if given is None:
        fifths = np.arange(1, len(LENGTHS)) / len(LENGTHS)
        lengths = np.ptp(_spans(ground_truth), axis=1)
        return np.asarray(np.quantile(lengths, fifths), np.float64)
    borders = np.asarray(given, np.float64)
    if len(borders) != len(LENGTHS) - 1 or (np.diff(borders) <= 0).any():
        message = f"length_borders_seconds must be {len(LENGTHS) - 1} ascending numbers"
        raise ContractViolation(message)
    return borders


def _spans(items: Sequence[Detection] | Sequence[GroundTruth]) -> DoubleArray:
    spans = np.array([(one.start_seconds, one.end_seconds) for one in items], np.float64)
    return spans.reshape(len(items), 2)


def _judge(
    ranked: Sequence[Detection],
    ground_truth: Sequence[GroundTruth],
    classes: tuple[IntArray, IntArray],
    tiou: float,
) -> tuple[IntArray, IntArray, IntArray]:
    """Return int64[K] each: the instance claimed, the instance concerned, the kind."""
    found_classes, truth_classes = classes
    claims = np.full(len(ranked), NONE_FOUND, np.int64)
    about = claims.copy()
    kinds = np.full(len(ranked), BACKGROUND, np.int64)
    names = {one.video for one in ground_truth}
    videos = {name: i for i, name in enumerate(sorted(names))}
    truth_videos = np.asarray([videos[one.video] for one in ground_truth], np.int64)
    found_videos = np.asarray([videos.get(one.video, NONE_FOUND) for one in ranked], np.int64)
    found_spans, truth_spans = _spans(ranked), _spans(ground_truth)
    truth_groups = group_positions(truth_videos)
    for video, members in group_positions(found_videos).items():
        if video == NONE_FOUND:
            continue
        owned = truth_groups[video]
        overlaps = pairwise_tiou(found_spans[members], truth_spans[owned])
        same = found_classes[members][:, None] == truth_classes[owned][None, :]
        local = _claims(np.where(same, overlaps, 0.0), found_classes[members], tiou)
        claimed = local != NONE_FOUND
        claims[members[claimed]] = owned[local[claimed]]
        kinds[members], concerned = _kinds(overlaps, same, local, tiou)
        real = concerned != NONE_FOUND
        about[members[real]] = owned[concerned[real]]
    return claims, about, kinds


def _claims(overlaps: DoubleArray, classes: IntArray, tiou: float) -> IntArray:
    """Return int64[K]: the instance each ranked detection of one video takes, class by class."""
    claims = np.full(len(classes), NONE_FOUND, np.int64)
    for members in group_positions(classes).values():
        claims[members] = detections_choose(overlaps[members], np.array([tiou]))[0]
    return claims


def _kinds(
    overlaps: DoubleArray, same: BoolArray, claims: IntArray, tiou: float
) -> tuple[IntArray, IntArray]:
    """Return int64[K] each: the kind, and the column of the instance it is about or NONE_FOUND."""
    own, other = np.where(same, overlaps, 0.0), np.where(same, 0.0, overlaps)
    best_own, best_other = own.max(axis=1), other.max(axis=1)
    conditions = [
        claims != NONE_FOUND,
        best_own >= tiou,
        best_other >= tiou,
        best_own >= min(BACKGROUND_TIOU, tiou),
        best_other >= min(BACKGROUND_TIOU, tiou),
    ]
    ranked_kinds = [TRUE, DOUBLE, WRONG_CLASS, POOR_BOUNDARY, WRONG_BOTH]
    kinds = np.select(conditions, ranked_kinds, BACKGROUND)
    columns = [claims, *[own.argmax(axis=1), other.argmax(axis=1)] * 2]
    concerned = np.select(conditions, columns, NONE_FOUND)
    return kinds.astype(np.int64), concerned.astype(np.int64)


def _crosstab(rows: IntArray, kinds: IntArray, num_rows: int) -> IntArray:
    flat = np.bincount(rows * len(KINDS) + kinds, minlength=num_rows * len(KINDS))
    return flat.reshape(num_rows, len(KINDS)).astype(np.int64)


def _row(kinds: IntArray, instances: int, missed: int) -> dict[str, Any]:
    judged = int(kinds.sum())
    return {
        "detections": judged,
        "counts": {name: int(count) for name, count in zip(KINDS, kinds, strict=True)},
        "shares": {
            name: _share(int(count), judged) for name, count in zip(KINDS, kinds, strict=True)
        },
        "instances": int(instances),
        "missed": int(missed),
        "missed_share": _share(int(missed), int(instances)),
    }


def _share(count: int, of: int) -> float:
    return count / of if of else 0.0
