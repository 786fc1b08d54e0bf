"""The one message there is: a hint that a task may be claimable. JSON, an id, nothing else.

Losing, doubling or delaying it costs latency, never work: the row decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HINT_NAME = "kinetag.task"
"""Name of the Celery task that receives hints."""

HINT_EXPIRES_SECONDS = 600
"""A hint older than this is worthless; the sweeper has repeated it long since."""


@dataclass(frozen=True, slots=True)
class TaskHint:
    """Says that this task may be claimable."""

    task_id: str

    def to_json(self) -> dict[str, Any]:
        """Return the message's keyword arguments."""
        return {"task_id": self.task_id}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "TaskHint":
        """Read a message's keyword arguments.

        Raises:
            ValueError: it holds no task id.
        """
        task_id = document.get("task_id")
        if not isinstance(task_id, str):
            message = f"Expected a hint with a task_id, got keys {sorted(document)}."
            raise ValueError(message)  # noqa: TRY004 - the message's content is at fault
        return cls(task_id)
