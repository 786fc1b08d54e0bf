"""From a head's activations to scored proposals in seconds. Needs numpy only.

So thresholds can be changed on stored activations in milliseconds.
"""

from dataclasses import replace

import numpy as np

from models.config import ProposalSettings
from models.errors import ContractViolation
from models.localize.contrast import contrast_scores, interval_means
from models.localize.nms import suppress
from models.localize.oic import outer_inner_contrast, running_sums
from models.localize.proposals import Upsampler, mean_over_runs, runs_above_each, widened
from models.timegrid import TimeGrid
from models.types import Activations, DoubleArray, IntArray, Proposal

FLOAT32_ROUNDING = float(np.finfo(np.float32).eps)


def localize_activations(
    activations: Activations, grid: TimeGrid, settings: ProposalSettings
) -> list[Proposal]:
    """Make the proposals of one video.

    Each selected class is cut at every threshold; the runs are scored by outer-inner contrast
    and suppressed per class. Where the video scores vary over time (a long video seen in
    windows), an interval needs the class threshold on average over itself. With
    ``source="head"`` the head's own intervals take the place of cuts; with ``score="contrast"``
    either kind is scored by `models.localize.contrast` on the scoring sequence.

    Args:
        activations: of the whole video, T steps; T may differ from the grid's snippets when the
            head stretched the video.
        grid: of the video.
        settings: thresholds, score and suppression.

    Returns:
        Proposals inside [0, duration], half-open, best first; ties by start, end, class. Empty
        when no class passes and ``allow_empty`` holds.

    Raises:
        ContractViolation: shapes disagree or a value is not finite.
    """
    _check(activations)
    selected, class_threshold = _select_classes(activations, settings)
    upsample = None
    if settings.source != "head":
        upsample = Upsampler(len(activations.localization), settings.upsample, settings.align)
    snippet_seconds = grid.stride_frames / grid.fps
    found: list[Proposal] = []
    for class_index in selected:
        if upsample is None:
            steps, scores = _own_proposals(activations, class_index, class_threshold)
        else:
            runs, scores = _scored_runs(
                activations, class_index, settings, class_threshold, upsample
            )
            steps = runs.astype(np.float64) / settings.upsample
        if settings.score == "contrast":
            scores = _contrast_scores(activations, class_index, steps, settings)
        intervals = _seconds(steps, len(activations.localization), grid, settings)
        usable = (intervals[:, 1] > intervals[:, 0]) & (scores >= _least(settings, class_index))
        intervals, scores = intervals[usable], scores[usable]
        kept, kept_scores = suppress(intervals, scores, settings.nms, snippet_seconds)
        if settings.max_per_class > 0:
            kept, kept_scores = (
                kept[: settings.max_per_class],
                kept_scores[: settings.max_per_class],
            )
        found.extend(
            Proposal(class_index, start, end, score)
            for (start, end), score in zip(
                intervals[kept].tolist(), kept_scores.tolist(), strict=True
            )
        )
    return sorted(
        found, key=lambda p: (-p.raw_score, p.start_seconds, p.end_seconds, p.class_index)
    )


def _least(settings: ProposalSettings, class_index: int) -> float:
    """Return the raw score that a proposal of a class needs."""
    if not settings.class_min_scores:
        return settings.min_raw_score
    return max(settings.min_raw_score, settings.class_min_scores[class_index])


def _select_classes(
    activations: Activations, settings: ProposalSettings
) -> tuple[list[int], float]:
    """Return the classes to localize and the score their runs need."""
    scores = activations.video_scores
    passing = [int(index) for index in np.flatnonzero(scores >= settings.class_threshold)]
    if passing or settings.allow_empty or len(scores) == 0:
        return passing, settings.class_threshold
    return [int(np.argmax(scores))], 0.0


