"""The kernel must not change how the rest of the process calculates."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = re.compile(r"-ffast-math|-Ofast|-funsafe-math-optimizations|-march=native")

DENORMAL_PROGRAM = """
import numpy as np
import models.flow._tvl1 as kernel

def denormals_live():
    tiny = np.float64(5e-324)
    small = np.float32(1e-40)
    return tiny * 1 == tiny and np.float32(small * np.float32(0.5)) > 0

assert denormals_live(), "importing the kernel flushes denormal numbers"
solver = kernel.Solver(tau=0.25, lambda_=0.15, theta=0.3, epsilon=0.01, scale_step=0.8,
    num_scales=5, num_warps=5, inner_iterations=30, outer_iterations=10, median=True)
frames = np.random.default_rng(0).integers(0, 255, (3, 24, 24)).astype(np.uint8)
solver.solve(frames, np.empty((2, 24, 24, 2), np.float32), 1)
assert denormals_live(), "running the kernel flushes denormal numbers"
"""


def build_files():
    folders = [ROOT, ROOT / "models" / "flow"]
    names = [p for f in folders for p in (f / "CMakeLists.txt", *f.glob("*.cmake"))]
    return [path for path in (*names, ROOT / "pyproject.toml") if path.is_file()]


def test_denormal_numbers_stay_alive():
    pytest.importorskip("models.flow._tvl1", reason="the native kernel was not built")
    finished = subprocess.run(
        [sys.executable, "-c", DENORMAL_PROGRAM],
        check=False,
        capture_output=True,
        cwd=ROOT,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr


def test_no_build_file_asks_for_dangerous_mathematics():
    files = build_files()
    assert ROOT / "models" / "flow" / "CMakeLists.txt" in files
    for path in files:
        # A comment may explain why a flag is not there, and a check may refuse it.
        lines = [line.partition("#")[0] for line in path.read_text().splitlines()]
        lines = [line for line in lines if "MATCHES" not in line and "FATAL_ERROR" not in line]
        found = FORBIDDEN.findall("\n".join(lines))
        assert not found, f"{path.name} holds {found}"


def test_no_source_file_switches_it_on_for_itself():
    sources = [p for p in (ROOT / "models" / "flow").iterdir() if p.suffix in {".cpp", ".hpp"}]
    assert sources
    for path in sources:
        text = path.read_text()
        assert "fast-math" not in text
        assert not re.search(r"_MM_SET_(FLUSH|DENORMALS)|_mm_setcsr", text), path.name
