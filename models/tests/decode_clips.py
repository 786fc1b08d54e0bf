"""Tiny videos for the decoder's tests; every frame carries its number as eight bars of light."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

NUM_BARS = 8
WIDTH, HEIGHT = 128, 96


def numbered_frame(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Draw a frame whose vertical bars spell its number, most significant bit first."""
    image = np.full((height, width, 3), 24, np.uint8)
    for bar in range(NUM_BARS):
        if number >> (NUM_BARS - 1 - bar) & 1:
            image[:, width * bar // NUM_BARS : width * (bar + 1) // NUM_BARS] = 230
    return image


def read_numbers(frames: np.ndarray) -> list[int]:
    """Read the numbers of uint8[F, H, W, 3]."""
    numbers = []
    for frame in frames:
        width = frame.shape[1]
        number = 0
        for bar in range(NUM_BARS):
            middle = int(width * (bar + 0.5) / NUM_BARS)
            patch = frame[frame.shape[0] // 4 : -frame.shape[0] // 4 or None, middle : middle + 2]
            number = number * 2 + int(patch.mean() > 127)
        numbers.append(number)
    return numbers


@dataclass(frozen=True)
class Clip:
    """How to encode a numbered clip."""

    codec: str = "libx264"
    count: int = 60
    fps: Fraction = Fraction(25)
    size: tuple[int, int] = (WIDTH, HEIGHT)
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    muxer_options: dict[str, str] = field(default_factory=dict)
    times: tuple[float, ...] | None = None
    start: int = 0


def write_clip(path: Path, clip: Clip) -> Path:
    """Encode a numbered clip and return its path."""
    with av.open(str(path), "w", options=clip.muxer_options) as container:
        stream: Any = container.add_stream(clip.codec, rate=clip.fps)
        stream.width, stream.height = clip.size
        stream.pix_fmt = clip.pix_fmt
        stream.options = dict(clip.options)
        if clip.times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(clip.count):
            image = numbered_frame(clip.start + index, *clip.size)
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=clip.pix_fmt)
            if clip.times is None:
                frame.pts, frame.time_base = index, 1 / clip.fps
            else:
                frame.pts = round(clip.times[index] * 1000)
                frame.time_base = Fraction(1, 1000)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path
