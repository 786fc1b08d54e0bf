"""What a user may change about one localization: an allow-list with ranges, over the model's own.

As JSON (a job's ``options``, the body of a resegmenting request) these keys are known; none of
them has to be given, and what is not given stays as the model's card says:

=================  ===================================================================
labels             up to 1000 of the model's classes: only their segments are returned
min_score          0 to 1: only segments of at least this public score are returned
class_threshold    0 to 1: classes whose video score reaches this are localized
thresholds         1 to 32 numbers, each 0 <= x < 1: cut levels of the activations
min_raw_score      -2 to 2: proposals with a lower raw score are dropped, in any class
nms.kind           hard, soft, soft_once or contain
nms.threshold      0.01 to 1: overlap from which the worse of two is suppressed
nms.alpha          0.01 to 10: width of the Gaussian of both soft kinds
window_overlap     0 to 0.9: share of a window that neighbours share, in long videos
=================  ===================================================================

``window_overlap`` decides what the head is shown, so it needs a worker; all others can be changed
after the fact on stored evidence. The speed of a job is a choice of model, see `models.speeds`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeGuard, get_args

from models.config import InferenceSettings, NmsKind, NmsSettings, ProposalSettings
from models.errors import OptionInvalid

MAX_LABELS = 1000
MAX_LABEL_LENGTH = 255
MAX_CUTS = 32
RAW_SCORE_LIMIT = 2.0
"""Source: CleanNet's contrast score, the widest of all raw scores, lies in [-2, 2]."""

MIN_NMS_THRESHOLD = 0.01
"""At 0 intervals that do not even touch would suppress each other."""

MIN_ALPHA, MAX_ALPHA = 0.01, 10.0
MAX_WINDOW_OVERLAP = 0.9
NMS_KINDS: tuple[str, ...] = get_args(NmsKind)
FOREIGN_KEYS = frozenset({"speed"})
"""Keys of a job's options that choose the model and are dealt with elsewhere."""


@dataclass(frozen=True, slots=True)
class NmsOverrides:
    """What to change about the suppression of overlaps; None leaves it to the model.

    Attributes:
        kind, threshold, alpha: as in `models.config.NmsSettings`.

    Raises:
        OptionInvalid: a value is out of its range.
    """

    kind: NmsKind | None = None
    threshold: float | None = None
    alpha: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges once."""
        if self.kind is not None and self.kind not in NMS_KINDS:
            raise _invalid("nms.kind", f"is one of {', '.join(NMS_KINDS)}")
        _check_range("nms.threshold", self.threshold, MIN_NMS_THRESHOLD, 1.0)
        _check_range("nms.alpha", self.alpha, MIN_ALPHA, MAX_ALPHA)

    def applied(self, own: NmsSettings) -> NmsSettings:
        """Return a model's own settings with these in their place."""
        given = ((one.name, getattr(self, one.name)) for one in fields(self))
        return replace(own, **{name: value for name, value in given if value is not None})


