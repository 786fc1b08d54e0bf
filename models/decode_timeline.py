"""When each frame of a video stream is on screen, from its packets alone.

Owns presentation order, repaired clocks, duration and the variable-rate flag. Knows numpy, not
FFmpeg: the scan hands it one row per packet, in decoding order.
"""

from array import array
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from models.presentation import PresentationTimes
from models.types import DoubleArray, IntArray

NO_TIME = -(1 << 63)
# A clock that jumps back by this, or forward by that, was restarted (joined recordings).
# Source: FFmpeg's command line repairs with dts_delta_threshold = 10 s.
BACKWARD_JUMP_SECONDS = 1.0
FORWARD_JUMP_SECONDS = 10.0
FALLBACK_FPS = 25.0
MIN_FPS, MAX_FPS = 0.1, 1000.0
MAX_DISAGREEMENT = 2.0  # a declared rate further from the measured mean is not believed
# Intervals that differ from the median by more than this many ticks are no rounding.
JITTER_TICKS = 1.5
JITTER_SECONDS = 1.5e-3
# A last packet that claims to last longer than this many usual intervals is not believed.
MAX_LAST_INTERVALS = 10.0


class PacketLog:
    """One row per packet of the stream, in decoding order; 25 bytes each."""

    def __init__(self, time_base: Fraction, *, repair_clock: bool) -> None:
        self.time_base = time_base
        self.pts = array("q")
        self.dts = array("q")
        self.hidden = bytearray()
        self.key_index = array("q")
        self.key_pts = array("q")
        self.key_pos = array("q")
        self.last_duration = 0
        self.pos = array("q")
        self.lost = array("q")
        self.repaired_at: list[int] = []
        self._latest = NO_TIME
        self._repair = repair_clock
        self._offset = 0
        self._last_dts = NO_TIME
        self._last_step = 0

    def __len__(self) -> int:
        return len(self.pts)

    def add(
        self,
        times: tuple[int | None, int | None, int],
        position: int | None,
        *,
        key: bool,
        hidden: bool,
    ) -> None:
        """Append a packet: (pts, dts, duration) in ticks, byte position, flags."""
        pts, dts, duration = times
        if key:
            self.key_index.append(len(self.pts))
            self.key_pts.append(NO_TIME if pts is None else pts)
            self.key_pos.append(-1 if position is None else position)
        if self._repair:
            self._follow_clock(dts if dts is not None else pts)
        self.pts.append(NO_TIME if pts is None else pts + self._offset)
        self.dts.append(NO_TIME if dts is None else dts + self._offset)
        self.pos.append(-1 if position is None else position)
        self.hidden.append(hidden)
        shown_at = NO_TIME if hidden else self.pts[-1]
        if shown_at >= self._latest and not hidden:
            self._latest = shown_at
            self.last_duration = duration

    def distrust_presentation_times(self) -> None:
        """Forget presentation times unless they are the decoding times, that is, not reordered."""
        if self.pts != self.dts:
            self.pts = array("q", [NO_TIME]) * len(self.pts)

    def follow_index(self, pos: IntArray, times: IntArray) -> None:
        """Take decoding times from a container's own index; what it lists but is gone is lost.

        AVI carries no times: behind a damaged part FFmpeg counts on as if nothing were missing.

        Args:
            pos: int64[N], byte position of each indexed packet, as packets report it.
            times: int64[N], ticks.
        """
        order = np.argsort(pos)
        mine = np.frombuffer(self.pos, dtype=np.int64)
        place = np.minimum(np.searchsorted(pos[order], mine), len(pos) - 1)
        found = order[place]
        dts = np.frombuffer(self.dts, dtype=np.int64)
        pts = np.frombuffer(self.pts, dtype=np.int64)
        known = (pos[found] == mine) & (dts != NO_TIME)
        if np.count_nonzero(known) * 2 < len(pos):
            return  # another kind of index than expected
        timed = known & (pts != NO_TIME)
        delay = int(np.min(pts[timed]) - np.min(dts[timed])) if np.any(timed) else 0
        shift = np.where(known, times[found] - dts, 0)
        lost = np.setdiff1d(times, times[found[known]]) + delay
        self.pts = array("q", np.where(timed, pts + shift, pts).tobytes())
        self.dts = array("q", (dts + shift).tobytes())
        self.lost = array("q", lost.tobytes())

    def forget_packets(self) -> None:
        """Free what only `build_timeline` needs; the key frame columns stay."""
        self.pts, self.dts, self.pos = array("q"), array("q"), array("q")
        self.hidden = bytearray()

    def _follow_clock(self, now: int | None) -> None:
        if now is None:
            return
        now += self._offset
        if self._last_dts != NO_TIME:
            step = now - self._last_dts
            tick = float(self.time_base)
            if step * tick < -BACKWARD_JUMP_SECONDS or step * tick > FORWARD_JUMP_SECONDS:
                self._offset -= step - self._last_step
                now = self._last_dts + self._last_step
                self.repaired_at.append(len(self.pts))
            elif step > 0:
                self._last_step = step
        self._last_dts = now


