"""Frames for `bench.gpu`: drawn motion, or real clips where there are some and a decoder."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np

from models.types import ByteArray, FloatArray, MediaWarning, VideoFacts

SHIFT_PX = 4.0
ZOOM = 0.01
NOISE_LEVELS = 2.0
# Frames of one drawn scene; then comes a cut, as in real video.
SCENE_FRAMES = 32
CLIP_SUFFIXES = (".avi", ".mkv", ".mov", ".mp4", ".webm")
FRAMES_PER_CLIP = 64
FULL_SCALE = 255


def has_decoder() -> bool:
    """Return whether video files can be read here."""
    return importlib.util.find_spec("av") is not None


def draw_frames(num_frames: int, height: int, width: int, seed: int = 0) -> ByteArray:
    """Draw uint8[F, H, W, 3]: textures that shift and zoom, with sensor noise."""
    rng = np.random.default_rng(seed)
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    matrix = np.eye(2, 3)
    texture: FloatArray = np.zeros((0, 0, 3), np.float32)
    step = matrix
    for index in range(num_frames):
        if index % SCENE_FRAMES == 0:
            texture = _texture(rng, 2 * height, 2 * width)
            zoom = 1 + rng.uniform(-ZOOM, ZOOM)
            shift = rng.uniform(-SHIFT_PX, SHIFT_PX, 2)
            step = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
            matrix = np.array([[1, 0, -width / 2], [0, 1, -height / 2]])
        drawn = cv2.warpAffine(
            texture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        noisy = drawn + rng.standard_normal(drawn.shape, np.float32) * np.float32(NOISE_LEVELS)
        frames[index] = np.clip(noisy, 0, FULL_SCALE)
        matrix = np.column_stack([step[:, :2] @ matrix[:, :2], step[:, :2] @ matrix[:, 2]])
        matrix[:, 2] += step[:, 2]
    return frames


def _texture(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    layers = [
        cv2.resize(
            rng.uniform(0, FULL_SCALE, (height // coarse + 2, width // coarse + 2, 3)).astype(
                np.float32
            ),
            (width, height),
        )
        for coarse in (4, 12, 40)
    ]
    texture: FloatArray = np.mean(layers, axis=0, dtype=np.float32)
    return texture


def decode_frames(folder: Path, num_frames: int, height: int, width: int) -> ByteArray | None:
    """Decode up to FRAMES_PER_CLIP frames per clip until there are enough; None where too few."""
    import av  # only where `has_decoder` says so

    frames: list[ByteArray] = []
    for path in sorted(one for one in folder.rglob("*") if one.suffix.lower() in CLIP_SUFFIXES):
        try:
            with av.open(str(path)) as container:
                for frame, _ in zip(
                    container.decode(video=0), range(FRAMES_PER_CLIP), strict=False
                ):
                    small = frame.reformat(width, height, "rgb24", interpolation="BILINEAR")
                    frames.append(small.to_ndarray().astype(np.uint8, copy=False))
        except (av.FFmpegError, IndexError, OSError, ValueError):
            continue
        if len(frames) >= num_frames:
            return np.stack(frames[:num_frames])
    return None


class MemoryVideo:
    """A video whose grid frames lie in memory; what extraction reads, without a decoder.

    Args:
        frames: uint8[F, H, W, 3].
        fps: of the grid.
        num_frames: how many it pretends to have; the given ones come again and again.
    """

    def __init__(self, frames: ByteArray, fps: float, num_frames: int) -> None:
        self._frames = frames
        self.facts = VideoFacts(
            name="memory",
            sha256="0" * 64,
            duration_seconds=num_frames / fps,
            nominal_fps=fps,
            variable_frame_rate=False,
            width_px=frames.shape[2],
            height_px=frames.shape[1],
            num_source_frames=num_frames,
            codec="none",
        )
        self._num_frames = num_frames

    @property
    def warnings(self) -> tuple[MediaWarning, ...]:
        """None."""
        return ()

    def read(self, start_frame: int, stop_frame: int) -> ByteArray:
        """Return frames, fewer at the end of the video."""
        numbers = np.arange(start_frame, min(stop_frame, self._num_frames)) % len(self._frames)
        return self._frames[numbers]
