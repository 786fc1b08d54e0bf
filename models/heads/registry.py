"""The heads by name: one line each. Registry-wide tests cover whatever stands here."""

from collections.abc import Callable
from dataclasses import dataclass

from models.config import AiclSettings, HeadSettings, KineticsSettings
from models.errors import ModelUnknown
from models.heads.aicl import build_aicl
from models.heads.base import Head, HeadSpec
from models.heads.kinetics import build_kinetics


@dataclass(frozen=True, slots=True)
class HeadEntry:
    """How a head is built and what its settings are."""

    build: Callable[[HeadSpec, object], Head]
    settings: type[HeadSettings]


HEADS: dict[str, HeadEntry] = {
    "aicl": HeadEntry(build_aicl, AiclSettings),
    "kinetics": HeadEntry(build_kinetics, KineticsSettings),
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


def build_head(method: str, spec: HeadSpec, settings: object | None = None) -> Head:
    """Build a head; without settings it takes the defaults of its kind.

    Raises:
        ModelUnknown: no head of that name.
        RecipeMismatch: the features lack a stream that the head needs.
    """
    entry = head_entry(method)
    return entry.build(spec, entry.settings() if settings is None else settings)
