"""Camera and moment of a recording, read from where it lies and what it is called.

Recorders put both into paths: ``dock/2026-03-01/09.15.00.mp4``. A pattern says how, in the words
of `strftime` and with ``{camera}``; a file that does not match has neither.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from service.errors import InvalidRequest
from service.ingest.moments import EARLIEST, LATEST
from service.jobs.records import NAME_LENGTH

CAMERA = "camera"
DIGITS = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{2}",
    "d": r"\d{2}",
    "H": r"\d{2}",
    "I": r"\d{2}",
    "M": r"\d{2}",
    "S": r"\d{2}",
    "f": r"\d{1,6}",
    "j": r"\d{3}",
    "s": r"\d{9,10}",
    "p": r"[AaPp][Mm]",
    "z": r"[+-]\d{2}:?\d{2}|Z",
}
"""What each code of a date matches. Source: Python's strftime codes, and %s of the C library."""

DATE_AND_TIME = (
    {"s"},
    {"Y", "m", "d", "H", "M"},
    {"y", "m", "d", "H", "M"},
    {"Y", "j", "H", "M"},
    {"Y", "m", "d", "I", "p", "M"},
    {"y", "m", "d", "I", "p", "M"},
)
"""Codes that together name a moment; seconds are 0 where there are none."""

_PARTS = re.compile(r"\{(?P<word>\w*)\}|%(?P<code>.)|(?P<star>\*+)|(?P<text>[^{%*]+|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """Where and when a video was recorded; None for what its name does not say.

    Attributes:
        recorded_at: with its zone.
    """

    camera: str | None = None
    recorded_at: datetime | None = None

    def to_json(self) -> dict[str, str]:
        """Return the fields of a job, those that are known."""
        found = {} if self.camera is None else {"camera": self.camera}
        if self.recorded_at is not None:
            found["recorded_at"] = self.recorded_at.astimezone(UTC).isoformat()
        return found


NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class NamePattern:
    """How paths say camera and moment; `parse` makes one.

    Attributes:
        expression: matches the end of a path, from the beginning of a name in it.
        zone: of the times in the names; None is this machine's.
    """

    expression: re.Pattern[str]
    zone: tzinfo | None = None

    @classmethod
    def parse(cls, text: str, zone_name: str | None = None) -> "NamePattern":
        """Read a pattern such as ``{camera}/%Y-%m-%d/%H.%M.%S.mp4``; ``*`` is any part of a name.

        A code that comes again, as in the name of a recorder that writes the end too, has to match
        and counts for nothing; a camera that comes again has to be the same.

        Raises:
            InvalidRequest: it is none, or names neither a camera nor a whole moment.
        """
        seen: set[str] = set()
        expression = "".join(_piece(part, seen) for part in _PARTS.finditer(text))
        codes = seen - {CAMERA}
        if codes and not any(whole <= codes for whole in DATE_AND_TIME):
            message = (
                "The name pattern has a part of a moment only; it needs date, hour and minute, as "
                "%Y-%m-%d %H.%M, or %s."
            )
            raise InvalidRequest(message)
        if not seen:
            message = "The name pattern names neither {camera} nor a moment such as %Y%m%d%H%M%S."
            raise InvalidRequest(message)
        return cls(re.compile(rf"(?:^|/){expression}\Z", re.DOTALL), _zone(zone_name))

    def place(self, path: Path) -> Place:
        """Return what a path says; nothing where it does not match, or says what cannot be."""
        found = self.expression.search(path.absolute().as_posix())
        if found is None:
            return NOWHERE
        said = {name: text for name, text in found.groupdict().items() if text is not None}
        camera = said.pop(CAMERA, None)
        if camera is not None and not (camera.isprintable() and len(camera) <= NAME_LENGTH):
            return NOWHERE
        try:
            moment = self._moment(said) if said else None
        except (ValueError, OverflowError):
            return NOWHERE  # the 31st of February
        if moment is not None and not EARLIEST <= moment <= LATEST:
            return NOWHERE
        return Place(camera, moment)

    def _moment(self, said: Mapping[str, str]) -> datetime:
        if "s" in said:
            seconds = datetime.fromtimestamp(int(said["s"]), UTC)
            return seconds + timedelta(microseconds=int(said.get("f", "0").ljust(6, "0")))
        codes = sorted(said)
        moment = datetime.strptime(  # noqa: DTZ007 - the zone follows below
            " ".join(said[code] for code in codes), " ".join(f"%{code}" for code in codes)
        )
        if moment.tzinfo is not None:
            return moment
        # Of an hour that comes twice in autumn the first is meant.
        return moment.astimezone() if self.zone is None else moment.replace(tzinfo=self.zone)


def _piece(part: re.Match[str], seen: set[str]) -> str:
    """Return one part of a pattern as a regular expression."""
    if (word := part["word"]) is not None:
        return _camera(word, seen)
    if (code := part["code"]) is not None:
        return _code(code, seen)
    if part["star"] is not None:
        return "[^/]*"
    return re.escape(part["text"])


def _camera(word: str, seen: set[str]) -> str:
    if word != CAMERA:
        message = f"The name pattern has {{{word}}}; only {{camera}} is known."
        raise InvalidRequest(message)
    if CAMERA in seen:
        return f"(?P={CAMERA})"
    seen.add(CAMERA)
    return f"(?P<{CAMERA}>[^/]+?)"


def _code(code: str, seen: set[str]) -> str:
    if code == "%":
        return "%"
    if code not in DIGITS:
        known = " ".join(f"%{one}" for one in DIGITS)
        message = f"The name pattern has %{code}; known are {known}, and %% for a percent sign."
        raise InvalidRequest(message)
    if code in seen:
        return f"(?:{DIGITS[code]})"
    seen.add(code)
    return f"(?P<{code}>{DIGITS[code]})"


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"There is no time zone {name}; give one such as Europe/Berlin or UTC."
        raise InvalidRequest(message) from error


def known_codes() -> Iterator[str]:
    """Yield the codes that a pattern may have, for the documentation's test."""
    yield from (f"%{code}" for code in DIGITS)
