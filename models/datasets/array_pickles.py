"""A machine that understands the pickles numpy writes, and nothing else.

It knows the opcodes for lists, tuples, texts, bytes and numbers; the few callables that numpy
names are recognised by name and never looked up. Whatever else a pickle names, calls or builds
is refused.

Source: the opcodes are those of the Python standard library's ``pickletools``; the names and
states of arrays and dtypes are what ``numpy.ndarray.__reduce__`` and ``numpy.dtype.__reduce__``
give in numpy 1 and 2, under Python 2 (bytes are Latin-1 texts) and 3.
"""

import math
import struct
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.datasets.array_states import (
    ARRAY_STATE_VERSION,
    CALLEES,
    Callee,
    Pending,
    PickleRefused,
    announced_array,
    announced_dtype,
    finished_dtype,
    is_shape,
)

PlainArray = NDArray[Any]
Value = Any  # a Python value, a Callee, a dtype, an array, a Pending or a _Mark

# Texts longer than this are the raw numbers of an array, left in the file until they are used.
LONG_TEXT_BYTES = 1 << 16
MAX_INTEGER_BYTES = 8
# What values may take in memory, per byte of the file, beyond the file itself. A list costs eight
# bytes per element and at least one byte in the file; texts cost at most four per byte.
MEMORY_PER_BYTE = 16
MIN_PROTOCOL, MAX_PROTOCOL = 2, 5
PROTO = 0x80  # opcode that begins every pickle since protocol 2


class _Mark(Enum):
    MARK = auto()


_T = TypeVar("_T")


