"""Frames to snippet features: crops, optical flow, backbone; in chunks, with flat memory.

Owns how a recipe becomes numbers. A chunk's features depend on its own frames alone (and on one
frame past its end, for the last flow), so chunks can be computed anywhere, in any order.
"""

import math
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.arrays import LEVEL_MAX, center_crop
from models.backbones.registry import load_backbone
from models.errors import Cancelled, ContractViolation, OutOfMemory, WeightsMissing
from models.feature_store import ChunkFeatures, FeatureStore
from models.flow.frames import Region
from models.flow.tvl1 import FlowEngine, build_flow_engine
from models.frame_windows import (
    ChunkPlan,
    Frames,
    FrameSource,
    cut_batches,
    decoded_blocks,
    flow_levels,
    padded,
)
from models.prefetch import prefetched
from models.recipe import FeatureRecipe
from models.types import (
    FeatureSet,
    FloatArray,
    MediaWarning,
    Progress,
    ProgressCallback,
    StopCallback,
)

CPU_BATCH = 4
GPU_BATCH = 16
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Part of ``computed_with``: raised whenever the same recipe would give other numbers.
ARITHMETIC_VERSION = "1"
CPU_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "bad_alloc")


@dataclass(frozen=True, slots=True)
class ExtractorSettings:
    """How features are computed; none of it is part of the recipe.

    Attributes:
        device: of the backbones, as torch names it.
        batch_size: windows per pass of the backbone; 0 chooses by device.
        precision: ``fp32`` or ``bf16``, of the backbones.
        flow_implementation: see `models.flow.tvl1.build_flow_engine`.
        num_threads: of flow and, process-wide, of torch; 0 takes every processor.
    """

    device: str = "cpu"
    batch_size: int = 0
    precision: str = "fp32"
    flow_implementation: str = "auto"
    num_threads: int = 0


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
        if self._settings.precision not in DTYPES:
            message = f"precision must be one of {list(DTYPES)}, got {self._settings.precision!r}"
            raise ContractViolation(message)
        if self._settings.num_threads > 0:
            torch.set_num_threads(self._settings.num_threads)
        self._device = torch.device(self._settings.device)
        self._dtype = DTYPES[self._settings.precision]
        on_cpu = self._device.type == "cpu"
        self._batch_size = self._settings.batch_size or (CPU_BATCH if on_cpu else GPU_BATCH)
        self._engine = flow_engine if "flow" in recipe.streams else None
        if "flow" in recipe.streams and flow_engine is None:
            self._engine = build_flow_engine(
                self._settings.flow_implementation, self._settings.num_threads
            )
        with torch_memory():
            self._networks = {stream: self._load(stream, weights) for stream in recipe.streams}
        self.computed_with = self._describe()

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
        run = _Run(plan, on_progress, should_stop)
        before = source.warnings
        parts: list[FloatArray] = []
        with torch_memory(), closing(self._blocks(source, run)) as blocks:
            for batch in cut_batches(blocks, plan, self._batch_size):
                run.report("features")
                parts.append(self._embed(batch)[: len(next(iter(batch.values())))])
                run.windows_done += len(parts[-1])
        run.report("features")
        warnings = tuple(one for one in source.warnings if one not in before or chunk == 0)
        return ChunkFeatures(np.concatenate(parts), dict(self.computed_with), warnings)

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
        facts = source.facts
        count = self.num_chunks(facts.duration_seconds)
        digest = self.recipe.digest
        stored = _stored_chunks(store, video_sha256, digest, count)
        if not _complete_and_alike(stored):
            stored = [
                one if one is not None and one.computed_with == self.computed_with else None
                for one in stored
            ]
        chunks: list[ChunkFeatures] = []
        for index, known in enumerate(stored):
            chunk = known
            if chunk is None:
                part = _part_progress(on_progress, index, count)
                chunk = self.extract_chunk(source, index, part, should_stop)
                if store is not None and video_sha256 is not None:
                    store.store_chunk(video_sha256, digest, index, chunk)
            chunks.append(chunk)
        return FeatureSet(
            values=np.concatenate([chunk.values for chunk in chunks]),
            seconds=self.recipe.grid(facts.duration_seconds).snippet_seconds(),
            recipe_digest=digest,
            duration_seconds=facts.duration_seconds,
            computed_with=dict(chunks[0].computed_with),
            warnings=_merged_warnings(source.warnings, chunks),
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
            "precision": self._settings.precision,
            "batch_size": str(self._batch_size),
            "torch": torch.__version__,
            "device": self._device.type,
        }
        if self._device.type == "cuda":
            described["device"] = torch.cuda.get_device_name(self._device)
        else:
            described["cpu"] = torch.backends.cpu.get_cpu_capability()
        if self._engine is not None:
            described["flow"] = f"{self._engine.name} {self._engine.version}"
        return described

    def _blocks(self, source: FrameSource, run: "_Run") -> Generator[Frames, None, None]:
        """Yield the chunk's frames, cropped, as levels per stream, BLOCK_FRAMES at a time."""
        crop_px, flow_recipe = self.recipe.crop_px, self.recipe.flow
        decoded = prefetched(decoded_blocks(source, run.plan))

        def blocks() -> Generator[Frames, None, None]:
            with closing(decoded):
                run.report("decoding")
                for frames, following in decoded:
                    block: Frames = {}
                    if "rgb" in self.recipe.streams:
                        block["rgb"] = center_crop(frames, crop_px).copy()
                    if self._engine is not None and flow_recipe is not None:
                        run.report("flow")
                        middle = Region.center(frames.shape[1:3], crop_px)
                        block["flow"] = flow_levels(
                            self._engine, flow_recipe, frames, following, middle
                        )
                    run.frames_done += len(frames)
                    yield block
                    run.report("decoding")

        # On a CPU flow and backbone share the cores: side by side they only disturb each other.
        return blocks() if self._device.type == "cpu" else prefetched(blocks())

    def _embed(self, batch: Frames) -> FloatArray:
        """Return float32[B, D] of windows uint8[b <= B, F, H, W, C] per stream."""
        columns = []
        for stream, network in self._networks.items():
            levels = torch.from_numpy(padded(batch[stream], self._batch_size)).to(self._device)
            # Channels last in memory already, so that no copy is made.
            x = levels.permute(0, 4, 1, 2, 3).to(torch.float32).mul_(2 / LEVEL_MAX).sub_(1)
            with torch.inference_mode():
                features = network.forward_features(x.to(self._dtype))  # type: ignore[operator]
            columns.append(features.float().cpu().numpy())
        joined: FloatArray = np.concatenate(columns, axis=1)
        return joined


