"""Processors, memory and instruction sets, read from drawn /proc and control group folders."""

from pathlib import Path

import pytest

from models.machine import Cores, Memory, read_cores, read_instruction_set, read_memory

GIB = 1024**3
MEMINFO = "MemTotal:       32768 kB\nMemFree: 1 kB\nMemAvailable:   16384 kB\n"


def draw(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("proc", "cgroup"):
        (root / name).mkdir(exist_ok=True)
    return root / "proc", root / "cgroup"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        # Version 2, in a container with its own namespace: the root is the container's group.
        ({"proc/self/cgroup": "0::/\n", "cgroup/cpu.max": "200000 100000\n"}, 2.0),
        ({"proc/self/cgroup": "0::/\n", "cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "cgroup/cpu.max": "150000 100000\n"}, 1.5),
        # The group itself grants all, but one above it does not.
        (
            {
                "proc/self/cgroup": "0::/user.slice/app\n",
                "cgroup/user.slice/cpu.max": "50000 100000\n",
                "cgroup/user.slice/app/cpu.max": "max 100000\n",
            },
            0.5,
        ),
        # Version 1, whose path in /proc is the host's and not to be seen in the container.
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
                "cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
                "cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/\n",
                "cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        # Senseless files count as no limit.
        ({"proc/self/cgroup": "0::/\n", "cgroup/cpu.max": "soon\n"}, None),
    ],
)
def test_quota_is_the_tightest_of_all_groups_above(tmp_path, files, quota):
    proc, cgroups = draw(tmp_path, files)
    assert read_cores(proc, cgroups).quota == quota


@pytest.mark.parametrize(
    ("cores", "usable"),
    [
        (Cores(64, 64, 2.0), 2),
        (Cores(64, 64, None), 64),
        (Cores(64, 3, 8.0), 3),
        (Cores(64, 64, 1.5), 2),
        (Cores(64, 64, 0.1), 1),
    ],
)
def test_a_container_of_two_processors_on_a_large_host_says_two(cores, usable):
    assert cores.usable == usable


def test_affinity_is_this_process_own(tmp_path):
    proc, cgroups = draw(tmp_path, {})
    cores = read_cores(proc, cgroups)
    assert 1 <= cores.affinity <= cores.machine


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "cgroup/memory.max": "max\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "cgroup/memory.max": f"{GIB}\n"}, GIB),
        (
            {
                "proc/self/cgroup": "9:memory:/a/b\n",
                "cgroup/memory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
                "cgroup/memory/a/memory.limit_in_bytes": f"{2 * GIB}\n",
            },
            2 * GIB,
        ),
    ],
)
def test_memory_limit_of_control_groups(tmp_path, files, limit):
    proc, cgroups = draw(tmp_path, {"proc/meminfo": MEMINFO, **files})
    memory = read_memory(proc, cgroups)
    assert memory == Memory(32 * 1024**2, 16 * 1024**2, limit)


def test_usable_memory_is_the_smaller_one():
    assert Memory(4 * GIB, None, 2 * GIB).usable_bytes == 2 * GIB
    assert Memory(4 * GIB, None, None).usable_bytes == 4 * GIB
    assert Memory(None, None, None).usable_bytes is None


AVX2 = "avx2 fma"
AVX512 = f"{AVX2} avx512f avx512bw avx512dq avx512vl"


@pytest.mark.parametrize(
    ("cpuinfo", "level", "bf16", "amx"),
    [
        (f"model name\t: A\nflags\t\t: sse2 {AVX512} avx512_bf16 amx_bf16\n", "avx512", True, True),
        (f"model name\t: A\nflags\t\t: {AVX512}\n", "avx512", False, False),
        # A part of AVX-512 is not enough for the kernel.
        (f"model name\t: A\nflags\t\t: {AVX2} avx512f\n", "avx2", False, False),
        (
            "model name\t: A\nflags\t\t: avx512f avx512bw avx512dq avx512vl\n",
            "baseline",
            False,
            False,
        ),
        ("Features\t: fp asimd bf16\n", "baseline", False, False),
        ("", "baseline", False, False),
    ],
)
def test_instruction_sets(tmp_path, cpuinfo, level, bf16, amx):
    proc, _ = draw(tmp_path, {"proc/cpuinfo": cpuinfo})
    found = read_instruction_set(proc)
    assert (found.level, found.avx512_bf16, found.amx_bf16) == (level, bf16, amx)
    assert found.processor


def test_the_level_agrees_with_the_kernel_on_this_machine():
    tvl1 = pytest.importorskip("models.flow._tvl1")
    found = read_instruction_set()
    assert tvl1.targets()[0] == found.level
