"""Probe of torch: does it load, which models are here, which GPU it sees, which precision it takes.

Models come before the GPU: drivers are what hangs, and what was found before counts.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from models.backbones.precision import choose_precision
from models.bundled.recipe import MODEL_NAME, bundled_recipe
from models.catalog import CATALOG
from models.doctor.probes import installed_version
from models.doctor.processes import STEP_KEY
from models.errors import PipelineError
from models.modelcard import find_model, list_models
from models.weights import find_weights, is_converted

Facts = dict[str, Any]
DRIVER_FILE = Path("/proc/driver/nvidia/version")
DRIVER_VERSION = re.compile(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)")


def probe_torch(arguments: Mapping[str, Any]) -> Iterator[Facts]:
    """Report torch, models, GPU and precision.

    Args:
        arguments: ``folders``, the folders searched for models, the user's first.
    """
    yield {
        "torch": torch.__version__,
        "torchvision": installed_version("torchvision"),
        "cuda": torch.version.cuda,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    yield {STEP_KEY: "models"}
    folders = [Path(one) for one in arguments["folders"]]
    yield {"models": {**_demo_state(MODEL_NAME, folders), **_other_models(folders)}}
    yield {STEP_KEY: "the GPU"}
    gpu = _find_gpu()
    yield {"gpu": gpu}
    yield {STEP_KEY: "precision"}
    device = "cuda" if gpu["devices"] else "cpu"
    narrow = choose_precision("auto", device, bundled_recipe().width)
    wide = choose_precision("auto", device)
    yield {"precision": {"device": device, "auto": wide, "auto_narrow": narrow}}


def _demo_state(name: str, folders: list[Path]) -> Facts:
    """Load the bundled model's weights by hash, as `kinetag localize` would."""
    try:
        loaded = find_model(name, folders)
        find_weights(loaded.card.recipe, (loaded.folder, *folders))
    except PipelineError as error:
        return {"demo": name, "demo_problem": str(error)}
    return {"demo": loaded.card.identity, "demo_problem": None}


def _other_models(folders: list[Path]) -> Facts:
    home = folders[0]
    pulled: list[str] = []
    missing: list[str] = []
    for name, record in CATALOG.items():
        pullable = [file for file in record.files if file.git_blob is not None]
        if not pullable:
            continue
        here = all(is_converted(home / name / f"{one.stream}.safetensors", one) for one in pullable)
        (pulled if here else missing).append(name)
    return {
        "installed": [card.identity for _, card in list_models(folders)],
        "weights_pulled": pulled,
        "weights_missing": missing,
    }


def _find_gpu() -> Facts:
    """Return devices and driver, or why there is no device; starts CUDA for certainty."""
    reason = None
    devices: list[Facts] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the reason is told by the finding
            torch.cuda.init()  # type: ignore[no-untyped-call]
            devices = [_describe_device(index) for index in range(torch.cuda.device_count())]
        torch.zeros(1, device="cuda")
    # Depending on build and driver: AssertionError, RuntimeError or an error of CUDA's own.
    except (RuntimeError, AssertionError, OSError) as error:
        # Torch's first sentence says it all; what follows are addresses of web pages.
        reason, devices = str(error).split("\n")[0].split(". ")[0].rstrip("."), []
    driver = None
    try:
        found = DRIVER_VERSION.search(DRIVER_FILE.read_text())
        driver = found[1] if found else None
    except OSError:
        pass
    return {"devices": devices, "driver": driver, "reason": reason}


def _describe_device(index: int) -> Facts:
    properties = torch.cuda.get_device_properties(index)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "compute_capability": f"{properties.major}.{properties.minor}",
    }
