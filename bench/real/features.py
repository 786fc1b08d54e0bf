"""Features and motion of a set's videos: the product's extractor, results kept on disk.

Optical flow is most of the cost and the same for every backbone, so it is remembered.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from bench.real.joins import read_clip
from bench.real.kept import save_array
from bench.real.sets import GRID_FPS, BenchVideo, RealSet, Shot
from models.atomic import write_text_atomic
from models.bundled.baseline import UPPER_QUANTILE, pair_magnitudes
from models.decode import VideoSource, probe
from models.errors import ContractViolation
from models.features import ExtractorSettings, FeatureExtractor
from models.flow.frames import Region, require_region
from models.flow.tvl1 import FlowEngine, build_flow_engine, dequantize_flow, quantize_flow
from models.recipe import FeatureRecipe, FlowRecipe
from models.types import (
    ByteArray,
    DoubleArray,
    FeatureSet,
    FloatArray,
    MediaWarning,
    VideoFacts,
)
from models.weights import StateDict

KEY_BYTES = 16


class Stretch(AbstractContextManager["Stretch"]):
    """A stretch of a recording as a video of its own.

    Args:
        shot: of the recording.
        recipe: whose frame rate and size to give.
        letterbox: show all of the picture: scaled so that its long side takes the recipe's short
            side, with black bars that make it square; else the recipe's size as it is.
    """

    facts: VideoFacts

    def __init__(self, shot: Shot, recipe: FeatureRecipe, *, letterbox: bool) -> None:
        self._shot, self._letterbox = shot, letterbox
        self._side_px = recipe.short_side_px
        short_side_px = self._side_px
        if letterbox:
            facts = probe(shot.path)
            sides = sorted((facts.width_px, facts.height_px))
            short_side_px = round(self._side_px * sides[0] / sides[1])
        self._source = VideoSource(shot.path, fps=recipe.fps, short_side_px=short_side_px)

    def __enter__(self) -> Self:
        self._source.__enter__()
        self.facts = replace(
            self._source.facts,
            duration_seconds=(self._shot.last - self._shot.first) / GRID_FPS,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.close()

    @property
    def warnings(self) -> tuple[MediaWarning, ...]:
        """What was wrong with the file so far."""
        return self._source.warnings

    def read(self, start_frame: int, stop_frame: int) -> ByteArray:
        """Return grid frames of the stretch; none past its end."""
        first = min(start_frame + self._shot.first, self._shot.last)
        stop = min(stop_frame + self._shot.first, self._shot.last)
        frames = self._source.read(first, max(first, stop))
        return squared(frames, self._side_px) if self._letterbox else frames


def squared(frames: ByteArray, side_px: int) -> ByteArray:
    """Return uint8[F, side, side, 3]: pictures no larger than that in the middle of black."""
    count, height, width = frames.shape[:3]
    out = np.zeros((count, side_px, side_px, frames.shape[3]), np.uint8)
    top, left = (side_px - height) // 2, (side_px - width) // 2
    out[:, top : top + height, left : left + width] = frames
    return out


class Join(AbstractContextManager["Join"]):
    """Shots of many clips as one video, scaled to one size and rate; made of decoded frames.

    Args:
        video: what to show.
        clips: path -> its frames; filled as they are needed.
        short_side_px: of the frames.
        kept: folder of frames read before.
    """

    warnings: tuple[MediaWarning, ...] = ()

    def __init__(
        self, video: BenchVideo, clips: dict[Path, ByteArray], short_side_px: int, kept: Path
    ) -> None:
        for shot in video.shots:
            if shot.path not in clips:
                clips[shot.path] = read_clip(shot.path, short_side_px, kept)
        self._frames = np.concatenate(
            [clips[shot.path][shot.first : shot.last] for shot in video.shots]
        )
        height, width = self._frames.shape[1:3]
        self.facts = VideoFacts(
            name=video.name,
            sha256="",
            duration_seconds=video.duration_seconds,
            nominal_fps=GRID_FPS,
            variable_frame_rate=False,
            width_px=width,
            height_px=height,
            num_source_frames=len(self._frames),
            codec="",
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is open."""

    def read(self, start_frame: int, stop_frame: int) -> ByteArray:
        """Return grid frames; none past the end."""
        return self._frames[start_frame:stop_frame]


