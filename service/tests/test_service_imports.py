"""The web process is light: it loads no torch and no video decoder, whatever it imports."""

import json
import subprocess
import sys

import pytest

HEAVY = ("av", "cv2", "pytorchvideo", "torch", "torchvision")

PROGRAM = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def _packages_loaded_by(module: str) -> set[str]:
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM, module],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return set(json.loads(completed.stdout))


@pytest.mark.parametrize("module", ["service.main", "service.cli", "service.jobs.commands"])
def test_the_service_loads_no_torch_and_no_decoder(module):
    loaded = _packages_loaded_by(module)
    assert "service" in loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("module", ["workers.cli", "workers.supervisor", "workers.sweeper"])
def test_the_supervising_processes_load_no_torch(module):
    assert _packages_loaded_by(module).isdisjoint({"torch", "torchvision", "pytorchvideo"})


def test_the_job_core_loads_no_web_framework():
    loaded = _packages_loaded_by("service.jobs.queue")
    assert loaded.isdisjoint({"fastapi", "starlette", "uvicorn"})


def test_the_probe_sees_what_is_loaded():
    assert "sqlalchemy" in _packages_loaded_by("service.jobs.records")
