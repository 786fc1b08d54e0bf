"""The bundled backbone trained on with a set's trimmed training clips.

The one place of the benchmark where timestamps are used for learning, and only those of training
recordings or training clips: this backbone has seen where actions are. No head does.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import safetensors.torch

from bench.real.features import FeatureWork, Stretch
from bench.real.kept import save_array
from bench.real.sets import BACKGROUND, GRID_FPS, RealSet, Shot, TrimmedClip
from models.arrays import center_crop
from models.atomic import write_bytes_atomic, write_text_atomic
from models.flow.tvl1 import build_flow_engine, quantize_flow
from models.recipe import FeatureRecipe, FlowRecipe
from models.training.backbone import BackboneTrainingSettings, train_backbone
from models.types import ByteArray
from models.weights import StateDict, load_weights

# More than a window, for random places in time; as the bundled backbone's training clips.
CLIP_FRAMES = 20
# Windows begin this far apart at the closest.
STEP_FRAMES = 4
NUM_WINDOWS = 704
# Background is the most varied class.
BACKGROUND_FACTOR = 2
# Enough to learn new classes from a network that has seen none of these pictures; not tuned.
STEPS = 120
BATCH_SIZE = 32
PEAK_LEARNING_RATE = 1e-3
SEED = 0

# Later than any recording's end.
END_FRAME = 1 << 30

Window = tuple[Path, int, int]


def choose_windows(clips: Sequence[TrimmedClip], classes: Sequence[str]) -> list[Window]:
    """Return (file, first frame, label index): every class in equal share, background in double.

    The windows of a class are spread evenly over all of its stretches, so that a long one counts
    more than a short one but no class more than another; background comes last.
    """
    chosen: list[Window] = []
    for index, label in enumerate((*classes, BACKGROUND)):
        starts = [
            (clip.path, first)
            for clip in clips
            if clip.label == label
            for first in range(
                round(clip.start_seconds * GRID_FPS),
                round(clip.end_seconds * GRID_FPS) - CLIP_FRAMES + 1,
                STEP_FRAMES,
            )
        ]
        share = NUM_WINDOWS // (len(classes) + BACKGROUND_FACTOR)
        wanted = share * (BACKGROUND_FACTOR if label == BACKGROUND else 1)
        places = np.unique(np.linspace(0, len(starts) - 1, wanted).round().astype(np.int64))
        chosen += [(*starts[place], index) for place in places if starts]
    return chosen


def read_windows(
    windows: Sequence[Window], recipe: FeatureRecipe, *, letterbox: bool
) -> tuple[ByteArray, ByteArray]:
    """Return uint8[N, F, H, W, 3] pictures and uint8[N, F, H, W, 2] flow, square, short side."""
    engine = build_flow_engine("auto", num_threads=1)
    flow_recipe = recipe.flow if recipe.flow is not None else FlowRecipe()
    rgb: list[ByteArray] = [np.zeros(0, np.uint8)] * len(windows)
    flow = list(rgb)
    for path in sorted({path for path, _, _ in windows}):
        places = [place for place, window in enumerate(windows) if window[0] == path]
        whole = Shot(path, 0, END_FRAME)
        with Stretch(whole, recipe, letterbox=letterbox) as source:
            for place in sorted(places, key=lambda place: windows[place][1]):
                first = windows[place][1]
                frames = source.read(first, first + CLIP_FRAMES + 1)
                missing = CLIP_FRAMES + 1 - len(frames)
                frames = np.concatenate([frames, frames[-1:].repeat(missing, axis=0)])
                grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
                levels = quantize_flow(engine.compute(grey, flow_recipe), flow_recipe.clip_px)
                side = min(frames.shape[1:3])
                rgb[place] = center_crop(frames[:-1], side).copy()
                flow[place] = center_crop(levels, side).copy()
    return np.stack(rgb), np.stack(flow)


def finetuned(
    real: RealSet, recipe: FeatureRecipe, weights: Mapping[str, StateDict], folder: Path
) -> FeatureWork:
    """Train both streams on, or read them back, and return the work of extracting with them.

    Args:
        real: the set; its trimmed clips are of training recordings.
        recipe: of the backbone to begin with.
        weights: of that backbone.
        folder: of what is kept for this set.
    """
    target = folder / "finetuned"
    names = ("rgb", "flow")
    if not all((target / f"{name}.safetensors").exists() for name in names):
        windows = choose_windows(real.clips, real.classes)
        labels = np.array([label for _, _, label in windows], np.int64)
        for name, clips in zip(
            names, _kept_windows(windows, (recipe, real.letterbox), target), strict=True
        ):
            _train_stream(name, clips, labels, (recipe, weights[name], real, target))
    paths = {name: target / f"{name}.safetensors" for name in names}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
    own = replace(recipe, name=f"{recipe.name}+{real.name}", weights=tuple(digests.items()))
    loaded = {name: load_weights(path, digests[name]) for name, path in paths.items()}
    return FeatureWork(own, loaded, folder)


def _kept_windows(
    windows: Sequence[Window], view: tuple[FeatureRecipe, bool], target: Path
) -> tuple[ByteArray, ByteArray]:
    """Read the windows, or what an interrupted run has kept of them."""
    paths = (target / "windows-rgb.npy", target / "windows-flow.npy")
    if not all(path.exists() for path in paths):
        found = read_windows(windows, view[0], letterbox=view[1])
        for path, values in zip(paths, found, strict=True):
            save_array(path, values)
    return np.load(paths[0], allow_pickle=False), np.load(paths[1], allow_pickle=False)


def _train_stream(
    name: str,
    clips: ByteArray,
    labels: np.ndarray,
    basis: tuple[FeatureRecipe, StateDict, RealSet, Path],
) -> None:
    recipe, initial, real, target = basis
    path = target / f"{name}.safetensors"
    if path.exists():
        return
    settings = BackboneTrainingSettings(
        stream=name,
        num_classes=len(real.classes) + 1,
        width=recipe.width,
        num_frames=recipe.window_frames,
        crop_px=recipe.crop_px,
        epochs=max(1, round(STEPS * BATCH_SIZE / len(clips))),
        batch_size=BATCH_SIZE,
        peak_learning_rate=PEAK_LEARNING_RATE,
        num_threads=1,
        seed=SEED,
    )
    lines: list[str] = []

    def on_log(entry: dict[str, float]) -> None:
        lines.append(json.dumps({"stream": name, "clips": len(clips), **entry}))
        print(f"fine-tuning {real.name}: {lines[-1]}", flush=True)

    state, _ = train_backbone(clips, labels, settings, on_log, initial)
    write_text_atomic(target / f"{name}.jsonl", "\n".join(lines) + "\n")
    write_bytes_atomic(path, safetensors.torch.save(state))
