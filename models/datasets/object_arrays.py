"""Reads .npy files of Python objects without running any of what is in them.

Such a file holds a pickle: a program that may name and call anything. No unpickler runs here. A
small machine of our own knows the opcodes with which numpy writes lists, texts, numbers and
arrays; the few callables that numpy names are recognised by name and never looked up, and
whatever else a file names, calls or builds is refused.

Source: the opcodes are those of the Python standard library's ``pickletools``; the names and
states of arrays and dtypes are what ``numpy.ndarray.__reduce__`` and ``numpy.dtype.__reduce__``
give in numpy 1 and 2, under Python 2 (bytes are Latin-1 texts) and 3.
"""

import math
import mmap
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, TypeVar

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from models.errors import TrainingDataInvalid

ObjectArray = NDArray[np.object_]
PlainArray = NDArray[Any]

# The whole W-TALC annotation of ActivityNet 1.2 has 0.1 million values; each costs memory.
MAX_VALUES = 4_000_000
# Texts longer than this are the raw numbers of an array, left in the file until they are used.
LONG_TEXT_BYTES = 1 << 16
MAX_INTEGER_BYTES = 8
MAX_DIMENSIONS = 8
# What values may take in memory, per byte of the file, beyond the file itself. A list costs eight
# bytes per element and at least one byte in the file; texts cost at most four per byte.
MEMORY_PER_BYTE = 16
MIN_PROTOCOL, MAX_PROTOCOL = 2, 5
PROTO = 0x80  # opcode that begins every pickle since protocol 2
HEADER_VERSIONS = ((1, 0), (2, 0))


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


class _Refused(Exception):
    """The bytes are not what numpy writes; the text completes a sentence."""


@dataclass(slots=True)
class _Pending:
    """An array or dtype that was announced (REDUCE) and waits for its state (BUILD)."""

    kind: Callee
    code: str = ""
    memo_keys: list[int] = field(default_factory=list)


class _Mark(Enum):
    MARK = auto()


Value = Any  # a Python value, a Callee, a dtype, an array, a _Pending or a _Mark
_T = TypeVar("_T")