@dataclass(frozen=True, slots=True)
class Timeline:
    """Presentation order and times of one stream.

    Attributes:
        time_base: seconds of one tick.
        ticks: int64[N], presentation times in order, the first is 0.
        rank: int32[P], per packet in decoding order: its place in ``ticks``; -1 = never shown.
        by_order: the stream has no presentation times; ranks follow from the order of output.
        end_ticks: end of the last frame.
        nominal_fps: declared if believable, else the measured mean.
        variable: intervals differ by more than rounding.
        lost_ranks: int64, places of frames that the container lists but that are gone.
        repaired_seconds: where a restarted clock was joined.
    """

    time_base: Fraction
    ticks: IntArray
    rank: np.ndarray[tuple[int], np.dtype[np.int32]]
    by_order: bool
    end_ticks: int
    nominal_fps: float
    variable: bool
    lost_ranks: IntArray
    repaired_seconds: tuple[float, ...]

    @property
    def duration_seconds(self) -> float:
        """End of the last frame minus the first presentation time."""
        return float(self.end_ticks * self.time_base)

    def ranks_at(self, seconds: DoubleArray) -> IntArray:
        """Return int64: the rank on screen at each instant, clipped to the video."""
        return PresentationTimes(self.time_base, self.ticks).frames_at(seconds)

    def seconds_of(self, rank: int) -> float:
        """Return the presentation time of a rank."""
        return float(int(self.ticks[rank]) * self.time_base)


def build_timeline(log: PacketLog, declared_fps: float) -> Timeline | None:
    """Order a stream's packets by presentation; None if nothing is ever shown.

    Args:
        log: every packet of the stream, at least 1.
        declared_fps: what the container says; 0 if it says nothing.
    """
    pts = np.frombuffer(log.pts, dtype=np.int64)
    shown = np.frombuffer(log.hidden, dtype=np.uint8) == 0
    by_order = bool(np.count_nonzero(pts != NO_TIME) * 2 < len(pts))
    if by_order:
        times = _times_by_order(log, shown, declared_fps)
        members = np.flatnonzero(shown)
    else:
        members = np.flatnonzero(shown & (pts != NO_TIME))
        times = pts[members]
    if len(members) == 0:
        return None
    num_shown = len(members)
    times = np.concatenate([times, np.frombuffer(log.lost, dtype=np.int64)])
    order = np.argsort(times, kind="stable")
    place = np.empty(len(times), dtype=np.int64)
    place[order] = np.arange(len(times))
    rank = np.full(len(pts), -1, dtype=np.int32)
    rank[members] = place[:num_shown]
    first = int(times[order[0]])
    ticks = times[order] - first
    fps = _nominal_fps(ticks, float(log.time_base), declared_fps)
    return Timeline(
        time_base=log.time_base,
        ticks=ticks,
        rank=rank,
        by_order=by_order,
        end_ticks=int(ticks[-1]) + _last_interval(log, ticks, fps),
        nominal_fps=fps,
        variable=_is_variable(ticks, float(log.time_base)),
        lost_ranks=np.sort(place[num_shown:]),
        repaired_seconds=_repaired_seconds(log, first),
    )


def _repaired_seconds(log: PacketLog, first: int) -> tuple[float, ...]:
    times = (log.pts[index] for index in log.repaired_at)
    return tuple(float((time - first) * log.time_base) for time in times if time != NO_TIME)


def _times_by_order(
    log: PacketLog, shown: np.ndarray[tuple[int], np.dtype[np.bool_]], declared_fps: float
) -> IntArray:
    """Without presentation times: the sorted decoding times, or else a constant rate."""
    dts = np.frombuffer(log.dts, dtype=np.int64)[shown]
    if np.all(dts != NO_TIME):
        return np.sort(dts)
    fps = declared_fps if MIN_FPS <= declared_fps <= MAX_FPS else FALLBACK_FPS
    step = 1.0 / (fps * float(log.time_base))
    return np.rint(np.arange(len(dts), dtype=np.float64) * step).astype(np.int64)


def _nominal_fps(ticks: IntArray, tick: float, declared: float) -> float:
    span = float(ticks[-1]) * tick
    measured = (len(ticks) - 1) / span if span > 0 else 0.0
    believable = MIN_FPS <= declared <= MAX_FPS
    if believable and (
        measured <= 0 or 1 / MAX_DISAGREEMENT <= declared / measured <= MAX_DISAGREEMENT
    ):
        return declared
    return measured


def _is_variable(ticks: IntArray, tick: float) -> bool:
    steps = np.diff(ticks)
    if len(steps) < 2:  # noqa: PLR2004 - two intervals are needed to differ
        return False
    tolerance = max(JITTER_TICKS, JITTER_SECONDS / tick)
    return bool(np.max(np.abs(steps - np.median(steps))) > tolerance)


def _last_interval(log: PacketLog, ticks: IntArray, fps: float) -> int:
    """How long the last frame stays: its packet's word, else the usual interval."""
    usual = float(np.median(np.diff(ticks))) if len(ticks) > 1 else 0.0
    if usual <= 0:
        usual = 1.0 / ((fps or FALLBACK_FPS) * float(log.time_base))
    if 0 < log.last_duration <= MAX_LAST_INTERVALS * usual or (
        len(ticks) == 1 and log.last_duration > 0
    ):
        return log.last_duration
    return max(1, round(usual))
