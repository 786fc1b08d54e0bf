"""Models that were never taught: real size, random weights. What they say means nothing.

They are for benches of time and memory alone.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from models.backbones.registry import random_weights
from models.bundled.recipe import bundled_recipe
from models.catalog import published_recipe
from models.config import InferenceSettings, ProposalSettings
from models.features import ExtractorSettings, FeatureExtractor
from models.heads.base import HeadSpec
from models.heads.registry import build_head
from models.modelcard import LoadedModel, ModelCard
from models.pipeline import Localizer
from models.recipe import FeatureRecipe

NUM_CLASSES = 20  # as many as THUMOS14 has
HEAD = "aicl"


def narrow_recipe() -> FeatureRecipe:
    """Return an eighth of the published width, RGB alone, for pictures of 64x48."""
    return replace(
        bundled_recipe(),
        name="narrow-rgb",
        short_side_px=48,
        crop_px=48,
        streams=("rgb",),
        flow=None,
        width=0.125,
        stream_width=128,
    )


RECIPES = {"published": published_recipe, "narrow": narrow_recipe}


def untaught_model(recipe: FeatureRecipe, seed: int = 0) -> LoadedModel:
    """Return a head of random weights with its card."""
    classes = tuple(f"class {number}" for number in range(NUM_CLASSES))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build_head(HEAD, HeadSpec.for_recipe(classes, recipe))
    head.eval()
    card = ModelCard(
        name="untaught",
        version=str(seed),
        method=HEAD,
        classes=classes,
        recipe=recipe,
        head_settings={},
        inference=InferenceSettings(),
        # A head that knows nothing is sure of nothing; let it propose all the same.
        proposals=ProposalSettings(class_threshold=0.0),
    )
    mean = np.zeros(recipe.feature_width, np.float32)
    return LoadedModel(card, head, mean, np.ones_like(mean), Path())


def untaught_localizer(recipe: FeatureRecipe, num_threads: int) -> Localizer:
    """Return backbones and head of random weights, as a worker would hold them."""
    settings = ExtractorSettings(num_threads=num_threads)
    extractor = FeatureExtractor(recipe, random_weights(recipe), settings)
    return Localizer(untaught_model(recipe), extractor)
