"""Stage 2 of the demonstration model: one narrow I3D per stream, trained on trimmed clips."""

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch

from models.atomic import write_bytes_atomic, write_text_atomic
from models.bundled.clips import BACKGROUND_INDEX, ClipSet
from models.bundled.recipe import BundledSettings, bundled_recipe
from models.training.backbone import (
    BackboneTrainingSettings,
    classify_clips,
    train_backbone,
)

STREAMS = ("rgb", "flow")


@dataclass(frozen=True, slots=True)
class _StreamJob:
    stream: str
    folder: Path
    settings: BundledSettings


def _training_settings(stream: str, settings: BundledSettings) -> BackboneTrainingSettings:
    recipe = bundled_recipe()
    return BackboneTrainingSettings(
        stream=stream,
        num_classes=BACKGROUND_INDEX + 1,
        width=recipe.width,
        crop_px=recipe.crop_px,
        epochs=settings.epochs,
        num_threads=1,
        seed=settings.seed,
    )


def _train_stream(job: _StreamJob) -> None:
    weights_path = job.folder / f"{job.stream}.safetensors"
    if weights_path.exists():
        return
    clips = np.load(job.folder / f"clips-train-{job.stream}.npy", mmap_mode="r")
    labels = np.load(job.folder / "clips-train-labels.npy")
    log_path = job.folder / f"{job.stream}.jsonl"
    lines: list[str] = []

    def on_log(entry: dict[str, float]) -> None:
        lines.append(json.dumps({"stream": job.stream, **entry}))
        write_text_atomic(log_path, "\n".join(lines) + "\n")
        print(lines[-1], flush=True)  # noqa: T201 - the build's progress

    settings = _training_settings(job.stream, job.settings)
    state, _ = train_backbone(clips, labels, settings, on_log)
    write_bytes_atomic(weights_path, safetensors.torch.save(state))


def train_streams(folder: Path, clips: ClipSet, settings: BundledSettings) -> dict[str, str]:
    """Train both streams side by side, one thread each; return stream -> sha256 of its file."""
    folder.mkdir(parents=True, exist_ok=True)
    if not all((folder / f"{stream}.safetensors").exists() for stream in STREAMS):
        np.save(folder / "clips-train-rgb.npy", clips.rgb)
        np.save(folder / "clips-train-flow.npy", clips.flow)
        np.save(folder / "clips-train-labels.npy", clips.labels)
        jobs = [_StreamJob(stream, folder, settings) for stream in STREAMS]
        with ProcessPoolExecutor(len(jobs), mp_context=get_context("spawn")) as pool:
            list(pool.map(_train_stream, jobs))
        for name in ("rgb", "flow", "labels"):
            (folder / f"clips-train-{name}.npy").unlink()
    return {
        stream: hashlib.sha256((folder / f"{stream}.safetensors").read_bytes()).hexdigest()
        for stream in STREAMS
    }


def clip_accuracy(folder: Path, clips: ClipSet, settings: BundledSettings) -> dict[str, Any]:
    """Return per stream the accuracy on unseen clips and the recall of each class."""
    figures: dict[str, Any] = {}
    for stream in STREAMS:
        state = safetensors.torch.load_file(folder / f"{stream}.safetensors")
        values = clips.rgb if stream == "rgb" else clips.flow
        winners = classify_clips(values, state, _training_settings(stream, settings))
        hits = winners == clips.labels
        figures[stream] = {
            "accuracy": round(float(hits.mean()), 4),
            "recall": [
                round(float(hits[clips.labels == index].mean()), 4)
                for index in range(BACKGROUND_INDEX + 1)
            ],
        }
    return figures
