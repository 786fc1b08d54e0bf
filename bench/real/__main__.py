"""Trains heads from tags of real video and measures them: tables for docs/results.md.

    python -m bench.real --data DIR [--cache DIR] [--write docs/results.md] [--json PATH]

``DIR/labelled`` holds the sets. Everything slow is kept in the cache: a stopped run goes on.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from bench.real.features import FeatureWork, extract_set, load_features, measure_motion
from bench.real.finetune import finetuned
from bench.real.joins import load_fight
from bench.real.runs import (
    MOTION_MIL,
    MOTION_TAGS,
    PLAIN,
    SHUFFLED,
    Run,
    available_methods,
    motion_mil_run,
    motion_run,
    random_run,
    trained_run,
    whole_run,
)
from bench.real.score import Scored, difference, scored
from bench.real.sets import RealSet, build_fir
from bench.real.table import SetOutcome, page, write_page
from bench.report import BenchReport, describe_machine
from models.catalog import published_recipe
from models.modelcard import load_model
from models.pipeline import BUNDLED_FOLDER
from models.types import DoubleArray
from models.weights import find_weights

SETS = ("fir-action", "fir-action-letterboxed", "fight-surv")
BUNDLED, FINETUNED, FULL = "bundled", "fine-tuned", "full I3D"
ENERGY_COLUMNS = 3
FIGURE_DIGITS = 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.real",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with labelled/")
    parser.add_argument("--cache", type=Path, default=Path(".cache/real"), help="what is kept")
    parser.add_argument("--set", action="append", choices=SETS, help="by default all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--backbone-weights", type=Path, help="folder of full I3D weights")
    parser.add_argument("--prepare", action="store_true", help="stop after the features")
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("--write", type=Path, help="write the page of results here")
    options = parser.parse_args(arguments)
    # Runs are compared by CPU seconds and repeat bit by bit on one thread only.
    torch.set_num_threads(1)
    outcomes = []
    for name in options.set or SETS:
        folder = options.cache / name
        if name.startswith("fir-action"):
            real = build_fir(options.data, letterbox=name != "fir-action")
        else:
            real = load_fight(options.data, folder)
        works, energies = prepare(real, folder, options.backbone_weights)
        if not options.prepare:
            outcomes.append(measure(real, works, energies, options.seeds))
    if outcomes:
        publish(outcomes, options)


def prepare(
    real: RealSet, folder: Path, full_weights: Path | None
) -> tuple[dict[str, FeatureWork], list[DoubleArray]]:
    """Make the features of every backbone and the motion energy of the test videos."""
    recipe = load_model(BUNDLED_FOLDER).card.recipe
    weights = find_weights(recipe, (BUNDLED_FOLDER,))
    works = {BUNDLED: FeatureWork(recipe, weights, folder)}
    extract_set(real, works[BUNDLED])
    works[FINETUNED] = finetuned(real, recipe, weights, folder)
    extract_set(real, works[FINETUNED])
    if full_weights is None:
        print("no --backbone-weights: the full I3D column is left out", flush=True)
    else:
        published = published_recipe()
        works[FULL] = FeatureWork(published, find_weights(published, (full_weights,)), folder)
        extract_set(real, works[FULL])
    return works, measure_motion(real, real.split("test"), recipe, folder)


def measure(
    real: RealSet,
    works: Mapping[str, FeatureWork],
    energies: Sequence[DoubleArray],
    num_seeds: int,
) -> SetOutcome:
    """Train and score every detector with every backbone."""
    seeds = range(num_seeds)
    recipe = works[BUNDLED].recipe
    features = load_features(real.split("test"), works[BUNDLED])
    motion = [scored(real, [motion_run(real, energies, recipe, c)]) for c in range(ENERGY_COLUMNS)]
    # The best of its three measures by the test itself: in the opponent's favour.
    column = max(range(ENERGY_COLUMNS), key=lambda index: motion[index].average)
    others: list[list[Run]] = [
        [whole_run(real)],
        [random_run(real, features, recipe, seed) for seed in seeds],
    ]
    free = {one[0].detector: scored(real, one) for one in others}
    free[MOTION_TAGS] = motion[column]
    columns: dict[str, dict[str, Scored]] = {}
    for backbone, work in works.items():
        plain = [trained_run(real, work, PLAIN, seed) for seed in seeds]
        mixed = [motion_mil_run(real, energies, recipe, one, column) for one in plain]
        columns[backbone] = {PLAIN: scored(real, plain), MOTION_MIL: scored(real, mixed)}
        for method in available_methods():
            runs = [trained_run(real, work, method, seed) for seed in seeds]
            columns[backbone][method] = scored(real, runs)
    for method in available_methods():
        runs = [trained_run(real, works[FINETUNED], method + SHUFFLED, seed) for seed in seeds]
        columns[FINETUNED][method + SHUFFLED] = scored(real, runs)
    differences = {
        (backbone, method, opponent): difference(
            real, detectors[method], {**free, **detectors}[opponent]
        )
        for backbone, detectors in columns.items()
        for method in available_methods()
        for opponent in (PLAIN, MOTION_TAGS, MOTION_MIL)
    }
    return SetOutcome(real, free, columns, differences, FINETUNED)


def publish(outcomes: Sequence[SetOutcome], options: argparse.Namespace) -> None:
    """Print, and write what was asked for."""
    machine = describe_machine()
    words = f"{machine['processor']}, {machine['num_processors']} processors, no GPU"
    tables = page(outcomes, words, options.seeds)
    print(tables)
    if options.write is not None:
        write_page(options.write, tables)
    figures = {
        one.real.name: {
            "average_map": {
                f"{backbone}: {name}": round(scored_runs.average, FIGURE_DIGITS)
                for backbone, detectors in one.columns.items()
                for name, scored_runs in detectors.items()
            },
            "differences": {
                f"{backbone}: {head} minus {opponent}": [
                    round(number, FIGURE_DIGITS)
                    for number in (value.difference, value.low, value.high)
                ]
                for (backbone, head, opponent), value in one.differences.items()
            },
        }
        for one in outcomes
    }
    BenchReport("real", ", ".join(figures), figures).publish(options.json)


if __name__ == "__main__":
    main()
