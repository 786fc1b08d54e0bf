"""The decode child: turns an open descriptor into frames, and dies with its parent.

Started by `models.decode` with an empty environment; imports only numpy and PyAV. It is given
descriptors, never a path, and answers facts, frames in shared memory, or one error code.
"""

import ctypes
import math
import mmap
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from models.decode_protocol import (
    BYTES_PER_TICK,
    OUT_OF_MEMORY_EXIT,
    ChannelClosed,
    DecodeLimits,
    batch_frames,
    receive_message,
    send_message,
)

if TYPE_CHECKING:
    from models.decode_frames import GridFrames
    from models.decode_media import Medium
    from models.types import ByteArray

BEAT_SECONDS = 1.0
# Source: linux/prctl.h.
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38


def tie_to_parent(parent: int) -> None:
    """Die when the parent's opening thread does, and never gain privileges. Linux only."""
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked to be told
        os._exit(1)


def limit_resources(limits: DecodeLimits) -> None:
    """Bound memory, processor time, files and file sizes of this process."""
    cpu = math.ceil(
        limits.cpu_seconds_base + limits.cpu_seconds_per_video_second * limits.max_duration_seconds
    )
    _limit(resource.RLIMIT_CPU, math.ceil(limits.cpu_seconds_base), cpu)
    _limit(resource.RLIMIT_AS, limits.memory_bytes)
    _limit(resource.RLIMIT_NOFILE, limits.max_open_files)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    _, ceiling = resource.getrlimit(kind)
    wanted = soft if hard is None else hard
    hard = wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)
    resource.setrlimit(kind, (min(soft, hard), hard))


def allow_cpu(limits: DecodeLimits, duration_seconds: float) -> None:
    """Set the processor time to what a video of this length may need."""
    seconds = limits.cpu_seconds_base + limits.cpu_seconds_per_video_second * duration_seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = math.ceil(seconds)
    resource.setrlimit(
        resource.RLIMIT_CPU, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
    )


class Session:
    """One source: answers the parent's questions until it hangs up."""

    def __init__(self, channel: socket.socket, video: int, shared: mmap.mmap) -> None:
        self._channel = channel
        self._video = video
        self._shared = shared
        self._last_beat = time.monotonic()
        self._medium: Medium | None = None
        self._frames: GridFrames | None = None

    def serve(self) -> None:
        """Answer questions one after the other."""
        # Everything is loaded before limits bind, so that a failed import can only mean memory.
        import models.decode_frames  # noqa: F401, PLC0415

        while True:
            try:
                question = receive_message(self._channel)
            except ChannelClosed:
                return
            send_message(self._channel, self._answer(question))

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        from models.decode_media import Refusal, is_out_of_memory  # noqa: PLC0415

        try:
            return self._handlers()[question["ask"]](question)
        except Refusal as refusal:
            return {"error": refusal.code, "message": str(refusal)}
        except (MemoryError, ImportError):
            return _out_of_memory()
        except ChannelClosed:
            raise
        # A stranger's file may trip anything in FFmpeg's bindings or in our own arithmetic; to the
        # user it is one unreadable file, never a traceback.
        except Exception as error:  # noqa: BLE001
            if is_out_of_memory(error):
                return _out_of_memory()
            return {
                "error": "unreadable_video",
                "message": f"The video could not be decoded: {type(error).__name__}.",
            }

    def _handlers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "open": self._open,
            "read": self._read,
            "times": self._times,
            "tiles": self._tiles,
        }

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._last_beat > BEAT_SECONDS:
            self._last_beat = now
            send_message(self._channel, {"beat": True})

    def _open(self, question: dict[str, Any]) -> dict[str, Any]:
        from models.decode_frames import GridFrames  # noqa: PLC0415
        from models.decode_media import scan  # noqa: PLC0415

        limits = DecodeLimits(**question["limits"])
        limit_resources(limits)
        medium = scan(self._video, limits, self._beat)
        timeline = medium.timeline
        allow_cpu(limits, timeline.duration_seconds)
        frames = GridFrames(medium, question["fps"], question["short_side_px"], self._beat)
        self._medium, self._frames = medium, frames
        return {
            "duration_seconds": timeline.duration_seconds,
            "nominal_fps": timeline.nominal_fps,
            "variable_frame_rate": timeline.variable,
            "width_px": frames.displayed[0],
            "height_px": frames.displayed[1],
            "num_source_frames": len(timeline.ticks),
            "codec": medium.codec,
            "container": medium.container_name,
            "frame_size": list(frames.size),
            "notes": [list(note) for note in medium.notes],
        }

    def _read(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._frames is not None  # noqa: S101 - narrows the type; "open" came first
        height, width = self._frames.size
        start = question["start"]
        stop = min(question["stop"], start + batch_frames(height, width))
        problems: list[list[Any]] = []
        for index, shown in enumerate(self._frames.read(start, stop)):
            self._store(index, shown.rgb)
            self._beat()
            if shown.problem is not None:
                problems.append([shown.problem, start + index])
        return {"count": stop - start, "problems": problems}

    def _store(self, index: int, rgb: "ByteArray") -> None:
        import numpy as np  # noqa: PLC0415

        target = np.ndarray(rgb.shape, np.uint8, buffer=self._shared, offset=index * rgb.nbytes)
        target[...] = rgb

    def _times(self, question: dict[str, Any]) -> dict[str, Any]:
        import numpy as np  # noqa: PLC0415

        assert self._medium is not None  # noqa: S101 - narrows the type; "open" came first
        timeline, start = self._medium.timeline, question["start"]
        ticks = timeline.ticks[start : start + len(self._shared) // BYTES_PER_TICK]
        np.ndarray(ticks.shape, np.int64, buffer=self._shared)[...] = ticks
        base = timeline.time_base
        return {"count": len(ticks), "time_base": [base.numerator, base.denominator]}

    def _tiles(self, question: dict[str, Any]) -> dict[str, Any]:
        from models.decode_tiles import draw_tiles, tile_size  # noqa: PLC0415

        assert self._medium is not None  # noqa: S101 - narrows the type; "open" came first
        assert self._frames is not None  # noqa: S101 - as above
        width, height = tile_size(self._frames.displayed, tuple(question["box"]))
        timeline = self._medium.timeline
        seconds: list[float] = []
        for tile in draw_tiles(self._medium, (width, height), question["count"], self._beat):
            self._store(len(seconds), tile.rgb)
            seconds.append(float(timeline.ticks[tile.rank] * timeline.time_base))
        return {"size": [height, width], "seconds": seconds}


def _out_of_memory() -> dict[str, Any]:
    return {
        "error": "out_of_memory",
        "message": "Decoding the video needed more memory than the decoder may use.",
    }


def main() -> None:
    """Run one session; arguments are descriptor numbers and the parent's process id."""
    channel_fd, video_fd, shared_fd, parent = (int(word) for word in sys.argv[2:6])
    tie_to_parent(parent)
    # One thread: pictures are small, and each thread would reserve address space.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # noqa: TID251 - set for numpy, nothing is read
    channel = socket.socket(fileno=channel_fd)
    try:
        with mmap.mmap(shared_fd, 0) as shared:
            Session(channel, video_fd, shared).serve()
    except (MemoryError, ImportError) as error:
        os._exit(OUT_OF_MEMORY_EXIT if isinstance(error, MemoryError) else 1)
    except (ChannelClosed, BufferError):
        os._exit(0)
