"""From measured rates of the stages to hours of video per hour; arithmetic only."""

from collections.abc import Mapping
from dataclasses import dataclass

from models.bundled.recipe import bundled_recipe
from models.catalog import published_recipe
from models.recipe import FeatureRecipe

# What runs beside the measured stages (conversion of frames, cutting windows, storing), as a share
# of them. Calibrated against bench.path; docs/doctor.md has the figures.
OVERHEAD_SHARE = 0.0


@dataclass(frozen=True, slots=True)
class StageRates:
    """What one machine does per second, each stage measured alone.

    Attributes:
        decode_frames: by one decode child, which keeps one processor busy.
        flow_pairs: on all processors.
        windows: of one stream's backbone, on all processors or on the GPU.
        cores: processors.
        on_gpu: whether the backbones have a device of their own.
    """

    decode_frames: float
    flow_pairs: float
    windows: float
    cores: int
    on_gpu: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """Time per second of video.

    Attributes:
        realtime_factor: seconds of video per second, which is hours of video per hour.
        decode_seconds, flow_seconds, backbone_seconds: of all processors, per second of video.
        bound_by: the stage that takes most.
    """

    realtime_factor: float
    decode_seconds: float
    flow_seconds: float
    backbone_seconds: float
    bound_by: str


def estimate(recipe: FeatureRecipe, rates: StageRates) -> Estimate:
    """Estimate the speed of feature extraction, which is all but the whole of a run.

    One second of video holds ``fps`` frames and pairs and ``fps / stride`` windows per stream:

        decode   = fps / (decode_frames * cores)      one child keeps one of the processors busy
        flow     = fps / flow_pairs                   0 without a flow stream
        backbone = streams * fps / stride / windows

    On processors alone every stage works on the same cores, so times add up, and only the child
    that decodes cannot use more than one core:

        seconds = max((decode + flow + backbone) * (1 + overhead), fps / decode_frames)

    With a GPU the backbones run beside the processors, and the slower side decides:

        seconds = max((decode + flow) * (1 + overhead), fps / decode_frames, backbone)

    The real-time factor is 1 / seconds.
    """
    single_decode = recipe.fps / rates.decode_frames
    decode = single_decode / rates.cores
    flow = recipe.fps / rates.flow_pairs if "flow" in recipe.streams else 0.0
    windows = len(recipe.streams) * recipe.fps / recipe.stride_frames
    backbone = windows / rates.windows
    on_cores = decode + flow if rates.on_gpu else decode + flow + backbone
    seconds = max(on_cores * (1 + OVERHEAD_SHARE), single_decode)
    if rates.on_gpu:
        seconds = max(seconds, backbone)
    longest = {"decoding": decode, "optical flow": flow, "the backbones": backbone}
    if seconds == single_decode:
        longest["decoding"] = single_decode
    return Estimate(1 / seconds, decode, flow, backbone, max(longest, key=lambda one: longest[one]))


def estimated_recipes() -> dict[str, FeatureRecipe]:
    """Return the recipes whose speed is measured and estimated, by their name in the document."""
    return {"demo": bundled_recipe(), "published": published_recipe()}


def estimate_all(
    recipes: Mapping[str, FeatureRecipe], benchmark: Mapping[str, float], cores: int, on_gpu: bool
) -> dict[str, Estimate]:
    """Estimate every recipe whose rates were measured; keys as `models.doctor.benchmark` has them.

    A stage that was not reached leaves its recipe out.
    """
    found = {}
    for key, recipe in recipes.items():
        names = (
            "decode_frames_per_second",
            f"{key}_flow_pairs_per_second",
            f"{key}_windows_per_second_per_stream",
        )
        if all(benchmark.get(name, 0) > 0 for name in names):
            decode, flow, windows = (float(benchmark[name]) for name in names)
            found[key] = estimate(recipe, StageRates(decode, flow, windows, cores, on_gpu))
    return found
