"""Probes of the native libraries that look at pixels; each runs in a child of its own."""

import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import Any

from models.doctor.processes import STEP_KEY

Facts = dict[str, Any]
TRIAL_SIDE_PX = 48


def probe_media(arguments: Mapping[str, Any]) -> Iterator[Facts]:
    """Load OpenCV and PyAV and say which ones they are."""
    del arguments
    yield {STEP_KEY: "opencv"}
    import cv2  # noqa: PLC0415 - a broken library is a finding of this step

    yield {"opencv": cv2.__version__}
    yield {STEP_KEY: "pyav"}
    import av  # noqa: PLC0415 - a broken library is a finding of this step
    import av.codec  # noqa: PLC0415

    yield {"pyav": av.__version__}
    libraries = {name: ".".join(map(str, number)) for name, number in av.library_versions.items()}
    yield {"ffmpeg": getattr(av, "ffmpeg_version_info", None), "ffmpeg_libraries": libraries}


def probe_flow(arguments: Mapping[str, Any]) -> Iterator[Facts]:
    """Compute the flow of one small pair as the product does, and say with what."""
    del arguments
    yield {STEP_KEY: "kernel"}
    import warnings  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415 - a broken library is a finding of this step

    from models.flow.tvl1 import build_flow_engine  # noqa: PLC0415
    from models.recipe import FlowRecipe  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the missing kernel is told by the finding
        engine = build_flow_engine("auto", 1)
    targets: list[str] = []
    if engine.name == "native":
        from models.flow import _tvl1  # noqa: PLC0415 - may not have been built

        targets = list(_tvl1.targets())
    yield {"implementation": engine.name, "version": engine.version, "targets": targets}
    yield {STEP_KEY: "a trial pair"}
    rng = np.random.default_rng(0)
    pair = rng.integers(0, 256, (2, TRIAL_SIDE_PX, TRIAL_SIDE_PX), np.uint8)
    engine.compute(pair, FlowRecipe())
    yield {"works": True}


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