class PickleMachine:
    """Walks over the opcodes of one pickle with a stack and a memo of its own.

    Args:
        content: the bytes, from the first opcode on. Long runs of bytes are not copied: arrays
            are read-only views of them.
        max_values: more values than this are refused.
    """

    def __init__(self, content: memoryview, max_values: int) -> None:
        self._content = content
        self._position = 0
        self._stack: list[Value] = []
        self._memo: dict[int, Value] = {}
        self._values_left = max_values
        self._steps = self._opcodes()
        self._memory_left = MEMORY_PER_BYTE * len(content) + LONG_TEXT_BYTES

    def run(self) -> Value:
        """Return the one value that the pickle leaves.

        Raises:
            PickleRefused: the bytes are not what numpy writes, are cut short, or would need far
                more memory than their number.
            ValueError: numpy or a decoder refuses a part.
        """
        if self._unsigned(1) != PROTO or not MIN_PROTOCOL <= self._unsigned(1) <= MAX_PROTOCOL:
            raise PickleRefused("it is no pickle of protocol 2 to 5")
        while True:
            code = bytes(self._take(1))
            if code == b".":
                break
            step = self._steps.get(code)
            if step is None:
                raise PickleRefused(
                    f"opcode {code!r} at byte {self._position - 1} is none that numpy writes"
                )
            step()
        if len(self._stack) != 1:
            raise PickleRefused("it ends with more or less than one value")
        return self._pop()

    def _take(self, count: int) -> memoryview:
        if count > len(self._content) - self._position:
            raise PickleRefused("it is cut short")
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
                raise PickleRefused("a name in it is too long")
        return line.decode("ascii", "backslashreplace")

    def _charge(self, size_bytes: int) -> None:
        """Count memory that a value takes beyond the file; a file cannot ask for much more."""
        self._memory_left -= size_bytes
        if self._memory_left < 0:
            raise PickleRefused("it would take far more memory than its size")

    def _push(self, value: Value) -> None:
        self._values_left -= 1
        if self._values_left < 0:
            raise PickleRefused("it holds too many values")
        self._stack.append(value)

    def _pop(self) -> Value:
        """Take a finished value."""
        if not self._stack:
            raise PickleRefused("a value is missing")
        value = self._stack.pop()
        if isinstance(value, (Pending, _Mark)):
            raise PickleRefused("a value is not finished")
        return value

    def _pop_to_mark(self) -> list[Value]:
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is _Mark.MARK:
                values = self._stack[index + 1 :]
                del self._stack[index:]
                if any(isinstance(value, (Pending, Callee)) for value in values):
                    raise PickleRefused("a list holds what is no value")
                return values
        raise PickleRefused("a mark is missing")

    def _top(self, kind: type[_T]) -> _T:
        if not self._stack or not isinstance(self._stack[-1], kind):
            raise PickleRefused(f"no {kind.__name__.strip('_').lower()} where one belongs")
        return self._stack[-1]

    def _opcodes(self) -> dict[bytes, Callable[[], None]]:
        """Return what each known opcode does. Source: pickletools."""
        return {
            b"(": self._mark,
            b"\x95": self._frame,
            b"N": partial(self._constant, None),
            b"\x88": partial(self._constant, True),
            b"\x89": partial(self._constant, False),
            b"J": partial(self._integer, 4, signed=True),
            b"K": partial(self._integer, 1),
            b"M": partial(self._integer, 2),
            b"\x8a": self._long_integer,
            b"G": self._real,
            b"X": partial(self._text, 4),
            b"\x8c": partial(self._text, 1),
            b"\x8d": partial(self._text, 8),
            b"B": partial(self._raw, 4),
            b"C": partial(self._raw, 1),
            b"\x8e": partial(self._raw, 8),
            b"T": partial(self._old_text, 4),
            b"U": partial(self._old_text, 1),
            b"]": self._empty_list,
            b"a": self._append,
            b"e": self._extend,
            b")": partial(self._tuple_of, 0),
            b"\x85": partial(self._tuple_of, 1),
            b"\x86": partial(self._tuple_of, 2),
            b"\x87": partial(self._tuple_of, 3),
            b"t": self._marked_tuple,
            b"q": partial(self._remember, 1),
            b"r": partial(self._remember, 4),
            b"\x94": partial(self._remember, 0),
            b"h": partial(self._recall, 1),
            b"j": partial(self._recall, 4),
            b"c": self._named,
            b"\x93": self._named_on_stack,
            b"R": self._call,
            b"b": self._build,
        }

    # One method per kind of opcode; `_opcodes` says which belongs to which.

    def _mark(self) -> None:
        self._push(_Mark.MARK)

    def _frame(self) -> None:
        self._take(8)

    def _constant(self, value: object) -> None:
        self._push(value)

    def _integer(self, size: int, signed: bool = False) -> None:
        self._push(int.from_bytes(self._take(size), "little", signed=signed))

    def _long_integer(self) -> None:
        size = self._unsigned(1)
        if size > MAX_INTEGER_BYTES:
            raise PickleRefused("a number in it is too large")
        self._integer(size, signed=True)

    def _real(self) -> None:
        self._push(struct.unpack(">d", self._take(8))[0])

    def _text(self, length_bytes: int) -> None:
        raw = self._take(self._unsigned(length_bytes))
        self._charge(4 * len(raw))
        self._push(bytes(raw).decode("utf-8", "surrogatepass"))

    def _raw(self, length_bytes: int) -> None:
        raw = self._take(self._unsigned(length_bytes))
        self._push(bytes(raw) if len(raw) <= LONG_TEXT_BYTES else raw)

    def _old_text(self, length_bytes: int) -> None:
        """Push Python 2's text, which is also its bytes: Latin-1 keeps both."""
        raw = self._take(self._unsigned(length_bytes))
        self._push(bytes(raw).decode("latin-1") if len(raw) <= LONG_TEXT_BYTES else raw)

    def _empty_list(self) -> None:
        self._push([])

    def _append(self) -> None:
        value = self._pop()
        if isinstance(value, Callee):
            raise PickleRefused("a list holds what is no value")
        self._top(list).append(value)

    def _extend(self) -> None:
        values = self._pop_to_mark()
        self._top(list).extend(values)

    def _tuple_of(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(values)))

    def _marked_tuple(self) -> None:
        self._push(tuple(self._pop_to_mark()))

    def _remember(self, length_bytes: int) -> None:
        """Keep the top of the stack under a number, or under the next one (length 0)."""
        key = self._unsigned(length_bytes) if length_bytes else len(self._memo)
        if not self._stack or self._stack[-1] is _Mark.MARK:
            raise PickleRefused("a value is missing")
        value = self._stack[-1]
        self._memo[key] = value
        if isinstance(value, Pending):
            value.memo_keys.append(key)

    def _recall(self, length_bytes: int) -> None:
        key = self._unsigned(length_bytes)
        if key not in self._memo:
            raise PickleRefused("it refers to a value that it does not hold")
        self._push(self._memo[key])

    def _named(self) -> None:
        self._push_callee(self._line(), self._line())

    def _named_on_stack(self) -> None:
        name, module = self._pop(), self._pop()
        self._push_callee(module, name)

    def _push_callee(self, module: Value, name: Value) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleRefused("a name in it is no text")
        callee = CALLEES.get((module, name))
        if callee is None:
            raise PickleRefused(f"it names {module[:60]!r} {name[:60]!r}, which no array needs")
        self._push(callee)

    def _call(self) -> None:
        arguments, callee = self._pop(), self._pop()
        if not isinstance(arguments, tuple) or not isinstance(callee, Callee):
            raise PickleRefused("it calls what is no function of numpy's")
        if callee is Callee.ENCODE:
            self._push(self._encoded(arguments))
        elif callee is Callee.RECONSTRUCT:
            self._push(announced_array(arguments))
        elif callee is Callee.DTYPE:
            self._push(announced_dtype(arguments))
        elif callee is Callee.SCALAR:
            self._push(self._scalar(arguments))
        elif callee is Callee.BYTES and not arguments:
            self._push(b"")
        else:
            raise PickleRefused("it calls what is no function of numpy's")

    def _build(self) -> None:
        state, pending = self._pop(), self._top(Pending)
        self._stack.pop()
        if not isinstance(state, tuple):
            raise PickleRefused("a state is no tuple")
        finished: Value
        if pending.kind is Callee.DTYPE:
            finished = finished_dtype(pending.code, state)
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
        raise PickleRefused("bytes in it are not encoded the way numpy does")

    def _scalar(self, arguments: tuple[Value, ...]) -> Value:
        match arguments:
            case (np.dtype() as dtype, data) if dtype != np.object_:
                return self._from_bytes(data, dtype, ())[()]
        raise PickleRefused("a number in it is malformed")

    def _finished_array(self, state: tuple[Value, ...]) -> PlainArray:
        match state:
            case (int() as version, tuple() as shape, np.dtype() as dtype, bool() | int(), data):
                if version != ARRAY_STATE_VERSION or not is_shape(shape):
                    raise PickleRefused("an array in it has a malformed shape")
                order = bool(state[3])
            case _:
                raise PickleRefused("an array in it is malformed")
        if dtype == np.object_:
            return self._of_objects(data, shape, order)
        return self._from_bytes(data, dtype, shape, order)

    def _of_objects(self, data: Value, shape: tuple[int, ...], fortran: bool) -> PlainArray:
        if not isinstance(data, list) or len(data) != math.prod(shape):
            raise PickleRefused(f"an array of shape {shape} in it does not have that many elements")
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
            raise PickleRefused("an array in it has no bytes")
        if len(data) != math.prod(shape) * dtype.itemsize:
            raise PickleRefused(
                f"an array of shape {shape} and type {dtype.str} in it has {len(data)} bytes"
            )
        if not len(data):
            return np.zeros(shape, dtype)
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
