"""The child of a probe: runs one, writes what it finds line by line, and ends.

Whatever libraries print goes to standard error; the answers have a channel of their own.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from models.doctor.processes import FAILURE_KEY

Facts = dict[str, Any]
Probe = Callable[[Mapping[str, Any]], Iterator[Facts]]


def _media(arguments: Mapping[str, Any]) -> Iterator[Facts]:
    from models.doctor.probes import probe_media  # noqa: PLC0415 - only this child needs it

    return probe_media(arguments)


def _flow(arguments: Mapping[str, Any]) -> Iterator[Facts]:
    from models.doctor.probes import probe_flow  # noqa: PLC0415 - only this child needs it

    return probe_flow(arguments)


def _torch(arguments: Mapping[str, Any]) -> Iterator[Facts]:
    from models.doctor.torch_probe import probe_torch  # noqa: PLC0415 - loads torch

    return probe_torch(arguments)


def _sandbox(arguments: Mapping[str, Any]) -> Iterator[Facts]:
    from models.doctor.sandbox import probe_sandbox  # noqa: PLC0415 - only this child needs it

    return probe_sandbox(arguments)


def _benchmark(arguments: Mapping[str, Any]) -> Iterator[Facts]:
    from models.doctor.benchmark import probe_benchmark  # noqa: PLC0415 - loads torch

    return probe_benchmark(arguments)


PROBES: dict[str, Probe] = {
    "media": _media,
    "flow": _flow,
    "torch": _torch,
    "sandbox": _sandbox,
    "benchmark": _benchmark,
}


def main() -> None:
    """Run the probe named by the arguments."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    with channel:
        try:
            for facts in PROBES[name](arguments):
                channel.write(json.dumps(facts) + "\n")
                channel.flush()
        # A broken installation may raise anything at all while it is imported.
        except Exception as error:  # noqa: BLE001
            sentence = f"{type(error).__name__}: {error}"
            channel.write(json.dumps({FAILURE_KEY: sentence}) + "\n")
