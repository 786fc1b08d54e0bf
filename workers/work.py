"""The seam between the job core and the science: what a task takes and what it may come to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from models.types import ProgressCallback, StopCallback
from service.jobs.queue import ClaimedTask


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """A plan task's outcome: the facts, the chunks' arithmetic, and which are stored in it.

    ``recipe`` is the digest of the features' recipe.
    """

    num_chunks: int
    facts: dict[str, Any]
    done_chunks: frozenset[int]
    computed_with: Mapping[str, str] = field(default_factory=dict)
    recipe: str | None = None


@dataclass(frozen=True, slots=True)
class FinishedChunk:
    """A chunk task's outcome; ``computed`` is False when its features were already stored.

    ``stage_seconds`` says what the time went into, added up over threads.
    """

    computed: bool
    computed_with: Mapping[str, str] = field(default_factory=dict)
    num_frames: int = 0
    stage_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unable:
    """A chunk task's outcome where this machine computes otherwise than its job asks: so."""

    computed_with: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FinishedVideo:
    """A join task's outcome: the native result, and the file of the evidence behind it."""

    result: dict[str, Any]
    evidence: bytes | None = None


@dataclass(frozen=True, slots=True)
class ProbedVideo:
    """A probe task's outcome: the facts, and thumbnails as a JPEG if any could be drawn."""

    facts: dict[str, Any]
    thumbnails: bytes | None = None


Outcome = PlannedVideo | FinishedChunk | Unable | FinishedVideo | ProbedVideo


@dataclass(frozen=True, slots=True)
class TaskInput:
    """One task's input, its video already a file on this machine."""

    task: ClaimedTask
    path: Path


class Engine(Protocol):
    """Computes tasks; raises only `models.errors` for what it foresees."""

    def run(
        self, work: TaskInput, on_progress: ProgressCallback, should_stop: StopCallback
    ) -> Outcome:
        """Compute one task, reporting progress and stopping with Cancelled when asked to.

        A chunk is computed exactly as its task's ``computed_with`` says, or not at all.
        """
        ...

    def rest(self) -> None:
        """Close what is only kept open for a next task; called when there is none."""
        ...