class _Run:
    """Progress and stopping of one chunk."""

    def __init__(
        self,
        plan: ChunkPlan,
        on_progress: ProgressCallback | None,
        should_stop: StopCallback | None,
    ) -> None:
        self.plan = plan
        self.frames_done = 0
        self.windows_done = 0
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._thread = threading.get_ident()

    def report(self, stage: str) -> None:
        """Tell progress, and raise Cancelled where a stop is wanted.

        Only the caller's thread does so: callbacks need not be safe in others.
        """
        if threading.get_ident() != self._thread:
            return
        if self._should_stop is not None and self._should_stop():
            message = "The extraction was stopped."
            raise Cancelled(message)
        if self._on_progress is not None:
            frames = min(1.0, self.frames_done / (self.plan.stop_frame - self.plan.start_frame))
            windows = self.windows_done / self.plan.num_windows
            # Both kinds of work move on by turns, so their mean moves evenly.
            self._on_progress(Progress(stage, (frames + windows) / 2))


@contextmanager
def torch_memory() -> Iterator[None]:
    """Turn torch's several ways of saying that memory ran out into OutOfMemory."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        message = "Memory ran out while computing features; use a smaller batch or another device."
        raise OutOfMemory(message) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in CPU_MEMORY_WORDS):
            raise
        message = "Memory ran out while computing features; use a smaller batch or another machine."
        raise OutOfMemory(message) from error


def _stored_chunks(
    store: FeatureStore | None, video_sha256: str | None, digest: str, count: int
) -> list[ChunkFeatures | None]:
    if store is None or video_sha256 is None:
        return [None] * count
    return [store.load_chunk(video_sha256, digest, chunk) for chunk in range(count)]


def _complete_and_alike(stored: Sequence[ChunkFeatures | None]) -> bool:
    first = stored[0]
    return first is not None and all(
        one is not None and one.computed_with == first.computed_with for one in stored
    )


def _part_progress(
    on_progress: ProgressCallback | None, index: int, count: int
) -> Callable[[Progress], None] | None:
    if on_progress is None:
        return None
    return lambda part: on_progress(Progress(part.stage, (index + part.fraction) / count))


def _merged_warnings(
    current: tuple[MediaWarning, ...], chunks: Sequence[ChunkFeatures]
) -> tuple[MediaWarning, ...]:
    """Join warnings of the open video and of stored chunks, each code and second once."""
    known = {(one.code, one.seconds): one for chunk in chunks for one in chunk.warnings}
    known.update({(one.code, one.seconds): one for one in current})
    return tuple(known.values())
