"""Activations for plots and for numpy: JSON thinned so that peaks survive, npy and npz in full."""

import json
from collections.abc import Sequence
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


def plot_json(stored: StoredActivations, columns: Sequence[int], max_points: int) -> str:
    """Render activations for a plot: at most so many points, each the highest of its steps.

    Head proposals are the best ``max_points`` of them, in their order.
    """
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
        "num_steps": num_steps,
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
