"""Reads .npy files, those of Python objects without running any of what is in them.

A file of objects holds a pickle: a program that may name and call anything. No unpickler runs here;
`models.datasets.array_pickles` walks over it instead and refuses what numpy does not write.
"""

import math
import mmap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from models.datasets.array_pickles import PickleMachine
from models.datasets.array_states import PickleRefused
from models.errors import TrainingDataInvalid

ObjectArray = NDArray[np.object_]

# The whole W-TALC annotation of ActivityNet 1.2 has 0.1 million values; each costs memory.
MAX_VALUES = 4_000_000
HEADER_VERSIONS = ((1, 0), (2, 0))


def is_object_array(path: Path) -> bool:
    """Return whether a .npy file holds Python objects, by its header.

    Raises:
        TrainingDataInvalid: the file cannot be read as .npy.
    """
    try:
        with path.open("rb") as file:
            return _header(file)[1].hasobject
    except (OSError, ValueError, PickleRefused) as error:
        message = (
            f"{path.name} is no .npy file that can be read ({reason_of(error)}); fetch it again."
        )
        raise TrainingDataInvalid(message) from error


def read_plain_array(path: Path) -> NDArray[Any]:
    """Read a .npy file of numbers or texts.

    Raises:
        TrainingDataInvalid: the file cannot be read, holds Python objects, or is shorter than its
            header says; nothing of that size is allocated then.
    """
    if is_object_array(path):
        message = f"{path.name} holds Python objects instead of numbers; save it as float32."
        raise TrainingDataInvalid(message)
    try:
        with path.open("rb") as file:
            shape, dtype = _header(file)
            missing = math.prod(shape) * dtype.itemsize - (path.stat().st_size - file.tell())
        if missing <= 0:
            values: NDArray[Any] = np.load(path, allow_pickle=False)
            return values
    except (OSError, ValueError, EOFError, PickleRefused) as error:
        message = f"{path.name} cannot be read ({reason_of(error)}); extract or fetch it again."
        raise TrainingDataInvalid(message) from error
    message = f"{path.name} cannot be read (it is cut short); extract or fetch it again."
    raise TrainingDataInvalid(message)


def read_object_array(path: Path, max_values: int = MAX_VALUES) -> ObjectArray:
    """Read a .npy file of lists, tuples, texts, numbers and arrays; no code in it runs.

    Arrays inside stay in the file (memory-mapped, read-only) until they are used, so that opening
    a file of features costs no more than walking over its headers.

    Args:
        path: the file. It must not change while its arrays are in use.
        max_values: more values than this (numbers, texts, lists, arrays) are refused.

    Returns:
        object[...] of the shape in the header. Values are None, bool, int, float, str, bytes,
        list, tuple, numpy scalars and arrays of numbers, bytes, texts or such objects. A list may
        appear in several places, even inside itself: walk no deeper than the format you expect.

    Raises:
        TrainingDataInvalid: the file cannot be read, is cut short, holds anything else, or would
            need far more memory than its own size.
    """
    try:
        with path.open("rb") as file:
            shape, dtype = _header(file)
            if not dtype.hasobject or dtype.fields is not None:
                message = f"its header announces {dtype.str}, not Python objects"
                raise PickleRefused(message)
            offset = file.tell()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        machine = PickleMachine(memoryview(mapped)[offset:], max_values)
        return _checked_result(machine.run(), shape)
    except (OSError, ValueError, PickleRefused) as error:
        message = f"{path.name} is no array of objects that can be read ({reason_of(error)})."
        raise TrainingDataInvalid(message) from error


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy_format.read_magic(file)
    if version not in HEADER_VERSIONS:
        message = f"version {version} of the .npy format is not known"
        raise PickleRefused(message)
    read = (
        npy_format.read_array_header_1_0
        if version == HEADER_VERSIONS[0]
        else npy_format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    return shape, dtype


def _checked_result(result: object, shape: tuple[int, ...]) -> ObjectArray:
    if not isinstance(result, np.ndarray) or result.dtype != np.object_:
        message = "it does not hold one array of objects"
        raise PickleRefused(message)
    if result.shape != shape:
        message = f"it holds shape {result.shape}, its header says {shape}"
        raise PickleRefused(message)
    return result


def reason_of(error: Exception) -> str:
    """Return the first line of an error; numpy's explanations have several."""
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
