"""Recorded runs of public code, and our heads with the same weights; see parity/README.md."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from models.config import InferenceSettings
from models.heads.base import Head, Moment
from models.importers.importing import ImportedModel, ImportRequest, import_checkpoint
from models.localize.segments import localize_activations
from models.prediction import predict
from models.recipe import FeatureRecipe
from models.types import Activations, FeatureSet, FloatArray

FOLDER = Path(__file__).parent / "parity"
NUM_SAMPLES = 40  # T of every recorded batch
RELATIVE = 1e-5
MOMENT = Moment("main", 1, 1, 0, 1, torch.zeros(3, dtype=torch.int64))


@cache
def golden(name: str) -> dict[str, np.ndarray]:
    """Return every array of one recording."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def weights(name: str, prefix: str = "w.") -> dict[str, torch.Tensor]:
    """Return the recorded state dict."""
    return {
        key.removeprefix(prefix): torch.from_numpy(value)
        for key, value in golden(name).items()
        if key.startswith(prefix)
    }


def imported(source: str, folder: Path, states, num_classes: int = 4, **widths) -> ImportedModel:
    """Write state dicts as checkpoints and import them."""
    files = []
    for index, state in enumerate(states):
        files.append(folder / f"{index}.pth")
        torch.save(state, files[-1])
    classes = tuple(str(index) for index in range(num_classes))
    request = ImportRequest(source, tuple(files), "golden", classes, {"stream": 8, **widths})
    return import_checkpoint(request)


def native(name: str, video: int) -> FloatArray:
    """Return float32[N, D]: the features of one recorded video."""
    return golden(name)[f"native_{video}"]


def stretched(values: FloatArray) -> FloatArray:
    """Return float32[T, D]: the features as the public test loaders sample them."""
    return values[np.arange(NUM_SAMPLES) * len(values) // NUM_SAMPLES]


def batch(name: str) -> torch.Tensor:
    """Return f32[3, T, D]: the recorded batch."""
    return torch.from_numpy(np.stack([stretched(native(name, video)) for video in range(3)]))


@dataclass(frozen=True)
class _Runnable:
    head: Head
    recipe: FeatureRecipe
    standardize_mean: FloatArray
    standardize_std: FloatArray
    inference: InferenceSettings


def activations(model: ImportedModel, values: FloatArray) -> Activations:
    """Run an imported model over one video as the command line does, with T of the recording."""
    inference = replace(model.card.inference, num_snippets=NUM_SAMPLES)
    runnable = _Runnable(
        model.head,
        model.card.recipe,
        model.standardize_mean,
        model.standardize_std,
        inference,
    )
    seconds = np.zeros((len(values), 2))
    return predict(runnable, FeatureSet(values, seconds, model.card.recipe.digest, 1.0))


def decoded(model: ImportedModel, seen: Activations, values: FloatArray) -> np.ndarray:
    """Return float64[K, 4]: class, score, start and end of the segments of activations."""
    recipe = model.card.recipe
    grid = recipe.grid(len(values) * recipe.stride_frames / recipe.fps)
    assert grid.num_snippets == len(values)
    found = localize_activations(seen, grid, model.card.proposals)
    rows = [(one.class_index, one.raw_score, one.start_seconds, one.end_seconds) for one in found]
    return np.array(rows, np.float64).reshape(-1, 4)


def segments(model: ImportedModel, values: FloatArray) -> np.ndarray:
    """Return float64[K, 4]: class, score, start and end of one video's final segments."""
    return decoded(model, activations(model, values), values)


def ordered(rows: np.ndarray) -> np.ndarray:
    """Return rows of class, score, start, end by class, start, end and score."""
    keys = np.round(rows, 5)
    return rows[np.lexsort((keys[:, 1], keys[:, 3], keys[:, 2], keys[:, 0]))]


def assert_same_segments(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Hold two lists of class, score, start, end equal, whatever their order."""
    assert len(theirs) > 0, "the recording has nothing to compare"
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ordered(ours), ordered(theirs), rtol=RELATIVE, atol=1e-6)


def assert_close(ours: torch.Tensor, theirs: np.ndarray) -> None:
    """Hold a tensor equal to a recorded array."""
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=RELATIVE, atol=1e-6)
