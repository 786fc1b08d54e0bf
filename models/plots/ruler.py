"""Where a time axis has its ticks, and how instants and lengths of time are written."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SECONDS_PER_MINUTE, SECONDS_PER_HOUR, SECONDS_PER_DAY = 60, 3600, 86_400
# Steps that people count in.
STEPS_SECONDS = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
    10_800, 21_600, 43_200, 86_400,
)  # fmt: skip
MAX_TICKS = 400
TENTHS = 0.1


@dataclass(frozen=True, slots=True)
class Tick:
    """One mark of the axis; ``seconds`` from the beginning of the video."""

    seconds: float
    text: str


def ticks(duration_seconds: float, max_ticks: int, recorded_at: datetime | None) -> list[Tick]:
    """Return marks at round times.

    Args:
        duration_seconds: of the video, > 0.
        max_ticks: at most about so many.
        recorded_at: of the first frame; with it marks are at round times of the day, in UTC.
    """
    step = step_seconds(duration_seconds, max_ticks)
    start = 0.0
    if recorded_at is not None:
        moment = recorded_at.astimezone(UTC)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        start = (moment - midnight).total_seconds()
    first = math.ceil(start / step - 1e-9)
    last = math.floor((start + duration_seconds) / step + 1e-9)
    found = []
    for count in range(first, min(last, first + MAX_TICKS) + 1):
        seconds = min(max(count * step - start, 0.0), duration_seconds)
        if recorded_at is None:
            text = clock(seconds, step)
        else:
            text = time_of_day(recorded_at + timedelta(seconds=seconds), step)
        found.append(Tick(seconds, text))
    return found


def step_seconds(duration_seconds: float, max_ticks: int) -> float:
    """Return the shortest round step that makes at most so many ticks; beyond a day, days."""
    wanted = duration_seconds / max(1, max_ticks)
    for step in STEPS_SECONDS:
        if step >= wanted:
            return step
    return math.ceil(wanted / SECONDS_PER_DAY) * float(SECONDS_PER_DAY)


def clock(seconds: float, step: float = 1.0) -> str:
    """Return an instant of a video as ``m:ss`` or ``h:mm:ss``, finer where steps are."""
    digits = 0 if step >= 1 else 1 if step >= TENTHS else 2
    whole = round(seconds, digits)
    minutes, rest = divmod(whole, SECONDS_PER_MINUTE)
    hours, minutes = divmod(int(minutes), 60)
    width = 2 if digits == 0 else digits + 3
    shown = f"{rest:0{width}.{digits}f}"
    return f"{hours}:{minutes:02d}:{shown}" if hours else f"{minutes}:{shown}"


def time_of_day(moment: datetime, step: float = 1.0) -> str:
    """Return a moment as a ruler shows it, in UTC: a date at midnight, else the time."""
    rounded = moment.astimezone(UTC) + timedelta(microseconds=500)
    if step >= SECONDS_PER_MINUTE and (rounded.hour, rounded.minute) == (0, 0):
        return f"{rounded:%-d %b}"
    if step >= SECONDS_PER_MINUTE:
        return f"{rounded:%H:%M}"
    if step >= 1:
        return f"{rounded:%H:%M:%S}"
    return f"{rounded:%H:%M:%S}.{rounded.microsecond // 10_000:02d}"


def length(seconds: float) -> str:
    """Return a length of time as people say it: ``4.2 s``, ``12 min 5 s``, ``10 h 3 min``."""
    if seconds < SECONDS_PER_MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < SECONDS_PER_HOUR:
        minutes, rest = divmod(whole, SECONDS_PER_MINUTE)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    minutes = round(seconds / SECONDS_PER_MINUTE)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
