"""What numpy's pickles say about arrays and dtypes: names, announcements and states, checked.

Source: ``numpy.ndarray.__reduce__`` and ``numpy.dtype.__reduce__`` of numpy 1 and 2.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

import numpy as np

Value = Any  # a Python value, a Callee, a dtype or an array

MAX_DIMENSIONS = 8


class Callee(Enum):
    """What numpy's pickles name. Only recognised, never looked up."""

    RECONSTRUCT = auto()
    SCALAR = auto()
    NDARRAY = auto()
    DTYPE = auto()
    ENCODE = auto()
    BYTES = auto()


CALLEES: Final[dict[tuple[str, str], Callee]] = {
    ("numpy.core.multiarray", "_reconstruct"): Callee.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): Callee.RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): Callee.SCALAR,
    ("numpy._core.multiarray", "scalar"): Callee.SCALAR,
    ("numpy", "ndarray"): Callee.NDARRAY,
    ("numpy", "dtype"): Callee.DTYPE,
    ("_codecs", "encode"): Callee.ENCODE,
    # Python 3 writes empty bytes in protocol 2 as a call of these without arguments.
    ("__builtin__", "bytes"): Callee.BYTES,
    ("builtins", "bytes"): Callee.BYTES,
}
# Booleans, integers, floats, bytes, texts and objects; sizes in bytes, of a text in characters.
DTYPE_CODES = re.compile(r"b1|[iu][1248]|f[248]|[SU][1-9]\d{0,5}|O[48]?")
BYTE_ORDERS = {"<", ">", "|", "="}
# version, byte order, subarray, names, fields, size, alignment, flags
DTYPE_STATE_LENGTH = 8
DTYPE_STATE_VERSION = 3
ARRAY_STATE_VERSION = 1


class PickleRefused(Exception):
    """The bytes are not what numpy writes; the text completes a sentence."""


@dataclass(slots=True)
class Pending:
    """An array or dtype that was announced (REDUCE) and waits for its state (BUILD)."""

    kind: Callee
    code: str = ""
    memo_keys: list[int] = field(default_factory=list)


def announced_array(arguments: tuple[Value, ...]) -> Pending:
    """Return the array that a call of ``_reconstruct`` announces."""
    match arguments:
        case (Callee.NDARRAY, (0,), b"b" | "b"):
            return Pending(Callee.RECONSTRUCT)
    raise PickleRefused("an array in it is malformed")


def announced_dtype(arguments: tuple[Value, ...]) -> Pending:
    """Return the type that a call of ``dtype`` announces: its code, without byte order."""
    match arguments:
        case (str() as code, bool() | int(), bool() | int()) if DTYPE_CODES.fullmatch(code):
            return Pending(Callee.DTYPE, code)
    raise PickleRefused("it has an array of a type other than numbers, texts, bytes and objects")


def finished_dtype(code: str, state: tuple[Value, ...]) -> np.dtype[Any]:
    """Return a type of plain numbers, texts, bytes or objects from its code and state."""
    plain = len(state) == DTYPE_STATE_LENGTH and state[0] == DTYPE_STATE_VERSION
    # Subarrays, named fields and their kin stand in the three places after the byte order.
    ordered = plain and isinstance(state[1], str) and state[1] in BYTE_ORDERS
    if not ordered or any(value is not None for value in state[2:5]):
        raise PickleRefused("the type of an array in it is malformed")
    if code[0] == "O":
        return np.dtype(np.object_)
    return np.dtype(("" if state[1] == "|" else state[1]) + code)


def is_shape(shape: tuple[Value, ...]) -> bool:
    """Return whether this is the shape of an array that could exist."""
    return len(shape) <= MAX_DIMENSIONS and all(
        type(size) is int and 0 <= size < 1 << 40 for size in shape
    )
