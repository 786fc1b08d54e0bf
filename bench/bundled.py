"""Draws the test videos anew and measures the shipped demonstration model on them.

    python -m bench.bundled [--speed S ...] [--precision P ...] [--scratch DIR] [--json PATH]

The videos are the build's own test split: 40 encoded, drawn videos, each class in at least ten,
looks outside the training ranges; and 12 in which nothing happens. Every speed and precision is
set beside the exact speed in fp32: the difference in mAP with an interval from resampling videos,
and how far its features are away where both have the same streams. With --scratch what was drawn
and extracted is kept and read back. On two cores that are otherwise idle the exact speed takes
about eight minutes, each further speed or precision two to eight.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.report import BenchReport, Figure
from models.bundled.heads import (
    TIOUS,
    detect_all,
    evaluate_head,
    evaluate_motion,
    false_segments_per_hour,
    figures,
    ground_truth,
)
from models.bundled.recipe import BundledSettings
from models.bundled.videos import PRECISION, Split, build_videos, measure_motion, rgb_split
from models.config import ProposalSettings
from models.evaluation.bootstrap import paired_bootstrap
from models.evaluation.matching import Matches, match_detections
from models.modelcard import LoadedModel, find_model
from models.pipeline import BUNDLED_FOLDER
from models.speeds import EXACT, FAST, RGB_ONLY, SPEEDS
from models.types import DoubleArray

MODEL = "kinetag-demo"
PRECISIONS = (PRECISION, "bf16")
PROCESSES = 2
RESAMPLING_SEED = 0
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Ways:
    """Which ways of computing are measured, and where files are kept."""

    speeds: tuple[str, ...]
    precisions: tuple[str, ...]
    scratch: Path


def extract(ways: Ways, model: LoadedModel, split: str, precision: str) -> Split:
    """Return one split's features at a model's speed; RGB alone is taken out of the exact ones."""
    if model.card.speed == RGB_ONLY:
        exact = find_model(f"{MODEL}:{EXACT}", (BUNDLED_FOLDER,))
        return rgb_split(extract(ways, exact, split, precision), exact.recipe)
    return build_videos(
        ways.scratch,
        BundledSettings(),
        model.recipe,
        split=split,
        processes=PROCESSES,
        precision=precision,
    )


def keep_all(model: LoadedModel) -> ProposalSettings:
    """Return the model's proposal settings without a threshold on scores, as mAP wants it."""
    return replace(model.card.proposals, min_raw_score=-1.0)


def matches(model: LoadedModel, split: Split, tiou: float) -> Matches:
    """Match a model's detections at one overlap."""
    found = detect_all(model, split, keep_all(model))
    return match_detections(found, ground_truth(split.videos), "anet", (tiou,))


def difference(
    model: LoadedModel, split: Split, other: LoadedModel, other_split: Split
) -> dict[str, Figure]:
    """Return mAP of the first minus mAP of the other, with a 95 % interval, per overlap."""
    names = [video.name for video in split.videos]
    differences: dict[str, Figure] = {}
    for tiou in TIOUS:
        one = paired_bootstrap(
            [matches(model, split, tiou)],
            [matches(other, other_split, tiou)],
            np.random.Generator(np.random.PCG64(RESAMPLING_SEED)),
            names,
        )
        values = (one.difference, one.low, one.high)
        differences[f"{tiou:.1f}"] = [round(value, DIGITS) for value in values]
    return differences


def feature_errors(split: Split, reference: Split) -> dict[str, float]:
    """Return how far features lie from others of the same width: relative L2 per snippet."""
    ratios: list[DoubleArray] = []
    for one, other in zip(split.features, reference.features, strict=True):
        apart = np.linalg.norm(one.values.astype(np.float64) - other.values, axis=1)
        ratios.append(apart / np.linalg.norm(other.values.astype(np.float64), axis=1))
    joined = np.concatenate(ratios)
    return {"mean": float(joined.mean()), "max": float(joined.max()), "snippets": len(joined)}


def as_recipe_of(model: LoadedModel, split: Split) -> Split:
    """Return features under a model's digest: what a head says of what it was not trained on."""
    digest = model.recipe.digest
    features = tuple(replace(one, recipe_digest=digest) for one in split.features)
    return Split(split.videos, features)


def measure(ways: Ways, speed: str, precision: str) -> dict[str, Figure]:
    """Return the figures of one speed and precision."""
    exact = find_model(f"{MODEL}:{EXACT}", (BUNDLED_FOLDER,))
    model = find_model(f"{MODEL}:{speed}", (BUNDLED_FOLDER,))
    test = extract(ways, model, "test", precision)
    quiet = extract(ways, model, "quiet", precision)
    found: dict[str, Figure] = {
        "recipe": model.recipe.digest,
        "all_proposals": figures(evaluate_head(model, test, keep_all(model))),
        "as_shipped": figures(evaluate_head(model, test, model.card.proposals)),
        "false_segments_per_hour": false_segments_per_hour(model, quiet, model.card.proposals),
        "map_of_seeds": [one["map"] for one in model.card.metrics["seeds"]],
    }
    if (speed, precision) == (EXACT, PRECISION):
        energies = measure_motion(ways.scratch, test, model.recipe)
        found["motion_energy_with_true_tags"] = figures(
            evaluate_motion(energies, test.videos, model.recipe, keep_all(model))
        )
        return found
    reference = extract(ways, exact, "test", PRECISION)
    found["map_minus_exact"] = difference(model, test, exact, reference)
    if model.recipe.feature_width == exact.recipe.feature_width:
        found["feature_error"] = feature_errors(test, reference)
    if speed == FAST:
        foreign = as_recipe_of(exact, test)
        found["exact_head"] = figures(evaluate_head(exact, foreign, keep_all(exact)))
        found["exact_head_map_minus_exact"] = difference(exact, foreign, exact, reference)
    return found


def measure_all(ways: Ways) -> dict[str, Figure]:
    """Return the figures of every way, by speed and precision."""
    weights = ways.scratch / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    for stream in ("rgb", "flow"):
        shutil.copy(BUNDLED_FOLDER / f"{stream}.safetensors", weights)
    return {
        f"{speed} {precision}": measure(ways, speed, precision)
        for speed in ways.speeds
        for precision in ways.precisions
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="not used: the videos are drawn")
    parser.add_argument("--speed", action="append", choices=tuple(SPEEDS), help="default: all")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="default: fp32")
    parser.add_argument("--scratch", type=Path, help="keep what is drawn and extracted here")
    parser.add_argument("--json", type=Path, help="write the report here")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the bench."""
    arguments = parse()
    speeds = tuple(one for one in SPEEDS if one in (arguments.speed or SPEEDS))
    precisions = tuple(arguments.precision or (PRECISION,))
    with tempfile.TemporaryDirectory(prefix="kinetag-bench-") as temporary:
        scratch = arguments.scratch or Path(temporary)
        found = measure_all(Ways(speeds, precisions, scratch))
    settings = BundledSettings()
    BenchReport(
        bench="bundled",
        source=f"{settings.videos_test} drawn videos with test looks, "
        f"{settings.videos_action_free} action-free",
        figures=found,
    ).publish(arguments.json)


if __name__ == "__main__":
    main()
