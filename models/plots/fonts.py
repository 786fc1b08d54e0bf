"""Fonts for pictures of pixels: Pillow's own, and whatever else is installed for other scripts.

Pillow's covers Latin. For what it lacks DejaVu and Noto are looked for where systems keep them,
and where matplotlib brings one along. What no font has is found out before it is drawn.
"""

import importlib.util
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont
NEVER_ASSIGNED = "\U0010fffe"
"""Every font draws it as what it does not have."""
MISSING_MARK = "?"
SYSTEM_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
FALLBACK_NAMES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "NotoSansSymbols2-Regular.ttf",
    "NotoEmoji-Regular.ttf",
)
PROBE_PX = 24


@lru_cache(maxsize=1)
def fallback_files() -> tuple[Path, ...]:
    """Return the fonts of other scripts that this machine has, in the order to be asked."""
    folders = list(SYSTEM_FOLDERS)
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.submodule_search_locations:
        folders += [
            Path(one, "mpl-data", "fonts", "ttf") for one in found.submodule_search_locations
        ]
    files = {
        file.name: file
        for folder in reversed(folders)
        if folder.is_dir()
        for file in folder.rglob("*.tt[fc]")
    }
    return tuple(files[name] for name in FALLBACK_NAMES if name in files)


@lru_cache(maxsize=64)
def sized_fonts(size_px: float) -> tuple[Font, ...]:
    """Return the fonts in one size, Pillow's own first."""
    own = ImageFont.load_default(size_px)
    if not isinstance(own, Font):  # Pillow without FreeType; its wheels have it
        message = "Pillow was built without FreeType, and PNG pictures need it"
        raise TypeError(message)
    return (own, *(ImageFont.truetype(str(file), size_px) for file in fallback_files()))


@dataclass(frozen=True, slots=True)
class Run:
    """Characters that follow each other and are drawn with one font."""

    text: str
    font: Font


@dataclass(slots=True)
class Coverage:
    """Which font draws which character; remembers what it found out."""

    known: dict[str, int | None] = field(default_factory=dict)

    def place_of(self, character: str) -> int | None:
        """Return the place among `sized_fonts` of the first font that has a character."""
        if character not in self.known:
            self.known[character] = _find(character)
        return self.known[character]

    def missing(self, texts: Iterable[str]) -> bool:
        """Return whether a character of these texts is in no font."""
        wanted = {one for text in texts for one in text if _is_drawn(one)}
        return any(self.place_of(one) is None for one in wanted)

    def runs(self, text: str, size_px: float) -> list[Run]:
        """Return a text in runs; what no font has is a question mark."""
        fonts = sized_fonts(size_px)
        runs: list[tuple[int, str]] = []
        for character in text:
            place = self.place_of(character) if _is_drawn(character) else None
            if not _is_drawn(character) and runs:
                place = runs[-1][0]  # spaces, marks and joiners belong to what stands before them
            shown = character if place is not None or not _is_drawn(character) else MISSING_MARK
            if runs and runs[-1][0] == (place or 0):
                runs[-1] = (runs[-1][0], runs[-1][1] + shown)
            else:
                runs.append((place or 0, shown))
        return [Run(shown, fonts[place]) for place, shown in runs]


def _is_drawn(character: str) -> bool:
    return not (
        character.isspace()
        or unicodedata.combining(character)
        or unicodedata.category(character) in {"Cf", "Mn", "Me"}
        or "\ufe00" <= character <= "\ufe0f"
    )


def _find(character: str) -> int | None:
    for place, font in enumerate(sized_fonts(PROBE_PX)):
        if _picture(font, character) != _picture(font, NEVER_ASSIGNED):
            return place
    return None


def _picture(font: Font, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)
