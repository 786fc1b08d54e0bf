"""Writes drawn frames as an encoded video file."""

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from models.errors import ContractViolation, DiskFull
from models.types import ByteArray

_ENCODERS = {
    "h264": "libx264",
    "hevc": "libx265",
    "vp8": "libvpx",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
}
# Fine enough for any frame rate and for timestamps given in seconds.
_CLOCK_HZ = 90_000


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How to encode.

    Attributes:
        codec: a codec (``h264``, ``vp9``, ``mjpeg``...) or an encoder's own name.
        pix_fmt: FFmpeg's pixel format.
        bitrate: bits per second; None leaves it to ``crf`` or the encoder.
        crf: constant quality; None is the encoder's default.
        gop: frames between key frames.
        b_frames: consecutive B-frames; None is the encoder's default.
        options: further options of the encoder.
    """

    codec: str = "h264"
    pix_fmt: str = "yuv420p"
    bitrate: int | None = None
    crf: int | None = None
    gop: int | None = None
    b_frames: int | None = None
    options: dict[str, str] = field(default_factory=dict)

    @property
    def encoder_options(self) -> dict[str, str]:
        """Return the encoder's options, one thread so that the bytes repeat."""
        chosen = {"threads": "1"}
        if self.codec == "hevc":
            chosen["x265-params"] = "log-level=none"
        if self.crf is not None:
            chosen["crf"] = str(self.crf)
        if self.b_frames is not None:
            chosen["bf"] = str(self.b_frames)
        return {**chosen, **self.options}


def _open_stream(
    container: Any,  # noqa: ANN401 - av has no type for an output container with streams
    first: ByteArray,
    fps: float,
    settings: EncodeSettings,
) -> Any:  # noqa: ANN401
    rate = Fraction(fps).limit_denominator(1001)
    name = _ENCODERS.get(settings.codec, settings.codec)
    stream = container.add_stream(name, rate=rate, options=settings.encoder_options)
    stream.height, stream.width = first.shape[:2]
    stream.pix_fmt = settings.pix_fmt
    if settings.bitrate is not None:
        stream.bit_rate = settings.bitrate
    if settings.gop is not None:
        stream.gop_size = settings.gop
    return stream


def encode_video(
    frames: Iterable[ByteArray],
    path: Path,
    *,
    fps: float,
    timestamps_seconds: Sequence[float] | None = None,
    settings: EncodeSettings | None = None,
    **choices: Any,  # noqa: ANN401 - fields of EncodeSettings, checked by its constructor
) -> None:
    """Encode frames; the file appears whole or not at all.

    Args:
        frames: uint8[H, W, 3] RGB, all of one size.
        path: its suffix decides the container.
        fps: nominal frames per second.
        timestamps_seconds: presentation time per frame, ascending; None spaces them evenly.
        settings: how to encode; None builds them from ``choices``.
        choices: fields of `EncodeSettings`, for instance ``codec="vp9", crf=32``.

    Raises:
        ContractViolation: no frames, or fewer timestamps than frames.
        DiskFull: no space is left.
    """
    chosen = settings if settings is not None else EncodeSettings(**choices)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        _write(iter(frames), temporary, fps, timestamps_seconds, chosen)
        temporary.replace(path)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            message = f"The disk holding {path.parent} is full; free some space and try again."
            raise DiskFull(message) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _write(
    frames: Any,  # noqa: ANN401 - an iterator of arrays
    path: Path,
    fps: float,
    timestamps_seconds: Sequence[float] | None,
    settings: EncodeSettings,
) -> None:
    clock = Fraction(1, _CLOCK_HZ)
    with av.open(str(path), "w") as container:
        stream: Any = None
        for index, array in enumerate(frames):
            if stream is None:
                stream = _open_stream(container, array, fps, settings)
                if timestamps_seconds is not None:
                    stream.codec_context.time_base = clock
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            if timestamps_seconds is None:
                frame.pts, frame.time_base = index, 1 / stream.codec_context.framerate
            elif index < len(timestamps_seconds):
                frame.pts = round(timestamps_seconds[index] * _CLOCK_HZ)
                frame.time_base = clock
            else:
                message = "Give encode_video a timestamp for every frame."
                raise ContractViolation(message)
            container.mux(stream.encode(frame))
        if stream is None:
            message = "encode_video needs at least one frame."
            raise ContractViolation(message)
        container.mux(stream.encode(None))
