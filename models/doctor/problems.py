"""What is wrong with a machine, as sentences that say what to do; a table of pure checks.

``error`` means that Kinetag cannot work here, ``warning`` that it works worse than it could.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

GIB = 1024**3
# What a worker on a CPU needs with its decode child; design goal, kept by bench.memory.
WORKER_BYTES = 3 * GIB // 2
# From this share of the processors on, other programs falsify the measurement.
BUSY_SHARE = 0.5
INSTALL = "install Kinetag with its extra 'worker' (pip install 'kinetag[worker]')"

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding that somebody should act upon.

    Attributes:
        code: stable; docs/doctor.md explains each.
        severity: ``error`` where Kinetag is not usable, else ``warning``.
        message: one sentence.
    """

    code: str
    severity: Literal["error", "warning"]
    message: str


def find_problems(document: Document) -> list[Problem]:
    """Return the problems in a document of `models.doctor.report.examine`, errors first."""
    found = [problem for check in CHECKS for problem in check(document)]
    return sorted(found, key=lambda one: one.severity != "error")


def _libraries(document: Document) -> Iterator[Problem]:
    versions = document["versions"]
    if versions["torch"] is None:
        message = f"torch cannot be loaded ({versions['torch_failure']}); {INSTALL}."
        yield Problem("torch_unusable", "error", message)
    elif versions["torch_failure"] is not None:
        message = (
            f"torch loads but a probe of it failed ({versions['torch_failure']}); "
            "reinstall torch, or try --device cpu."
        )
        yield Problem("torch_failing", "warning", message)
    if versions["media_failure"] is not None:
        message = f"Videos cannot be read ({versions['media_failure']}); {INSTALL}."
        yield Problem("media_unusable", "error", message)


def _flow(document: Document) -> Iterator[Problem]:
    flow, level = document["flow"], document["instruction_set"]["level"]
    if flow["failure"] is not None:
        message = f"Optical flow does not work here ({flow['failure']}); reinstall Kinetag."
        yield Problem("flow_unusable", "error", message)
    elif flow["implementation"] == "opencv":
        message = (
            "The native TV-L1 kernel was not built, so optical flow takes many times as long as "
            "it could; install a C++ compiler and reinstall Kinetag."
        )
        yield Problem("flow_slow", "warning", message)
    elif level != "baseline" and level not in flow["targets"]:
        message = (
            f"The TV-L1 kernel was built without {level.upper()}, which this processor has; "
            "reinstall Kinetag with a newer C++ compiler."
        )
        yield Problem("flow_slow", "warning", message)


def _sandbox(document: Document) -> Iterator[Problem]:
    sandbox = document["sandbox"]
    if sandbox["failure"] is not None and not sandbox["decode_child"]:
        message = (
            f"The process that decodes videos does not start ({sandbox['failure']}); "
            "check that this user may start processes."
        )
        yield Problem("decode_child_unusable", "error", message)
    elif sandbox["no_new_privs"] is False or not sandbox["limits"]:
        message = (
            "The process that decodes strangers' videos is not confined on this system; "
            "use Linux for videos that you do not trust."
        )
        yield Problem("sandbox_weak", "warning", message)


def _models(document: Document) -> Iterator[Problem]:
    problem = document["models"]["demo_problem"]
    if problem is not None:
        message = f"The bundled model cannot be used ({problem.rstrip('.')}); reinstall Kinetag."
        yield Problem("demo_model_unusable", "error", message)


def _gpu(document: Document) -> Iterator[Problem]:
    gpu, cuda = document["gpu"], document["versions"]["cuda"]
    if gpu["driver"] is not None and not gpu["devices"]:
        build = "" if cuda else " with a CUDA build of torch"
        message = (
            f"An NVIDIA driver ({gpu['driver']}) is here but torch cannot use its GPU "
            f"({gpu['reason']}); update the driver or reinstall{build}."
        )
        yield Problem("gpu_unusable", "warning", message)


def _cores(document: Document) -> Iterator[Problem]:
    cores = document["cores"]
    if cores["usable"] < cores["affinity"]:
        message = (
            f"This container may use {cores['quota']:g} of {cores['affinity']} processors it "
            f"sees; start the worker with --threads {cores['usable']}."
        )
        yield Problem("cores_limited", "warning", message)


def _memory(document: Document) -> Iterator[Problem]:
    usable = document["memory"]["usable_bytes"]
    if usable is not None and usable < WORKER_BYTES:
        message = (
            f"There are {usable / GIB:.1f} GiB of memory and a worker may need "
            f"{WORKER_BYTES / GIB:.1f} GiB; give the machine or the container more."
        )
        yield Problem("memory_small", "warning", message)


def _benchmark(document: Document) -> Iterator[Problem]:
    benchmark = document["benchmark"]
    if benchmark is None:
        return
    if benchmark["failure"] is not None:
        message = f"The benchmark failed ({benchmark['failure']}); its other figures hold."
        yield Problem("benchmark_failed", "warning", message)
    load, usable = benchmark["load_before"], document["cores"]["usable"]
    if load is not None and load > BUSY_SHARE * usable:
        message = (
            f"Other programs wanted {load:.1f} processors of {usable} during the last minute, so "
            "the figures are too low; repeat this on a quiet machine."
        )
        yield Problem("machine_busy", "warning", message)


CHECKS: tuple[Callable[[Document], Iterator[Problem]], ...] = (
    _libraries,
    _flow,
    _sandbox,
    _models,
    _gpu,
    _cores,
    _memory,
    _benchmark,
)
