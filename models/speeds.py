"""Speeds: other ways to make the features of a model, cheaper ones, and how a model is named.

A speed changes the recipe, and so its digest: a head belongs to the speed it was trained at, and a
model offers the speeds it has heads for. What each costs is measured in docs/speeds.md.
"""

from dataclasses import dataclass, replace

from models.errors import ModelUnknown, RecipeMismatch
from models.recipe import FeatureRecipe, FlowRecipe
from models.types import FeatureSet

EXACT, FAST, RGB_ONLY = "exact", "fast", "rgb-only"
SPEED_MARK = ":"

# What each speed is, for people; the order is from dear to cheap.
SPEEDS: dict[str, str] = {
    EXACT: "The recipe as the model states it, with the published solver of optical flow.",
    FAST: "The same network on optical flow that is solved coarsely, with few iterations.",
    RGB_ONLY: "The RGB stream alone: no optical flow is computed.",
}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One model at one speed, as users name it: ``NAME[@VERSION][:SPEED]``.

    Attributes:
        name: of the model.
        version: empty for the newest.
        speed: empty for the one that the model runs at by itself.
    """

    name: str
    version: str = ""
    speed: str = ""

    @classmethod
    def parse(cls, spec: str) -> "ModelChoice":
        """Take a name apart; anything that is no known speed names a model that is not there."""
        model, _, speed = spec.partition(SPEED_MARK)
        name, _, version = model.partition("@")
        return cls(name, version, speed)

    def at(self, speed: str) -> "ModelChoice":
        """Return this choice at a speed wished beside it; empty leaves it as it is.

        Raises:
            ModelUnknown: the name holds another speed already.
        """
        if speed and self.speed not in {"", speed}:
            message = f"The model is named at speed {self.speed} and {speed} is wished; give one."
            raise ModelUnknown(message)
        return replace(self, speed=speed or self.speed)

    def __str__(self) -> str:
        """NAME[@VERSION][:SPEED]."""
        version = f"@{self.version}" if self.version else ""
        speed = f"{SPEED_MARK}{self.speed}" if self.speed else ""
        return f"{self.name}{version}{speed}"


def speed_not_offered(model: str, speed: str, offered: tuple[str, ...]) -> str:
    """Return the sentence for a model that has no head for a speed.

    Args:
        model: NAME@VERSION.
        speed: that was wished.
        offered: speeds that the model has heads for.
    """
    if speed not in SPEEDS:
        return f"There is no speed {speed}; choose one of {', '.join(SPEEDS)}."
    return (
        f"The model {model} has no head for the speed {speed}; choose {' or '.join(offered)}, or "
        f"train one: kinetag train --videos DIR --speed {speed}."
    )


def fast_flow(flow: FlowRecipe) -> FlowRecipe:
    """Return the coarse solver of `FAST`: fewer scales, warps and iterations, no median filter.

    The step of 0.55 between four scales reaches as far as the published five scales do, and a
    little farther. Chosen among 60 settings on frame pairs of real recordings for its error
    against the published parameters per time (docs/speeds.md).
    """
    return replace(
        flow,
        num_scales=4,
        scale_step=0.55,
        num_warps=2,
        inner_iterations=20,
        outer_iterations=1,
        median_filtering=1,
    )


def recipe_at(recipe: FeatureRecipe, speed: str) -> FeatureRecipe:
    """Return a recipe at a speed; its name stays, since the name is of the backbones.

    Args:
        recipe: as the model states it.
        speed: one of SPEEDS.

    Raises:
        RecipeMismatch: the recipe has no optical flow to save, or the speed is unknown.
    """
    if speed == EXACT:
        return recipe
    if speed not in SPEEDS:
        message = f"There is no speed {speed}; choose one of {', '.join(SPEEDS)}."
        raise RecipeMismatch(message)
    if recipe.flow is None or "rgb" not in recipe.streams:
        message = (
            f"The recipe {recipe.name} has the stream {' and '.join(recipe.streams)} alone, so "
            f"nothing is to be saved by {speed}; use its speed {EXACT}."
        )
        raise RecipeMismatch(message)
    if speed == FAST:
        return replace(recipe, flow=fast_flow(recipe.flow))
    weights = tuple((stream, digest) for stream, digest in recipe.weights if stream == "rgb")
    return replace(recipe, streams=("rgb",), flow=None, weights=weights)


def rgb_alone(features: FeatureSet, recipe: FeatureRecipe) -> FeatureSet:
    """Return what `RGB_ONLY` would have computed, taken out of features that hold it already.

    Args:
        features: float32[T, D] of a recipe with both streams.
        recipe: of these features.

    Raises:
        RecipeMismatch: see `recipe_at`.
    """
    reduced = recipe_at(recipe, RGB_ONLY)
    start = recipe.streams.index("rgb") * recipe.stream_width
    computed_with = {name: how for name, how in features.computed_with.items() if name != "flow"}
    return replace(
        features,
        values=features.values[:, start : start + recipe.stream_width],
        recipe_digest=reduced.digest,
        computed_with=computed_with,
    )
