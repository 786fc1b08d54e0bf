"""A video file as frames on a uniform grid: the only door through which strangers' bytes come in.

Owns the decode child of one file (see `models.decode_child`), its timeouts and its errors. The
parent hashes the bytes and never parses them; what the child answers is checked. One child per
`VideoSource`, started by exec so that it works in daemonic prefork workers. The thread that opens
a source must outlive it: Linux ties the child's life to that thread.
"""

import contextlib
import hashlib
import math
import os
import signal
import stat
import subprocess
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np

from models.decode_answers import checked_int, clean, ranged
from models.decode_process import DecodeChild, start_child
from models.decode_protocol import (
    BYTES_PER_PIXEL,
    BYTES_PER_TICK,
    OUT_OF_MEMORY_EXIT,
    ChannelClosed,
    DecodeLimits,
    batch_frames,
    receive_message,
    send_message,
)
from models.decode_warnings import PROBLEM_SENTENCES, PictureProblems, display_name
from models.errors import (
    CodecUnsupported,
    ContainerUnsupported,
    ContractViolation,
    DecoderCrashed,
    DecodeTimeout,
    EmptyVideo,
    NoVideoStream,
    OutOfMemory,
    PipelineError,
    UnreadableVideo,
    VideoTooLarge,
    VideoTooLong,
)
from models.presentation import PresentationTimes
from models.timegrid import TimeGrid
from models.types import ByteArray, DoubleArray, IntArray, MediaWarning, VideoFacts

__all__ = ["DecodeLimits", "VideoSource", "display_name", "probe"]

HASH_BLOCK_BYTES = 1 << 20
EXIT_SECONDS = 5.0
FIRST_FPS = 25.0
MAX_TIME_BASE = 2**31 - 1  # of numerator and denominator: FFmpeg's rationals are 32-bit
CLOCK_TOLERANCE = 1e-9
ERRORS: dict[str, type[PipelineError]] = {
    kind.code: kind
    for kind in (
        UnreadableVideo, NoVideoStream, EmptyVideo, ContainerUnsupported, CodecUnsupported,
        VideoTooLarge, VideoTooLong, OutOfMemory,
    )
}  # fmt: skip


