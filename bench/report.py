"""The one form in which every bench reports: bench, machine, source, figures."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.atomic import write_text_atomic

Figure = float | int | str | bool | None | list[Any] | dict[str, Any]
CPU_FACTS = Path("/proc/cpuinfo")


def _processor_name() -> str:
    if CPU_FACTS.is_file():
        for line in CPU_FACTS.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _num_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine() -> dict[str, str | int]:
    """Return what a reader needs to know of this machine to judge a figure."""
    return {
        "processor": _processor_name(),
        "num_processors": _num_processors(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What one run of one bench found.

    Attributes:
        bench: its name.
        source: what it was fed, in words.
        figures: name -> value; units end the names.
        machine: where it ran.
    """

    bench: str
    source: str
    figures: Mapping[str, Figure]
    machine: Mapping[str, str | int] = field(default_factory=describe_machine)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of this report."""
        return {
            "bench": self.bench,
            "machine": dict(self.machine),
            "source": self.source,
            "figures": dict(self.figures),
        }

    def publish(self, path: Path | None) -> None:
        """Print the figures and, where a path is given, write the JSON object to it."""
        print(f"bench.{self.bench} on {self.source}")
        for name, value in self.figures.items():
            shown = f"{value:.4g}" if isinstance(value, float) else value
            print(f"  {name}: {shown}")
        if path is not None:
            write_text_atomic(path, json.dumps(self.to_json(), indent=2) + "\n")
