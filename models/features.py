"""Frames to snippet features: crops, optical flow, backbone; in chunks, with flat memory.

Owns how a recipe becomes numbers. Decoding, flow and both backbones overlap on a conveyor. A
chunk's features depend on its own frames alone (and on one frame past its end, for the last
flow), so chunks can be computed anywhere, in any order.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.arrays import LEVEL_MAX, center_crop
from models.backbones.precision import DTYPES, bf16_unit, choose_precision
from models.backbones.registry import load_backbone
from models.conveyor import Lanes, ahead
from models.errors import ContractViolation, WeightsMissing
from models.extraction_run import ExtractionRun
from models.feature_store import ChunkFeatures, FeatureStore
from models.flow.frames import Region, resolve_threads
from models.flow.tvl1 import FlowEngine, build_flow_engine
from models.flow.tvl1_gpu import GpuFlowEngine
from models.frame_windows import (
    BLOCK_FRAMES,
    ChunkPlan,
    Frames,
    FrameSource,
    cut_batches,
    decoded_blocks,
    device_flow_levels,
    flow_levels,
    padded,
)
from models.prefetch import prefetched
from models.recipe import FeatureRecipe
from models.torch_limits import reproducible_convolutions, torch_memory, torch_threads
from models.types import (
    ByteArray,
    FeatureSet,
    MediaWarning,
    Progress,
    ProgressCallback,
    StopCallback,
)

# One window of the published width fills a core's caches (bench.i3d --batch); narrow networks gain
# by sharing weights between a few.
WIDE_CPU_BATCH = 1
NARROW_CPU_BATCH = 4
# oneDNN's fp32 convolutions of the published width are 1.4 times as fast with two threads in one
# operation and two windows as with a thread each.
WIDE_FP32_CPU_BATCH = 2
GPU_BATCH = 16
# A GPU solves the pairs of a block at once; some hundred keep a large one busy.
GPU_BLOCK_FRAMES = 800
# More lanes than this hold more activations than they gain; further threads go inside a lane.
MAX_WIDE_LANES = 4
MAX_NARROW_LANES = 16
# Part of ``computed_with``: raised whenever the same recipe would give other numbers.
ARITHMETIC_VERSION = "1"


@dataclass(frozen=True, slots=True)
class ExtractorSettings:
    """How features are computed; none of it is part of the recipe.

    Attributes:
        device: of the backbones, as torch names it.
        batch_size: windows per pass of the backbone; 0 chooses by device.
        precision: of the backbones: ``fp32``, ``bf16``, or ``auto``: see
            `models.backbones.precision`.
        flow_implementation: see `models.flow.tvl1.build_flow_engine`.
        num_threads: for flow and backbones together; 0 takes every processor.
    """

    device: str = "cpu"
    batch_size: int = 0
    precision: str = "auto"
    flow_implementation: str = "auto"
    num_threads: int = 0


@dataclass(frozen=True, slots=True)
class LaneLayout:
    """How threads share the work of extraction.

    Attributes:
        num_lanes: pieces of work at a time.
        threads_per_lane: that share one piece.
        batch_size: windows in one pass of a backbone.
    """

    num_lanes: int
    threads_per_lane: int
    batch_size: int


class FeatureExtractor:
    """The backbones of one recipe, loaded; heavy to build, cheap to use, for one thread.

    Args:
        recipe: what to compute.
        weights: stream -> state dict, for each stream of the recipe.
        settings: how to compute it.
        flow_engine: takes the place of the one the settings would build; where it only repeats
            what that engine computed, it must carry that engine's name and version.

    Attributes:
        recipe: as given.
        computed_with: precision and versions; stored beside every chunk.
        busy_seconds: stage -> seconds that lanes have spent on it so far, added up over lanes.
        num_lanes: pieces of work at a time.

    Raises:
        WeightsMissing: a stream has no weights.
        WeightsInvalid: weights do not fit the recipe's backbone.
        RecipeMismatch: the recipe's backbone is unknown or gives other features.
        OutOfMemory: the device cannot hold the networks.
    """

    def __init__(
        self,
        recipe: FeatureRecipe,
        weights: Mapping[str, Mapping[str, Tensor]],
        settings: ExtractorSettings | None = None,
        flow_engine: FlowEngine | None = None,
    ) -> None:
        self.recipe = recipe
        self._settings = settings if settings is not None else ExtractorSettings()
        self._device = torch.device(self._settings.device)
        self._precision = choose_precision(
            self._settings.precision, self._settings.device, recipe.width
        )
        self._dtype = DTYPES[self._precision]
        on_cpu = self._device.type == "cpu"
        num_threads = resolve_threads(self._settings.num_threads)
        layout = (
            cpu_layout(recipe, self._precision, num_threads)
            if on_cpu
            else LaneLayout(1, num_threads, GPU_BATCH)
        )
        self.num_lanes, self._threads_per_lane = layout.num_lanes, layout.threads_per_lane
        self._batch_size = self._settings.batch_size or layout.batch_size
        self._block_frames = BLOCK_FRAMES if on_cpu else GPU_BLOCK_FRAMES
        self._engine = flow_engine if "flow" in recipe.streams else None
        if "flow" in recipe.streams and flow_engine is None:
            implementation = self._settings.flow_implementation
            if implementation == "auto" and not on_cpu:
                implementation = "gpu"
            self._engine = build_flow_engine(
                implementation, self._threads_per_lane, self._settings.device
            )
        with torch_memory():
            self._networks = {stream: self._load(stream, weights) for stream in recipe.streams}
        self.computed_with = self._describe()
        self.busy_seconds: dict[str, float] = {}

    def num_chunks(self, duration_seconds: float) -> int:
        """Return the number of chunks of a video of this duration."""
        grid = self.recipe.grid(duration_seconds)
        return math.ceil(grid.num_snippets / self.recipe.chunk_snippets)

    def extract_chunk(
        self,
        source: FrameSource,
        chunk: int,
        on_progress: ProgressCallback | None = None,
        should_stop: StopCallback | None = None,
    ) -> ChunkFeatures:
        """Compute the features of one chunk.

        Args:
            source: an open video on the recipe's frame rate and short side.
            chunk: its number.
            on_progress: hears of stages ``decoding``, ``flow`` and ``features`` with the
                fraction of this chunk that is done.
            should_stop: asked before each block of frames and each batch.

        Returns:
            float32[t, D] of the chunk's snippets. The same for every batch order, number of
            chunks computed before, and place it is computed at with the same ``computed_with``.

        Raises:
            ContractViolation: the video has no such chunk.
            InputError: a frame cannot be read.
            OutOfMemory: memory of the machine or the device ran out.
            Cancelled: ``should_stop`` answered True.
        """
        plan = ChunkPlan.of(self.recipe, source.facts.duration_seconds, chunk)
        run = ExtractionRun(plan, on_progress, should_stop)
        before = source.warnings
        streams = self.recipe.streams
        with (
            torch_memory(),
            torch_threads(self._threads_per_lane),
            reproducible_convolutions(),
            Lanes(self.num_lanes) as lanes,
            closing(prefetched(decoded_blocks(source, plan, self._block_frames))) as decoded,
        ):
            # Decoding, flow and backbones overlap; each generator pulls from the one above it.
            frames = run.decoding(decoded)
            blocks = ahead(lanes, "flow", self._prepare, frames, self.num_lanes + 1)
            batches = cut_batches(run.flowing(blocks), plan, self._batch_size)
            windows = ((one, batch[one]) for batch in batches for one in streams)
            depth = (self.num_lanes + 1) * len(streams)
            embedded = ahead(lanes, "features", self._embed, windows, depth)
            parts = run.collect(embedded, streams)
        for stage, seconds in lanes.busy_seconds.items():
            self.busy_seconds[stage] = self.busy_seconds.get(stage, 0.0) + seconds
        values = np.concatenate([np.concatenate(parts[one]) for one in streams], axis=1)
        warnings = tuple(one for one in source.warnings if one not in before or chunk == 0)
        return ChunkFeatures(values, dict(self.computed_with), warnings)

    def extract(
        self,
        source: FrameSource,
        *,
        store: FeatureStore | None = None,
        video_sha256: str | None = None,
        on_progress: ProgressCallback | None = None,
        should_stop: StopCallback | None = None,
    ) -> FeatureSet:
        """Compute the features of a whole video, taking stored chunks where they fit.

        Stored chunks count when all of the video's are there and were computed alike. Otherwise
        only those computed as this extractor computes are kept and all others made anew, so that
        ``computed_with`` is one and the same inside the video.

        Raises:
            InputError, OutOfMemory, Cancelled: see `extract_chunk`.
            DiskFull: the store has no space.
            ContractViolation: a store is given without the video's sha256.
        """
        if store is not None and video_sha256 is None:
            message = "a feature store needs the video's sha256"
            raise ContractViolation(message)
        facts, digest = source.facts, self.recipe.digest
        grid = self.recipe.grid(facts.duration_seconds)
        count = self.num_chunks(facts.duration_seconds)
        stored: dict[int, dict[str, str]] = {}
        if store is not None and video_sha256 is not None:
            stored = store.arithmetic(video_sha256, digest)
        kept = _kept_chunks(stored, count, self.computed_with)
        # Filled chunk by chunk: of a long video nothing but this stays in memory.
        values = np.empty((grid.num_snippets, self.recipe.feature_width), np.float32)
        arithmetics: list[dict[str, str]] = []
        warnings: list[MediaWarning] = []
        for index in range(count):
            chunk = None
            if index in kept and store is not None and video_sha256 is not None:
                chunk = store.load_chunk(video_sha256, digest, index)
            if chunk is None:
                part = _part_progress(on_progress, index, count)
                chunk = self.extract_chunk(source, index, part, should_stop)
                if store is not None and video_sha256 is not None:
                    store.store_chunk(video_sha256, digest, index, chunk)
            first = index * self.recipe.chunk_snippets
            values[first : first + len(chunk.values)] = chunk.values
            arithmetics.append(chunk.computed_with)
            warnings.extend(chunk.warnings)
        if any(one != arithmetics[0] for one in arithmetics):
            # Somebody replaced chunks meanwhile; what is stored now decides.
            return self.extract(
                source,
                store=store,
                video_sha256=video_sha256,
                on_progress=on_progress,
                should_stop=should_stop,
            )
        return FeatureSet(
            values=values,
            seconds=grid.snippet_seconds(),
            recipe_digest=digest,
            duration_seconds=facts.duration_seconds,
            computed_with=dict(arithmetics[0]),
            warnings=_merged_warnings(source.warnings, warnings),
        )

    def _load(self, stream: str, weights: Mapping[str, Mapping[str, Tensor]]) -> nn.Module:
        state = weights.get(stream)
        if state is None:
            message = f"The recipe {self.recipe.name} needs {stream} weights and has none."
            raise WeightsMissing(message)
        network = load_backbone(self.recipe, stream, state)
        network.to(device=self._device, dtype=self._dtype)
        for parameter in network.parameters():
            if parameter.ndim == len("OIDHW"):
                parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
        return network

    def _describe(self) -> dict[str, str]:
        described = {
            "arithmetic": ARITHMETIC_VERSION,
            "precision": self._precision,
            "batch_size": str(self._batch_size),
            "torch": torch.__version__,
            "device": self._device.type,
        }
        if self._device.type == "cuda":
            described["device"] = torch.cuda.get_device_name(self._device)
        else:
            described["cpu"] = torch.backends.cpu.get_cpu_capability()
            if self._precision == "bf16":
                described["bf16"] = bf16_unit()
            elif self._threads_per_lane > 1:
                # oneDNN chooses fp32 convolutions by the number of threads.
                described["threads"] = str(self._threads_per_lane)
        if self._engine is not None:
            described["flow"] = f"{self._engine.name} {self._engine.version}"
        return described

    def _prepare(self, block: tuple[ByteArray, ByteArray]) -> Frames:
        """Return one decoded block as cropped levels per stream, on the backbones' device."""
        if isinstance(self._engine, GpuFlowEngine) or self._engine is None:
            return self._prepare_on_device(block)
        frames, following = block
        prepared: Frames = {}
        if "rgb" in self.recipe.streams:
            cropped = center_crop(frames, self.recipe.crop_px).copy()
            prepared["rgb"] = torch.from_numpy(cropped).to(self._device)
        if self.recipe.flow is not None:
            middle = Region.center(frames.shape[1:3], self.recipe.crop_px)
            levels = flow_levels(self._engine, self.recipe.flow, frames, following, middle)
            prepared["flow"] = torch.from_numpy(levels).to(self._device)
        return prepared

    def _prepare_on_device(self, block: tuple[ByteArray, ByteArray]) -> Frames:
        """As `_prepare`, but frames go to the device once, whole, and all work is done there."""
        frames, following = (torch.from_numpy(part).to(self._device) for part in block)
        middle = Region.center((frames.shape[1], frames.shape[2]), self.recipe.crop_px)
        prepared: Frames = {}
        if "rgb" in self.recipe.streams:
            prepared["rgb"] = middle.cut(frames)
        if isinstance(self._engine, GpuFlowEngine) and self.recipe.flow is not None:
            prepared["flow"] = device_flow_levels(
                self._engine, self.recipe.flow, frames, following, middle
            )
        return prepared

    def _embed(self, work: tuple[str, Tensor]) -> Tensor:
        """Return float32[b, D] of one stream's windows uint8[b <= B, F, H, W, C]."""
        stream, windows = work
        network = self._networks[stream]
        # Channels last in memory already, so that no copy is made.
        levels = padded(windows, self._batch_size).permute(0, 4, 1, 2, 3)
        x = levels.to(torch.float32).mul_(2 / LEVEL_MAX).sub_(1)
        with torch.inference_mode():
            features: Tensor = network.forward_features(x.to(self._dtype))  # type: ignore[operator]
        return features[: len(windows)].float()


