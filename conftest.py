"""What every test can rely on: a clean environment, untouched random state, honest skips."""

import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

KEPT_SETTINGS = frozenset({"KINETAG_TEST_DATA"})


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, _scratch_home: Path) -> None:
    """No test sees the developer's own settings of Kinetag, nor writes into a real home."""
    for name in list(os.environ):
        if name.startswith("KINETAG_") and name not in KEPT_SETTINGS:
            monkeypatch.delenv(name)
    monkeypatch.setenv("KINETAG_HOME", str(_scratch_home))


@pytest.fixture(scope="session")
def _scratch_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinetag-home")


@pytest.fixture(autouse=True)
def _restored_random_state() -> Iterator[None]:
    """A seeded test leaves the process's random state as it found it."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 - the legacy global state is what leaks
    torch = sys.modules.get("torch")
    torch_state = None if torch is None else torch.random.get_rng_state()
    yield
    random.setstate(python_state)
    np.random.set_state(numpy_state)  # noqa: NPY002
    if torch is not None and torch_state is not None:
        torch.random.set_rng_state(torch_state)


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """The folder of real clips that KINETAG_TEST_DATA names; the test skips without one."""
    named = os.environ.get("KINETAG_TEST_DATA")
    if not named:
        pytest.skip("KINETAG_TEST_DATA names no folder of real clips")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"KINETAG_TEST_DATA names {folder}, which is no folder")
    return folder


def _skip_or_fail(requirement: str, reason: str) -> None:
    if os.environ.get(requirement):
        pytest.fail(f"{reason}, and {requirement} is set")
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of missing equipment; where a variable demands it, they fail instead."""
    if item.get_closest_marker("redis") and shutil.which("redis-server") is None:
        _skip_or_fail("REQUIRE_REDIS", "there is no redis-server program")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            _skip_or_fail("REQUIRE_CUDA", "there is no CUDA device")
