"""The seam between the job core and the science: what a task takes and what it may come to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from models.types import ProgressCallback, StopCallback
from service.jobs.queue import ClaimedTask


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """A plan task's outcome: the facts and which chunks are already stored."""

    num_chunks: int
    facts: dict[str, Any]
    done_chunks: frozenset[int]


@dataclass(frozen=True, slots=True)
class FinishedChunk:
    """A chunk task's outcome; ``computed`` is False when its features were already stored."""

    computed: bool


@dataclass(frozen=True, slots=True)
class FinishedVideo:
    """A join task's outcome: the native result, and the activations behind it."""

    result: dict[str, Any]
    activations: dict[str, Any] | None = None


Outcome = PlannedVideo | FinishedChunk | FinishedVideo


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
        """Compute one task, reporting progress and stopping with Cancelled when asked to."""
        ...
