"""The backbones there are. Adding one is one module and one line in `BACKBONES`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from models.backbones.inception_i3d import (
    KINETICS_CLASSES,
    InceptionI3d,
    fold_batch_norms,
)
from models.errors import RecipeMismatch
from models.recipe import FeatureRecipe
from models.weights import StateDict, load_strictly

STREAM_CHANNELS = {"rgb": 3, "flow": 2}


class Backbone(Protocol):
    """What every backbone offers beside being a module."""

    in_channels: int
    feature_width: int

    def forward_features(self, x: Tensor) -> Tensor:
        """Return float[B, D] of clips float[B, Cin, F, H, W] in [-1, 1]."""
        ...


Builder = Callable[[FeatureRecipe, str, int], nn.Module]


@dataclass(frozen=True, slots=True)
class BackboneEntry:
    """One kind of backbone.

    Attributes:
        build: makes the network of (recipe, stream, number of classes).
        streams: it can serve.
        classifier: name of the parameter whose first dimension counts the classes.
        fold: speeds a loaded network up for inference, in place.
    """

    build: Builder
    streams: tuple[str, ...]
    classifier: str
    fold: Callable[[nn.Module], None]


def _build_inception(recipe: FeatureRecipe, stream: str, num_classes: int) -> nn.Module:
    return InceptionI3d(
        in_channels=STREAM_CHANNELS[stream], num_classes=num_classes, width=recipe.width
    )


def _build_i3d_r50(recipe: FeatureRecipe, stream: str, num_classes: int) -> nn.Module:
    # Imported here because pytorchvideo takes seconds to load and most recipes do without it.
    from models.backbones.pytorchvideo_rgb import PytorchvideoI3d

    del recipe, stream
    return PytorchvideoI3d(num_classes=num_classes)


def _fold_nothing(network: nn.Module) -> None:
    del network


BACKBONES: dict[str, BackboneEntry] = {
    "inception_i3d": BackboneEntry(
        _build_inception, ("rgb", "flow"), "logits.conv3d.weight", fold_batch_norms
    ),
    "i3d_r50": BackboneEntry(_build_i3d_r50, ("rgb",), "blocks.6.proj.weight", _fold_nothing),
}


def build_backbone(
    recipe: FeatureRecipe, stream: str, num_classes: int = KINETICS_CLASSES
) -> nn.Module:
    """Build the network of one stream, with fresh weights.

    Raises:
        RecipeMismatch: the recipe names no backbone we have, a stream it cannot serve, or another
            feature width than it gives.
    """
    entry = _entry(recipe)
    if stream not in entry.streams:
        message = f"The backbone {recipe.backbone} has no {stream} stream, only {entry.streams}."
        raise RecipeMismatch(message)
    network = entry.build(recipe, stream, num_classes)
    width = getattr(network, "feature_width", None)
    if width != recipe.stream_width:
        message = (
            f"The backbone {recipe.backbone} at width {recipe.width} gives features of width "
            f"{width}, but the recipe {recipe.name} says {recipe.stream_width}."
        )
        raise RecipeMismatch(message)
    return network


def load_backbone(recipe: FeatureRecipe, stream: str, state: Mapping[str, Tensor]) -> nn.Module:
    """Build the network of one stream and load its weights, ready for inference.

    Raises:
        RecipeMismatch: see `build_backbone`.
        WeightsInvalid: a name or shape does not fit.
    """
    entry = _entry(recipe)
    classifier = state.get(entry.classifier)
    num_classes = len(classifier) if classifier is not None else KINETICS_CLASSES
    with torch.device("meta"):  # nothing is drawn that would be overwritten at once
        network = build_backbone(recipe, stream, num_classes)
    load_strictly(network, state, f"the {stream} stream of {recipe.name}")
    network.eval()
    entry.fold(network)
    return network


def random_weights(recipe: FeatureRecipe, seed: int = 0) -> dict[str, StateDict]:
    """Draw weights of a recipe's size for every stream; the same seed gives the same ones.

    They make features that mean nothing: for benches and tests.
    """
    weights: dict[str, StateDict] = {}
    with torch.random.fork_rng(devices=[]):
        for index, stream in enumerate(recipe.streams):
            torch.manual_seed(seed + index)
            network = build_backbone(recipe, stream)
            for module in network.modules():
                if isinstance(module, nn.Conv3d):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            weights[stream] = network.state_dict()
    return weights


def _entry(recipe: FeatureRecipe) -> BackboneEntry:
    entry = BACKBONES.get(recipe.backbone)
    if entry is None:
        message = (
            f"The recipe {recipe.name} names the backbone {recipe.backbone}, which this release "
            f"does not have; it has {', '.join(BACKBONES)}."
        )
        raise RecipeMismatch(message)
    return entry
