"""`kinetag train`: whole-video tags in, a model folder out that is served by its name."""

import json
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from models.atomic import write_text_atomic
from models.commands.training_data import Extraction, tagged_features, tagged_videos
from models.config import Preset
from models.errors import PipelineError, TrainingDataInvalid
from models.heads.registry import HEADS, PRESETS
from models.modelcard import (
    CARD_NAME,
    NAME_PATTERN,
    WEIGHTS_NAME,
    ModelCard,
    list_models,
    save_model,
)
from models.pipeline import choose_device
from models.speeds import EXACT, SPEEDS
from models.training.calibrate import calibrate
from models.training.curves import draw_curves
from models.training.overrides import with_overrides
from models.training.quiet import false_segments_per_hour
from models.training.run import LogRecord, RunOptions
from models.training.tags import TaggedDataset
from models.training.train import TrainedHead, train_head

ALL_METHODS = "all"
LOG_NAME, CURVES_NAME = "training.jsonl", "curves.png"
MANY_SILENT = 0.5
PLAIN_LINES = 10  # of progress where there is no terminal
SELECTION_PROTOCOL = (
    "mean average precision of ranking held-out videos by tag; no timestamps, not localization"
)


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The parsed command line of `kinetag train`; one of ``features`` and ``videos`` is given."""

    method: str
    features: Path | None
    videos: Path | None
    tags: Path
    subset: str | None
    out: Path
    name: str | None
    preset: str
    assignments: tuple[str, ...]
    seed: int
    holdout: float
    backbone: str
    speeds: tuple[str, ...]
    device: str
    resume: bool
    install: bool
    as_json: bool
    home: Path
    debug: bool


def trainable_methods() -> tuple[str, ...]:
    """Return the names of the heads that learn from tags."""
    return tuple(sorted(name for name, entry in HEADS.items() if entry.head.trainable))


def run_train(options: TrainOptions, exit_status: Callable[[PipelineError], int]) -> int:
    """Train one head, or all; print what came of it; return the exit status."""
    console = Console(stderr=True, highlight=False)
    try:
        presets = _presets(options)
        data = _datasets(options, console)
        rows = [
            row
            for method, preset in presets.items()
            for row in _train_speeds(method, preset, data, options, console)
        ]
    except PipelineError as error:
        return _report(error, options, console, exit_status)
    if options.as_json:
        sys.stdout.write(json.dumps({"models": rows}) + "\n")
    else:
        sys.stdout.write(_table(rows))
    return 0


def _presets(options: TrainOptions) -> dict[str, Preset]:
    """Resolve method, preset and settings before anything heavy happens."""
    methods = trainable_methods() if options.method == ALL_METHODS else (options.method,)
    presets = {}
    for method in methods:
        if method not in PRESETS:
            message = f"There is no method {method}; choose one of {', '.join(PRESETS)} or all."
            raise TrainingDataInvalid(message)
        if options.preset not in PRESETS[method]:
            message = (
                f"{method} has no preset {options.preset}; choose one of "
                f"{', '.join(PRESETS[method])}."
            )
            raise TrainingDataInvalid(message)
        presets[method] = with_overrides(PRESETS[method][options.preset], options.assignments)
    name = _name(options, options.method)
    if not NAME_PATTERN.fullmatch(name):
        message = (
            f"{name!r} cannot be a model's name; give --name with letters, digits, dots, dashes "
            "and underscores."
        )
        raise TrainingDataInvalid(message)
    return presets


def _datasets(options: TrainOptions, console: Console) -> dict[str, TaggedDataset]:
    """Return the training set at each speed, the dearest first."""
    if options.features is not None:
        return {EXACT: tagged_features(options.features, options.tags, options.subset)}
    if options.videos is None:
        message = "Give --features DIR or --videos DIR."
        raise TrainingDataInvalid(message)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    extraction = Extraction(options.backbone, options.home, options.device, say)
    speeds = tuple(speed for speed in SPEEDS if speed in options.speeds)
    return tagged_videos(options.videos, options.tags, options.subset, extraction, speeds)


@dataclass(frozen=True, slots=True)
class _Place:
    """What a head is and where it goes.

    ``inside`` is its place in the model's folder: the name of its speed, or nothing for the
    dearest one, at which the model runs by itself.
    """

    method: str
    name: str
    version: str
    speed: str
    inside: str
    folder: Path


def _train_speeds(
    method: str,
    preset: Preset,
    data: dict[str, TaggedDataset],
    options: TrainOptions,
    console: Console,
) -> list[dict[str, Any]]:
    """Train one head per speed; return their rows of the table."""
    model_folder = options.out if options.method != ALL_METHODS else options.out / method
    name = _name(options, method)
    version = _version(name, options)
    for speed in SPEEDS.keys() - data.keys():
        # A head of an earlier run at another speed is no part of this model.
        (model_folder / speed / CARD_NAME).unlink(missing_ok=True)
    rows = []
    for index, (speed, dataset) in enumerate(data.items()):
        inside = speed if index else ""
        place = _Place(method, name, version, speed, inside, model_folder / inside)
        rows.append(_train_one(preset, dataset, place, options, console))
    return rows


def _train_one(
    preset: Preset, data: TaggedDataset, place: _Place, options: TrainOptions, console: Console
) -> dict[str, Any]:
    """Train, calibrate, save and install one head; return its row of the table."""
    folder, name = place.folder, place.name
    folder.mkdir(parents=True, exist_ok=True)
    run = RunOptions(
        holdout=options.holdout,
        folder=folder,
        resume=options.resume,
        device=choose_device(options.device),
    )
    started = time.monotonic()
    with _Display(console, name, preset, len(data.ids), options.holdout) as display:
        trained = train_head(data, place.method, preset, options.seed, display.show, run)
    seconds = time.monotonic() - started
    card = _card(place, trained, data)
    # The saved model leaves out what calibration says is noise; training figures do not.
    save_model(folder, card, trained)
    silent = card.metrics["tags_without_segment"]
    if silent > MANY_SILENT:
        console.print(
            f"{name}: {silent:.0%} of the tags got no segment at all; the localization stays below "
            "the lowest threshold, or training was too short.",
            markup=False,
            soft_wrap=True,
        )
    log = "".join(json.dumps(record) + "\n" for record in trained.log)
    write_text_atomic(folder / LOG_NAME, log)
    _draw(folder / CURVES_NAME, name, trained, console)
    if options.install:
        _install(place, options.home)
    return {
        "model": card.identity,
        "method": place.method,
        "speed": place.speed,
        "folder": str(folder),
        "videos": trained.num_videos,
        "held_out_videos": len(trained.held_out_videos),
        "held_out_video_map": card.metrics.get("held_out_video_map"),
        "false_segments_per_hour": card.metrics["false_segments_per_hour"],
        "parameters": sum(one.numel() for one in trained.head.trained_state().values()),
        "seconds": round(seconds, 1),
    }


def _card(place: _Place, trained: TrainedHead, data: TaggedDataset) -> ModelCard:
    calibrated = calibrate(trained, data)
    proposals = replace(trained.settings.proposals, class_min_scores=calibrated.class_min_scores)
    metrics: dict[str, Any] = {"protocol": SELECTION_PROTOCOL}
    if trained.held_out is not None:
        metrics["held_out_video_map"] = round(trained.held_out.video_map, 4)
        metrics["held_out_log_loss"] = round(trained.held_out.log_loss, 4)
    metrics["tags_without_segment"] = round(calibrated.silent_share, 4)
    metrics |= {"false_segments_per_hour": false_segments_per_hour(trained, data, proposals)}
    card = trained.card(place.name, place.version)
    counts = data.labels.sum(axis=0)
    summary = {
        "videos": len(data.ids),
        "hours": round(_hours(data), 4),
        "background_videos": int((~data.labels.any(axis=1)).sum()),
        "videos_per_class": dict(zip(data.classes, map(int, counts), strict=True)),
        "recipe_digest": data.recipe.digest,
    }
    calibration = None
    if calibrated.calibration is not None:
        calibration = {
            **calibrated.calibration.to_json(),
            "fitted_on": calibrated.fitted_on,
            "num_pairs": calibrated.num_pairs,
        }
    return replace(
        card,
        speed=place.speed,
        proposals=proposals,
        calibration=calibration,
        metrics=metrics,
        training={**card.training, "data": summary},
        notes=("Trained from whole-video tags; no timestamp entered training or thresholds.",),
    )


def _hours(data: TaggedDataset) -> float:
    snippets = sum(len(values) for values in data.features)
    return snippets * data.recipe.stride_frames / data.recipe.fps / 3600


def _name(options: TrainOptions, method: str) -> str:
    name = options.name or options.out.resolve().name
    return f"{name}-{method}" if options.method == ALL_METHODS else name


def _version(name: str, options: TrainOptions) -> str:
    """Return the next whole number, so that an installed model is never replaced."""
    installed = [card for _, card in list_models((options.home / "models",)) if card.name == name]
    numbers = [int(card.version) for card in installed if card.version.isdecimal()]
    return str(max(numbers, default=0) + 1)


def _install(place: _Place, home: Path) -> None:
    """Copy a head to where `--model NAME` and the service look; weights before the card."""
    target = home / "models" / f"{place.name}-{place.version}" / place.inside
    if target.resolve() == place.folder.resolve():
        return
    target.mkdir(parents=True, exist_ok=True)
    for part in (WEIGHTS_NAME, CARD_NAME):
        shutil.copyfile(place.folder / part, target / f"{part}.part")
        (target / f"{part}.part").replace(target / part)


def _draw(path: Path, name: str, trained: TrainedHead, console: Console) -> None:
    try:
        draw_curves(path, f"{name} ({trained.method})", trained.log, trained.chosen_step)
    except ImportError:
        console.print("matplotlib is not installed, so curves.png is left out.", markup=False)


def _report(
    error: PipelineError,
    options: TrainOptions,
    console: Console,
    exit_status: Callable[[PipelineError], int],
) -> int:
    if options.debug:
        console.print("".join(traceback.format_exception(error)), markup=False)
    if options.as_json:
        document = {"error": {"code": error.code, "message": str(error)}}
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        console.print(f"{error} [{error.code}]", markup=False, soft_wrap=True)
    return exit_status(error)


def _table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as aligned text."""
    columns = {
        "model": "model",
        "method": "method",
        "speed": "speed",
        "videos": "videos",
        "held_out_videos": "held out",
        "held_out_video_map": "held-out video mAP",
        "false_segments_per_hour": "false segments/h",
        "parameters": "parameters",
        "seconds": "seconds",
    }
    cells = [list(columns.values())]
    cells += [["-" if row[k] is None else f"{row[k]}" for k in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["  ".join(one.ljust(w) for one, w in zip(line, widths, strict=True)) for line in cells]
    first = rows[0]["model"].partition("@")[0]
    return "\n".join(line.rstrip() for line in lines) + (
        f"\n\nThe video mAP ranks held-out videos by tag; it says nothing about times.\n"
        f"Use it: kinetag localize --model {first} VIDEO\n"
    )


class _Display:
    """A progress bar with losses on a terminal, a few plain lines otherwise."""

    def __init__(
        self, console: Console, name: str, preset: Preset, num_videos: int, holdout: float
    ) -> None:
        self._console, self._name = console, name
        trained_on = max(1, num_videos - round(holdout * num_videos))
        self._before = [0]
        for stage in preset.stages:
            self._before.append(self._before[-1] + stage.num_steps(trained_on))
        self._said = -1
        self._bar = Progress(
            TextColumn("{task.fields[model]}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=float(self._before[-1]), model=name)

    def __enter__(self) -> "_Display":
        """Start the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the bar."""
        self._bar.stop()

    def show(self, record: LogRecord) -> None:
        """Show one log record."""
        if "stage" not in record:
            return
        done = self._before[int(record["stage"])] + record["step"]
        parts = " ".join(
            f"{name.removeprefix('loss_')} {value:.3f}"
            for name, value in record.items()
            if name.startswith("loss")
        )
        self._bar.update(self._task, completed=done, description=parts)
        share = int(PLAIN_LINES * done / max(1, self._before[-1]))
        if not self._console.is_terminal and share > self._said:
            self._said = share
            line = f"{self._name}: step {done:.0f}/{self._before[-1]}: {parts}"
            self._console.print(line, markup=False, soft_wrap=True)


def set_threads(num_threads: int) -> None:
    """Limit torch's threads; one thread makes the weights the same on every machine of a kind."""
    if num_threads > 0:
        torch.set_num_threads(num_threads)
