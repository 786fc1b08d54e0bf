"""Activations for plots and for numpy: JSON thinned so that peaks survive, npy and npz in full.

All of them can be cut to a stretch of the video first, so that a zoomed plot sees every step.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.evidence_file import activation_arrays, array_bytes, pack_arrays
from models.types import HeadProposals
from service.errors import InvalidOption, ResultNotFound
from service.jobs.resegmenting import StoredActivations

ArrayName = Literal[
    "localization",
    "scoring",
    "attention",
    "attention_rgb",
    "attention_flow",
    "video_scores",
    "window_scores",
    "seconds",
]
PER_CLASS = frozenset({"localization", "scoring", "video_scores", "window_scores"})
PLOT_DIGITS = 6

AnyArray = NDArray[Any]


def chosen_columns(stored: StoredActivations, labels: Sequence[str] | None) -> list[int]:
    """Return the places of labels among the classes, in the order of the classes.

    Raises:
        InvalidOption: a label is none of the model's.
    """
    classes = stored.activations.classes
    if not labels:
        return list(range(len(classes)))
    unknown = sorted(set(labels) - set(classes))
    if unknown:
        message = f"The option label names {unknown[0]!r}, which this model does not know."
        raise InvalidOption(message)
    return [place for place, label in enumerate(classes) if label in labels]


@dataclass(frozen=True, slots=True)
class CurveWindow:
    """A stretch of a video's steps.

    Attributes:
        start_seconds, end_seconds: as asked for, cut to the video.
        first_step, stop_step: half-open; every step whose middle lies in the stretch, and one
            more on each side, so that a line drawn through them reaches both edges.
    """

    start_seconds: float
    end_seconds: float
    first_step: int
    stop_step: int

    def to_json(self) -> dict[str, Any]:
        """Return the ``window`` of an answer."""
        return {
            "start": self.start_seconds,
            "end": self.end_seconds,
            "first_step": self.first_step,
            "num_steps": self.stop_step - self.first_step,
        }


def window_of(
    stored: StoredActivations, start: float | None, end: float | None
) -> CurveWindow | None:
    """Return the steps of a stretch of the video; None where no stretch is asked for.

    Args:
        stored: the whole video's.
        start: seconds, >= 0; None is the beginning.
        end: seconds; None, and whatever is later, is the end of the video.

    Raises:
        InvalidOption: nothing lies between start and end.
    """
    if start is None and end is None:
        return None
    duration = stored.duration_seconds
    first_second = start or 0.0
    last_second = duration if end is None else min(end, duration)
    if first_second >= last_second:
        message = (
            f"The stretch from {first_second:g} to {last_second:g} seconds holds nothing; start "
            f"must come before end, and before the video's end at {duration:g} seconds."
        )
        raise InvalidOption(message)
    num_steps = len(stored.seconds)
    first = int(np.searchsorted(stored.seconds, first_second, side="left")) - 1
    stop = int(np.searchsorted(stored.seconds, last_second, side="right")) + 1
    return CurveWindow(first_second, last_second, max(first, 0), min(stop, num_steps))


def cut(stored: StoredActivations, window: CurveWindow) -> StoredActivations:
    """Return the steps of a window alone, and the head proposals that touch them.

    Proposals keep their place on the sequence of the whole video.
    """
    rows = slice(window.first_step, window.stop_step)
    whole = stored.activations
    localization = whole.localization[rows]
    same = whole.scoring is whole.localization
    activations = replace(
        whole,
        localization=localization,
        scoring=localization if same else whole.scoring[rows],
        attention=whole.attention[rows],
        window_scores=None if whole.window_scores is None else whole.window_scores[rows],
        proposals=_touching(whole.proposals, window),
        stream_attention={name: one[rows] for name, one in whole.stream_attention.items()},
    )
    return replace(stored, activations=activations, seconds=stored.seconds[rows])


def plot_json(
    stored: StoredActivations,
    columns: Sequence[int],
    max_points: int,
    window: CurveWindow | None = None,
) -> str:
    """Render activations for a plot: at most so many points, each the highest of its steps.

    Head proposals are the best ``max_points`` of them, in their order.
    """
    num_whole_steps = len(stored.seconds)
    if window is not None:
        stored = cut(stored, window)
    activations = stored.activations
    num_steps = len(activations.localization)
    num_points = min(max_points, num_steps)
    edges = np.arange(num_points + 1) * num_steps // num_points

    def pooled(values: AnyArray) -> list[Any]:
        return _rounded(np.maximum.reduceat(values, edges[:-1], axis=0))

    same = activations.scoring is activations.localization
    curves = activations.window_scores
    firsts, lasts = stored.seconds[edges[:-1]], stored.seconds[edges[1:] - 1]
    document = {
        "classes": [activations.classes[column] for column in columns],
        "num_steps": num_whole_steps,
        "window": None if window is None else window.to_json(),
        "thresholds": None if stored.thresholds is None else list(stored.thresholds),
        "seconds": _rounded((firsts + lasts) / 2),
        "localization": pooled(activations.localization[:, columns]),
        "scoring": None if same else pooled(activations.scoring[:, columns]),
        "attention": pooled(activations.attention),
        "stream_attention": {
            stream: pooled(values) for stream, values in activations.stream_attention.items()
        },
        "video_scores": _rounded(activations.video_scores[columns]),
        "window_scores": None if curves is None else pooled(curves[:, columns]),
        "proposals": _proposals(activations.proposals, columns, max_points),
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def array_file(stored: StoredActivations, columns: Sequence[int], name: ArrayName) -> bytes:
    """Return one array as an npy file, whole.

    Raises:
        ResultNotFound: these activations have no such array.
    """
    known: dict[str, AnyArray] = {
        "seconds": stored.seconds,
        "scoring": stored.activations.scoring,
        **activation_arrays(stored.activations),
    }
    if name not in known:
        message = f"These activations have no {name}; docs/formats.md says which models make it."
        raise ResultNotFound(message)
    array = known[name]
    return array_bytes(array[..., columns] if name in PER_CLASS else array)


def archive_file(stored: StoredActivations) -> bytes:
    """Return all arrays as an npz file, with the classes as JSON in ``classes``."""
    classes = json.dumps(list(stored.activations.classes)).encode()
    return pack_arrays(
        {
            "classes": np.frombuffer(classes, np.uint8),
            "seconds": stored.seconds,
            **activation_arrays(stored.activations),
        }
    )


def _touching(own: HeadProposals | None, window: CurveWindow) -> HeadProposals | None:
    if own is None:
        return None
    kept = (own.steps[:, 1] > window.first_step) & (own.steps[:, 0] < window.stop_step)
    return HeadProposals(own.class_index[kept], own.steps[kept], own.raw_scores[kept])


def _proposals(
    own: HeadProposals | None, columns: Sequence[int], most: int
) -> dict[str, Any] | None:
    if own is None:
        return None
    place = {column: at for at, column in enumerate(columns)}
    wanted = np.flatnonzero(np.isin(own.class_index, list(columns)))
    best = np.argsort(-own.raw_scores[wanted], kind="stable")[:most]
    kept = wanted[np.sort(best)]
    return {
        "class_index": [place[column] for column in own.class_index[kept].tolist()],
        "steps": _rounded(own.steps[kept]),
        "raw_scores": _rounded(own.raw_scores[kept]),
    }


def _rounded(values: AnyArray) -> list[Any]:
    rounded: list[Any] = np.round(np.asarray(values, np.float64), PLOT_DIGITS).tolist()
    return rounded