def cpu_layout(recipe: FeatureRecipe, precision: str, num_threads: int) -> LaneLayout:
    """Return how a processor's threads share the work.

    One thread per piece of work where that is fastest: threads that share one piece wait for
    each other, and for whatever else the machine does. Only there features do not depend on the
    number of threads; wide fp32 networks are the exception, and ``computed_with`` names it.
    """
    if recipe.width < 1:
        return LaneLayout(min(num_threads, MAX_NARROW_LANES), 1, NARROW_CPU_BATCH)
    if precision == "fp32":
        return LaneLayout(1, num_threads, WIDE_FP32_CPU_BATCH)
    lanes = min(num_threads, MAX_WIDE_LANES)
    return LaneLayout(lanes, num_threads // lanes, WIDE_CPU_BATCH)


def _kept_chunks(
    stored: Mapping[int, Mapping[str, str]], count: int, own: Mapping[str, str]
) -> frozenset[int]:
    """Return the stored chunks that count: all of a set that is complete and alike, or our own."""
    needed = [stored.get(chunk) for chunk in range(count)]
    if all(one is not None and one == needed[0] for one in needed):
        return frozenset(range(count))
    return frozenset(chunk for chunk, one in enumerate(needed) if one == own)


def _part_progress(
    on_progress: ProgressCallback | None, index: int, count: int
) -> Callable[[Progress], None] | None:
    if on_progress is None:
        return None
    return lambda part: on_progress(Progress(part.stage, (index + part.fraction) / count))


def _merged_warnings(
    current: tuple[MediaWarning, ...], stored: Sequence[MediaWarning]
) -> tuple[MediaWarning, ...]:
    """Join warnings of the open video and of chunks, each code and second once."""
    known = {(one.code, one.seconds): one for one in stored}
    known.update({(one.code, one.seconds): one for one in current})
    return tuple(known.values())
