"""From measured rates of the stages to hours of video per hour; arithmetic only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.bundled.recipe import bundled_recipe
from models.catalog import published_recipe
from models.recipe import FeatureRecipe
from models.speeds import FAST, RGB_ONLY, recipe_at


@dataclass(frozen=True, slots=True)
class StageRates:
    """What one machine does per second, each stage measured alone.

    Attributes:
        decode_frames: by one decode child, which keeps one processor busy.
        flow_pairs: on all processors or on the GPU; None without a flow stream.
        windows: of one stream's backbone, on all processors or on the GPU.
        cores: processors.
        backbone_on_gpu, flow_on_gpu: which stages have a device of their own.
        extracted_frames: by all of extraction but decoding, measured as a whole; None where that
            would take too long.
    """

    decode_frames: float
    flow_pairs: float | None
    windows: float
    cores: int
    backbone_on_gpu: bool = False
    flow_on_gpu: bool = False
    extracted_frames: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """Time per second of video.

    Attributes:
        realtime_factor: seconds of video per second, which is hours of video per hour.
        decode_seconds, flow_seconds, backbone_seconds: of the whole machine, per second of video.
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

        seconds = max(decode + flow + backbone, fps / decode_frames)

    Stages on a GPU add up there instead, beside the processors, and the slowest of the three
    decides. There the machine is quick enough to measure extraction as a whole, with all that
    happens between the stages; that figure then takes the place of the sum:

        seconds = max(fps / extracted_frames, fps / decode_frames)

    The real-time factor is 1 / seconds. What else a run does (starting the decode child,
    conversions, the head) came to less than the measurements scatter; docs/doctor.md.
    """
    single_decode = recipe.fps / rates.decode_frames
    decode = single_decode / rates.cores
    flow = recipe.fps / rates.flow_pairs if rates.flow_pairs is not None else 0.0
    backbone = len(recipe.streams) * recipe.fps / recipe.stride_frames / rates.windows
    on_gpu = flow * rates.flow_on_gpu + backbone * rates.backbone_on_gpu
    on_cores = decode + flow + backbone - on_gpu
    computing = max(on_cores, on_gpu)
    if rates.extracted_frames is not None:
        computing = recipe.fps / rates.extracted_frames
    seconds = max(computing, single_decode)
    longest = {"decoding": decode, "optical flow": flow, "the backbones": backbone}
    if seconds == single_decode:
        longest["decoding"] = single_decode
    return Estimate(1 / seconds, decode, flow, backbone, max(longest, key=lambda one: longest[one]))


@dataclass(frozen=True, slots=True)
class Measured:
    """What the benchmark measures: a recipe's flow, and its backbone where no other has the same.

    Attributes:
        recipe: what is measured and estimated.
        flow_of, windows_of: the key of the recipe whose flow and backbone it shares; an empty
            ``flow_of`` means that it has no flow.
    """

    recipe: FeatureRecipe
    flow_of: str
    windows_of: str


def measured_recipes() -> dict[str, Measured]:
    """Return what is estimated, by its key in the document."""
    published = published_recipe()
    return {
        "demo": Measured(bundled_recipe(), "demo", "demo"),
        "published": Measured(published, "published", "published"),
        "published_fast": Measured(
            recipe_at(published, FAST), flow_of="published_fast", windows_of="published"
        ),
        "published_rgb_only": Measured(
            recipe_at(published, RGB_ONLY), flow_of="", windows_of="published"
        ),
    }


def estimate_all(facts: Mapping[str, Any], cores: int) -> dict[str, Estimate]:
    """Estimate every recipe whose rates were measured; a stage not reached leaves it out.

    Args:
        facts: as `models.doctor.benchmark.probe_benchmark` yields them.
        cores: processors.
    """
    found = {}
    for key, one in measured_recipes().items():
        flow = facts.get(f"{one.flow_of}_flow_pairs_per_second")
        windows = facts.get(f"{one.windows_of}_windows_per_second_per_stream")
        decode = facts.get("decode_frames_per_second")
        if not decode or not windows or (one.flow_of and not flow):
            continue
        rates = StageRates(
            decode,
            flow if one.flow_of else None,
            windows,
            cores,
            backbone_on_gpu=facts.get("device") != "cpu",
            flow_on_gpu=facts.get("flow") == "gpu",
            extracted_frames=facts.get(f"{key}_extracted_frames_per_second"),
        )
        found[key] = estimate(one.recipe, rates)
    return found
