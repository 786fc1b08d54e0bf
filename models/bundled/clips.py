"""Stage 1 of the demonstration model: trimmed clips, drawn, encoded, decoded, with flow.

Clips are strung together into short reels that are really encoded and decoded by the product's
own reader, so that the backbones learn from compressed frames as they will meet them.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from models.bundled.recipe import BundledSettings, bundled_recipe
from models.decode import VideoSource
from models.flow.tvl1 import build_flow_engine, quantize_flow
from models.synthetic import ACTIONS, BACKGROUND_KINDS, draw_clip, encode_video
from models.types import ByteArray, IntArray

BACKGROUND_INDEX = len(ACTIONS)
# Columns kept of a 170-px frame: the 112-px crop with a margin for random cropping.
CLIP_WIDTH_PX = 136
CRF_RANGE = (18, 32)


@dataclass(frozen=True, slots=True)
class ClipSet:
    """Trimmed clips of one split.

    Attributes:
        rgb: uint8[N, F, H, W, 3].
        flow: uint8[N, F, H, W, 2], quantised as the recipe says.
        labels: int64[N], index in ACTIONS or BACKGROUND_INDEX.
    """

    rgb: ByteArray
    flow: ByteArray
    labels: IntArray


def clip_kinds(count: int, seed: int) -> list[tuple[str, int]]:
    """Return (kind, label) for each clip: classes in equal share, background in double share."""
    shares = len(ACTIONS) + 2
    per_class = count // shares
    kinds = [(action, index) for index, action in enumerate(ACTIONS) for _ in range(per_class)]
    missing = count - len(kinds)
    kinds += [
        (BACKGROUND_KINDS[i % len(BACKGROUND_KINDS)], BACKGROUND_INDEX) for i in range(missing)
    ]
    order = np.random.Generator(np.random.PCG64(seed)).permutation(count)
    return [kinds[i] for i in order]


@dataclass(frozen=True, slots=True)
class _ReelJob:
    path: Path
    settings: BundledSettings
    looks: str
    kinds: tuple[str, ...]
    first_seed: int


def _draw_reel(job: _ReelJob) -> None:
    if job.path.exists():
        return
    cv2.setNumThreads(1)
    settings, recipe = job.settings, bundled_recipe()
    length = settings.clip_frames + 1
    clips = [
        draw_clip(
            job.first_seed + index,
            kind,
            num_frames=length,
            looks=job.looks,
            width_px=settings.width_px,
            height_px=settings.height_px,
            fps=settings.fps,
        )
        for index, kind in enumerate(job.kinds)
    ]
    crf = int(np.random.Generator(np.random.PCG64(job.first_seed)).integers(*CRF_RANGE))
    video = job.path.with_suffix(".mp4")
    frames = (frame for clip in clips for frame in clip)
    encode_video(frames, video, fps=settings.fps, codec="h264", crf=crf, gop=length)
    engine = build_flow_engine("auto", num_threads=1)
    flow_recipe = recipe.flow
    if flow_recipe is None:
        return
    rgb, flow = [], []
    with VideoSource(video, fps=recipe.fps, short_side_px=recipe.short_side_px) as source:
        for index in range(len(clips)):
            decoded = source.read(index * length, (index + 1) * length)
            grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in decoded])
            left = (decoded.shape[2] - CLIP_WIDTH_PX) // 2
            columns = slice(left, left + CLIP_WIDTH_PX)
            levels = quantize_flow(engine.compute(grey, flow_recipe), flow_recipe.clip_px)
            rgb.append(decoded[:-1, :, columns])
            flow.append(levels[:, :, columns])
    temporary = job.path.with_suffix(".part.npz")
    np.savez(temporary, rgb=np.stack(rgb), flow=np.stack(flow))
    temporary.replace(job.path)
    video.unlink()


def build_clips(
    folder: Path, settings: BundledSettings, *, split: str, looks: str, count: int, processes: int
) -> ClipSet:
    """Draw the clips of one split, or read them back when they are already there."""
    folder.mkdir(parents=True, exist_ok=True)
    # Splits draw from seed ranges that never meet.
    base = settings.seed * 1_000 + (0 if split == "train" else 500_000_000)
    kinds = clip_kinds(count, base)
    size = settings.clips_per_reel
    jobs = [
        _ReelJob(
            folder / f"{split}-{start // size:04d}.npz",
            settings,
            looks,
            tuple(kind for kind, _ in kinds[start : start + size]),
            base + start,
        )
        for start in range(0, count, size)
    ]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(_draw_reel, jobs), start=1):
            print(f"clips {split}: reel {done}/{len(jobs)}", flush=True)  # noqa: T201
    labels = np.array([label for _, label in kinds], dtype=np.int64)
    rgb = flow = None
    for index, job in enumerate(jobs):
        with np.load(job.path, allow_pickle=False) as arrays:
            part_rgb, part_flow = arrays["rgb"], arrays["flow"]
        if rgb is None or flow is None:
            rgb = np.empty((count, *part_rgb.shape[1:]), np.uint8)
            flow = np.empty((count, *part_flow.shape[1:]), np.uint8)
        start = index * size
        rgb[start : start + len(part_rgb)] = part_rgb
        flow[start : start + len(part_flow)] = part_flow
    if rgb is None or flow is None:
        rgb = np.empty((0, 0, 0, 0, 3), np.uint8)
        flow = np.empty((0, 0, 0, 0, 2), np.uint8)
    return ClipSet(rgb, flow, labels)
