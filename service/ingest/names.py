"""Names that users give to videos: made fit to be shown; never used as paths."""

import unicodedata

MAX_NAME_CHARACTERS = 255
FALLBACK_NAME = "video"


def display_name(raw: str) -> str:
    """Return a file name fit to be shown: last part of a path, no control characters, bounded.

    Source: Unicode TR 36 on bidirectional controls, which are of category Cf and removed too.
    """
    name = unicodedata.normalize("NFC", raw.replace("\\", "/").rsplit("/", 1)[-1])
    name = "".join(one for one in name if unicodedata.category(one)[0] != "C").strip()
    if name.strip(".") == "":
        return FALLBACK_NAME
    if len(name) > MAX_NAME_CHARACTERS:
        stem, dot, ending = name.rpartition(".")
        keep = MAX_NAME_CHARACTERS - len(dot + ending)
        name = stem[:keep] + dot + ending if dot and keep > 0 else name[:MAX_NAME_CHARACTERS]
    return name
