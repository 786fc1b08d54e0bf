"""Arrays on disk that are there whole or not at all, so that a stopped run can go on."""

from pathlib import Path

import numpy as np

from models.types import ByteArray, DoubleArray, FloatArray


def save_array(path: Path, values: FloatArray | DoubleArray | ByteArray) -> None:
    """Write a .npy file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part.npy")
    np.save(temporary, values)
    temporary.replace(path)
