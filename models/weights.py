"""Loads weights that are what they claim to be, and nothing else.

At run time only safetensors files are read, by hash, with every name and shape checked. Pickles
are read in two places, with weights only: `convert_checkpoint`, after the file's git blob id has
been checked, and `read_checkpoint`, for a file that a user imports.
"""

import hashlib
import json
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from models.atomic import write_bytes_atomic, write_text_atomic
from models.catalog import GIT_BLOB_PREFIX, StreamFile
from models.errors import WeightsInvalid, WeightsMissing
from models.recipe import FeatureRecipe

StateDict = dict[str, Tensor]

READ_BLOCK_BYTES = 1 << 20
NAMES_SHOWN = 5
# Counts batches for a momentum that I3D does not use; checkpoints older than PyTorch 0.4.1 lack it.
OPTIONAL_SUFFIX = ".num_batches_tracked"
MAX_CHECKPOINT_BYTES = 1 << 30
# What torch.load raises on bytes that are no plain weights, depending on where it notices.
UNPICKLING_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    OSError,
    struct.error,
)


def load_weights(path: Path, expected: str) -> StateDict:
    """Load one safetensors file.

    Args:
        path: of the file.
        expected: its sha256 in hex; or ``gitblob:`` and the git blob id of the published file it
            was converted from, which the record beside it (`convert_checkpoint`) ties to its
            sha256.

    Raises:
        WeightsMissing: there is no such file.
        WeightsInvalid: the bytes are others than expected, or no safetensors.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"The weights file {path.name} is not on this machine; install its model again."
        raise WeightsMissing(message) from error
    if hashlib.sha256(content).hexdigest() != _expected_sha256(path, expected):
        message = (
            f"The weights file {path} is damaged or another one than expected; "
            "remove it and install its model again."
        )
        raise WeightsInvalid(message)
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        message = f"The weights file {path} is no safetensors file; install its model again."
        raise WeightsInvalid(message) from error


def find_weights(recipe: FeatureRecipe, folders: Sequence[Path]) -> dict[str, StateDict]:
    """Load the weights of each stream of a recipe from the first folder that has them.

    A folder holds ``<stream>.safetensors`` itself or has subfolders that do. Files of other
    models are passed over; hashes decide.

    Raises:
        WeightsMissing: a stream's weights are in none of the folders.
        WeightsInvalid: the only file of that name in the first folder is damaged.
    """
    found: dict[str, StateDict] = {}
    for stream, expected in recipe.weights:
        for path in _candidates(f"{stream}.safetensors", folders):
            if _identity_matches(path, expected):
                found[stream] = load_weights(path, expected)
                break
        else:
            own = folders[0] / f"{stream}.safetensors" if folders else None
            if own is not None and own.is_file():
                load_weights(own, expected)  # says what is wrong with it
            message = (
                f"The {stream} weights of the recipe {recipe.name} are not on this machine; "
                f"get them with: kinetag models pull {recipe.name}"
            )
            raise WeightsMissing(message)
    return found


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load a state dict of which every name and shape fits, or nothing.

    A network built on torch's meta device takes the tensors themselves, so that it never needs
    memory or random numbers of its own; into any other they are copied.

    Raises:
        WeightsInvalid: names are missing or unknown, or shapes differ; the message names some.
    """
    expected = network.state_dict()
    _require_fit(expected, state, what)
    fitting = {name: values.to(expected[name].dtype) for name, values in state.items()}
    on_meta = any(values.is_meta for values in expected.values())
    network.load_state_dict(fitting, strict=True, assign=on_meta)


