"""Decoded pictures on the uniform grid, from any start, bit-identical to one pass from the start.

Runs only in the decode child. Decisions: pictures are as displayed after rotation and mirroring;
the pixel shape (sample aspect ratio) is ignored, since the published recipe resizes stored pixels;
alpha is dropped; interlaced pictures are not deinterlaced; a stream without a colour matrix is
taken as BT.601, FFmpeg's default, and high dynamic range is not tone-mapped.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from av.video.reformatter import VideoReformatter

from models.decode_formats import REPEATING_CODECS
from models.decode_media import (
    CODEC_ERRORS,
    Medium,
    Refusal,
    check_size,
    is_out_of_memory,
    packets_of,
)
from models.decode_timeline import NO_TIME
from models.types import ByteArray, IntArray

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame

MATRIX_ENTRIES = 9
# Groups of pictures decoded before the wanted one: recovery points of H.264 and HEVC are exact
# only after a whole refresh, which is at most one group.
PREROLL_GROUPS = 1
# Decoding on is cheaper than seeking when this few packets lie between.
SEEK_GAIN_PACKETS = 64
# A seek may land behind the key frame (MPEG-TS seeks by decoding time): then ask for earlier.
SEEK_MARGINS_SECONDS = (0.0, 1.0, 5.0, 30.0)
# Source: H.264 and HEVC, largest decoded picture buffer.
MAX_REORDER = 16
# How many key frames before the wanted one a seek may land.
MAX_KEYS_BACK = 4096
LOST = "frames_lost"
DAMAGED = "frames_damaged"


class Picture(NamedTuple):
    """A decoded frame and its place in the timeline."""

    rank: int
    frame: "VideoFrame"
    damaged: bool


class Shown(NamedTuple):
    """One grid frame: its picture, and the code of what is wrong with it, if anything."""

    rgb: ByteArray
    problem: str | None


@dataclass(frozen=True, slots=True)
class Orientation:
    """How stored pictures are turned for display: transpose first, then flip.

    Source: FFmpeg's display matrix, [x y 1] * M, of which the four linear entries matter.
    """

    transpose: bool
    flip_horizontal: bool
    flip_vertical: bool

    @classmethod
    def of(cls, frame: "VideoFrame") -> "Orientation":
        """Read a frame's display matrix, snapped to the nearest of the eight orientations."""
        side_data: Mapping[str, Any] = frame.side_data
        data = side_data.get("DISPLAYMATRIX")
        if data is None:
            return cls(False, False, False)
        matrix = np.frombuffer(bytes(data), dtype="<i4")[:MATRIX_ENTRIES].astype(np.int64)
        a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    def apply(self, image: ByteArray) -> ByteArray:
        """Turn uint8[H, W, 3]; a view."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        if self.flip_horizontal:
            image = image[:, ::-1]
        return image[::-1] if self.flip_vertical else image


def resized(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """Return (width, height) with the shorter side as wanted, the other rounded to nearest."""
    if short_side is None:
        return width, height
    shorter = min(width, height)
    scale = short_side / shorter
    wide, high = int(width * scale + 1 / 2), int(height * scale + 1 / 2)
    return (short_side, max(1, high)) if width == shorter else (max(1, wide), short_side)


class PictureStream:
    """Pictures of one stream in presentation order, from a key frame or from the start."""

    def __init__(self, medium: Medium, beat: Callable[[], None]) -> None:
        self._medium = medium
        self._beat = beat
        self.failed = bytearray(len(medium.timeline.ticks))
        for rank in medium.timeline.lost_ranks.tolist():
            self.failed[rank] = 1
        self.position = 0  # packets consumed, as a decoding index
        self._ready: deque[Picture] = deque()
        self._packets: Iterator[Packet[Any]] = iter(())
        self._last_rank = -1
        self._flushed = False
        self.errors = 0
        self.interlaced = False
        self._container: Any = None
        self._stream: Any = None
        self.restart()

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._packets = iter(())
            self._container.close()
            self._container = None

    def restart(self) -> None:
        """Go to the very first packet, as if the file had just been opened."""
        self.close()
        self._container, self._stream = self._medium.open()
        self._begin(0)

    def _begin(self, index: int) -> None:
        self.position = index
        self._ready.clear()
        self._last_rank = -1
        self.errors = 0
        self._flushed = False
        self._packets = packets_of(self._container, lambda: True)

    def seek(self, key: int) -> bool:
        """Go to this key frame or one before it; False if the file does not lead there."""
        timeline = self._medium.timeline
        target = int(self._medium.log.key_pts[key])
        if target == NO_TIME or timeline.repaired_seconds:
            return False
        margins = (round(seconds / float(timeline.time_base)) for seconds in SEEK_MARGINS_SECONDS)
        return any(self._seek_to(target - margin, key) for margin in margins)

    def _seek_to(self, target: int, key: int) -> bool:
        """Decode from the first key frame behind a seek, if it is known and not too late."""
        log = self._medium.log
        try:
            self._container.seek(target, stream=self._stream, backward=True)
        except CODEC_ERRORS:
            return False
        self._begin(0)
        for packet in self._packets:
            self._beat()
            if packet.stream_index != self._stream.index or not packet.is_keyframe:
                continue
            found = self._key_of(packet, key)
            if found is None:
                return False
            self.position = int(log.key_index[found])
            self._decode(packet)
            return True
        return False

    def _key_of(self, packet: "Packet[Any]", newest: int) -> int | None:
        """Which key frame a packet is, by time and byte position; not newer than asked for."""
        log = self._medium.log
        position = -1 if packet.pos is None else packet.pos
        for key in range(newest, max(-1, newest - MAX_KEYS_BACK), -1):
            if log.key_pts[key] == packet.pts and log.key_pos[key] == position:
                return key
        return None

    def next(self) -> Picture | None:
        """Return the next picture in presentation order; None at the end."""
        while not self._ready:
            packet = self._next_packet()
            if packet is None:
                if self._flushed:
                    return None
                self._flushed = True
            self._decode(packet)
        return self._ready.popleft()

    def _next_packet(self) -> "Packet[Any] | None":
        for packet in self._packets:
            self._beat()
            if packet.stream_index == self._stream.index:
                return packet
        return None

    def _decode(self, packet: "Packet[Any] | None") -> None:
        timeline = self._medium.timeline
        rank = -1
        if packet is not None:
            if self.position < len(timeline.rank):
                rank = int(timeline.rank[self.position])
            if not timeline.by_order:
                packet.pts = rank  # the decoder hands it through to the picture
                packet.dts = None
            self.position += 1
        try:
            frames = self._stream.codec_context.decode(packet)
        except CODEC_ERRORS as error:
            if is_out_of_memory(error):
                raise
            self.errors += 1
            if rank >= 0:
                self.failed[rank] = 1
            return
        for frame in frames:
            self._accept(frame)

    def _accept(self, frame: "VideoFrame") -> None:
        rank = self._rank_of(frame)
        if rank <= self._last_rank or rank >= len(self.failed):
            return
        self._last_rank = rank
        self.interlaced = self.interlaced or frame.interlaced_frame
        if frame.is_corrupt:
            self.errors += 1
        self._ready.append(Picture(rank, frame, frame.is_corrupt))

    def _rank_of(self, frame: "VideoFrame") -> int:
        if not self._medium.timeline.by_order:
            return -1 if frame.pts is None else int(frame.pts)
        # Without presentation times pictures take the places in turn, past those known as lost;
        # a decoder never lags further behind the packet just fed than it can reorder.
        rank = self._last_rank + 1
        while rank < len(self.failed) and self.failed[rank]:
            rank += 1
        fed = int(self._medium.timeline.rank[self.position - 1])
        return rank if self._flushed else max(rank, fed - MAX_REORDER)


class GridFrames:
    """The frames on screen at k / fps, as RGB of one size.

    Args:
        medium: the scanned file.
        fps: of the grid.
        short_side_px: resize so that the shorter displayed side is this; None keeps the size.
        beat: called often, so that the parent sees progress.

    Raises:
        Refusal: not one picture can be decoded, or it is too large.
    """

    def __init__(
        self, medium: Medium, fps: float, short_side_px: int | None, beat: Callable[[], None]
    ) -> None:
        self._medium = medium
        self._fps = fps
        self._stream = PictureStream(medium, beat)
        self._rescale = VideoReformatter()
        self._pending = self._stream.next()
        if self._pending is None:
            raise Refusal(
                "unreadable_video",
                f"None of the {len(medium.timeline.ticks)} frames could be decoded; the video is "
                "damaged.",
            )
        self._current: Picture | None = None
        self._recent: deque[tuple[int, Shown]] = deque(maxlen=2)  # (wanted rank, what was shown)
        frame = self._pending.frame
        check_size(frame.width, frame.height, medium.limits)
        self.orientation = Orientation.of(frame)
        self._scaled = resized(frame.width, frame.height, short_side_px)
        check_size(*self._scaled, medium.limits)
        swap = self.orientation.transpose
        stored = (frame.width, frame.height)
        self.displayed: tuple[int, int] = stored[::-1] if swap else stored
        width, height = self._scaled[::-1] if swap else self._scaled
        self.size = (height, width)
        self._always_from_start = bool(medium.timeline.by_order)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def read(self, start: int, stop: int) -> Iterator[Shown]:
        """Yield grid frames [start, stop); the range must lie inside the video."""
        ranks = self._ranks(start, stop)
        if not self._can_continue(int(ranks[0])):
            self._go_to(int(ranks[0]))
        for rank in ranks.tolist():
            yield self._show(rank)

    def _ranks(self, start: int, stop: int) -> IntArray:
        instants = np.arange(start, stop, dtype=np.float64) / self._fps
        return self._medium.timeline.ranks_at(instants)

    def _show(self, rank: int) -> Shown:
        for wanted, shown in self._recent:
            if wanted == rank:
                return shown
        picture = self._advance(rank) or self._pending
        if picture is None:
            raise Refusal("unreadable_video", "The video could not be decoded a second time.")
        shown = Shown(self._to_rgb(picture), self._problem(picture, rank))
        self._recent.append((rank, shown))
        return shown

    def _advance(self, rank: int) -> Picture | None:
        """Decode up to ``rank``; return the last good picture not after it, if any."""
        while self._pending is not None and self._pending.rank <= rank:
            self._current = self._pending
            self._pending = self._stream.next()
        return self._current

    def _problem(self, picture: Picture, rank: int) -> str | None:
        if picture.rank == rank:
            return DAMAGED if picture.damaged else None
        if picture.rank > rank or 1 in self._stream.failed[picture.rank + 1 : rank + 1]:
            return LOST
        silent = self._medium.codec in REPEATING_CODECS or self._stream.interlaced
        return None if silent else LOST

    def _can_continue(self, rank: int) -> bool:
        """Whether going on from here shows ``rank`` as a pass from the start would."""
        if any(wanted == rank for wanted, _ in self._recent):
            return True
        if self._current is not None and rank < self._current.rank:
            return False
        key = self._key_before(rank)
        ahead = int(self._medium.log.key_index[key]) - self._stream.position if key >= 0 else 0
        return self._always_from_start or ahead < SEEK_GAIN_PACKETS

    def _key_before(self, rank: int) -> int:
        """Number of the key frame to decode from for ``rank``; -1 = the start."""
        log = self._medium.log
        ranks = self._medium.timeline.rank[np.frombuffer(log.key_index, dtype=np.int64)]
        usable = np.flatnonzero((ranks >= 0) & (ranks <= rank))
        return int(usable[-1]) - PREROLL_GROUPS if len(usable) > PREROLL_GROUPS else -1

    def _go_to(self, rank: int) -> None:
        self._recent.clear()
        self._current = None
        key = -1 if self._always_from_start else self._key_before(rank)
        if key > 0 and self._stream.seek(key):
            self._pending = self._stream.next()
            if self._advance(rank) is not None and self._stream.errors == 0:
                return
            # Damage on the way, or no picture to hold: only a pass from the start is sure.
            self._always_from_start = True
        self._current = None
        self._stream.restart()
        self._pending = self._stream.next()

    def _to_rgb(self, picture: Picture) -> ByteArray:
        width, height = self._scaled
        scaled = self._rescale.reformat(
            picture.frame, width, height, "rgb24", interpolation="BILINEAR", threads=1
        )
        image: ByteArray = scaled.to_ndarray()  # type: ignore[assignment]
        return self.orientation.apply(image)
