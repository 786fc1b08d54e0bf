"""Tells when files that somebody else writes are complete: they have not changed for a while.

Watching works on every file system, network shares included, because it only looks again.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from workers.batch_files import FileItem, FileState


@dataclass(frozen=True, slots=True)
class _Seen:
    state: FileState
    since_seconds: float


class Settling:
    """Remembers how files looked and since when they look so.

    Args:
        settle_seconds: a file is complete when it looked the same for so long.
    """

    def __init__(self, settle_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self._seen: dict[str, _Seen] = {}
        self._taken: dict[str, FileState] = {}

    def ready(
        self, files: Iterable[tuple[FileItem, FileState]], now_seconds: float
    ) -> list[FileItem]:
        """Return files that are complete and were not taken as they are.

        Args:
            files: all that are there, with how they look now.
            now_seconds: on a clock that never goes back.
        """
        seen: dict[str, _Seen] = {}
        complete = []
        for item, state in files:
            before = self._seen.get(item.name)
            if before is None or before.state != state:
                before = _Seen(state, now_seconds)
            seen[item.name] = before
            settled = now_seconds - before.since_seconds >= self._settle_seconds
            if settled and self._taken.get(item.name) != state:
                complete.append(item)
        self._seen = seen  # what is gone is forgotten
        self._taken = {name: one for name, one in self._taken.items() if name in seen}
        return complete

    def taken(self, names: Collection[str]) -> None:
        """Note that files were tried as they looked; a change makes them new."""
        self._taken.update({name: self._seen[name].state for name in names if name in self._seen})
