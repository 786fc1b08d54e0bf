"""The locks are complete, hashed, consistent, and name no host; the torch pair really works."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("base", "worker", "dev", "build")
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))


def _text(lock: str) -> str:
    return (ROOT / "requirements" / f"{lock}.txt").read_text()


def _entries(lock: str) -> list[tuple[str, str, str]]:
    """(requirement, its marker or "", its hashes) of each entry of a lock."""
    joined = _text(lock).replace("\\\n", " ")
    entries = []
    for line in joined.splitlines():
        requirement, *hashes = line.split("--hash=")
        name, _, marker = requirement.partition(";")
        entries.append((name.strip(), marker.strip(), " ".join(hashes)))
    return entries


def _environment(python: str, platform: str, machine: str) -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": platform,
        "platform_machine": machine,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[platform],
    }


def _versions(lock: str, environment: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pinned, marker, _ in _entries(lock):
        if marker and not Marker(marker).evaluate(environment):
            continue
        name, version = pinned.split("==")
        assert name not in found, f"{lock}: {name} twice for {environment}"
        found[canonicalize_name(name)] = version
    return found


def _project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_pin_and_hash_everything_and_name_no_host(lock):
    text = _text(lock)
    assert "://" not in text
    assert re.search(r"^\s*(-i|--index|--extra|--find|-e|-r)\b", text, re.MULTILINE) is None
    entries = _entries(lock)
    assert len(entries) > 5
    for pinned, _, hashes in entries:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", pinned), pinned
        assert re.search(r"sha256:[0-9a-f]{64}", hashes), pinned


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("platform", "machine"), MACHINES)
def test_locks_agree_with_each_other_and_with_the_project(python, platform, machine):
    environment = _environment(python, platform, machine)
    versions = {lock: _versions(lock, environment) for lock in LOCKS}
    assert versions["base"].items() <= versions["worker"].items() <= versions["dev"].items()
    shared = versions["build"].keys() & versions["dev"].keys()
    assert {n: versions["build"][n] for n in shared} == {n: versions["dev"][n] for n in shared}
    project = _project()["project"]
    wanted = {
        "base": project["dependencies"],
        "worker": project["optional-dependencies"]["worker"],
        "dev": project["optional-dependencies"]["plots"] + _project()["dependency-groups"]["test"],
        "build": _project()["dependency-groups"]["build"],
    }
    for lock, requirements in wanted.items():
        for requirement in map(Requirement, requirements):
            if requirement.marker is None or requirement.marker.evaluate(environment):
                version = versions[lock][canonicalize_name(requirement.name)]
                assert requirement.specifier.contains(version), requirement


def test_the_api_lock_has_nothing_that_looks_at_pixels():
    names = {pinned.partition("==")[0] for pinned, _, _ in _entries("base")}
    heavy = {"av", "opencv-contrib-python-headless", "pytorchvideo", "torch", "torchvision"}
    assert names.isdisjoint(heavy)
    assert {"fastapi", "sqlalchemy", "celery"} <= names


def test_source_distributions_are_the_named_exceptions():
    named = re.search(r"^SDISTS := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert named is not None
    exceptions = set(named[1].split(","))
    single = {
        pinned.partition("==")[0]
        for pinned, _, hashes in _entries("dev")
        if hashes.count("sha256:") == 1
    }
    assert exceptions == {"fvcore", "iopath", "pytorchvideo"}
    assert exceptions <= single
    assert f"--no-binary {named[1]} " in (ROOT / "Dockerfile").read_text()


def test_torch_and_torchvision_are_the_pair_and_load_for_real():
    import torch
    import torchvision

    versions = _versions("worker", _environment("3.12", "linux", "x86_64"))
    assert (versions["torch"], versions["torchvision"]) == ("2.12.1", "0.27.1")
    assert torch.__version__.partition("+")[0] == versions["torch"]
    assert torchvision.__version__.partition("+")[0] == versions["torchvision"]
    # An operator of torchvision's own compiled library, which a mismatched torch cannot load.
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.1], [5.0, 5.0, 6.0, 6.0]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5)
    assert kept.tolist() == [1, 2]


def test_pytorchvideo_builds_a_network_that_computes():
    import torch
    from pytorchvideo.models import resnet

    network = resnet.create_resnet(
        input_channel=3,
        model_depth=50,
        model_num_class=5,
        stem_dim_out=8,
        head_pool_kernel_size=(4, 1, 1),
    ).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(1, 3, 4, 32, 32))
    assert logits.shape == (1, 5)
    assert bool(torch.isfinite(logits).all())
