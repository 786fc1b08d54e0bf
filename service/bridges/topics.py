"""MQTT topics below the prefix; any camera and label has one, and no two have the same.

Source: MQTT 3.1.1, 4.7: a topic name has no ``+``, ``#`` and NUL, ``/`` separates its levels;
1.5.3: control and non-characters may make a broker close the connection.
"""

import hashlib
import unicodedata
from dataclasses import dataclass

AVAILABLE = "available"
EVENTS = "events"
SEGMENTS = "segments"
ALL = "all"
"""In the place of a label: the topic of everything a camera shows."""

ESCAPED = frozenset("+#/%$")
MAX_LEVEL_BYTES = 200
KEPT_CHARACTERS = 40
DIGEST_DIGITS = 12
LAST_TWO = 0xFFFE
"""In every plane of Unicode the last two code points are no characters."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one deployment.

    Attributes:
        prefix: checked by `service.bridges.addresses.checked_prefix`.
    """

    prefix: str

    @property
    def available(self) -> str:
        """Retained: ``online``, ``offline`` (last will) or ``stopped``."""
        return f"{self.prefix}/{AVAILABLE}"

    @property
    def events(self) -> str:
        """Segments as Frigate's events."""
        return f"{self.prefix}/{EVENTS}"

    @property
    def segments(self) -> str:
        """Segments that cannot be events: nobody knows when, or of which camera."""
        return f"{self.prefix}/{SEGMENTS}"

    def camera(self, camera: str) -> str:
        """Retained: the last segment of a camera, whatever its label."""
        return f"{self.prefix}/{topic_level(camera)}/{ALL}"

    def label(self, camera: str, label: str) -> str:
        """Retained: the last segment of a camera with a label."""
        level = topic_level(label)
        return f"{self.prefix}/{topic_level(camera)}/{'%61ll' if level == ALL else level}"


def topic_level(name: str) -> str:
    """Return a name as one level of a topic; what has no place there is written ``%XX``.

    A name that is too long is cut and ends in a hash of the whole.
    """
    level = "".join(_escaped(one) for one in name)
    if len(level.encode()) <= MAX_LEVEL_BYTES:
        return level
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:DIGEST_DIGITS]
    return "".join(_escaped(one) for one in name[:KEPT_CHARACTERS]) + f"%~{digest}"


def _escaped(character: str) -> str:
    code = ord(character)
    # Cc: control, Cs: half of a pair, Cn: unassigned, non-characters among them.
    unfit = unicodedata.category(character) in {"Cc", "Cs", "Cn"}
    if character not in ESCAPED and not unfit and code & LAST_TWO != LAST_TWO:
        return character
    content = character.encode(errors="surrogatepass")
    return "".join(f"%{byte:02X}" for byte in content)
