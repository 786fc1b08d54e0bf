"""`kinetag localize --features`: a trained head on stored features, for comparing heads."""

import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from models.atomic import write_text_atomic
from models.datasets.features import open_features
from models.errors import PipelineError, TrainingDataInvalid
from models.localize.segments import localize_activations
from models.modelcard import find_model
from models.pipeline import model_folders
from models.prediction import predict

PREDICTIONS_NAME = "predictions.json"
LOWEST_RAW_SCORE = -1.0


@dataclass(frozen=True, slots=True)
class FeatureOptions:
    """The parsed command line; ``output`` None means stdout, an empty ``speed`` the model's own.

    ``keep_all`` leaves nothing out for its score, as a ranking measure wants it.
    """

    features: Path
    subset: str | None
    model: str
    speed: str
    output: Path | None
    keep_all: bool
    home: Path
    errors_as_json: bool
    debug: bool


def run_localize_features(
    options: FeatureOptions, exit_status: Callable[[PipelineError], int]
) -> int:
    """Write one ActivityNet result file over all videos of the folder; return the exit status."""
    console = Console(stderr=True, highlight=False)
    try:
        text = json.dumps(_results(options), ensure_ascii=False) + "\n"
    except PipelineError as error:
        if options.debug:
            console.print("".join(traceback.format_exception(error)), markup=False)
        if options.errors_as_json:
            document = {"error": {"code": error.code, "message": str(error)}}
            sys.stdout.write(json.dumps(document) + "\n")
        else:
            console.print(f"{error} [{error.code}]", markup=False, soft_wrap=True)
        return exit_status(error)
    if options.output is None:
        sys.stdout.write(text)
    else:
        write_text_atomic(options.output / PREDICTIONS_NAME, text)
    return 0


def _results(options: FeatureOptions) -> dict[str, Any]:
    model = find_model(options.model, model_folders(options.home), options.speed)
    folder = open_features(options.features)
    videos = [
        video
        for video in folder.ids
        if options.subset is None or folder.subset_of(video) == options.subset
    ]
    if not videos:
        message = f"{options.features.name} has no video of the subset {options.subset}."
        raise TrainingDataInvalid(message)
    settings = model.card.proposals
    if options.keep_all:
        settings = replace(settings, min_raw_score=LOWEST_RAW_SCORE, class_min_scores=())
    results: dict[str, list[dict[str, Any]]] = {}
    for video in videos:
        features = folder.feature_set(video)
        activations = predict(model, features)
        grid = model.recipe.grid(features.duration_seconds)
        results[video] = [
            {
                "label": model.card.classes[one.class_index],
                "score": one.raw_score,
                "segment": [one.start_seconds, one.end_seconds],
            }
            for one in localize_activations(activations, grid, settings)
        ]
    details = f"model {model.card.identity}, feature recipe {model.recipe.digest}; raw scores"
    return {
        "version": "VERSION 1.3",
        "results": results,
        "external_data": {"used": True, "details": details},
    }
