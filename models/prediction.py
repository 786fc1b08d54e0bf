"""Runs a trained head over the features of one video, however long it is."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from models.config import InferenceSettings
from models.errors import ContractViolation, RecipeMismatch
from models.heads.base import Head
from models.localize.windows import cross_fade, inference_positions, plan_windows
from models.recipe import FeatureRecipe
from models.types import Activations, FeatureSet, FloatArray


class RunnableHead(Protocol):
    """What `predict` needs: a trained head or a loaded model."""

    @property
    def head(self) -> Head:
        """The network."""

    @property
    def recipe(self) -> FeatureRecipe:
        """Of the features it takes."""

    @property
    def standardize_mean(self) -> FloatArray:
        """float32[D], subtracted from features."""

    @property
    def standardize_std(self) -> FloatArray:
        """float32[D], features are divided by it."""

    @property
    def inference(self) -> InferenceSettings:
        """How the head is fed."""


def predict(
    model: RunnableHead, features: FeatureSet, inference: InferenceSettings | None = None
) -> Activations:
    """Return the activations of one video; ``inference`` goes before the model's own.

    With native sampling a video longer than a window is seen in overlapping windows whose
    answers are cross-faded; with uniform sampling it is stretched or thinned and seen at once, so
    that T of the result differs from the video's snippets.

    Raises:
        RecipeMismatch: the features come from another recipe than the model's.
        ContractViolation: the features are empty, of another width or not finite.
    """
    _check(model, features)
    settings = inference if inference is not None else model.inference
    if settings.sampling != "native":
        positions = inference_positions(
            len(features.values), settings.num_snippets, settings.sampling
        )
        return model.head.activations(_standardized(model, features.values[positions]))
    ranges = plan_windows(len(features.values), settings.window_snippets, settings.overlap_snippets)
    # A window at a time: a long video's features are not copied whole.
    windows = [
        model.head.activations(_standardized(model, features.values[start:stop]))
        for start, stop in ranges
    ]
    return cross_fade(ranges, windows)


def _standardized(model: RunnableHead, values: FloatArray) -> Tensor:
    """Return float32[t, D] as the head takes it, on the head's device."""
    standardized = (values - model.standardize_mean) / model.standardize_std
    tensor = torch.from_numpy(np.ascontiguousarray(standardized, np.float32))
    return tensor.to(next(model.head.parameters()).device)


def _check(model: RunnableHead, features: FeatureSet) -> None:
    if features.recipe_digest != model.recipe.digest:
        message = (
            f"These features come from recipe {features.recipe_digest}, but the model was trained "
            f"on {model.recipe.name} ({model.recipe.digest}); extract them with its recipe."
        )
        raise RecipeMismatch(message)
    width = model.recipe.feature_width
    values = features.values
    if values.ndim != 2 or values.shape[1] != width or len(values) == 0:  # noqa: PLR2004  # T, D
        message = f"features must be [T >= 1, {width}], got {values.shape}"
        raise ContractViolation(message)
    if not np.isfinite(values).all():
        message = "features hold values that are not finite"
        raise ContractViolation(message)
