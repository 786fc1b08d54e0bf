"""CleanNet's contrast score of intervals, differentiable in their ends.

The same numbers as `models.localize.contrast`, which explains them; a test holds the two equal.
Sequences are the judge and give no gradient; a mean over [a, b] is (I(b) - I(a)) / (b - a) with I
the running integral, so that moving an end is worth the value that it passes.
"""

import torch
from torch import Tensor
from torch.nn import functional

from models.config import ContrastSettings

MIN_LENGTH = 1e-6  # as in the reference


def edgeness(sequences: Tensor, window: int) -> Tensor:
    """Return f[T, C]: how steeply each sequence rises (> 0) or falls (< 0) at each step.

    Source: CleanNet (ICCV 2019), equations 6 and 7.
    """
    reach = window // 2
    places = torch.arange(len(sequences), device=sequences.device)[:, None]

    def extreme(fill: float) -> tuple[Tensor, Tensor]:
        padded = functional.pad(sequences, (0, 0, reach, reach), value=fill)
        windows = padded.unfold(0, window, 1)
        # Both return the earliest place among equals.
        chosen = windows.argmax(dim=2) if fill < 0 else windows.argmin(dim=2)
        found = places - reach + chosen
        return sequences.gather(0, found), found

    high, high_place = extreme(float("-inf"))
    low, low_place = extreme(float("inf"))
    distance = (high_place - low_place).abs()
    contrast = (high - low) / distance.clamp(min=1)  # both are equal where the distance is 0
    rising = (low_place <= places) & (places < high_place)
    falling = (high_place <= places) & (places < low_place)
    return contrast * (rising.to(contrast.dtype) - falling.to(contrast.dtype))


def contrast_scores(
    sequences: Tensor, intervals: Tensor, columns: Tensor, settings: ContrastSettings
) -> Tensor:
    """Score intervals by how well they fit the action that a sequence shows.

    Args:
        sequences: f[T, C] in [0, 1], the judge; detached.
        intervals: f[K, 2] in steps, end >= start; cut to [0, T] before anything else.
        columns: int64[K], which class each interval is of.
        settings: window, margin and terms.

    Returns:
        f64[K] in [-2, 2]; means over nothing are 0 and give no gradient.

    Source: CleanNet (ICCV 2019), equations 8 to 12; the gradient of a mean as in AutoLoc's
    outer-inner-contrastive layer.
    """
    judge = sequences.detach().double()
    end_of_all = float(len(judge))
    starts, ends = intervals.double().clamp(0.0, end_of_all).unbind(dim=1)
    margins = (ends - starts) * settings.margin_ratio
    marks = torch.stack(
        [starts - margins, starts, starts + margins, ends - margins, ends, ends + margins]
    ).clamp(0.0, end_of_all)
    inside = _integrals(judge, marks, columns)
    steep = _integrals(edgeness(judge, settings.window), marks, columns)

    def mean(sums: Tensor, one: int, other: int) -> Tensor:
        length = marks[other] - marks[one]
        filled = length > MIN_LENGTH
        safe = torch.where(filled, length, torch.ones_like(length))
        return torch.where(filled, (sums[other] - sums[one]) / safe, torch.zeros_like(length))

    action = mean(inside, 2, 3)
    if settings.terms == "action":
        return action
    start = mean(steep, 0, 2) - mean(inside, 0, 1)
    end = -mean(steep, 3, 5) - mean(inside, 4, 5)
    if settings.terms == "edges":
        return start + end
    return action + (start + end) / 2


def _integrals(sequences: Tensor, marks: Tensor, columns: Tensor) -> Tensor:
    """Return f64[M, K]: integrals of the chosen columns of f64[T, C] from 0 to marks f64[M, K]."""
    sums = functional.pad(sequences.cumsum(dim=0), (0, 0, 1, 0))
    left = marks.detach().long().clamp(max=len(sequences) - 1)
    place = left * sums.shape[1] + columns
    flat = sums.reshape(-1)
    below = flat[place]
    return below + (marks - left) * (flat[place + sums.shape[1]] - below)