def is_object_array(path: Path) -> bool:
    """Return whether a .npy file holds Python objects, by its header.

    Raises:
        TrainingDataInvalid: the file cannot be read as .npy.
    """
    try:
        with path.open("rb") as file:
            return _header(file)[1].hasobject
    except (OSError, ValueError, _Refused) as error:
        message = (
            f"{path.name} is no .npy file that can be read ({_reason(error)}); fetch it again."
        )
        raise TrainingDataInvalid(message) from error


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
                raise _Refused(message)
            offset = file.tell()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        machine = _Machine(memoryview(mapped)[offset:], max_values)
        return _checked_result(machine.run(), shape)
    except (OSError, ValueError, _Refused) as error:
        message = (
            f"{path.name} cannot be read as an array of objects ({_reason(error)}); fetch it again."
        )
        raise TrainingDataInvalid(message) from error


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy_format.read_magic(file)
    if version not in HEADER_VERSIONS:
        message = f"version {version} of the .npy format is not known"
        raise _Refused(message)
    read = (
        npy_format.read_array_header_1_0
        if version == HEADER_VERSIONS[0]
        else npy_format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    return shape, dtype


def _checked_result(result: Value, shape: tuple[int, ...]) -> ObjectArray:
    if not isinstance(result, np.ndarray) or result.dtype != np.object_:
        message = "it does not hold one array of objects"
        raise _Refused(message)
    if result.shape != shape:
        message = f"it holds shape {result.shape}, its header says {shape}"
        raise _Refused(message)
    return result


def _reason(error: Exception) -> str:
    """Return the first line of an error; numpy's explanations have several."""
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def _refuse(why: str) -> NoReturn:
    raise _Refused(why)


class _Machine:
    """Walks over the opcodes of one pickle with a stack and a memo of its own."""

    def __init__(self, content: memoryview, max_values: int) -> None:
        self._content = content
        self._position = 0
        self._stack: list[Value] = []
        self._memo: dict[int, Value] = {}
        self._values_left = max_values
        self._memory_left = MEMORY_PER_BYTE * len(content) + LONG_TEXT_BYTES

    def run(self) -> Value:
        """Return the one value that the pickle leaves."""
        if self._unsigned(1) != PROTO or not MIN_PROTOCOL <= self._unsigned(1) <= MAX_PROTOCOL:
            _refuse("it is no pickle of protocol 2 to 5")
        while True:
            code = bytes(self._take(1))
            if code == b".":
                break
            step = STEPS.get(code)
            if step is None:
                _refuse(f"opcode {code!r} at byte {self._position - 1} is none that numpy writes")
            step(self)
        if len(self._stack) != 1:
            _refuse("it ends with more or less than one value")
        return self._pop()

    def _take(self, count: int) -> memoryview:
        if count > len(self._content) - self._position:
            _refuse("it is cut short")
        taken = self._content[self._position : self._position + count]
        self._position += count
        return taken

    def _unsigned(self, size: int) -> int:
        return int.from_bytes(self._take(size), "little")

    def _line(self) -> str:
        line = bytearray()
        while (byte := bytes(self._take(1))) != b"\n":
            line += byte
            if len(line) > LONG_TEXT_BYTES:
                _refuse("a name in it is too long")
        return line.decode("ascii", "backslashreplace")

    def _charge(self, size_bytes: int) -> None:
        """Count memory that a value takes beyond the file; a file cannot ask for much more."""
        self._memory_left -= size_bytes
        if self._memory_left < 0:
            _refuse("it would take far more memory than its size")

    def _push(self, value: Value) -> None:
        self._values_left -= 1
        if self._values_left < 0:
            _refuse("it holds too many values")
        self._stack.append(value)

    def _pop(self) -> Value:
        """Take a finished value."""
        if not self._stack:
            _refuse("a value is missing")
        value = self._stack.pop()
        if isinstance(value, (_Pending, _Mark)):
            _refuse("a value is not finished")
        return value

    def _pop_to_mark(self) -> list[Value]:
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is _Mark.MARK:
                values = self._stack[index + 1 :]
                del self._stack[index:]
                if any(isinstance(value, (_Pending, Callee)) for value in values):
                    _refuse("a list holds what is no value")
                return values
        _refuse("a mark is missing")

    def _top(self, kind: type[_T]) -> _T:
        if not self._stack or not isinstance(self._stack[-1], kind):
            _refuse(f"no {kind.__name__.strip('_').lower()} where one belongs")
        return self._stack[-1]

    # One method per kind of opcode; STEPS says which belongs to which.

    def mark(self) -> None:
        self._push(_Mark.MARK)

    def frame(self) -> None:
        self._take(8)

    def constant(self, value: object) -> None:
        self._push(value)

    def integer(self, size: int, signed: bool = False) -> None:
        self._push(int.from_bytes(self._take(size), "little", signed=signed))

    def long_integer(self) -> None:
        size = self._unsigned(1)
        if size > MAX_INTEGER_BYTES:
            _refuse("a number in it is too large")
        self.integer(size, signed=True)

    def real(self) -> None:
        self._push(struct.unpack(">d", self._take(8))[0])

    def text(self, length_bytes: int) -> None:
        raw = self._take(self._unsigned(length_bytes))
        self._charge(4 * len(raw))
        self._push(bytes(raw).decode("utf-8", "surrogatepass"))

    def raw(self, length_bytes: int) -> None:
        raw = self._take(self._unsigned(length_bytes))
        self._push(bytes(raw) if len(raw) <= LONG_TEXT_BYTES else raw)

    def old_text(self, length_bytes: int) -> None:
        """Push Python 2's text, which is also its bytes: Latin-1 keeps both."""
        raw = self._take(self._unsigned(length_bytes))
        self._push(bytes(raw).decode("latin-1") if len(raw) <= LONG_TEXT_BYTES else raw)

    def empty_list(self) -> None:
        self._push([])

    def append(self) -> None:
        value = self._pop()
        if isinstance(value, Callee):
            _refuse("a list holds what is no value")
        self._top(list).append(value)

    def extend(self) -> None:
        values = self._pop_to_mark()
        self._top(list).extend(values)

    def tuple_of(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(values)))

    def marked_tuple(self) -> None:
        self._push(tuple(self._pop_to_mark()))

    def remember(self, length_bytes: int) -> None:
        """Keep the top of the stack under a number, or under the next one (length 0)."""
        key = self._unsigned(length_bytes) if length_bytes else len(self._memo)
        if not self._stack or self._stack[-1] is _Mark.MARK:
            _refuse("a value is missing")
        value = self._stack[-1]
        self._memo[key] = value
        if isinstance(value, _Pending):
            value.memo_keys.append(key)

    def recall(self, length_bytes: int) -> None:
        key = self._unsigned(length_bytes)
        if key not in self._memo:
            _refuse("it refers to a value that it does not hold")
        self._push(self._memo[key])

    def named(self) -> None:
        self._push_callee(self._line(), self._line())

    def named_on_stack(self) -> None:
        name, module = self._pop(), self._pop()
        self._push_callee(module, name)

    def _push_callee(self, module: Value, name: Value) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            _refuse("a name in it is no text")
        callee = CALLEES.get((module, name))
        if callee is None:
            _refuse(f"it names {module[:60]!r} {name[:60]!r}, which no array needs")
        self._push(callee)

    def call(self) -> None:
        arguments, callee = self._pop(), self._pop()
        if not isinstance(arguments, tuple) or not isinstance(callee, Callee):
            _refuse("it calls what is no function of numpy's")
        if callee is Callee.ENCODE:
            self._push(self._encoded(arguments))
        elif callee is Callee.RECONSTRUCT:
            self._push(_announced_array(arguments))
        elif callee is Callee.DTYPE:
            self._push(_announced_dtype(arguments))
        elif callee is Callee.SCALAR:
            self._push(self._scalar(arguments))
        elif callee is Callee.BYTES and not arguments:
            self._push(b"")
        else:
            _refuse("it calls what is no function of numpy's")

    def build(self) -> None:
        state, pending = self._pop(), self._top(_Pending)
        self._stack.pop()
        if not isinstance(state, tuple):
            _refuse("a state is no tuple")
        finished: Value
        if pending.kind is Callee.DTYPE:
            finished = _finished_dtype(pending.code, state)
        else:
            finished = self._finished_array(state)
        for key in pending.memo_keys:
            self._memo[key] = finished
        self._push(finished)

    def _encoded(self, arguments: tuple[Value, ...]) -> bytes:
        """Return what a Python 3 pickle of protocol 2 writes for bytes."""
        match arguments:
            case (str() as text, "latin1" | "latin-1"):
                self._charge(len(text))
                return text.encode("latin-1")
        _refuse("bytes in it are not encoded the way numpy does")

    def _scalar(self, arguments: tuple[Value, ...]) -> Value:
        match arguments:
            case (np.dtype() as dtype, data) if dtype != np.object_:
                return self._from_bytes(data, dtype, ())[()]
        _refuse("a number in it is malformed")

    def _finished_array(self, state: tuple[Value, ...]) -> PlainArray:
        match state:
            case (int() as version, tuple() as shape, np.dtype() as dtype, bool() | int(), data):
                if version != ARRAY_STATE_VERSION or not _is_shape(shape):
                    _refuse("an array in it has a malformed shape")
                order = bool(state[3])
            case _:
                _refuse("an array in it is malformed")
        if dtype == np.object_:
            return self._of_objects(data, shape, order)
        return self._from_bytes(data, dtype, shape, order)

    def _of_objects(self, data: Value, shape: tuple[int, ...], fortran: bool) -> PlainArray:
        if not isinstance(data, list) or len(data) != math.prod(shape):
            _refuse(f"an array of shape {shape} in it does not have that many elements")
        self._charge(8 * len(data))
        flat = np.empty(len(data), np.object_)
        for index, value in enumerate(data):
            flat[index] = value
        return flat.reshape(shape, order="F" if fortran else "C")

    def _from_bytes(
        self, data: Value, dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool = False
    ) -> PlainArray:
        if isinstance(data, str):
            self._charge(len(data))
            data = data.encode("latin-1")  # UnicodeEncodeError is a ValueError: refused above
        if not isinstance(data, bytes | memoryview):
            _refuse("an array in it has no bytes")
        if len(data) != math.prod(shape) * dtype.itemsize:
            _refuse(f"an array of shape {shape} and type {dtype.str} in it has {len(data)} bytes")
        if not len(data):
            return np.zeros(shape, dtype)
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _announced_array(arguments: tuple[Value, ...]) -> _Pending:
    match arguments:
        case (Callee.NDARRAY, (0,), b"b" | "b"):
            return _Pending(Callee.RECONSTRUCT)
    _refuse("an array in it is malformed")


