"""`make bundled-model`: makes the demonstration model from seeds, stage by stage, cached.

Stages: clips, backbones, untrimmed videos with features, heads, evaluation, packing. A finished
part of a stage is read back, so an interrupted build goes on where it stopped.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from models.atomic import write_bytes_atomic, write_text_atomic
from models.bundled.backbones import STREAMS, clip_accuracy, train_streams
from models.bundled.clips import build_clips
from models.bundled.heads import (
    bundled_preset,
    evaluate_head,
    evaluate_motion,
    false_segments_per_hour,
    figures,
    train_seed,
    train_shuffled,
)
from models.bundled.recipe import MODEL_NAME, MODEL_VERSION, BundledSettings, bundled_recipe
from models.bundled.videos import Split, build_videos, measure_motion
from models.modelcard import ModelCard, save_model
from models.recipe import FeatureRecipe
from models.training.train import TrainedHead
from models.types import MediaWarning

PACKAGE_FOLDER = Path(__file__).parent
NOTES = (
    "This is a demonstration on drawn figures; it knows nothing of real footage.",
    (
        "Its backbone was trained on trimmed clips of the same eight actions, so only the head is "
        "weakly supervised."
    ),
    (
        "Its test videos were drawn with colours, textures, body shapes and camera habits outside "
        "the training ranges."
    ),
    (
        "Its score threshold (0.6) was chosen by hand with the drawn timestamps of held-out "
        "training videos; the head's training saw whole-video tags alone."
    ),
)
DEMO_WARNING = MediaWarning(
    "demo_model",
    "This result comes from the bundled demonstration model, which knows eight actions of drawn "
    "figures only; teach or pull a model for real footage.",
)

app = typer.Typer(add_completion=False)
Result = TypeVar("Result")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the build's progress


def _timed(log: list[dict[str, Any]], stage: str, run: Callable[[], Result]) -> Result:
    started = time.monotonic()
    _say(f"== {stage}")
    result = run()
    seconds = round(time.monotonic() - started, 1)
    log.append({"stage": stage, "seconds": seconds})
    _say(f"== {stage}: {seconds} s")
    return result


@app.command()
def build(
    folder: Annotated[Path, typer.Option(help="Where stages are cached.")] = Path(".cache/bundled"),
    processes: Annotated[int, typer.Option(help="Side by side, one thread each.")] = 2,
) -> None:
    """Make the demonstration model and write it into the package."""
    settings = BundledSettings()
    log: list[dict[str, Any]] = []
    recipe, accuracy = _backbones(folder, settings, processes, log)
    splits = {
        name: _timed(
            log,
            f"videos {name}",
            lambda name=name: build_videos(  # type: ignore[misc]  # bound early on purpose
                folder, settings, recipe, split=name, processes=processes
            ),
        )
        for name in ("train", "test", "quiet")
    }
    heads = _timed(
        log,
        "heads",
        lambda: [train_seed(splits["train"], recipe, seed) for seed in settings.head_seeds],
    )
    metrics = _timed(log, "evaluation", lambda: _evaluate(folder, settings, recipe, splits, heads))
    metrics["clip_accuracy"] = accuracy
    _pack(folder, recipe, heads[0], metrics, log)


def _backbones(
    folder: Path, settings: BundledSettings, processes: int, log: list[dict[str, Any]]
) -> tuple[FeatureRecipe, dict[str, Any]]:
    train = _timed(
        log,
        "clips train",
        lambda: build_clips(
            folder / "clips",
            settings,
            split="train",
            looks="train",
            count=settings.clips_train,
            processes=processes,
        ),
    )
    unseen = _timed(
        log,
        "clips validation",
        lambda: build_clips(
            folder / "clips",
            settings,
            split="validation",
            looks="test",
            count=settings.clips_validation,
            processes=processes,
        ),
    )
    weights = folder / "weights"
    hashes = _timed(log, "backbones", lambda: train_streams(weights, train, settings))
    accuracy = _timed(log, "clip accuracy", lambda: clip_accuracy(weights, unseen, settings))
    _say(json.dumps(accuracy))
    return bundled_recipe(weights=tuple((name, hashes[name]) for name in STREAMS)), accuracy


def _evaluate(
    folder: Path,
    settings: BundledSettings,
    recipe: FeatureRecipe,
    splits: dict[str, Split],
    heads: list[TrainedHead],
) -> dict[str, Any]:
    proposals = bundled_preset().proposals
    every = replace(proposals, min_raw_score=-1.0)
    energies = measure_motion(folder, splits["test"], recipe)
    per_seed = [
        {
            "seed": head.seed,
            **figures(evaluate_head(head, splits["test"], every)),
            "as_shipped": figures(evaluate_head(head, splits["test"], proposals))["map"],
            "false_segments_per_hour": round(
                false_segments_per_hour(head, splits["quiet"], proposals), 2
            ),
        }
        for head in heads
    ]
    shuffled = train_shuffled(splits["train"], recipe, settings.head_seeds[0])
    return {
        "protocol": "P-ANET on 40 encoded, drawn videos with looks outside the training ranges; "
        "last step, nothing chosen by a test score",
        "seeds": per_seed,
        "motion_energy_with_true_tags": figures(
            evaluate_motion(energies, splits["test"].videos, recipe, every)
        ),
        "shuffled_tags": figures(evaluate_head(shuffled, splits["test"], every)),
        "action_free_hours": round(
            sum(video.duration_seconds for video in splits["quiet"].videos) / 3600, 3
        ),
    }


def _pack(
    folder: Path,
    recipe: FeatureRecipe,
    head: TrainedHead,
    metrics: dict[str, Any],
    log: list[dict[str, Any]],
) -> None:
    card: ModelCard = replace(
        head.card(MODEL_NAME, MODEL_VERSION),
        recipe=recipe,
        metrics=metrics,
        licence="Apache-2.0",
        warnings=(DEMO_WARNING,),
        notes=NOTES,
    )
    for stream in STREAMS:
        content = (folder / "weights" / f"{stream}.safetensors").read_bytes()
        write_bytes_atomic(PACKAGE_FOLDER / f"{stream}.safetensors", content)
    save_model(PACKAGE_FOLDER, card, head)
    lines = [json.dumps(entry) for entry in log]
    for stream in STREAMS:
        lines += (folder / "weights" / f"{stream}.jsonl").read_text().splitlines()
    lines += [json.dumps({"head_step": entry}) for entry in head.log]
    write_text_atomic(PACKAGE_FOLDER / "training.jsonl", "\n".join(lines) + "\n")
    _say(json.dumps(metrics, indent=1))


if __name__ == "__main__":
    app()
