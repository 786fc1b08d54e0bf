"""Reads TensorFlow 1 checkpoints (``.index`` and ``.data-00000-of-00001``) without TensorFlow.

The index is a sorted string table: blocks of prefix-compressed keys with a checksum each, found
through an index block that a footer points at. Its values are small protocol buffers that say
where in the data file a tensor lies. Only uncompressed tables, one data file and float32 tensors
are read; everything else is refused. All sizes are checked against the file before they are used.

Source: LevelDB doc/table_format.md; TensorFlow tensor_bundle.proto, tensor_shape.proto and
types.proto; RFC 3720 for CRC-32C.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.errors import WeightsInvalid, WeightsMissing
from models.types import FloatArray

TABLE_MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
BLOCK_TRAILER_BYTES = 5  # one byte of compression, four of checksum
MAX_INDEX_BYTES = 1 << 20
MAX_DATA_BYTES = 1 << 29
MAX_TENSORS = 1000
MAX_BLOCKS = 64
MAX_KEY_BYTES = 1000
MAX_DIMENSIONS = 8
MAX_VARINT_BYTES = 10
CRC_POLYNOMIAL = 0x82F63B78
CRC_MASK_DELTA = 0xA282EAD8
FLOAT32 = 1  # DT_FLOAT
FLOAT32_BYTES = 4
DATA_SUFFIX = ".data-00000-of-00001"
INDEX_SUFFIX = ".index"
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5  # wire types of a protocol buffer
WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where one tensor lies.

    Attributes:
        name: of the variable.
        dtype: number of its kind; 1 is float32.
        shape: of the tensor.
        offset, size: in bytes, in the data file.
        checksum: masked CRC-32C of its bytes.
    """

    name: str
    dtype: int
    shape: tuple[int, ...]
    offset: int
    size: int
    checksum: int


@dataclass(slots=True)
class TensorFlowCheckpoint:
    """An opened checkpoint: what is in it, and its tensors one at a time.

    Attributes:
        entries: by variable name.
        data_path: of the data file.
    """

    entries: dict[str, TensorEntry] = field(default_factory=dict)
    data_path: Path = Path()

    def read(self, name: str) -> FloatArray:
        """Return one tensor, float32 of its shape.

        Raises:
            WeightsInvalid: it is of another type, lies outside the file or its checksum fails.
        """
        entry = self.entries[name]
        count = math.prod(entry.shape)
        if entry.dtype != FLOAT32:
            message = f"The tensor {name} is not of type float32; only such checkpoints are read."
            raise WeightsInvalid(message)
        with self.data_path.open("rb") as file:
            file.seek(entry.offset)
            content = file.read(entry.size)
        if len(content) != entry.size or entry.size != count * FLOAT32_BYTES:
            message = f"The tensor {name} lies outside {self.data_path.name}; copy the file again."
            raise WeightsInvalid(message)
        if masked_crc32c(content) != entry.checksum:
            message = f"The tensor {name} in {self.data_path.name} is damaged; copy the file again."
            raise WeightsInvalid(message)
        return np.frombuffer(content, "<f4").reshape(entry.shape).astype(np.float32)


def open_checkpoint(path: Path) -> TensorFlowCheckpoint:
    """Open a checkpoint by its prefix or by either of its files.

    Raises:
        WeightsMissing: the index or the data file is not there.
        WeightsInvalid: the index is damaged or of a kind that is not read.
    """
    prefix = str(path).removesuffix(INDEX_SUFFIX).removesuffix(DATA_SUFFIX)
    index_path, data_path = Path(prefix + INDEX_SUFFIX), Path(prefix + DATA_SUFFIX)
    for one in (index_path, data_path):
        if not one.is_file():
            message = f"There is no file {one.name}; a checkpoint needs its .index and .data file."
            raise WeightsMissing(message)
    if index_path.stat().st_size > MAX_INDEX_BYTES or data_path.stat().st_size > MAX_DATA_BYTES:
        message = f"The checkpoint {index_path.name} is larger than any of this kind; refused."
        raise WeightsInvalid(message)
    try:
        entries = _read_entries(index_path.read_bytes(), data_path.stat().st_size)
    except (_Damaged, UnicodeDecodeError) as error:
        message = f"The checkpoint index {index_path.name} cannot be read: {error}."
        raise WeightsInvalid(message) from error
    return TensorFlowCheckpoint(entries, data_path)


def masked_crc32c(content: bytes) -> int:
    """Return the CRC-32C of bytes, rotated and shifted as such tables store it."""
    value = WORD
    table = _CRC_TABLE
    for byte in content:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    value ^= WORD
    return (((value >> 15) | (value << 17)) + CRC_MASK_DELTA) & WORD


class _Damaged(Exception):
    """The bytes are not what they should be; the text says how."""


def _crc_table() -> tuple[int, ...]:
    values = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (CRC_POLYNOMIAL if value & 1 else 0)
        values.append(value)
    return tuple(values)


_CRC_TABLE = _crc_table()