def _announced_dtype(arguments: tuple[Value, ...]) -> _Pending:
    match arguments:
        case (str() as code, bool() | int(), bool() | int()) if DTYPE_CODES.fullmatch(code):
            return _Pending(Callee.DTYPE, code)
    _refuse("it has an array of a type other than numbers, texts, bytes and objects")


def _finished_dtype(code: str, state: tuple[Value, ...]) -> np.dtype[Any]:
    plain = len(state) == DTYPE_STATE_LENGTH and state[0] == DTYPE_STATE_VERSION
    # Subarrays, named fields and their kin stand in the three places after the byte order.
    ordered = plain and isinstance(state[1], str) and state[1] in BYTE_ORDERS
    if not ordered or any(value is not None for value in state[2:5]):
        _refuse("the type of an array in it is malformed")
    if code[0] == "O":
        return np.dtype(np.object_)
    return np.dtype(("" if state[1] == "|" else state[1]) + code)


def _is_shape(shape: tuple[Value, ...]) -> bool:
    return len(shape) <= MAX_DIMENSIONS and all(
        type(size) is int and 0 <= size < 1 << 40 for size in shape
    )


STEPS: Final[dict[bytes, Callable[[_Machine], None]]] = {
    b"(": _Machine.mark,
    b"\x95": _Machine.frame,
    b"N": lambda machine: machine.constant(None),
    b"\x88": lambda machine: machine.constant(True),
    b"\x89": lambda machine: machine.constant(False),
    b"J": lambda machine: machine.integer(4, signed=True),
    b"K": lambda machine: machine.integer(1),
    b"M": lambda machine: machine.integer(2),
    b"\x8a": _Machine.long_integer,
    b"G": _Machine.real,
    b"X": lambda machine: machine.text(4),
    b"\x8c": lambda machine: machine.text(1),
    b"\x8d": lambda machine: machine.text(8),
    b"B": lambda machine: machine.raw(4),
    b"C": lambda machine: machine.raw(1),
    b"\x8e": lambda machine: machine.raw(8),
    b"T": lambda machine: machine.old_text(4),
    b"U": lambda machine: machine.old_text(1),
    b"]": _Machine.empty_list,
    b"a": _Machine.append,
    b"e": _Machine.extend,
    b")": lambda machine: machine.tuple_of(0),
    b"\x85": lambda machine: machine.tuple_of(1),
    b"\x86": lambda machine: machine.tuple_of(2),
    b"\x87": lambda machine: machine.tuple_of(3),
    b"t": _Machine.marked_tuple,
    b"q": lambda machine: machine.remember(1),
    b"r": lambda machine: machine.remember(4),
    b"\x94": lambda machine: machine.remember(0),
    b"h": lambda machine: machine.recall(1),
    b"j": lambda machine: machine.recall(4),
    b"c": _Machine.named,
    b"\x93": _Machine.named_on_stack,
    b"R": _Machine.call,
    b"b": _Machine.build,
}
