"""Object arrays: what numpy writes is read alike, everything else is refused and never run."""

import contextlib
import io
import os
import pickle
import struct
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.datasets.object_arrays import is_object_array, read_object_array
from models.errors import TrainingDataInvalid

PROTOCOLS = (2, 3, 4, 5)


def object_array(values, shape=None):
    array = np.empty(len(values), object)
    for index, value in enumerate(values):
        array[index] = value
    return array if shape is None else array.reshape(shape)


def npy(content: bytes, shape=(1,), descr="|O") -> bytes:
    """Return a .npy file with any bytes behind a header of one's own."""
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


def write(folder, content: bytes):
    path = folder / "values.npy"
    path.write_bytes(content)
    return path


def pickled(array, protocol):
    # In protocol 5 numpy hands out its memory through another function, which .npy never uses.
    return npy(pickle.dumps(array, min(protocol, 4)), array.shape)


def same(left, right):
    if isinstance(left, np.ndarray):
        return (
            isinstance(right, np.ndarray)
            and left.shape == right.shape
            and left.dtype == right.dtype
            and all(map(same, left.ravel().tolist(), right.ravel().tolist()))
        )
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and (left == right or left != left)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats()
    | st.text(max_size=300)
    | st.binary(max_size=300)
    | st.sampled_from(["<f4", ">f8", "|b1", "<i8", "|u1", "<f2", "<U3", "|S5"]).map(
        lambda code: np.arange(6).reshape(2, 3).astype(code)
    )
    | st.just(np.zeros((0, 4), np.float32))
    | st.just(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    | st.just(np.float32(1.5))
    | st.just(np.str_("label")),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(VALUES, max_size=5), protocol=st.sampled_from(PROTOCOLS))
def test_everything_numpy_writes_comes_back(tmp_path_factory, values, protocol):
    array = object_array(values)
    path = write(tmp_path_factory.mktemp("npy"), pickled(array, protocol))
    assert same(read_object_array(path), array)


def test_files_of_np_save_come_back_with_their_shape(tmp_path):
    array = object_array([["a", "b"], [[0.5, 1.0]], np.ones((3, 2), np.float32), b"x"], (2, 2))
    np.save(tmp_path / "values.npy", array, allow_pickle=True)
    assert is_object_array(tmp_path / "values.npy")
    assert same(read_object_array(tmp_path / "values.npy"), array)


def test_shared_values_are_read_once_and_shared(tmp_path):
    shared = np.arange(4.0)
    array = object_array([shared, shared, ["x"]])
    found = read_object_array(write(tmp_path, pickled(array, 2)))
    assert found[0] is found[1]
    assert same(found, array)


PYTHON_2 = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87R"
    b"(K\x01K\x01\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff"
    b"\xff\xff\xffK?tb\x89]q\x03%stb."
)


def test_python_2_pickles_keep_texts_and_raw_numbers(tmp_path):
    numbers = np.array([1.5, -2.0], "<f4")
    inner = (
        b"h\x01h\x02K\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08"
        + numbers.tobytes()
        + b"tb"
    )
    for element, expected in ((b"U\x09Billiardsa", "Billiards"), (inner + b"a", numbers)):
        path = write(tmp_path, npy(PYTHON_2 % element))
        assert same(read_object_array(path)[0], expected)


def test_long_python_2_texts_are_arrays_left_in_the_file(tmp_path):
    numbers = np.arange(40_000, dtype="<f4")
    inner = (
        b"h\x01h\x02K\x00\x85U\x01b\x87R(K\x01M\x40\x9c\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<I", numbers.nbytes)
        + numbers.tobytes()
        + b"tb"
    )
    found = read_object_array(write(tmp_path, npy(PYTHON_2 % (inner + b"a"))))[0]
    assert same(found, numbers)
    assert not found.flags.owndata


def test_large_arrays_stay_in_the_file(tmp_path):
    array = object_array([np.ones((300, 2048), np.float32), np.zeros((200, 2048), np.float32)])
    path = write(tmp_path, pickled(array, 3))
    found = read_object_array(path)
    assert not found[0].flags.writeable
    assert not found[0].flags.owndata
    assert same(found[0][::97, ::511], array[0][::97, ::511])


class Call:
    """Pickles to the call of any function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def _stop(*_):
    pytest.fail("a pickle was allowed to call something")


HOSTILE = {
    "shell": lambda: object_array([Call(os.system, "touch executed")]),
    "eval": lambda: object_array([Call(eval, "open('executed', 'w')")]),
    "nested": lambda: object_array([[[Call(os.mkdir, "executed")]]]),
    "getattr": lambda: object_array([Call(getattr, "x", "upper")]),
    "encode": lambda: object_array([Call(__import__("codecs").encode, "x", "rot13")]),
    "set": lambda: object_array([{1, 2}]),
    "dictionary": lambda: object_array([{"a": 1}]),
    "class": lambda: object_array([io.BytesIO]),
    "instance": lambda: object_array([pytest.UsageError()]),
    "fields": lambda: object_array([np.zeros(2, [("a", "f4")])]),
    "dates": lambda: object_array([np.zeros(2, "M8[s]")]),
    "complex": lambda: object_array([np.zeros(2, complex)]),
    "huge number": lambda: object_array([2**200]),
    "subclass": lambda: object_array([np.ma.masked_array([1.0])]),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_and_nothing_runs(tmp_path, monkeypatch, name, protocol):
    content = pickled(HOSTILE[name](), protocol)
    path = write(tmp_path, content)
    monkeypatch.chdir(tmp_path)
    refused(path)
    assert [one.name for one in tmp_path.iterdir()] == ["values.npy"]


def refused(path, words="no array of objects that can be read"):
    with pytest.raises(TrainingDataInvalid, match=words) as caught:
        read_object_array(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_no_unpickler_ever_runs(tmp_path, monkeypatch):
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, _stop)
    array = object_array([["a"], np.ones(3)])
    assert same(read_object_array(write(tmp_path, pickled(array, 2))), array)


def test_names_are_never_imported(tmp_path):
    sys.modules.pop("this", None)
    refused(write(tmp_path, npy(b"\x80\x02cthis\ns\n.")), "names 'this' 's'")
    assert "this" not in sys.modules


def array_of(data: bytes, shape: bytes, code: bytes = b"O8", order: bytes = b"|") -> bytes:
    """Return a pickle of one array with any state."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + shape
        + b"cnumpy\ndtype\nU"
        + bytes([len(code)])
        + code
        + b"K\x00K\x01\x87R(K\x03U\x01"
        + order
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + data
        + b"tb."
    )


