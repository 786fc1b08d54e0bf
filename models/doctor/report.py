"""Runs all probes and joins what they found into one document; `docs/doctor.md` has its keys.

Keys of the document, all always there; a value is None where it could not be found out:

* ``cores``: machine, affinity, quota, usable
* ``memory``: machine_bytes, available_bytes, limit_bytes, usable_bytes
* ``instruction_set``: processor, level (avx512, avx2, baseline), avx512_bf16, amx_bf16
* ``flow``: implementation (native, opencv), version, targets, works, failure
* ``gpu``: devices (name, memory_bytes, compute_capability), driver, reason
* ``precision``: device, auto (fp32, bf16), auto_narrow (of narrow networks), reason
* ``sandbox``: decode_child, limits, no_new_privs, seccomp, landlock_abi, landlock_used,
  user_namespaces, user_namespaces_used, failure
* ``versions``: python, torch, torchvision, cuda, opencv, pyav, ffmpeg, ffmpeg_libraries,
  torch_failure, media_failure
* ``models``: demo, demo_problem, installed, weights_pulled, weights_missing
* ``benchmark``: see `models.doctor.benchmark`; None where it was left out
* ``estimate``: recipe -> realtime_factor, decode_seconds, flow_seconds, backbone_seconds,
  bound_by; None where nothing was measured
"""

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from models.doctor.processes import ProbeOutcome, ProbeProcess
from models.machine import Cores, InstructionSet, read_cores, read_instruction_set, read_memory

Document = dict[str, Any]


class RunningProbe(Protocol):
    """A probe under way, as `ProbeProcess` is."""

    def outcome(self, timeout_seconds: float) -> ProbeOutcome:
        """Wait, at most so long, and return what was found."""
        ...


StartProbe = Callable[[str, Mapping[str, Any]], RunningProbe]


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """What to examine.

    Attributes:
        model_folders: searched for models, the user's first.
        quick: leave the benchmark out.
        probe_seconds: how long one probe may take; torch takes seconds to load.
        benchmark_seconds: how long the benchmark may take; three times what it should.
    """

    model_folders: tuple[Path, ...]
    quick: bool = False
    probe_seconds: float = 60.0
    benchmark_seconds: float = 90.0


def examine(
    options: DoctorOptions,
    on_stage: Callable[[str], None] = lambda _: None,
    start: StartProbe = ProbeProcess,
    meanwhile: Callable[[], Document] = dict,
) -> Document:
    """Find out everything and return the document.

    Args:
        options: what to examine.
        on_stage: hears what is being done.
        start: begins a probe; another one in tests.
        meanwhile: examines what is not the science's while the probes run; joins the document.
    """
    on_stage("asking torch, FFmpeg, the flow kernel and the sandbox")
    # Side by side: torch alone takes as long to load as all others together.
    running = {
        "torch": start("torch", {"folders": [str(one) for one in options.model_folders]}),
        "media": start("media", {}),
        "flow": start("flow", {}),
        "sandbox": start("sandbox", {}),
    }
    cores, memory, instructions = read_cores(), read_memory(), read_instruction_set()
    others = meanwhile()
    found = {name: probe.outcome(options.probe_seconds) for name, probe in running.items()}
    gpu = _gpu(found["torch"])
    document: Document = {
        "cores": {**asdict(cores), "usable": cores.usable},
        "memory": {**asdict(memory), "usable_bytes": memory.usable_bytes},
        "instruction_set": asdict(instructions),
        "flow": _with_failure(found["flow"], ("implementation", "version", "targets", "works")),
        "gpu": gpu,
        "precision": _precision(found["torch"], gpu, instructions),
        "sandbox": _sandbox(found["sandbox"]),
        "versions": _versions(found["torch"], found["media"]),
        "models": _models(found["torch"]),
        **others,
        "benchmark": None,
        "estimate": None,
    }
    if not options.quick and found["torch"].failure is None:
        on_stage("measuring speed, about ten seconds")
        _add_benchmark(document, options, cores, start)
    return document


def _add_benchmark(
    document: Document, options: DoctorOptions, cores: Cores, start: StartProbe
) -> None:
    # Imported here because it loads numpy, and this module must load without.
    from models.doctor.estimate import estimate_all

    device = document["precision"]["device"] or "cpu"
    load = _load_average()
    outcome = start("benchmark", {"device": device, "num_threads": cores.usable}).outcome(
        options.benchmark_seconds
    )
    failure = None if outcome.failure is None else f"{outcome.step}: {outcome.failure}"
    document["benchmark"] = {**outcome.facts, "load_before": load, "failure": failure}
    estimates = estimate_all(outcome.facts, cores.usable)
    document["estimate"] = {key: asdict(one) for key, one in estimates.items()} or None


def _load_average() -> float | None:
    """Return how many processes wanted a processor during the last minute."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _with_failure(outcome: ProbeOutcome, keys: tuple[str, ...]) -> Document:
    return {**{key: outcome.facts.get(key) for key in keys}, "failure": outcome.failure}


def _gpu(outcome: ProbeOutcome) -> Document:
    found: Document | None = outcome.facts.get("gpu")
    if found is not None:
        return found
    reason = outcome.failure or "torch said nothing of it"
    return {"devices": [], "driver": None, "reason": reason}


def _precision(outcome: ProbeOutcome, gpu: Document, instructions: InstructionSet) -> Document:
    found = outcome.facts.get("precision")
    if found is None:
        return {"device": None, "auto": None, "auto_narrow": None, "reason": None}
    if gpu["devices"]:
        reason = f"{gpu['devices'][0]['name']} "
        reason += "multiplies bf16 itself" if found["auto"] == "bf16" else "has no bf16 of its own"
    elif found["auto"] == "bf16":
        parts = [
            name
            for name, there in (
                ("AVX-512 BF16", instructions.avx512_bf16),
                ("AMX BF16", instructions.amx_bf16),
            )
            if there
        ]
        reason = f"the processor multiplies bf16 itself ({', '.join(parts) or 'says torch'})"
    else:
        reason = "the processor would have to emulate bf16, which is slower"
    return {**found, "reason": reason}


def _sandbox(outcome: ProbeOutcome) -> Document:
    keys = (
        "decode_child",
        "limits",
        "no_new_privs",
        "seccomp",
        "landlock_abi",
        "landlock_used",
        "user_namespaces",
        "user_namespaces_used",
    )
    return _with_failure(outcome, keys)


def _versions(torch: ProbeOutcome, media: ProbeOutcome) -> Document:
    return {
        "python": platform.python_version(),
        **{key: torch.facts.get(key) for key in ("torch", "torchvision", "cuda")},
        **{key: media.facts.get(key) for key in ("opencv", "pyav", "ffmpeg", "ffmpeg_libraries")},
        "torch_failure": _at_step(torch),
        "media_failure": _at_step(media),
    }


def _at_step(outcome: ProbeOutcome) -> str | None:
    if outcome.failure is None:
        return None
    return f"{outcome.step}: {outcome.failure}" if outcome.step else outcome.failure


def _models(outcome: ProbeOutcome) -> Document:
    found: Document | None = outcome.facts.get("models")
    if found is not None:
        return found
    keys = ("demo", "demo_problem", "installed", "weights_pulled", "weights_missing")
    return dict.fromkeys(keys)