class VideoSource:
    """One video file, decoded in a child process; a context manager.

    Args:
        path: a local file.
        fps: of the uniform grid.
        short_side_px: frames are resized so that the shorter side is this; None keeps their size.
        limits: what the file may cost.
        name: for people; the file's own by default.
        sha256: of the bytes if known already; it is trusted, and the file is not read for it.

    Attributes:
        facts: what is known of the video, once entered.
        frame_size: (H, W) of frames as `read` returns them.

    Raises:
        InputError: on entering or reading, the file cannot be used.
        ResourceError: on entering or reading, the decoder crashed or ran out of memory.
    """

    facts: VideoFacts
    frame_size: tuple[int, int]

    def __init__(
        self,
        path: Path,
        *,
        fps: float,
        short_side_px: int | None,
        limits: DecodeLimits = DecodeLimits(),  # noqa: B008 - frozen
        name: str | None = None,
        sha256: str | None = None,
    ) -> None:
        self._path = path
        self._fps = fps
        self._short_side_px = short_side_px
        self._limits = limits
        self._name = display_name(path.name if name is None else name)
        self._sha256 = sha256
        self._child: DecodeChild | None = None
        self._notes: list[MediaWarning] = []
        self._problems = PictureProblems(fps)

    def __enter__(self) -> Self:
        try:
            # Without O_NONBLOCK, opening a named pipe would wait for ever.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            message = f"The file {self._name} cannot be opened: {error.strerror}."
            raise UnreadableVideo(message) from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                message = f"{self._name} is not a file."
                raise UnreadableVideo(message)
            self._open(descriptor)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(descriptor)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child; facts, warnings and frame_size stay."""
        if self._child is not None:
            child, self._child = self._child, None
            child.end()

    @property
    def warnings(self) -> tuple[MediaWarning, ...]:
        """What is wrong with the video as far as it has been read; grows with reading."""
        return (*self._notes, *self._problems.warnings())

    @property
    def num_frames(self) -> int:
        """Frames of the grid."""
        return TimeGrid(self._fps, 1, 1, self.facts.duration_seconds).num_frames

    def read(self, start_frame: int, stop_frame: int) -> ByteArray:
        """Decode grid frames [start_frame, stop_frame), clipped to the video's end.

        Reading on from the last call's end is cheap, also one frame back; elsewhere it seeks.
        The result does not depend on what was read before.

        Returns:
            uint8[F, H, W, 3], RGB; F is 0 past the end.
        """
        if not 0 <= start_frame <= stop_frame:
            message = f"need 0 <= start <= stop, got {start_frame} and {stop_frame}"
            raise ContractViolation(message)
        height, width = self.frame_size
        stop = max(start_frame, min(stop_frame, self.num_frames))
        frames = np.empty((stop - start_frame, height, width, BYTES_PER_PIXEL), np.uint8)
        done = 0
        while done < len(frames):
            done += self._read_batch(start_frame + done, frames[done:])
        return frames

    def presentation_times(self) -> PresentationTimes:
        """Return when each source frame, in presentation order, is on screen."""
        parts: list[IntArray] = []
        left, base = self.facts.num_source_frames, Fraction(0)
        while left > 0:
            start = self.facts.num_source_frames - left
            answer = self._ask({"ask": "times", "start": start})
            assert self._child is not None  # noqa: S101 - narrows the type; asking needs it
            room = min(left, len(self._child.shared) // BYTES_PER_TICK)
            count = checked_int(answer.get("count"), 1, room, self._distrust)
            # A copy, since the child could still change what it wrote.
            parts.append(np.frombuffer(self._child.shared, np.int64, count).copy())
            try:
                numerator, denominator = answer["time_base"]
                base = Fraction(
                    ranged(numerator, 1, MAX_TIME_BASE), ranged(denominator, 1, MAX_TIME_BASE)
                )
            except (KeyError, TypeError, ValueError):
                self._distrust()
            left -= count
        ticks = np.concatenate(parts)
        last_seconds = float(ticks[-1]) * float(base)
        in_order = ticks[0] == 0 and bool((ticks[1:] >= ticks[:-1]).all())
        if not in_order or last_seconds > self.facts.duration_seconds * (1 + CLOCK_TOLERANCE):
            self._distrust()
        return PresentationTimes(base, ticks)

    def source_frame_at(self, seconds: DoubleArray) -> IntArray:
        """Return int64[N]: the source frame, by presentation order, on screen at each instant."""
        return self.presentation_times().frames_at(np.atleast_1d(seconds))

    def tiles(self, count: int, box: tuple[int, int]) -> tuple[DoubleArray, ByteArray]:
        """Return small pictures for showing, evenly in time; quick, however long the video is.

        Args:
            count: at most so many; a video of few frames has fewer.
            box: (width, height) that each fits into, in pixels; together at most 8 MB.

        Returns:
            float64[F], the second at which each is on screen, and uint8[F, H, W, 3], RGB.
        """
        answer = self._ask({"ask": "tiles", "count": count, "box": list(box)})
        assert self._child is not None  # noqa: S101 - narrows the type; asking needs it
        try:
            height, width = (
                ranged(side, 1, most) for side, most in zip(answer["size"], box[::-1], strict=True)
            )
            seconds = np.array([float(second) for second in answer["seconds"]], dtype=np.float64)
            in_order = bool(
                (np.diff(seconds, prepend=0.0, append=self.facts.duration_seconds) >= 0).all()
            )
            if len(seconds) > count or not in_order:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            self._distrust()
        shape = (len(seconds), height, width, BYTES_PER_PIXEL)
        # A copy, since the child could still change what it wrote.
        return seconds, np.ndarray(shape, np.uint8, buffer=self._child.shared).copy()

    def _open(self, descriptor: int) -> None:
        try:
            self._child = start_child(descriptor, self._limits)
            send_message(
                self._child.channel,
                {
                    "ask": "open",
                    "fps": self._fps,
                    "short_side_px": self._short_side_px,
                    "limits": asdict(self._limits),
                },
            )
        except ChannelClosed:
            self._explain_end()
        except OSError as error:
            message = "The decoder process could not be started; try again later."
            raise DecoderCrashed(message) from error
        try:
            digest = self._sha256 or _hash(descriptor)
        except OSError as error:
            message = f"The file {self._name} cannot be read: {error.strerror}."
            raise UnreadableVideo(message) from error
        answer = self._receive(self._limits.open_timeout_seconds)
        try:
            self._take_facts(answer, digest)
        except (KeyError, TypeError, ValueError):
            self._distrust()

    def _take_facts(self, answer: dict[str, Any], digest: str) -> None:
        """Check and keep the child's facts."""
        limit = self._limits
        pixels = limit.max_pixels
        height, width = answer["frame_size"]
        self.frame_size = (ranged(height, 1, pixels), ranged(width, 1, pixels))
        if self.frame_size[0] * self.frame_size[1] > pixels:
            raise ValueError
        duration = float(answer["duration_seconds"])
        if not 0 < duration <= limit.max_duration_seconds:
            raise ValueError
        fps = float(answer["nominal_fps"])
        self.facts = VideoFacts(
            name=self._name,
            sha256=digest,
            duration_seconds=duration,
            nominal_fps=fps if math.isfinite(fps) else 0.0,
            variable_frame_rate=bool(answer["variable_frame_rate"]),
            width_px=ranged(answer["width_px"], 1, pixels),
            height_px=ranged(answer["height_px"], 1, pixels),
            num_source_frames=ranged(answer["num_source_frames"], 1, limit.max_frames),
            codec=clean(answer["codec"]),
            container=clean(answer["container"]),
        )
        for code, sentence, seconds in answer["notes"]:
            since = None if seconds is None else float(seconds)
            self._notes.append(MediaWarning(clean(code), clean(sentence), since))

    def _read_batch(self, start: int, target: ByteArray) -> int:
        """Fill ``target`` with as many frames as one answer carries; return how many."""
        answer = self._ask({"ask": "read", "start": start, "stop": start + len(target)})
        room = min(len(target), batch_frames(*self.frame_size))
        count = checked_int(answer.get("count"), 1, room, self._distrust)
        for problem in answer.get("problems", []):
            match problem:
                case [str(code), int(frame)] if code in PROBLEM_SENTENCES:
                    self._problems.add(
                        code, checked_int(frame, start, start + count - 1, self._distrust)
                    )
                case _:
                    self._distrust()
        assert self._child is not None  # noqa: S101 - narrows the type; asking needs it
        size = count * target[0].nbytes
        target[:count] = np.frombuffer(self._child.shared, np.uint8, size).reshape(
            target[:count].shape
        )
        return count

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        if self._child is None:
            message = "the video source is not open"
            raise ContractViolation(message)
        try:
            send_message(self._child.channel, question)
        except ChannelClosed:
            self._explain_end()
        return self._receive(self._limits.stall_timeout_seconds)

    def _receive(self, first_timeout_seconds: float) -> dict[str, Any]:
        """Wait for an answer; every sign of life grants the stall timeout anew."""
        assert self._child is not None  # noqa: S101 - narrows the type
        channel = self._child.channel
        channel.settimeout(first_timeout_seconds)
        try:
            while "beat" in (answer := receive_message(channel)):
                channel.settimeout(self._limits.stall_timeout_seconds)
        except TimeoutError as error:
            self.close()
            message = (
                f"Decoding made no headway for {first_timeout_seconds:g} s; the "
                "video is damaged or far too demanding."
            )
            raise DecodeTimeout(message) from error
        except ChannelClosed:
            self._explain_end()
        if "error" in answer:
            self.close()
            kind = ERRORS.get(str(answer["error"]), UnreadableVideo)
            raise kind(clean(answer.get("message", "The video cannot be read.")))
        return answer

    def _explain_end(self) -> NoReturn:
        """Turn the child's death into one error."""
        assert self._child is not None  # noqa: S101 - narrows the type
        child, self._child = self._child, None
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(timeout=EXIT_SECONDS)
        status = child.end()
        if status == -signal.SIGXCPU:
            message = "Decoding used up its processor time; the video is far too demanding."
            raise DecodeTimeout(message)
        if status in (OUT_OF_MEMORY_EXIT, -signal.SIGKILL):
            message = "The decoder was ended for want of memory; try again, or a smaller video."
            raise OutOfMemory(message)
        cause = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        message = f"The decoder crashed on this video ({cause}); the video is probably damaged."
        raise DecoderCrashed(message)

    def _distrust(self) -> NoReturn:
        """The child said something that cannot be true: end it."""
        self.close()
        message = "The decoder gave a senseless answer and was stopped; the video is suspicious."
        raise DecoderCrashed(message)


def probe(
    path: Path,
    *,
    limits: DecodeLimits = DecodeLimits(),  # noqa: B008 - frozen
    name: str | None = None,
) -> VideoFacts:
    """Open a video, read its facts, close it.

    Raises:
        InputError: the file cannot be used.
        ResourceError: the decoder crashed or ran out of memory.
    """
    with VideoSource(path, fps=FIRST_FPS, short_side_px=None, limits=limits, name=name) as source:
        return source.facts


def _hash(descriptor: int) -> str:
    """Stream the file through SHA-256 without moving the position that the child shares."""
    digest = hashlib.sha256()
    position = 0
    while block := os.pread(descriptor, HASH_BLOCK_BYTES, position):
        digest.update(block)
        position += len(block)
    return digest.hexdigest()
