"""What a reader of a result is told about pictures that were lost or damaged, and file names.

Frames are read in any order and more than once; each place is told of once. Standard library only.
"""

import unicodedata

from models.types import MediaWarning

MAX_NAME_LENGTH = 255
MAX_RUNS_PER_CODE = 20  # further places are counted, not listed
PROBLEM_SENTENCES = {
    "frames_lost": (
        "The pictures from {start:.2f} s to {end:.2f} s could not be decoded; the last good one "
        "stands in."
    ),
    "frames_damaged": "The pictures from {start:.2f} s to {end:.2f} s are damaged.",
}


def display_name(name: str) -> str:
    """Return a file name fit to be shown: composed, without control characters, <= 255 long."""
    shown = "".join(
        character
        for character in unicodedata.normalize("NFC", name.encode(errors="replace").decode())
        if not unicodedata.category(character).startswith("C")
    ).strip()
    return shown[:MAX_NAME_LENGTH] or "video"


class PictureProblems:
    """Runs of grid frames per warning code, growing as frames are read, in any order."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._runs: dict[str, list[list[int]]] = {code: [] for code in PROBLEM_SENTENCES}

    def add(self, code: str, frame: int) -> None:
        """Note one grid frame; repeated ones count once."""
        runs = self._runs[code]
        for run in reversed(runs):
            if run[0] <= frame < run[1]:
                return
            if run[1] == frame:
                run[1] = frame + 1
                return
        runs.append([frame, frame + 1])

    def warnings(self) -> list[MediaWarning]:
        """Return one warning per run, in time order, at most MAX_RUNS_PER_CODE per code."""
        found = []
        for code, runs in self._runs.items():
            ordered = sorted(runs)
            for start, end in ordered[:MAX_RUNS_PER_CODE]:
                seconds = start / self._fps
                sentence = PROBLEM_SENTENCES[code].format(start=seconds, end=end / self._fps)
                found.append(MediaWarning(code, sentence, seconds))
            more = ordered[MAX_RUNS_PER_CODE:]
            if more:
                sentence = f"The same holds for {len(more)} more places."
                found.append(MediaWarning(code, sentence, more[0][0] / self._fps))
        return found
