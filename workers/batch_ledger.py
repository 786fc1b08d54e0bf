"""What a batch's output folder remembers: hashes of files, what is done, what failed for good.

One line of JSON per fact, appended; a later line goes before an earlier one. A line that a crash
cut short is dropped at the next start. An ending is on the disk before anybody is told of it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.atomic import write_text_atomic
from workers.batch_files import FileState

COMPACT_LINES = 2000
"""Below this many superseded lines, rewriting the file is not worth it."""

PROGRESS_STEP = 0.02


@dataclass(frozen=True, slots=True)
class Done:
    """An item with a result.

    Attributes:
        key: of content, model, recipe and options.
        output_bytes: size of the result file, which tells a damaged one.
        num_segments: in the result.
    """

    key: str
    output_bytes: int
    num_segments: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An item that ended without a result; ``final`` when the same again cannot pass."""

    key: str
    code: str
    message: str
    attempts: int
    final: bool


@dataclass(slots=True)
class _Begun:
    """Starts of an item without an ending, since it last came further than ever before."""

    key: str
    starts: int = 0
    reached: float = 0.0


class Ledger:
    """The memory of one output folder; one process at a time.

    Args:
        path: of the file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hashes: dict[str, tuple[FileState, str]] = {}
        self._done: dict[str, Done] = {}
        self._failed: dict[str, Failed] = {}
        self._begun: dict[str, _Begun] = {}
        self._by_key: dict[str, str] = {}
        self._notes: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        num_lines = self._load()
        if num_lines > 2 * self._num_facts() + COMPACT_LINES:
            write_text_atomic(path, "".join(_line(one) for one in self._facts()))
        self._file = path.open("ab")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def sha256(self, name: str, state: FileState) -> str | None:
        """Return the hash of a file that looks as it did when it was hashed."""
        known = self._hashes.get(name)
        return known[1] if known is not None and known[0] == state else None

    def done(self, name: str) -> Done | None:
        """Return how an item ended well."""
        return self._done.get(name)

    def failed(self, name: str) -> Failed | None:
        """Return how an item ended badly."""
        return self._failed.get(name)

    def names_done(self) -> list[str]:
        """Return the names of all items with a result, in order."""
        return sorted(self._done)

    def same(self, key: str) -> str | None:
        """Return an item with the result of this key, if there is one."""
        name = self._by_key.get(key)
        known = self._done.get(name) if name is not None else None
        return name if known is not None and known.key == key else None

    def fruitless_starts(self, name: str, key: str) -> int:
        """Return how often an item was begun, got no further than before, and never ended."""
        begun = self._begun.get(name)
        return begun.starts if begun is not None and begun.key == key else 0

    def note(self, topic: str) -> Any:  # noqa: ANN401 - JSON, as it was given
        """Return what was last noted on a topic; None for nothing."""
        return self._notes.get(topic)

    def topics(self, prefix: str) -> list[str]:
        """Return the topics that begin so, in order."""
        return sorted(one for one in self._notes if one.startswith(prefix))

    def add_hash(self, name: str, state: FileState, sha256: str) -> None:
        """Remember a file's hash; losing it costs time only."""
        self._append(_hash_fact(name, state, sha256))

    def begin(self, name: str, key: str) -> None:
        """Note that an item is worked on from now on."""
        self._append({"begun": name, "key": key})

    def reach(self, name: str, key: str, fraction: float) -> None:
        """Note how far an item has come, if it is further than ever."""
        begun = self._begun.get(name)
        if begun is not None and begun.key == key and fraction >= begun.reached + PROGRESS_STEP:
            self._append({"reached": name, "key": key, "fraction": round(fraction, 4)})

    def finish(self, name: str, done: Done) -> None:
        """Note a result; its file has reached the disk already."""
        self._append(_done_fact(name, done), durable=True)

    def fail(self, name: str, failed: Failed) -> None:
        """Note a failure."""
        self._append(_failed_fact(name, failed), durable=True)

    def add_note(self, topic: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Remember something about the run as a whole."""
        self._append({"note": topic, "value": value}, durable=True)

    def _append(self, fact: dict[str, Any], *, durable: bool = False) -> None:
        # Unbuffered by a single write: what a killed process has noted, it has noted.
        self._file.write(_line(fact).encode())
        self._file.flush()
        if durable:
            os.fsync(self._file.fileno())
        self._take(fact)

    def _load(self) -> int:
        if not self._path.exists():
            return 0
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self._path, whole)
        lines = content[:whole].splitlines()
        for line in lines:
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue  # a damaged line costs what it said, not the rest
        return len(lines)

    def _take(self, fact: Mapping[str, Any]) -> None:
        match fact:
            case {"hash": str(name)}:
                state = FileState(fact["size"], fact["mtime_ns"], fact["inode"])
                self._hashes[name] = (state, fact["sha256"])
            case {"done": str(name)}:
                self._done[name] = Done(fact["key"], fact["bytes"], fact["segments"])
                self._by_key[fact["key"]] = name
                self._failed.pop(name, None)
                self._begun.pop(name, None)
            case {"failed": str(name)}:
                self._failed[name] = Failed(
                    fact["key"], fact["code"], fact["message"], fact["attempts"], fact["final"]
                )
                self._done.pop(name, None)
                self._begun.pop(name, None)
            case {"begun": str(name), "key": key}:
                begun = self._begun.get(name)
                if begun is None or begun.key != key:
                    begun = self._begun[name] = _Begun(key)
                begun.starts += fact.get("starts", 1)
            case {"reached": str(name), "key": key, "fraction": fraction}:
                begun = self._begun.get(name)
                if begun is not None and begun.key == key:
                    begun.starts, begun.reached = 0, fraction
            case {"note": str(topic), "value": value}:
                self._notes[topic] = value
            case _:
                return

    def _num_facts(self) -> int:
        num_ended = len(self._done) + len(self._failed)
        return len(self._hashes) + num_ended + len(self._begun) + len(self._notes)

    def _facts(self) -> Iterator[dict[str, Any]]:
        for name, (state, sha256) in self._hashes.items():
            yield _hash_fact(name, state, sha256)
        for name, done in self._done.items():
            yield _done_fact(name, done)
        for name, failed in self._failed.items():
            yield _failed_fact(name, failed)
        for name, begun in self._begun.items():
            yield {"begun": name, "key": begun.key, "starts": 0}
            yield {"reached": name, "key": begun.key, "fraction": begun.reached}
            yield {"begun": name, "key": begun.key, "starts": begun.starts}
        for topic, value in self._notes.items():
            yield {"note": topic, "value": value}


def _hash_fact(name: str, state: FileState, sha256: str) -> dict[str, Any]:
    return {
        "hash": name,
        "size": state.size_bytes,
        "mtime_ns": state.mtime_ns,
        "inode": state.inode,
        "sha256": sha256,
    }


def _done_fact(name: str, done: Done) -> dict[str, Any]:
    return {
        "done": name,
        "key": done.key,
        "bytes": done.output_bytes,
        "segments": done.num_segments,
    }


def _failed_fact(name: str, failed: Failed) -> dict[str, Any]:
    return {
        "failed": name,
        "key": failed.key,
        "code": failed.code,
        "message": failed.message,
        "attempts": failed.attempts,
        "final": failed.final,
    }


def _line(fact: Mapping[str, Any]) -> str:
    return json.dumps(fact, separators=(",", ":")) + "\n"
