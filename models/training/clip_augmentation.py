"""Random views of trimmed clips for backbone training: cut, zoom, mirror, colour, camera motion.

Drawn test videos have other looks than training videos, so colours are changed much harder than
is usual; motion is changed only in ways that a moving camera or another body size would.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from models.arrays import LEVEL_MAX, LUMA_WEIGHTS, scale_levels
from models.types import ByteArray, FloatArray

Generator = np.random.Generator

# Places at which a clip's noise may begin in a batch's noise.
NOISE_SPREAD = 1 << 16


@dataclass(frozen=True, slots=True)
class AugmentationSettings:
    """How far a view may stray from its clip. All shares are probabilities.

    Attributes:
        zoom: half width of the log-uniform zoom per axis; 0.14 fits a 112-px crop into 128 px.
        zoom_share, mirror_share, colour_share, grey_share, shuffle_share, invert_share,
        camera_share: of the clips that are changed so.
        brightness, contrast, saturation: half widths; colours run from 0 to 1.
        noise: largest standard deviation of added noise, colours from 0 to 1.
        flow_gain: half width of the log-uniform factor on flow.
        camera_px: standard deviation of the constant flow of a moving camera, per axis.
        flow_noise_px: largest standard deviation of noise added to flow.
        clip_px: flow value that stands for 1.
    """

    zoom: float = 0.14
    zoom_share: float = 0.6
    mirror_share: float = 0.5
    colour_share: float = 0.9
    grey_share: float = 0.15
    shuffle_share: float = 0.4
    invert_share: float = 0.15
    brightness: float = 0.25
    contrast: float = 0.5
    saturation: float = 0.8
    noise: float = 0.05
    flow_gain: float = 0.25
    camera_share: float = 0.5
    camera_px: float = 0.6
    flow_noise_px: float = 0.1
    clip_px: float = 20.0


@dataclass(frozen=True, slots=True)
class View:
    """One window cut from one clip: uint8[F, H, W, C], how it was zoomed, and whether mirrored."""

    levels: ByteArray
    zoom_x: float
    zoom_y: float
    mirrored: bool


def cut_view(
    clip: ByteArray,
    num_frames: int,
    crop_px: int,
    settings: AugmentationSettings,
    rng: Generator,
) -> View:
    """Cut a random window of ``num_frames`` x ``crop_px`` x ``crop_px`` from uint8[F, H, W, C]."""
    F, H, W, _ = clip.shape
    start = int(rng.integers(0, F - num_frames + 1))
    zoom_x = zoom_y = 1.0
    if settings.zoom > 0 and rng.random() < settings.zoom_share:
        zoom_x, zoom_y = np.exp(rng.uniform(-settings.zoom, settings.zoom, size=2)).tolist()
    width = min(W, round(crop_px / zoom_x))
    height = min(H, round(crop_px / zoom_y))
    left = int(rng.integers(0, W - width + 1))
    top = int(rng.integers(0, H - height + 1))
    window = clip[start : start + num_frames, top : top + height, left : left + width]
    if (height, width) != (crop_px, crop_px):
        window = np.stack(
            [
                cv2.resize(frame, (crop_px, crop_px), interpolation=cv2.INTER_LINEAR)
                for frame in window
            ]
        ).astype(np.uint8, copy=False)
    mirrored = bool(rng.random() < settings.mirror_share)
    if mirrored:
        window = window[:, :, ::-1]
    return View(np.ascontiguousarray(window), crop_px / width, crop_px / height, mirrored)


def center_view(clip: ByteArray, num_frames: int, crop_px: int) -> View:
    """Cut the middle window of uint8[F, H, W, C], unchanged, as for evaluation."""
    F, H, W, _ = clip.shape
    start, top, left = (F - num_frames) // 2, (H - crop_px) // 2, (W - crop_px) // 2
    window = clip[start : start + num_frames, top : top + crop_px, left : left + crop_px]
    return View(np.ascontiguousarray(window), 1.0, 1.0, mirrored=False)


def batch_of(views: list[View]) -> Tensor:
    """Join views to float32[B, C, F, H, W] in [-1, 1], channels last in memory, unchanged."""
    levels = np.stack([view.levels for view in views])
    return torch.from_numpy(scale_levels(levels)).permute(0, 4, 1, 2, 3)


def colour_matrix(settings: AugmentationSettings, rng: Generator) -> tuple[FloatArray, FloatArray]:
    """Draw an affine change of colours in [-1, 1]: float32[3, 3] and float32[3]."""
    matrix = np.eye(3)
    offset = np.zeros(3)
    luma = np.tile(np.array(LUMA_WEIGHTS), (3, 1))
    if rng.random() < settings.colour_share:
        kept = 1 + rng.uniform(-settings.saturation, settings.saturation)
        matrix = kept * matrix + (1 - kept) * luma
        if rng.random() < settings.shuffle_share:
            matrix = matrix[rng.permutation(3)]
        gains = np.exp(rng.uniform(-settings.contrast, settings.contrast))
        # Channels differ a little as under coloured light.
        tint = np.exp(rng.uniform(-settings.contrast, settings.contrast, size=3) / 2)
        matrix = (gains * tint)[:, None] * matrix
        # Colours span 2 in [-1, 1].
        offset = 2 * rng.uniform(-settings.brightness, settings.brightness) * np.ones(3)
    if rng.random() < settings.grey_share:
        matrix = luma @ matrix
    if rng.random() < settings.invert_share:
        matrix, offset = -matrix, -offset
    return matrix.astype(np.float32), offset.astype(np.float32)


def rgb_batch(views: list[View], settings: AugmentationSettings, rng: Generator) -> Tensor:
    """Join RGB views with random colours and noise: float32[B, 3, F, H, W] in [-1, 1]."""
    batch = np.empty((len(views), *views[0].levels.shape), np.float32)
    bank = _noise_bank(batch[0].size, rng)
    for clip, view in zip(batch, views, strict=True):
        matrix, offset = colour_matrix(settings, rng)
        # Levels 0..255 to [-1, 1] and the change of colours in one affine map.
        affine = np.column_stack([matrix * np.float32(2 / LEVEL_MAX), offset - matrix.sum(axis=1)])
        pixels = view.levels.reshape(-1, 1, view.levels.shape[-1]).astype(np.float32)
        changed = cv2.transform(pixels, affine).reshape(clip.shape)
        _add_noise(changed, bank, 2 * settings.noise * float(rng.random()), rng)
        np.clip(changed, -1, 1, out=clip)
    return torch.from_numpy(batch).permute(0, 4, 1, 2, 3)


def flow_batch(views: list[View], settings: AugmentationSettings, rng: Generator) -> Tensor:
    """Join flow views with camera motion, gain and noise: float32[B, 2, F, H, W] in [-1, 1].

    A mirrored view's horizontal component is negated, and a zoomed one's vectors grow with it.
    """
    batch = np.empty((len(views), *views[0].levels.shape), np.float32)
    bank = _noise_bank(batch[0].size, rng)
    for clip, view in zip(batch, views, strict=True):
        gain = float(np.exp(rng.uniform(-settings.flow_gain, settings.flow_gain)))
        sign = -1.0 if view.mirrored else 1.0
        factors = np.array([sign * gain * view.zoom_x, gain * view.zoom_y], np.float32)
        camera = np.zeros(2, np.float32)
        if rng.random() < settings.camera_share:
            camera[:] = rng.normal(0.0, settings.camera_px / settings.clip_px, size=2)
        changed = scale_levels(view.levels) * factors + camera
        noise = settings.flow_noise_px / settings.clip_px * float(rng.random())
        _add_noise(changed, bank, noise, rng)
        np.clip(changed, -1, 1, out=clip)
    return torch.from_numpy(batch).permute(0, 4, 1, 2, 3)


def _noise_bank(size: int, rng: Generator) -> FloatArray:
    """Draw normal noise once for a batch; clips take it from different places."""
    bank: FloatArray = rng.standard_normal(size + NOISE_SPREAD, dtype=np.float32)
    return bank


def _add_noise(values: FloatArray, bank: FloatArray, scale: float, rng: Generator) -> None:
    start = int(rng.integers(0, NOISE_SPREAD))
    part = bank[start : start + values.size].reshape(values.shape)
    cv2.scaleAdd(part, scale, values, dst=values)
