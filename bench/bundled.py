"""Draws the test videos anew and measures the shipped demonstration model on them.

    python -m bench.bundled [--json PATH]

The videos are the build's own test split: 40 encoded, drawn videos, each class in at least ten,
looks outside the training ranges; and videos in which nothing happens.
"""

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.report import BenchReport
from models.bundled.heads import (
    evaluate_head,
    evaluate_motion,
    false_segments_per_hour,
    figures,
)
from models.bundled.recipe import BundledSettings
from models.bundled.videos import build_videos, measure_motion
from models.modelcard import load_model
from models.pipeline import BUNDLED_FOLDER


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="not used: the videos are drawn")
    parser.add_argument("--json", type=Path, help="write the report here")
    arguments = parser.parse_args()
    model = load_model(BUNDLED_FOLDER)
    shipped = model.card.proposals
    every = replace(shipped, min_raw_score=-1.0)
    settings = BundledSettings()
    with tempfile.TemporaryDirectory(prefix="kinetag-bench-") as scratch:
        folder = Path(scratch)
        weights = folder / "weights"
        weights.mkdir()
        for stream in model.recipe.streams:
            shutil.copy(BUNDLED_FOLDER / f"{stream}.safetensors", weights)
        test = build_videos(folder, settings, model.recipe, split="test", processes=2)
        quiet = build_videos(folder, settings, model.recipe, split="quiet", processes=2)
        energies = measure_motion(folder, test, model.recipe)
    BenchReport(
        bench="bundled",
        source=f"{len(test.videos)} drawn videos with test looks, {len(quiet.videos)} action-free",
        figures={
            "all_proposals": figures(evaluate_head(model, test, every)),
            "as_shipped": figures(evaluate_head(model, test, shipped)),
            "motion_energy_with_true_tags": figures(
                evaluate_motion(energies, test.videos, model.recipe, every)
            ),
            "false_segments_per_hour": false_segments_per_hour(model, quiet, shipped),
        },
    ).publish(arguments.json)


if __name__ == "__main__":
    main()
