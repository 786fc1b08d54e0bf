"""The heads by name. A new head is a file in this folder and its name in `HEAD_NAMES`.

Registry-wide tests cover whatever stands here.
"""

from importlib import import_module

from models.config import HeadSettings, Preset
from models.errors import ModelUnknown
from models.heads.base import Head, HeadEntry, HeadSpec

HEAD_NAMES = (
    "aicl",
    "cleannet",
    "dcc",
    "issf",
    "kinetics",
    "published_acmnet",
    "published_cmcs",
    "published_cola",
    "published_stpn",
    "tssa",
)


def _entry(name: str) -> HeadEntry:
    entry: HeadEntry = import_module(f"models.heads.{name}").ENTRY
    return entry


HEADS: dict[str, HeadEntry] = {name: _entry(name) for name in HEAD_NAMES}
PRESETS: dict[str, dict[str, Preset]] = {
    name: entry.all_presets() for name, entry in HEADS.items() if entry.head.trainable
}


def head_entry(method: str) -> HeadEntry:
    """Return the entry of a head.

    Raises:
        ModelUnknown: no head of that name.
    """
    entry = HEADS.get(method)
    if entry is None:
        message = f"There is no head named {method}; choose one of {', '.join(sorted(HEADS))}."
        raise ModelUnknown(message)
    return entry


def build_head(method: str, spec: HeadSpec, settings: HeadSettings | None = None) -> Head:
    """Build a head; without settings it takes the defaults of its kind.

    Raises:
        ModelUnknown: no head of that name.
        RecipeMismatch: the features lack a stream that the head needs.
        TypeError: the settings are another head's.
    """
    entry = head_entry(method)
    chosen = entry.settings() if settings is None else settings
    if not isinstance(chosen, entry.settings):
        message = f"the {method} head takes {entry.settings.__name__}, got {type(chosen).__name__}"
        raise TypeError(message)
    return entry.head(spec, chosen)