def _scored_runs(
    activations: Activations,
    class_index: int,
    settings: ProposalSettings,
    class_threshold: float,
    upsample: Upsampler,
) -> tuple[IntArray, DoubleArray]:
    """Return int64[K, 2] runs of one class in upsampled samples and float64[K] contrasts."""
    localization, scoring, class_scores = _upsampled(activations, class_index, upsample)
    sums = running_sums(scoring, upsample.room(len(scoring) + 1, "sums"))
    class_sums = None
    if not isinstance(class_scores, float):
        room = upsample.room(len(class_scores) + 1, "sums of window scores")
        class_sums = running_sums(class_scores, room)
    cut_runs = runs_above_each(localization, settings.thresholds)
    cuts = [
        (runs, threshold, settings.oic)
        for runs, threshold in zip(cut_runs, settings.thresholds, strict=True)
    ]
    if settings.attention_thresholds:
        attention = upsample(activations.attention, "attention")
        class_bonus = settings.oic.class_bonus + settings.attention_bonus
        uncut = replace(settings.oic, thresholded=False, class_bonus=class_bonus)
        attention_runs = runs_above_each(attention, settings.attention_thresholds)
        cuts += [
            (runs, threshold, uncut)
            for runs, threshold in zip(attention_runs, settings.attention_thresholds, strict=True)
        ]
    all_runs: list[IntArray] = [np.zeros((0, 2), np.int64)]
    all_scores: list[DoubleArray] = [np.zeros(0)]
    for cut, threshold, oic in cuts:
        runs = widened(cut, settings.widen_samples, len(localization))
        runs = runs[runs[:, 1] - runs[:, 0] >= oic.min_length]
        if class_sums is None:
            run_scores = np.full(len(runs), class_scores)
        else:
            run_scores = mean_over_runs(class_sums, runs)
            # Means of float32 scores differ from them by rounding: half an ulp must not drop a run.
            present = run_scores >= class_threshold - FLOAT32_ROUNDING
            runs, run_scores = runs[present], run_scores[present]
        bonus = np.ones_like(run_scores) if oic.binary_bonus else run_scores
        all_scores.append(outer_inner_contrast(scoring, runs, bonus, oic, threshold, sums))
        all_runs.append(runs + np.array([0, 1]) if oic.trailing_sample else runs)
    return np.concatenate(all_runs), np.concatenate(all_scores)


def _upsampled(
    activations: Activations, class_index: int, upsample: Upsampler
) -> tuple[DoubleArray, DoubleArray, DoubleArray | float]:
    """Return the localization and scoring sequences of one class, upsampled, and its scores.

    Class scores are one number where the head saw the video at once.
    """
    localization = upsample(activations.localization[:, class_index], "localization")
    same = activations.scoring is activations.localization
    scoring = localization
    if not same:
        scoring = upsample(activations.scoring[:, class_index], "scoring")
    if activations.window_scores is not None:
        class_scores = upsample(activations.window_scores[:, class_index], "window scores")
        return localization, scoring, class_scores
    return localization, scoring, float(activations.video_scores[class_index])


def _own_proposals(
    activations: Activations, class_index: int, class_threshold: float
) -> tuple[DoubleArray, DoubleArray]:
    """Return float64[K, 2] steps and float64[K] scores that the head gave for one class."""
    own = activations.proposals
    if own is None:
        message = "these settings take the head's own proposals, and the activations hold none"
        raise ContractViolation(message)
    chosen = own.class_index == class_index
    steps, scores = own.steps[chosen], own.raw_scores[chosen]
    if activations.window_scores is None:
        return steps, scores
    columns = np.full(len(steps), class_index, np.int64)
    local = interval_means(activations.window_scores, steps, columns)
    present = local >= class_threshold - np.finfo(np.float32).eps
    return steps[present], scores[present]


def _contrast_scores(
    activations: Activations, class_index: int, steps: DoubleArray, settings: ProposalSettings
) -> DoubleArray:
    """Return float64[K]: the contrast scores of one class's intervals on the scoring sequence.

    The sequence is not upsampled: the score's window counts snippets, and interpolation flattens
    the steps that it looks for. With ``align="start"`` a cut finds a snippet's value at its start;
    the snippet itself reaches half a step further.
    """
    shift = 0.5 if settings.source == "thresholds" and settings.align == "start" else 0.0
    column = activations.scoring[:, class_index : class_index + 1]
    columns = np.zeros(len(steps), np.int64)
    return contrast_scores(column, steps + shift, columns, settings.contrast)


def _seconds(
    steps: DoubleArray, num_steps: int, grid: TimeGrid, settings: ProposalSettings
) -> DoubleArray:
    """Return float64[K, 2] seconds of intervals given in activation steps, clipped to the video.

    Centred intervals that touch an end of the sequence reach the video's own end: the outermost
    windows cover it, also where windows overlap.
    """
    centered = settings.align == "center"
    seconds = grid.activation_seconds(steps, num_steps, centered=centered)
    if centered:
        seconds[steps[:, 0] <= 0, 0] = 0.0
        seconds[steps[:, 1] >= num_steps, 1] = grid.duration_seconds
    return np.clip(seconds, 0.0, grid.duration_seconds)


def _check(activations: Activations) -> None:
    shape = activations.localization.shape
    expected = (len(activations.localization), len(activations.classes))
    shapes_agree = (
        shape == expected
        and shape[0] >= 1
        and activations.scoring.shape == shape
        and activations.video_scores.shape == (expected[1],)
        and (activations.window_scores is None or activations.window_scores.shape == shape)
    )
    if not shapes_agree:
        message = (
            f"activations disagree in shape: localization {shape}, scoring "
            f"{activations.scoring.shape}, video scores {activations.video_scores.shape}, "
            f"{expected[1]} classes"
        )
        raise ContractViolation(message)
    if not all(
        np.isfinite(values).all()
        for values in (activations.localization, activations.scoring, activations.video_scores)
    ):
        message = "activations hold values that are not finite"
        raise ContractViolation(message)