class Sources:
    """Opens videos of a set at a recipe's frame size; keeps the short clips of joins at hand.

    Args:
        recipe: whose frame rate and size to give.
        folder: of what is kept for this set.
        letterbox: see `Stretch`; joins have no need of it.
    """

    def __init__(self, recipe: FeatureRecipe, folder: Path, *, letterbox: bool) -> None:
        if recipe.fps != GRID_FPS:
            message = f"videos are cut on a grid of {GRID_FPS} frames per second"
            raise ContractViolation(message)
        self._recipe, self._folder, self._letterbox = recipe, folder, letterbox
        self._clips: dict[Path, ByteArray] = {}

    def open(self, video: BenchVideo) -> Stretch | Join:
        """Return a video's frame source, to be entered."""
        if len(video.shots) == 1:
            return Stretch(video.shots[0], self._recipe, letterbox=self._letterbox)
        return Join(video, self._clips, self._recipe.short_side_px, self._folder)


class RememberedFlow:
    """A flow engine that computes each pair of frames of a file once, and keeps its 8-bit levels.

    Its flow is exact after quantisation, which is all that a quantising recipe uses.

    Args:
        engine: that computes what is not known.
    """

    def __init__(self, engine: FlowEngine) -> None:
        self._engine = engine
        self.name, self.version = engine.name, engine.version
        self.num_threads = engine.num_threads
        self._known: dict[bytes, ByteArray] = {}
        self._path: Path | None = None
        self._changed = False

    def open(self, path: Path) -> None:
        """Save what is known and take up what is kept in another file, if it is there."""
        if path == self._path:
            return
        self.save()
        self._path, self._known, self._changed = path, {}, False
        if path.exists():
            with np.load(path, allow_pickle=False) as arrays:
                keys, levels = arrays["keys"], arrays["levels"]
            self._known = {key.tobytes(): one for key, one in zip(keys, levels, strict=True)}

    def save(self) -> None:
        """Keep what is known now."""
        if self._path is None or not self._changed:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        keys = np.frombuffer(b"".join(self._known), np.uint8).reshape(-1, KEY_BYTES)
        temporary = self._path.with_suffix(".part.npz")
        np.savez_compressed(temporary, keys=keys, levels=np.stack(list(self._known.values())))
        temporary.replace(self._path)
        self._changed = False

    def compute(
        self, grey: ByteArray, recipe: FlowRecipe, region: Region | None = None
    ) -> FloatArray:
        """See `FlowEngine.compute`; all of a frame is kept, whatever region is wanted."""
        wanted = require_region(region, *grey.shape[1:])
        if not recipe.quantize:
            message = "only flow that is quantised can be remembered"
            raise ContractViolation(message)
        pairs = [grey[index : index + 2] for index in range(len(grey) - 1)]
        keys = [hashlib.blake2b(pair.tobytes(), digest_size=KEY_BYTES).digest() for pair in pairs]
        for key, pair in zip(keys, pairs, strict=True):
            if key not in self._known:
                flow = self._engine.compute(pair, recipe)
                self._known[key] = quantize_flow(flow, recipe.clip_px)[0]
                self._changed = True
        levels = [self._known[key] for key in keys]
        if not levels:
            return wanted.cut(np.zeros((0, *grey.shape[1:], 2), np.float32))
        return dequantize_flow(wanted.cut(np.stack(levels))) * np.float32(recipe.clip_px)


