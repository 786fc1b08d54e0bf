"""What this machine gives us: processors, memory, instruction sets. Standard library and /proc.

A container sees its host's processors but may use only a share of them; both the affinity mask
and the quota of every control group above this process count. Folders are arguments so that tests
can draw other machines.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
KIBIBYTE = 1024
# What the AVX-512 and AVX2 code of models/flow is compiled for (_tvl1_avx512.cpp, _tvl1_avx2.cpp).
AVX512_FLAGS = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})
AVX2_FLAGS = frozenset({"avx2", "fma"})
# Control groups without a limit state the largest page-aligned 63-bit number, or nearly so.
UNLIMITED_BYTES = 1 << 60


@dataclass(frozen=True, slots=True)
class Cores:
    """Processors, from the whole machine down to our share.

    Attributes:
        machine: processors that are online.
        affinity: processors this process may run on.
        quota: processors' worth of time per second that control groups grant; None: no limit.
    """

    machine: int
    affinity: int
    quota: float | None

    @property
    def usable(self) -> int:
        """Threads that can really run at once: a started share of a processor counts as one."""
        return self.affinity if self.quota is None else min(self.affinity, math.ceil(self.quota))


@dataclass(frozen=True, slots=True)
class Memory:
    """Main memory in bytes; None where the system does not tell.

    Attributes:
        machine_bytes: of the machine.
        available_bytes: that can be had without swapping.
        limit_bytes: what control groups allow; None: no limit.
    """

    machine_bytes: int | None
    available_bytes: int | None
    limit_bytes: int | None

    @property
    def usable_bytes(self) -> int | None:
        """The smaller one of the machine's memory and the limit."""
        known = [size for size in (self.machine_bytes, self.limit_bytes) if size is not None]
        return min(known) if known else None


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """What the processor can do.

    Attributes:
        processor: its name.
        level: ``avx512``, ``avx2`` or ``baseline``, as the flow kernel tells them apart.
        avx512_bf16, amx_bf16: matrix products in bf16 are built in.
    """

    processor: str
    level: str
    avx512_bf16: bool
    amx_bf16: bool


def read_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> Cores:
    """Return the processors of this process."""
    machine = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    quotas = [
        quota
        for folder in _group_folders(proc, cgroups, "cpu")
        if (quota := _cpu_quota(folder)) is not None
    ]
    return Cores(machine, affinity, min(quotas, default=None))


def read_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> Memory:
    """Return the memory of this process."""
    limits = [
        size
        for folder in _group_folders(proc, cgroups, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (size := _integer(_read(folder / name))) is not None and size < UNLIMITED_BYTES
    ]
    return Memory(
        _meminfo_bytes(proc, "MemTotal"),
        _meminfo_bytes(proc, "MemAvailable"),
        min(limits, default=None),
    )


def read_instruction_set(proc: Path = PROC) -> InstructionSet:
    """Return what the first processor says of itself; the baseline where it says nothing."""
    facts: dict[str, str] = {}
    for line in _read(proc / "cpuinfo").splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = frozenset(facts.get("flags", facts.get("Features", "")).split())
    level = "baseline"
    if flags >= AVX2_FLAGS:
        level = "avx512" if flags >= AVX512_FLAGS else "avx2"
    return InstructionSet(
        processor=facts.get("model name") or os.uname().machine,
        level=level,
        avx512_bf16="avx512_bf16" in flags,
        amx_bf16="amx_bf16" in flags,
    )


def _group_folders(proc: Path, cgroups: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of our control groups that may limit us, from our own one to the root.

    Inside a container the root of the mounted tree often is the container's own group while
    /proc names its path on the host; folders that do not exist are passed over for that reason.

    Source: cgroups(7) for /proc/self/cgroup and both versions' layouts.
    """
    for line in _read(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = cgroups
        elif controller in controllers.split(","):
            root = next(
                (cgroups / name for name in (controllers, controller) if (cgroups / name).is_dir()),
                cgroups / controllers,
            )
        else:
            continue
        own = Path(path.lstrip("/"))
        for folder in (own, *own.parents):
            if (root / folder).is_dir():
                yield root / folder


def _cpu_quota(folder: Path) -> float | None:
    """Return the processors a group grants; version 2 has one file, version 1 has two."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    granted, per = _integer(quota), _integer(period)
    return granted / per if granted is not None and granted > 0 and per else None


def _meminfo_bytes(proc: Path, name: str) -> int | None:
    for line in _read(proc / "meminfo").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            size = _integer(value.replace("kB", ""))
            return None if size is None else size * KIBIBYTE
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
