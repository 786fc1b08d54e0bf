"""The output folder of a batch: where everything lies, and the files over all videos.

OUT/videos/<name>.json      one native result per file, under the file's own path
OUT/activitynet.json        all segments, ActivityNet result file
OUT/segments.csv            all segments: video,label,start,end,score
OUT/failures.csv            what has no result, and why
OUT/contact-sheet.html      all of it to look at
OUT/.kinetag/               what the next run needs to know
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from models.atomic import atomic_file, is_unfinished
from service.batches.combining import COMBINED, CombinedFormat, NamedResult, Naming, video_ids
from service.batches.files import RESULT_ENDING
from workers.batch_files import result_path
from workers.batch_ledger import Ledger
from workers.devicelock import exclusive_folder

COMBINED_TOPIC = "combined"
COMBINED_VERSION = 1
"""Raised when the files over all results are written in another way."""


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """Paths in an output folder."""

    root: Path

    @property
    def videos(self) -> Path:
        """Results, one per file."""
        return self.root / "videos"

    @property
    def state(self) -> Path:
        """What the next run needs to know."""
        return self.root / ".kinetag"

    @property
    def ledger(self) -> Path:
        """The memory of all runs."""
        return self.state / "ledger.jsonl"

    @property
    def features(self) -> Path:
        """Features of unfinished files, where none are to be kept."""
        return self.state / "features"

    @property
    def posters(self) -> Path:
        """Moments of videos, for the contact sheet."""
        return self.state / "posters"

    @property
    def failures(self) -> Path:
        """The table of failures."""
        return self.root / "failures.csv"

    @property
    def combined(self) -> dict[CombinedFormat, Path]:
        """Format -> file over all results."""
        return {
            CombinedFormat.ACTIVITYNET: self.root / "activitynet.json",
            CombinedFormat.CSV: self.root / "segments.csv",
        }

    def locked(self) -> AbstractContextManager[None]:
        """Keep other runs out.

        Raises:
            FolderLockedError: another run writes here.
        """
        message = (
            f"Another batch is writing to {self.root}; wait for it, or choose another folder "
            "with -o."
        )
        return exclusive_folder(self.state / "lock", message)


def remove_parts(folder: OutputFolder) -> None:
    """Remove unfinished files of a run that was killed, and nothing else: users have files too."""
    own = [path.name for path in (*folder.combined.values(), folder.failures)]
    for path in folder.root.glob(".*"):
        sheet = path.name.startswith(".contact-sheet") and is_unfinished(path.name, ".html")
        if sheet or any(is_unfinished(path.name, name) for name in own):
            path.unlink(missing_ok=True)
    for above, _, files in os.walk(folder.videos):
        for name in files:
            if is_unfinished(name, RESULT_ENDING):
                (Path(above) / name).unlink(missing_ok=True)


def write_combined(
    folder: OutputFolder, ledger: Ledger, names: Sequence[str], *, timed: bool = False
) -> bool:
    """Write the files over the results of these items; False when they are as they should be.

    Args:
        folder: of the batch.
        ledger: of that folder.
        names: of items that may have a result; those without one are left out.
        timed: whether the moments of recordings may be known.

    Raises:
        DiskFull: there is no space.
    """
    done = [(name, found.key) for name in sorted(names) if (found := ledger.done(name))]
    version = [COMBINED_VERSION, "timed"] if timed else COMBINED_VERSION
    state = hashlib.sha256(json.dumps([version, done]).encode()).hexdigest()
    targets = folder.combined
    if ledger.note(COMBINED_TOPIC) == state and all(path.exists() for path in targets.values()):
        return False
    present = [name for name, _ in done]
    naming = Naming(video_ids(present), timed=timed)
    for kind, path in targets.items():
        _, render = COMBINED[kind]
        with atomic_file(path) as file:
            for part in render(_results(folder, present), naming):
                file.write(part.encode())
    ledger.add_note(COMBINED_TOPIC, state)
    return True


def _results(folder: OutputFolder, names: Iterable[str]) -> Iterator[NamedResult]:
    for name in names:
        try:
            text = result_path(folder.videos, name).read_text("utf-8")
        except FileNotFoundError:
            continue  # deleted by somebody; the next run writes it again
        yield name, json.loads(text)
