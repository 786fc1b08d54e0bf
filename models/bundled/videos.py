"""Stage 3 of the demonstration model: untrimmed videos, encoded, and their features.

Nothing here reads a timestamp for training: ground truth is written beside the videos and
read by the evaluation stage alone.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from models.atomic import write_bytes_atomic, write_text_atomic
from models.bundled.baseline import motion_energy
from models.bundled.recipe import BundledSettings
from models.decode import VideoSource
from models.feature_store import LocalFeatureStore
from models.features import ExtractorSettings, FeatureExtractor
from models.flow.tvl1 import build_flow_engine
from models.recipe import FeatureRecipe
from models.speeds import rgb_alone
from models.synthetic import VideoSpec, draw_frames, encode_video, plan_video, stratified_specs
from models.types import DoubleArray, FeatureSet
from models.weights import load_weights

CRF_RANGE = (20, 30)
# What the demonstration model is trained on; other precisions are kept apart from it.
PRECISION = "fp32"


@dataclass(frozen=True, slots=True)
class DrawnVideo:
    """One encoded untrimmed video with its truth.

    Attributes:
        name: identifier.
        path: the encoded file.
        labels: its whole-video tags.
        instances: (label, start_seconds, end_seconds), for evaluation only.
        duration_seconds: of the plan.
    """

    name: str
    path: Path
    labels: tuple[str, ...]
    instances: tuple[tuple[str, float, float], ...]
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Split:
    """Videos of one split with their features, in one order."""

    videos: tuple[DrawnVideo, ...]
    features: tuple[FeatureSet, ...]


@dataclass(frozen=True, slots=True)
class _VideoJob:
    spec: VideoSpec
    video: DrawnVideo
    recipe: FeatureRecipe
    weights_folder: Path
    store_folder: Path
    precision: str


def split_specs(settings: BundledSettings, split: str) -> list[VideoSpec]:
    """Return the specs of ``train``, ``test`` (test looks) or ``quiet`` (no action, test looks)."""
    base = (
        settings.seed * 1_000 + {"train": 1_000_000, "test": 2_000_000, "quiet": 3_000_000}[split]
    )
    count = {
        "train": settings.videos_train,
        "test": settings.videos_test,
        "quiet": settings.videos_action_free,
    }[split]
    minimum = {"train": settings.min_train_videos, "test": settings.min_test_videos, "quiet": 0}
    return stratified_specs(
        count,
        base_seed=base,
        looks="train" if split == "train" else "test",
        min_videos_per_class=minimum[split],
        duration_range_seconds=(settings.min_video_seconds, settings.max_video_seconds),
        action_free=split == "quiet",
        fps=settings.fps,
        width_px=settings.width_px,
        height_px=settings.height_px,
    )


def _describe(spec: VideoSpec, name: str, folder: Path) -> DrawnVideo:
    plan = plan_video(spec)
    instances = tuple((one.label, one.start_seconds, one.end_seconds) for one in plan.instances)
    labels = tuple(sorted({label for label, _, _ in instances}))
    return DrawnVideo(name, folder / f"{name}.mp4", labels, instances, spec.duration_seconds)


def draw_video(spec: VideoSpec, path: Path) -> None:
    """Draw and encode one video as H.264 with a quality drawn from its seed."""
    crf = int(np.random.Generator(np.random.PCG64(spec.seed)).integers(*CRF_RANGE))
    encode_video(draw_frames(plan_video(spec)), path, fps=spec.fps, codec="h264", crf=crf)


def _extract(job: _VideoJob) -> FeatureSet:
    torch.set_num_threads(1)
    if not job.video.path.exists():
        draw_video(job.spec, job.video.path)
    weights = {
        stream: load_weights(job.weights_folder / f"{stream}.safetensors", digest)
        for stream, digest in job.recipe.weights
    }
    settings = ExtractorSettings(device="cpu", precision=job.precision, num_threads=1)
    extractor = FeatureExtractor(job.recipe, weights, settings)
    with VideoSource(
        job.video.path, fps=job.recipe.fps, short_side_px=job.recipe.short_side_px
    ) as source:
        return extractor.extract(
            source,
            store=LocalFeatureStore(job.store_folder),
            video_sha256=source.facts.sha256,
            on_progress=None,
            should_stop=None,
        )


def build_videos(
    folder: Path,
    settings: BundledSettings,
    recipe: FeatureRecipe,
    *,
    split: str,
    processes: int,
    precision: str = PRECISION,
) -> Split:
    """Draw, encode and extract one split; finished parts are read back, not made again."""
    videos_folder = folder / "videos" / split
    videos_folder.mkdir(parents=True, exist_ok=True)
    specs = split_specs(settings, split)
    videos = [
        _describe(spec, f"{split}-{index:03d}", videos_folder) for index, spec in enumerate(specs)
    ]
    _write_truth(videos_folder / "truth.json", videos)
    store = folder / ("features" if precision == PRECISION else f"features-{precision}")
    jobs = [
        _VideoJob(spec, video, recipe, folder / "weights", store, precision)
        for spec, video in zip(specs, videos, strict=True)
    ]
    features: list[FeatureSet] = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for done, one in enumerate(pool.map(_extract, jobs), start=1):
            features.append(one)
            print(f"videos {split}: {done}/{len(jobs)}", flush=True)  # noqa: T201
    return Split(tuple(videos), tuple(features))


def rgb_split(split: Split, recipe: FeatureRecipe) -> Split:
    """Return a split as the RGB stream alone sees it, taken out of features of both streams."""
    return Split(split.videos, tuple(rgb_alone(one, recipe) for one in split.features))


def _write_truth(path: Path, videos: Sequence[DrawnVideo]) -> None:
    document = {
        video.name: {
            "labels": video.labels,
            "duration": video.duration_seconds,
            "instances": video.instances,
        }
        for video in videos
    }
    write_text_atomic(path, json.dumps(document, indent=1))


@dataclass(frozen=True, slots=True)
class _MotionJob:
    video: DrawnVideo
    recipe: FeatureRecipe


def _measure(job: _MotionJob) -> DoubleArray:
    engine = build_flow_engine("auto", num_threads=1)
    recipe = job.recipe
    with VideoSource(job.video.path, fps=recipe.fps, short_side_px=recipe.short_side_px) as source:
        return motion_energy(source, recipe, engine)


def measure_motion(folder: Path, split: Split, recipe: FeatureRecipe) -> list[DoubleArray]:
    """Return the motion energy of each video, float64[T, 2]; kept in ``folder`` once measured."""
    kept = folder / "motion.safetensors"
    if kept.exists():
        arrays = safetensors.numpy.load_file(kept)
        return [arrays[video.name] for video in split.videos]
    jobs = [_MotionJob(video, recipe) for video in split.videos]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        energies = list(pool.map(_measure, jobs))
    named = dict(zip((video.name for video in split.videos), energies, strict=True))
    write_bytes_atomic(kept, safetensors.numpy.save(named))
    return energies
