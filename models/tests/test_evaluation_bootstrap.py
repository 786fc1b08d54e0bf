"""Paired bootstrap against drawing videos literally; intervals that mean what they say."""

import time
from dataclasses import replace

import numpy as np
import pytest

from models.errors import ContractViolation, EvaluationDataInvalid
from models.evaluation.bootstrap import BootstrapDifference, paired_bootstrap
from models.evaluation.matching import match_detections
from models.evaluation.records import Detection, GroundTruth
from models.evaluation.scoring import evaluate

TIOUS = (0.3, 0.5)


def compared(found, truths, protocol="anet", tious=TIOUS, **options) -> BootstrapDifference:
    """Compare two sets of detections, one run each."""
    first, second = (match_detections(one, truths, protocol, tious) for one in found)
    return paired_bootstrap([first], [second], **options)


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def drawn(num_videos, num_classes, noises, seed=0, distractors=4):
    """Random instances, and for each noise detections whose borders are off by about as much."""
    rng = generator(seed)
    truths, sets = [], [[] for _ in noises]
    for video in range(num_videos):
        for _ in range(rng.integers(0, 6)):
            start, length = rng.uniform(0, 100), rng.uniform(3, 8)
            truth = GroundTruth(f"v{video}", f"c{rng.integers(num_classes)}", start, start + length)
            truths.append(truth)
            for found, noise in zip(sets, noises, strict=True):
                start_off, end_off = rng.normal(0, noise, 2)
                found.append(
                    Detection(
                        truth.video,
                        truth.label,
                        truth.start_seconds + min(start_off, 1.4),
                        truth.end_seconds + max(end_off, -1.4),
                        rng.uniform(),
                    )
                )
    labels = sorted({truth.label for truth in truths})
    for found in sets:
        for video in range(num_videos):
            for _ in range(distractors):
                start = rng.uniform(0, 100)
                label = labels[rng.integers(len(labels))]
                found.append(Detection(f"v{video}", label, start, start + 4, 0.8 * rng.uniform()))
    return truths, sets


def literal_map(found, truths, names, protocol):
    """Evaluate copies of videos under names of their own."""
    copies = [(name, f"{name}#{i}") for i, name in enumerate(names)]

    def copied(items):
        return [replace(one, video=new) for old, new in copies for one in items if one.video == old]

    resampled = copied(truths)
    if not resampled:
        return float("nan")
    present = {one.label for one in resampled}
    kept = [one for one in copied(found) if one.label in present]
    return evaluate(kept, resampled, protocol, TIOUS).average_map


@pytest.mark.parametrize("protocol", ["anet", "wtalc", "evalkit"])
def test_agrees_with_drawing_videos_literally(protocol):
    truths, (first, second) = drawn(6, 2, (0.5, 2.0), seed=4)
    names = [f"v{i}" for i in range(6)]
    options = {"rng": generator(7), "videos": names, "resamples": 25}
    got = compared((first, second), truths, protocol, **options)
    draws = generator(7).multinomial(6, np.full(6, 1 / 6), size=25)
    literal = []
    for weights in draws:
        chosen = np.repeat(names, weights)
        pair = [literal_map(one, truths, chosen, protocol) for one in (first, second)]
        literal.append(pair[0] - pair[1])
    deltas = np.array(literal)[~np.isnan(literal)]
    assert got.resamples == len(deltas)
    assert got.mean_difference == pytest.approx(deltas.mean())
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(deltas, [0.025, 0.975])))
    whole = [evaluate(one, truths, protocol, TIOUS).average_map for one in (first, second)]
    assert got.difference == pytest.approx(whole[0] - whole[1])


def test_the_better_detector_is_told_from_the_worse_and_the_same_from_itself():
    truths, (good, bad) = drawn(40, 3, (0.2, 4.0), distractors=2)
    first, second = (match_detections(one, truths, "anet", TIOUS) for one in (good, bad))
    better = paired_bootstrap([first], [second], generator(), resamples=200)
    assert better.low > 0
    assert better.beyond_chance
    assert better.share_positive == 1.0
    swapped = paired_bootstrap([second], [first], generator(), resamples=200)
    assert (swapped.low, swapped.high) == pytest.approx((-better.high, -better.low))
    same = paired_bootstrap([first], [first], generator(), resamples=50)
    assert (same.difference, same.low, same.high, same.share_positive) == (0, 0, 0, 0.5)
    assert not same.beyond_chance
    assert same.to_json()["beyond_chance"] is False


def test_runs_are_averaged():
    truths, found = drawn(10, 2, (0.2, 4.0, 1.0))
    one, two, three = (match_detections(each, truths, "anet", TIOUS) for each in found)
    maps = [evaluate(each, truths, "anet", TIOUS).average_map for each in found]
    got = paired_bootstrap([one, two], [three], generator(), resamples=10)
    assert got.difference == pytest.approx((maps[0] + maps[1]) / 2 - maps[2])


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says():
    """Both detectors are equally good, so 0 should be inside 90 % intervals in most worlds."""
    inside = 0
    for seed in range(40):
        truths, found = drawn(20, 1, (1.0, 1.0), seed=seed, distractors=1)
        options = {"rng": generator(seed), "resamples": 120, "confidence": 0.9}
        got = compared(found, truths, "anet", (0.5,), **options)
        inside += not got.beyond_chance
    # Binomial(40, 0.9) is 29 or less once in 1,500 times; the percentile interval is a little
    # narrow for 20 videos.
    assert inside >= 29


def test_quiet_videos_count_when_named():
    truths, found = drawn(5, 1, (0.2, 3.0), distractors=0)
    names = [f"v{i}" for i in range(5)]
    few = compared(found, truths, rng=generator(), videos=names, resamples=300)
    names += [f"q{i}" for i in range(45)]
    many = compared(found, truths, rng=generator(), videos=names, resamples=300)
    assert few.difference == pytest.approx(many.difference)
    assert many.resamples < 300  # some draws hold nothing but quiet videos


def test_refusals():
    truths, (first, second) = drawn(5, 1, (0.2, 3.0))
    one = match_detections(first, truths, "anet", TIOUS)
    for misfit in (
        match_detections(second, truths, "anet", (0.5,)),
        match_detections(second, truths, "wtalc", TIOUS),
        match_detections(second, truths[1:], "anet", TIOUS),
    ):
        with pytest.raises(ContractViolation, match="share"):
            paired_bootstrap([one], [misfit], generator())
    with pytest.raises(ContractViolation, match="at least one run"):
        paired_bootstrap([one], [], generator())
    with pytest.raises(ContractViolation, match="each once"):
        paired_bootstrap([one], [one], generator(), ["v0", "v0"])
    with pytest.raises(EvaluationDataInvalid, match="instance"):
        paired_bootstrap([one], [one], generator(), ["elsewhere"])


def test_a_thousand_resamples_of_sixty_videos_take_seconds():
    truths, found = drawn(60, 9, (1.0, 1.5), distractors=20)
    started = time.process_time()
    compared(found, truths, "anet", (0.1, 0.2, 0.3, 0.4, 0.5), rng=generator())
    assert time.process_time() - started < 10  # measured 1.1 s