@dataclass(frozen=True, slots=True)
class LocalizeOverrides:
    """What to change about one localization; see the module for ranges.

    Attributes:
        labels: only segments of these are returned; None for all.
        min_score: only segments of at least this score are returned.
        class_threshold, thresholds, min_raw_score: None leaves them to the model.
        nms: likewise, value by value.
        window_overlap: None leaves it to the model.

    Raises:
        OptionInvalid: a value is out of its range.
    """

    labels: tuple[str, ...] | None = None
    min_score: float = 0.0
    class_threshold: float | None = None
    thresholds: tuple[float, ...] | None = None
    min_raw_score: float | None = None
    nms: NmsOverrides = field(default_factory=NmsOverrides)
    window_overlap: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges once."""
        _check_labels(self.labels)
        _check_range("min_score", self.min_score, 0.0, 1.0)
        _check_range("class_threshold", self.class_threshold, 0.0, 1.0)
        _check_cuts(self.thresholds)
        _check_range("min_raw_score", self.min_raw_score, -RAW_SCORE_LIMIT, RAW_SCORE_LIMIT)
        _check_range("window_overlap", self.window_overlap, 0.0, MAX_WINDOW_OVERLAP)

    @classmethod
    def from_json(cls, options: Mapping[str, Any]) -> "LocalizeOverrides":
        """Read a job's options; keys that choose the model are passed over.

        Raises:
            OptionInvalid: a key is unknown, or a value is not of its form or out of its range.
        """
        known = {one.name for one in fields(cls)}
        values = {key: value for key, value in options.items() if key not in FOREIGN_KEYS}
        unknown = sorted(set(values) - known)
        if unknown:
            raise _invalid(unknown[0], f"is no option; choose from {', '.join(sorted(known))}")
        for name in ("labels", "thresholds"):
            if values.get(name) is not None:
                values[name] = _as_tuple(name, values[name])
        values["nms"] = _nms_from_json(values.get("nms"))
        if values.get("min_score") is None:
            values.pop("min_score", None)
        return cls(**values)

    def check_labels(self, classes: Iterable[str]) -> None:
        """Refuse labels that a model does not know.

        Raises:
            OptionInvalid: there is such a label.
        """
        unknown = sorted(set(self.labels or ()) - set(classes))
        if unknown:
            raise _invalid("labels", f"names {unknown[0]!r}, which this model does not know")

    def proposals(self, own: ProposalSettings) -> ProposalSettings:
        """Return a model's own proposal settings with these in their place.

        A lowest raw score given here goes for every class, also where the model has one for each.

        Raises:
            OptionInvalid: cut levels are given for a model that proposes intervals by itself.
        """
        if self.thresholds is not None and own.source == "head":
            message = "does not apply: this model proposes intervals by itself and cuts no curve"
            raise _invalid("thresholds", message)
        changed = replace(own, nms=self.nms.applied(own.nms))
        if self.class_threshold is not None:
            changed = replace(changed, class_threshold=self.class_threshold)
        if self.thresholds is not None:
            changed = replace(changed, thresholds=self.thresholds)
        if self.min_raw_score is not None:
            changed = replace(changed, min_raw_score=self.min_raw_score, class_min_scores=())
        return changed

    def inference(self, own: InferenceSettings) -> InferenceSettings:
        """Return how a head is fed, with the overlap asked for.

        Raises:
            OptionInvalid: the model sees every video whole, so that no windows overlap.
        """
        if self.window_overlap is None:
            return own
        if own.sampling != "native":
            message = "does not apply: this model sees every video whole"
            raise _invalid("window_overlap", message)
        snippets = round(self.window_overlap * own.window_snippets)
        return replace(own, overlap_snippets=min(snippets, own.window_snippets - 1))

    def keeps(self, label: str, score: float) -> bool:
        """Return whether a segment is returned, by its label and its public score."""
        return score >= self.min_score and (self.labels is None or label in self.labels)


def _invalid(name: str, problem: str) -> OptionInvalid:
    return OptionInvalid(f"The option {name} {problem}.", name)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_range(name: str, value: object, low: float, high: float) -> None:
    if value is not None and not (_is_number(value) and low <= value <= high):
        raise _invalid(name, f"is a number from {low:g} to {high:g}")


def _check_labels(labels: tuple[object, ...] | None) -> None:
    if labels is not None and not (
        len(labels) <= MAX_LABELS
        and all(isinstance(one, str) and 1 <= len(one) <= MAX_LABEL_LENGTH for one in labels)
    ):
        raise _invalid("labels", f"lists at most {MAX_LABELS} labels of the model")


def _check_cuts(cuts: tuple[float, ...] | None) -> None:
    if cuts is not None and not (
        1 <= len(cuts) <= MAX_CUTS and all(_is_number(one) and 0 <= one < 1 for one in cuts)
    ):
        raise _invalid("thresholds", f"lists 1 to {MAX_CUTS} numbers, each at least 0 and below 1")


def _as_tuple(name: str, value: object) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _invalid(name, "is a list")
    return tuple(value)


def _nms_from_json(value: object) -> NmsOverrides:
    if value is None:
        return NmsOverrides()
    known = {one.name for one in fields(NmsOverrides)}
    if not isinstance(value, Mapping) or set(value) - known:
        raise _invalid("nms", f"is an object with the keys {', '.join(sorted(known))}")
    return NmsOverrides(**value)