@dataclass(frozen=True, slots=True)
class FeatureWork:
    """What one pass over a set's videos needs.

    Attributes:
        recipe: of the features.
        weights: stream -> state dict.
        folder: of what is kept for this set.
    """

    recipe: FeatureRecipe
    weights: Mapping[str, StateDict]
    folder: Path

    def path(self, video: BenchVideo) -> Path:
        """Return where a video's features are kept."""
        return self.folder / "features" / self.recipe.digest / f"{video.name}.npy"


def flow_path(video: BenchVideo, folder: Path, recipe: FeatureRecipe) -> Path:
    """Return where a video's flow is kept; joins share their clips and therefore one file."""
    name = video.name if len(video.shots) == 1 else "joins"
    return folder / "flow" / f"{recipe.short_side_px}px" / f"{name}.npz"


def extract_set(real: RealSet, work: FeatureWork) -> float:
    """Compute the features that are not there yet, with one thread; return the seconds it took."""
    missing = [video for video in real.videos if not work.path(video).exists()]
    if not missing:
        return 0.0
    started = time.monotonic()
    flow = RememberedFlow(build_flow_engine("auto", num_threads=1))
    extractor = FeatureExtractor(
        work.recipe, work.weights, ExtractorSettings(device="cpu", num_threads=1), flow
    )
    sources = Sources(work.recipe, work.folder, letterbox=real.letterbox)
    folder = work.path(missing[0]).parent
    folder.mkdir(parents=True, exist_ok=True)
    document = {"recipe": work.recipe.to_json(), "computed_with": extractor.computed_with}
    write_text_atomic(folder / "recipe.json", json.dumps(document, indent=1) + "\n")
    for done, video in enumerate(missing, start=1):
        flow.open(flow_path(video, work.folder, work.recipe))
        with sources.open(video) as source:
            features = extractor.extract(source)
        save_array(work.path(video), features.values)
        print(f"features {real.name} {work.recipe.name}: {done}/{len(missing)}", flush=True)
    flow.save()
    return time.monotonic() - started


def load_features(videos: Sequence[BenchVideo], work: FeatureWork) -> tuple[FeatureSet, ...]:
    """Return the kept features of videos, in their order."""
    return tuple(
        FeatureSet(
            values=np.load(work.path(video), allow_pickle=False),
            seconds=work.recipe.grid(video.duration_seconds).snippet_seconds(),
            recipe_digest=work.recipe.digest,
            duration_seconds=video.duration_seconds,
        )
        for video in videos
    )


def measure_motion(
    real: RealSet, videos: Sequence[BenchVideo], recipe: FeatureRecipe, folder: Path
) -> list[DoubleArray]:
    """Return the motion of each video, float64[T, 3], in px; flow here is not quantised.

    Mean and upper quantile are those of the bundled model's baseline. In joins a cut between two
    clips looks like the fastest motion of all, so the third column is the median over the pairs
    of a snippet of their mean: a single cut leaves it alone.
    """
    engine = build_flow_engine("auto", num_threads=1)
    sources = Sources(recipe, folder, letterbox=real.letterbox)
    energies = []
    for done, video in enumerate(videos, start=1):
        path = folder / "motion" / f"{video.name}.npy"
        if not path.exists():
            with sources.open(video) as source:
                rows = [_summary(one) for one in pair_magnitudes(source, recipe, engine)]
            save_array(path, np.asarray(rows, np.float64))
            print(f"motion {real.name}: {done}/{len(videos)}", flush=True)
        energies.append(np.load(path, allow_pickle=False))
    return energies


def _summary(magnitudes: Sequence[FloatArray]) -> tuple[float, float, float]:
    """Return mean, upper quantile and median of pair means of one snippet's magnitudes."""
    if not magnitudes:
        return (0.0, 0.0, 0.0)
    values = np.concatenate([one.ravel() for one in magnitudes])
    means = [one.mean() for one in magnitudes]
    return (
        float(values.mean()),
        float(np.quantile(values, UPPER_QUANTILE)),
        float(np.median(means)),
    )
