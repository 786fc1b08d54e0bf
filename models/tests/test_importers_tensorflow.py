"""TensorFlow 1 checkpoints: ours are read back, damaged and hostile ones are refused."""

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import WeightsInvalid, WeightsMissing
from models.importers.tensorflow import (
    DATA_SUFFIX,
    INDEX_SUFFIX,
    TABLE_MAGIC,
    masked_crc32c,
    open_checkpoint,
)


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def block(entries, shared=0):
    """Write one table block; ``shared`` overrides the first key's shared prefix."""
    body, before = b"", b""
    for index, (key, value) in enumerate(entries):
        same = shared if index == 0 else 0
        while index and same < min(len(key), len(before)) and key[same] == before[same]:
            same += 1
        fresh = key[same:]
        body += varint(same) + varint(len(fresh)) + varint(len(value)) + fresh + value
        before = key
    body += struct.pack("<II", 0, 1)
    return body


def sealed(body, kind=0):
    return body + bytes([kind]) + struct.pack("<I", masked_crc32c(body + bytes([kind])))


def entry(array, offset, dtype=1, extra=b""):
    dimensions = b"".join(
        b"\x12" + varint(len(size)) + size for size in (b"\x08" + varint(n) for n in array.shape)
    )
    content = array.tobytes()
    return (
        b"\x08"
        + varint(dtype)
        + b"\x12"
        + varint(len(dimensions))
        + dimensions
        + b"\x20"
        + varint(offset)
        + b"\x28"
        + varint(len(content))
        + b"\x35"
        + struct.pack("<I", masked_crc32c(content))
        + extra
    )


def write(folder, tensors, *, kind=0, shared=0, header=b"\x08\x01", **options):
    """Write a checkpoint as the format describes it and return its prefix."""
    data, rows, offset = b"", [(b"", header)], 0
    for name, array in sorted(tensors.items()):
        rows.append((name.encode(), entry(array, offset, **options)))
        data += array.tobytes()
        offset += array.nbytes
    body = sealed(block(rows, shared), kind)
    size = len(body) - 5
    empty = sealed(block([]))
    index = sealed(block([(b"z", varint(0) + varint(size))]))
    handles = varint(len(body)) + varint(len(empty) - 5)
    handles += varint(len(body) + len(empty)) + varint(len(index) - 5)
    footer = handles.ljust(40, b"\0") + struct.pack("<Q", TABLE_MAGIC)
    prefix = folder / "model"
    prefix.with_name("model" + INDEX_SUFFIX).write_bytes(body + empty + index + footer)
    prefix.with_name("model" + DATA_SUFFIX).write_bytes(data)
    return prefix


TENSORS = {
    "a/bias": np.arange(3, dtype=np.float32),
    "a/kernel": np.arange(12, dtype=np.float32).reshape(4, 3) / 7,
    "step": np.array(5.0, np.float32),
}


def test_checksums_are_those_of_the_standard():
    # Source: RFC 3720 B.4, 32 bytes of zeros: CRC-32C 0x8A9136AA.
    unmasked = 0x8A9136AA
    rotated = ((unmasked >> 15) | (unmasked << 17)) & 0xFFFFFFFF
    assert masked_crc32c(bytes(32)) == (rotated + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("suffix", ["", INDEX_SUFFIX, DATA_SUFFIX])
def test_tensors_come_back_by_any_name_of_the_checkpoint(tmp_path, suffix):
    prefix = write(tmp_path, TENSORS)
    checkpoint = open_checkpoint(prefix.with_name(prefix.name + suffix))
    assert set(checkpoint.entries) == set(TENSORS)
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(checkpoint.read(name), array)
        assert checkpoint.read(name).dtype == np.float32


def test_a_missing_half_is_named(tmp_path):
    prefix = write(tmp_path, TENSORS)
    prefix.with_name("model" + DATA_SUFFIX).unlink()
    with pytest.raises(WeightsMissing, match="data-00000"):
        open_checkpoint(prefix)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": 1}, "compressed"),
        ({"header": b"\x08\x02"}, "several data files"),
        ({"header": b"\x08\x01\x10\x01"}, "byte order"),
        ({"extra": b"\x18\x01"}, "another data file"),
        ({"extra": b"\x3a\x00"}, "slices"),
        ({"shared": 9}, "keys"),
    ],
)
def test_kinds_that_are_not_read_are_refused(tmp_path, options, message):
    with pytest.raises(WeightsInvalid, match=message):
        open_checkpoint(write(tmp_path, TENSORS, **options))


def test_other_types_are_refused(tmp_path):
    checkpoint = open_checkpoint(write(tmp_path, TENSORS, dtype=9))
    with pytest.raises(WeightsInvalid, match="float32"):
        checkpoint.read("a/bias")


def test_a_damaged_tensor_is_noticed(tmp_path):
    prefix = write(tmp_path, TENSORS)
    path = prefix.with_name("model" + DATA_SUFFIX)
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(bytes(content))
    checkpoint = open_checkpoint(prefix)
    np.testing.assert_array_equal(checkpoint.read("a/bias"), TENSORS["a/bias"])
    with pytest.raises(WeightsInvalid, match="damaged"):
        checkpoint.read("a/kernel")


def test_a_short_data_file_is_refused(tmp_path):
    prefix = write(tmp_path, TENSORS)
    path = prefix.with_name("model" + DATA_SUFFIX)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsInvalid, match="ends past"):
        open_checkpoint(prefix)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=6), st.booleans())
def test_no_damage_to_the_index_escapes_as_another_error(tmp_path, place, noise, cut):
    """Whatever bytes stand in an index, it opens or is refused; checksums are kept consistent."""
    prefix = write(tmp_path, TENSORS)
    path = prefix.with_name("model" + INDEX_SUFFIX)
    content = bytearray(path.read_bytes())
    place %= len(content)
    content[place : place + len(noise)] = noise
    path.write_bytes(bytes(content[:place] if cut else content))
    with contextlib.suppress(WeightsInvalid):
        open_checkpoint(prefix)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=40)), max_size=5))
def test_sealed_nonsense_is_read_or_refused(tmp_path, rows):
    """Blocks whose checksums hold and whose contents are anything."""
    body = sealed(block([(key, value) for key, value in rows]))
    empty = sealed(block([]))
    index = sealed(block([(b"z", varint(0) + varint(len(body) - 5))]))
    handles = varint(len(body)) + varint(len(empty) - 5)
    handles += varint(len(body) + len(empty)) + varint(len(index) - 5)
    footer = handles.ljust(40, b"\0") + struct.pack("<Q", TABLE_MAGIC)
    (tmp_path / ("model" + INDEX_SUFFIX)).write_bytes(body + empty + index + footer)
    (tmp_path / ("model" + DATA_SUFFIX)).write_bytes(bytes(64))
    with contextlib.suppress(WeightsInvalid):
        checkpoint = open_checkpoint(tmp_path / "model")
        for name in checkpoint.entries:
            checkpoint.read(name)
