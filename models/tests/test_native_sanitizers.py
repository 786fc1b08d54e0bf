"""The TV-L1 kernel built with sanitizers: no access outside its memory, no undefined behaviour."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "models" / "flow"
DRIVER = Path(__file__).with_name("tvl1_sanitizer_driver.cpp")
BUILD_SECONDS = 240
IS_X86 = platform.machine().lower() in {"x86_64", "amd64"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2 * BUILD_SECONDS),
    pytest.mark.skipif(not SOURCES.joinpath("_tvl1_engine.cpp").is_file(), reason="no sources"),
]


def read_flags(name):
    """The flags that the build file sets under this name."""
    text = SOURCES.joinpath("CMakeLists.txt").read_text()
    found = re.search(rf"set\({name} ([^)]*)\)", text)
    assert found, f"the build file sets no {name}"
    words = found[1].split()
    inner = [read_flags(word[2:-1]) if word.startswith("${") else [word] for word in words]
    return [flag for flags in inner for flag in flags]


def list_units():
    """Each source file with the flags of its own."""
    kernel = read_flags("kernel_flags")
    units = {SOURCES / "_tvl1_baseline.cpp": kernel, SOURCES / "_tvl1_engine.cpp": [], DRIVER: []}
    if IS_X86:
        units[SOURCES / "_tvl1_avx2.cpp"] = kernel + read_flags("avx2_flags")
        units[SOURCES / "_tvl1_avx512.cpp"] = kernel + read_flags("avx512_flags")
    return units


def find_compiler(folder, sanitizers):
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    probe = folder / "probe.cpp"
    probe.write_text("int main() { return 0; }\n")
    command = [compiler, f"-fsanitize={sanitizers}", str(probe), "-o", str(folder / "probe")]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip(f"{compiler} links no program with -fsanitize={sanitizers}")
    if subprocess.run([folder / "probe"], check=False, capture_output=True).returncode != 0:
        pytest.skip(f"programs with -fsanitize={sanitizers} do not start here")
    return compiler


def build_driver(folder, sanitizers):
    compiler = find_compiler(folder, sanitizers)
    shared = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-g1", "-std=c++17"]
    running = []
    for source, flags in list_units().items():
        target = folder / f"{source.stem}.o"
        # The last optimisation level counts: a lower one builds faster and hides less.
        command = [compiler, *flags, *shared, "-O1", "-I", SOURCES, "-c", source, "-o", target]
        running.append((target, subprocess.Popen(command, stderr=subprocess.PIPE, text=True)))
    for target, process in running:
        _, complaints = process.communicate(timeout=BUILD_SECONDS)
        assert process.returncode == 0, f"{target.name}: {complaints[-2000:]}"
    program = folder / "driver"
    command = [compiler, shared[0], *(target for target, _ in running), "-pthread", "-o", program]
    subprocess.run(command, check=True, capture_output=True)
    return program


def run_driver(program, *arguments):
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    finished = subprocess.run(
        [program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        env=environment,
    )
    assert finished.returncode == 0, (finished.stdout + finished.stderr)[-4000:]
    return finished.stdout.split()


def test_addresses_and_defined_behaviour(tmp_path):
    ran = run_driver(build_driver(tmp_path, "address,undefined"))
    assert ran[-1] == "baseline"


def test_threads_do_not_race(tmp_path):
    ran = run_driver(build_driver(tmp_path, "thread"), "threads")
    assert ran[-1] == "baseline"