ENORMOUS = b"\x8a\x06" + (1 << 39).to_bytes(6, "little")
MALFORMED = {
    "empty": b"",
    "no protocol": b"].",
    "protocol 0": pickle.dumps([1], 0),
    "unknown opcode": b"\x80\x02\x00.",
    "two values": b"\x80\x02NN.",
    "nothing": b"\x80\x02.",
    "missing memo": b"\x80\x02h\x05.",
    "missing mark": b"\x80\x02]Ke.",
    "append to a number": b"\x80\x02K\x01K\x02a.",
    "mark as a value": b"\x80\x02](a.",
    "a function as a value": b"\x80\x02cnumpy\ndtype\n.",
    "a function in a list": b"\x80\x02]cnumpy\ndtype\na.",
    "array without its state": (
        b"\x80\x02]cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87Ra."
    ),
    "ndarray called": b"\x80\x02cnumpy\nndarray\nK\x05\x85R.",
    "build on a list": b"\x80\x02]K\x01\x85b.",
    "endless name": b"\x80\x02c" + b"a" * 70_000,
    "text of 4 GiB": b"\x80\x02X\xff\xff\xff\xffabc",
    "bytes of 2**63": b"\x80\x02\x8e" + struct.pack("<Q", 1 << 63),
    "shape without data": array_of(b"]", b"(" + ENORMOUS + b"t"),
    "numbers without data": array_of(b"C\x04abcd", b"(" + ENORMOUS + b"t", b"f4", b"<"),
    "negative shape": array_of(b"]", b"(J\xff\xff\xff\xfft"),
    "texts of no width": array_of(b"C\x00", b"(" + ENORMOUS + b"t", b"S0"),
    "byte order is a list": array_of(b"]", b"K\x00\x85").replace(b"U\x01|", b"]"),
    "one number only": b"\x80\x02K\x01.",
    "a list only": b"\x80\x02].",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_pickles_are_refused(tmp_path, name):
    refused(write(tmp_path, npy(MALFORMED[name])))


def test_every_truncation_is_refused(tmp_path):
    content = pickled(object_array([["Billiards"], np.ones((2, 3), np.float32)]), 2)
    for length in range(len(content)):
        refused(write(tmp_path, content[:length]))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_flipped_bytes_give_a_value_or_one_refusal(tmp_path_factory, data):
    content = bytearray(pickled(object_array([["Billiards", 1.5], np.ones((2, 3))]), 2))
    start = len(npy(b""))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(start, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    path = write(tmp_path_factory.mktemp("npy"), bytes(content))
    with contextlib.suppress(TrainingDataInvalid):
        assert read_object_array(path).dtype == np.object_


def test_memory_bombs_are_refused(tmp_path):
    # A text that is kept once and then made into new bytes again and again.
    text = b"X" + struct.pack("<I", 60_000) + b"a" * 60_000 + b"q\x00"
    once = b"c_codecs\nencode\nh\x00U\x06latin1\x86R"
    bomb = b"\x80\x02" + text + b"]q\x01(" + once * 10_000 + b"e."
    refused(write(tmp_path, npy(bomb)), "far more memory")
    # A list that is kept once and copied into array after array.
    kept = b"]q\x00(" + b"N" * 60_000 + b"e"
    copies = array_of(b"h\x00", b"M\x60\xea\x85")[2:-1] * 500
    refused(write(tmp_path, npy(b"\x80\x02" + kept + copies + b".")), "far more memory")


def test_more_values_than_allowed_are_refused(tmp_path):
    path = write(tmp_path, pickled(object_array(list(range(100))), 2))
    with pytest.raises(TrainingDataInvalid, match="too many values"):
        read_object_array(path, max_values=50)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "can be read"),
        (b"\x93NUMPY\x03\x00", "version"),
        (b"PK\x03\x04" + bytes(100), "can be read"),
        (npy(pickle.dumps(object_array([1, 2]), 2), (3,)), r"holds shape \(2,\), its header says"),
        (npy(b"12345678", (1,), "<f8"), "not Python objects"),
    ],
)
def test_other_files_are_refused(tmp_path, content, words):
    refused(write(tmp_path, content), words)


def test_absent_files_are_refused(tmp_path):
    refused(tmp_path / "absent.npy")
    with pytest.raises(TrainingDataInvalid, match=r"no \.npy file"):
        is_object_array(tmp_path / "absent.npy")


def test_published_annotations_are_read_as_numpy_reads_them(real_clips):
    paths = sorted((real_clips / "annotations").rglob("labels*.npy"))
    assert len(paths) == 12
    for path in paths:
        # The files come with the test data; here, and only here, numpy's own way is the referee.
        expected = np.load(path, allow_pickle=True, encoding="latin1")
        assert same(read_object_array(path), expected), path
