"""Which snippets a head sees at inference, and how the answers of overlapping windows become one.

Running a head on them is not done here.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.config import TestSampling
from models.errors import ContractViolation
from models.types import Activations, DoubleArray, FloatArray, HeadProposals, IntArray


def inference_positions(num_snippets: int, num_samples: int, sampling: TestSampling) -> IntArray:
    """Return int64[T]: the snippets that a head sees, in order.

    ``native`` is every snippet once; ``uniform`` is floor(i * N / T), which repeats snippets of
    a short video; ``uniform_short`` does so only for a video longer than T.

    Source: BaS-Net, ASL and AICL at test for ``uniform``; CoLA and ACM-Net for ``uniform_short``.
    """
    if sampling == "native" or (sampling == "uniform_short" and num_snippets <= num_samples):
        return np.arange(num_snippets, dtype=np.int64)
    return np.arange(num_samples, dtype=np.int64) * num_snippets // num_samples


def plan_windows(
    num_snippets: int, window_snippets: int, overlap_snippets: int
) -> list[tuple[int, int]]:
    """Return half-open snippet ranges of equal length that cover [0, num_snippets) in order.

    Neighbours share ``overlap_snippets``, the last pair more where the length does not divide. A
    video no longer than a window gives one range.

    Raises:
        ContractViolation: no snippets, or an overlap that is not shorter than a window.
    """
    if num_snippets < 1 or not 0 <= overlap_snippets < window_snippets:
        message = (
            f"need at least one snippet and 0 <= overlap < window, got {num_snippets} snippets, "
            f"overlap {overlap_snippets}, window {window_snippets}"
        )
        raise ContractViolation(message)
    if num_snippets <= window_snippets:
        return [(0, num_snippets)]
    hop = window_snippets - overlap_snippets
    last = num_snippets - window_snippets
    starts = [*range(0, last, hop), last]
    return [(start, start + window_snippets) for start in starts]


def fade_weights(ranges: Sequence[tuple[int, int]]) -> list[DoubleArray]:
    """Return each window's weight per snippet; at every snippet the weights sum to 1.

    A window rises linearly over what it shares with its predecessor and falls over what it
    shares with its successor; weights are then divided by their sum.
    """
    raw: list[DoubleArray] = []
    for index, (start, stop) in enumerate(ranges):
        weight = np.ones(stop - start)
        before = ranges[index - 1][1] - start if index > 0 else 0
        after = stop - ranges[index + 1][0] if index + 1 < len(ranges) else 0
        if before > 0:
            weight[:before] *= np.arange(1, before + 1) / (before + 1)
        if after > 0:
            weight[-after:] *= np.arange(after, 0, -1) / (after + 1)
        raw.append(weight)
    total = np.zeros(ranges[-1][1])
    for (start, stop), weight in zip(ranges, raw, strict=True):
        total[start:stop] += weight
    return [
        np.asarray(weight / total[start:stop], np.float64)
        for (start, stop), weight in zip(ranges, raw, strict=True)
    ]


def cross_fade(ranges: Sequence[tuple[int, int]], windows: Sequence[Activations]) -> Activations:
    """Join the activations of overlapping windows into those of the whole video.

    Sequences are cross-faded. Each window's video scores hold over its range and are cross-faded
    likewise into ``window_scores``; the video's own score of a class is the highest of these, so
    that a short action in a long video is not averaged away.

    Args:
        ranges: half-open snippet ranges from `plan_windows`.
        windows: the activations of each, of equal classes.

    Returns:
        Activations of all snippets; a single window is returned as it is.

    Raises:
        ContractViolation: a window's length differs from its range.
    """
    if len(ranges) != len(windows) or not windows:
        message = f"got {len(windows)} windows for {len(ranges)} ranges"
        raise ContractViolation(message)
    for (start, stop), window in zip(ranges, windows, strict=True):
        if len(window.localization) != stop - start:
            message = f"window [{start}, {stop}) has {len(window.localization)} activation steps"
            raise ContractViolation(message)
    if len(windows) == 1:
        return windows[0]
    weights = fade_weights(ranges)

    def joined(parts: Sequence[FloatArray]) -> FloatArray:
        total = np.zeros((ranges[-1][1], parts[0].shape[1]))
        for (start, stop), weight, part in zip(ranges, weights, parts, strict=True):
            total[start:stop] += weight[:, None] * part
        return np.clip(total, 0.0, 1.0).astype(np.float32)

    window_scores = joined([np.tile(w.video_scores, (len(w.localization), 1)) for w in windows])
    return Activations(
        localization=joined([w.localization for w in windows]),
        scoring=joined([w.scoring for w in windows]),
        video_scores=window_scores.max(axis=0),
        attention=joined([w.attention[:, None] for w in windows])[:, 0],
        classes=windows[0].classes,
        window_scores=window_scores,
        proposals=_joined_proposals(ranges, windows),
        stream_attention={
            stream: joined([w.stream_attention[stream][:, None] for w in windows])[:, 0]
            for stream in windows[0].stream_attention
        },
    )


def _joined_proposals(
    ranges: Sequence[tuple[int, int]], windows: Sequence[Activations]
) -> HeadProposals | None:
    """Return all windows' own proposals on the common sequence; suppression follows later.

    An interval that touches a window's inner border may be cut there. It is left to the neighbour
    behind that border where the neighbour sees it whole, and kept where none does: better cut
    than lost.
    """
    parts: list[HeadProposals] = []
    for index, ((start, _), window) in enumerate(zip(ranges, windows, strict=True)):
        own = window.proposals
        if own is None:
            return None
        steps = own.steps + start
        kept = ~_seen_by_neighbour(ranges, index, steps)
        parts.append(HeadProposals(own.class_index[kept], steps[kept], own.raw_scores[kept]))
    return HeadProposals(
        class_index=np.concatenate([one.class_index for one in parts]),
        steps=np.concatenate([one.steps for one in parts]),
        raw_scores=np.concatenate([one.raw_scores for one in parts]),
    )


def _seen_by_neighbour(
    ranges: Sequence[tuple[int, int]], index: int, steps: DoubleArray
) -> NDArray[np.bool_]:
    """Return bool[K]: intervals cut by their window's border that a neighbour sees whole."""
    start, stop = ranges[index]
    seen = np.zeros(len(steps), np.bool_)
    if index > 0:
        before = ranges[index - 1][1]
        seen |= (steps[:, 0] <= start) & (steps[:, 1] < before)
    if index + 1 < len(ranges):
        after = ranges[index + 1][0]
        seen |= (steps[:, 1] >= stop) & (steps[:, 0] > after)
    return seen