def git_blob_id(path: Path) -> str:
    """Return the id git gives a file's content: sha1 over ``blob <size>`` NUL and the bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(READ_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def convert_checkpoint(source: Path, target: Path, record: StreamFile, network: nn.Module) -> str:
    """Turn a published pickle into a verified safetensors file with its record beside it.

    Args:
        source: the checkpoint as published.
        target: ``<stream>.safetensors`` to write; ``<stream>.json`` is written beside it.
        record: what the catalogue says of this file.
        network: of the shape the weights must have; it is left as it is.

    Returns:
        The sha256 of the safetensors file.

    Raises:
        WeightsMissing: there is no source file.
        WeightsInvalid: the file's git blob id is another one, it holds anything but tensors, or
            a name or shape does not fit.
        DiskFull: no space is left.
    """
    if not source.is_file():
        message = f"There is no checkpoint at {source}."
        raise WeightsMissing(message)
    if git_blob_id(source) != record.git_blob:
        message = (
            f"The checkpoint {source.name} is not the published file "
            f"(its git blob id is not {record.git_blob}); download it again."
        )
        raise WeightsInvalid(message)
    state = _unpickle_state(source, record.state_key)
    expected = network.state_dict()
    for name, tensor in expected.items():
        if name.endswith(OPTIONAL_SUFFIX) and name not in state:
            state[name] = torch.zeros_like(tensor)
    _require_fit(expected, state, source.name)
    tensors = {name: state[name].to(expected[name].dtype).contiguous() for name in expected}
    content = safetensors.torch.save(tensors, {"git_blob": record.git_blob, "url": record.url})
    sha256 = hashlib.sha256(content).hexdigest()
    write_bytes_atomic(target, content)
    # The record comes last: without it the file counts for nothing.
    document = {"git_blob": record.git_blob, "sha256": sha256, "url": record.url}
    write_text_atomic(target.with_suffix(".json"), json.dumps(document, indent=2) + "\n")
    return sha256


def read_checkpoint(path: Path, state_key: str | None = None) -> StateDict:
    """Read the tensors of a torch checkpoint that a user names; nothing in it is run.

    Only plain float32 tensors of finite values on strided storage are let through. A zip archive
    must be stored uncompressed, as torch writes it, so that it cannot unpack to more than itself.

    Args:
        path: of the file.
        state_key: entry that holds the tensors; None when the file is the table itself.

    Raises:
        WeightsMissing: there is no such file.
        WeightsInvalid: it is too large, damaged, or holds anything else.
    """
    if not path.is_file():
        message = f"There is no file {path.name}; name a checkpoint on this machine."
        raise WeightsMissing(message)
    if path.stat().st_size > MAX_CHECKPOINT_BYTES:
        message = (
            f"The checkpoint {path.name} is larger than 1 GiB, which no known one is; refused."
        )
        raise WeightsInvalid(message)
    _refuse_compressed(path)
    state = _unpickle_state(path, state_key)
    for name, tensor in state.items():
        plain = tensor.layout == torch.strided and not tensor.is_quantized
        if not plain or tensor.dtype != torch.float32 or tensor.is_meta:
            message = (
                f"The checkpoint {path.name} has {name} as {tensor.dtype}; "
                "save it as plain float32 tensors."
            )
            raise WeightsInvalid(message)
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            message = f"The checkpoint {path.name} has {name} larger than its own bytes; refused."
            raise WeightsInvalid(message)
        if not bool(torch.isfinite(tensor).all()):
            message = (
                f"The checkpoint {path.name} has values in {name} that are not finite; refused."
            )
            raise WeightsInvalid(message)
    return state


def is_converted(target: Path, record: StreamFile) -> bool:
    """Return whether `convert_checkpoint` has made this file and it is undamaged."""
    if record.git_blob is None:
        return False
    try:
        load_weights(target, f"{GIT_BLOB_PREFIX}{record.git_blob}")
    except (WeightsMissing, WeightsInvalid):
        return False
    return True


def _unpickle_state(source: Path, state_key: str | None) -> StateDict:
    try:
        document: Any = torch.load(source, map_location="cpu", weights_only=True)
    except UNPICKLING_ERRORS as error:
        message = f"The checkpoint {source.name} holds something else than weights; refused."
        raise WeightsInvalid(message) from error
    if state_key is not None and isinstance(document, Mapping):
        document = document.get(state_key)
    if not isinstance(document, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in document.items()
    ):
        message = f"The checkpoint {source.name} is no plain table of tensors; refused."
        raise WeightsInvalid(message)
    return dict(document)


def _refuse_compressed(path: Path) -> None:
    """Refuse a zip archive with packed entries; any other file passes."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, RuntimeError, ValueError, OSError, LookupError) as error:
        message = f"The checkpoint {path.name} is a damaged archive; copy the file again."
        raise WeightsInvalid(message) from error
    total = sum(one.file_size for one in entries)
    packed = any(one.compress_type != zipfile.ZIP_STORED for one in entries)
    if packed or total > path.stat().st_size:
        message = f"The checkpoint {path.name} is packed and not as torch writes it; refused."
        raise WeightsInvalid(message)


def _misfit(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Say in which names and shapes a state dict differs from the expected one; empty if none."""
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    reshaped = [
        f"{name} {list(state[name].shape)} for {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    parts = [
        f"{verb} {', '.join(names[:NAMES_SHOWN])}"
        + (f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else "")
        for verb, names in (("lacks", missing), ("also has", unknown), ("has", reshaped))
        if names
    ]
    return "; it ".join(parts)


def _require_fit(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], what: str) -> None:
    misfit = _misfit(expected, state)
    if misfit:
        message = f"The weights of {what} do not fit the network: the file {misfit}."
        raise WeightsInvalid(message)


def _expected_sha256(path: Path, expected: str) -> str:
    """Return the sha256 a file must have; for a converted one, what its record says."""
    if not expected.startswith(GIT_BLOB_PREFIX):
        return expected
    record = _read_record(path)
    if record.get("git_blob") != expected.removeprefix(GIT_BLOB_PREFIX):
        message = (
            f"The weights file {path} has no record of the published file it was made from; "
            "pull its model again."
        )
        raise WeightsInvalid(message)
    return str(record.get("sha256"))


def _read_record(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _candidates(name: str, folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in (folder / name,) if path.is_file())
        if folder.is_dir():
            yield from sorted(path for path in folder.glob(f"*/{name}") if path.is_file())


def _identity_matches(path: Path, expected: str) -> bool:
    if expected.startswith(GIT_BLOB_PREFIX):
        return _read_record(path).get("git_blob") == expected.removeprefix(GIT_BLOB_PREFIX)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest() == expected