def _read_entries(content: bytes, data_bytes: int) -> dict[str, TensorEntry]:
    """Return the tensors of an index file by name, all inside a data file of this size."""
    if len(content) < FOOTER_BYTES:
        message = "it is too short"
        raise _Damaged(message)
    footer = content[-FOOTER_BYTES:]
    if struct.unpack("<Q", footer[-8:])[0] != TABLE_MAGIC:
        message = "it is no checkpoint index"
        raise _Damaged(message)
    cursor = _Cursor(footer)
    cursor.varint(), cursor.varint()  # the block of block names, which such files leave empty
    entries: dict[str, TensorEntry] = {}
    handles = list(_block(content, cursor.varint(), cursor.varint()))
    if len(handles) > MAX_BLOCKS:
        message = f"it has more than {MAX_BLOCKS} blocks"
        raise _Damaged(message)
    for _, handle in handles:
        at = _Cursor(handle)
        for key, value in _block(content, at.varint(), at.varint()):
            if not key:
                _check_header(value)
                continue
            entry = _entry(key.decode("utf-8"), value)
            if entry.offset + entry.size > data_bytes:
                message = f"the tensor {entry.name} ends past the data file's end"
                raise _Damaged(message)
            entries[entry.name] = entry
    return entries


class _Cursor:
    """Reads bytes from front to back and never past the end."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    @property
    def done(self) -> bool:
        return self.place >= len(self.content)

    def take(self, count: int) -> bytes:
        part = self.content[self.place : self.place + count]
        if count < 0 or len(part) != count:
            message = "it ends too early"
            raise _Damaged(message)
        self.place += count
        return part

    def varint(self) -> int:
        value = 0
        for index in range(MAX_VARINT_BYTES):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:  # noqa: PLR2004 - the last byte has no high bit
                return value
        message = "a number in it is too long"
        raise _Damaged(message)


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of one block."""
    whole = content[offset : offset + size + BLOCK_TRAILER_BYTES]
    if len(whole) != size + BLOCK_TRAILER_BYTES:
        message = "a block lies outside it"
        raise _Damaged(message)
    if whole[size] != 0:
        message = "it is compressed, which is not read"
        raise _Damaged(message)
    if masked_crc32c(whole[: size + 1]) != struct.unpack("<I", whole[size + 1 :])[0]:
        message = "a checksum does not hold"
        raise _Damaged(message)
    restarts = struct.unpack("<I", whole[size - 4 : size])[0] if size >= 4 else WORD  # noqa: PLR2004
    end = size - 4 * (restarts + 1)
    if end < 0:
        message = "a block has no room for its entries"
        raise _Damaged(message)
    cursor = _Cursor(whole[:end])
    key = b""
    count = 0
    while not cursor.done:
        shared, fresh, length = cursor.varint(), cursor.varint(), cursor.varint()
        count += 1
        if shared > len(key) or shared + fresh > MAX_KEY_BYTES or count > MAX_TENSORS:
            message = "a block holds too many keys, too long ones or one cut short"
            raise _Damaged(message)
        key = key[:shared] + cursor.take(fresh)
        yield key, cursor.take(length)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield field numbers and values of a protocol buffer message."""
    cursor = _Cursor(message)
    while not cursor.done:
        tag = cursor.varint()
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            yield number, cursor.varint()
        elif wire == LENGTH_DELIMITED:
            yield number, cursor.take(cursor.varint())
        elif wire in {FIXED32, FIXED64}:
            size = 4 if wire == FIXED32 else 8
            yield number, int.from_bytes(cursor.take(size), "little")
        else:
            text = "it holds a field of an unknown kind"
            raise _Damaged(text)


def _check_header(value: bytes) -> None:
    """Refuse checkpoints of several data files or of big-endian machines."""
    header = dict(_fields(value))
    if header.get(1, 0) != 1 or header.get(2, 0) != 0:
        message = "it has several data files or another byte order"
        raise _Damaged(message)


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        message = "a number in it is none"
        raise _Damaged(message)
    return value


def _entry(name: str, value: bytes) -> TensorEntry:
    numbers: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    for number, content in _fields(value):
        if isinstance(content, int):
            numbers[number] = content
        elif number == 2:  # noqa: PLR2004 - BundleEntryProto.shape
            shape = _shape(content)
        else:
            message = f"the tensor {name} is stored in slices, which is not read"
            raise _Damaged(message)
    if numbers.get(3, 0) != 0:
        message = f"the tensor {name} lies in another data file"
        raise _Damaged(message)
    return TensorEntry(
        name,
        numbers.get(1, 0),
        shape,
        numbers.get(4, 0),
        numbers.get(5, 0),
        numbers.get(6, 0),
    )


def _shape(content: bytes) -> tuple[int, ...]:
    """Return the sizes of a TensorShapeProto."""
    sizes: list[int] = []
    for number, dimension in _fields(content):
        if number != 2 or not isinstance(dimension, bytes):  # noqa: PLR2004 - TensorShapeProto.dim
            message = "a tensor's shape is not known"
            raise _Damaged(message)
        size = dict(_fields(dimension)).get(1, 0)
        sizes.append(_number(size))
    if len(sizes) > MAX_DIMENSIONS:
        message = f"a tensor has more than {MAX_DIMENSIONS} dimensions"
        raise _Damaged(message)
    return tuple(sizes)
