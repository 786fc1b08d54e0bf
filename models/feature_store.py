"""Snippet features on disk, addressed by what they are made of: video bytes and recipe.

Owns the files of stored features: they appear whole or not at all, and a damaged one counts as
absent. Knows nothing about how features are computed.
"""

import hashlib
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors
import safetensors.numpy

from models.atomic import write_bytes_atomic
from models.errors import ContractViolation
from models.types import FloatArray, MediaWarning

FORMAT_VERSION = "1"
VALUES_KEY = "values"
CHUNK_NAME = re.compile(r"chunk-(\d{5,})\.safetensors")
HASH_PATTERN = re.compile(r"[0-9a-f]{8,128}")
FOLDER_DIGITS = 2


@dataclass(frozen=True, slots=True)
class ChunkFeatures:
    """The features of one chunk of one video.

    Attributes:
        values: float32[t, D], one row per snippet of the chunk.
        computed_with: numeric precision and versions.
        warnings: what went wrong while this chunk's frames were read.
    """

    values: FloatArray
    computed_with: dict[str, str] = field(default_factory=dict)
    warnings: tuple[MediaWarning, ...] = ()


class FeatureStore(Protocol):
    """Keeps chunks of features by video sha256, recipe digest and chunk number.

    Every implementation passes the conformance tests in models/tests.
    """

    def has_chunk(self, video_sha256: str, recipe_digest: str, chunk: int) -> bool:
        """Return whether `load_chunk` would find this chunk undamaged."""
        ...

    def load_chunk(self, video_sha256: str, recipe_digest: str, chunk: int) -> ChunkFeatures | None:
        """Return a chunk, or None where it is absent or damaged."""
        ...

    def store_chunk(
        self, video_sha256: str, recipe_digest: str, chunk: int, features: ChunkFeatures
    ) -> None:
        """Keep a chunk; one that is there is replaced. Storing twice does no harm.

        Raises:
            DiskFull: there is no space; nothing is left behind.
            ContractViolation: the values are no float32[t, D], or a name is no hex digest.
        """
        ...

    def chunks(self, video_sha256: str, recipe_digest: str) -> set[int]:
        """Return the numbers of the undamaged chunks of one video under one recipe."""
        ...

    def arithmetic(self, video_sha256: str, recipe_digest: str) -> dict[int, dict[str, str]]:
        """Return chunk number -> ``computed_with`` of the undamaged chunks of one video."""
        ...

    def delete_video(self, video_sha256: str) -> None:
        """Remove everything made from one video, under every recipe. Absent is fine."""
        ...


class LocalFeatureStore:
    """A `FeatureStore` in a local folder.

    ``<root>/<first two digits>/<video sha256>/<recipe digest>/chunk-00000.safetensors``. Each
    file carries the sha256 of its values, so that a damaged disk is noticed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def has_chunk(self, video_sha256: str, recipe_digest: str, chunk: int) -> bool:
        """See `FeatureStore.has_chunk`."""
        return self.load_chunk(video_sha256, recipe_digest, chunk) is not None

    def load_chunk(self, video_sha256: str, recipe_digest: str, chunk: int) -> ChunkFeatures | None:
        """See `FeatureStore.load_chunk`."""
        try:
            content = self._path(video_sha256, recipe_digest, chunk).read_bytes()
        except FileNotFoundError:
            return None
        return decode_chunk(content)

    def store_chunk(
        self, video_sha256: str, recipe_digest: str, chunk: int, features: ChunkFeatures
    ) -> None:
        """See `FeatureStore.store_chunk`."""
        path = self._path(video_sha256, recipe_digest, chunk)
        write_bytes_atomic(path, encode_chunk(features))

    def chunks(self, video_sha256: str, recipe_digest: str) -> set[int]:
        """See `FeatureStore.chunks`."""
        return set(self.arithmetic(video_sha256, recipe_digest))

    def arithmetic(self, video_sha256: str, recipe_digest: str) -> dict[int, dict[str, str]]:
        """See `FeatureStore.arithmetic`."""
        folder = self._folder(video_sha256) / checked_hash(recipe_digest)
        if not folder.is_dir():
            return {}
        numbers = {
            int(match[1]) for path in folder.iterdir() if (match := CHUNK_NAME.fullmatch(path.name))
        }
        # One chunk is in memory at a time; each is read whole, because only so damage shows.
        loaded = ((at, self.load_chunk(video_sha256, recipe_digest, at)) for at in sorted(numbers))
        return {at: chunk.computed_with for at, chunk in loaded if chunk is not None}

    def delete_video(self, video_sha256: str) -> None:
        """See `FeatureStore.delete_video`."""
        shutil.rmtree(self._folder(video_sha256), ignore_errors=True)
        if self._folder(video_sha256).exists():
            # A chunk was stored between listing and removing its folder; once more, aloud.
            shutil.rmtree(self._folder(video_sha256))

    def _folder(self, video_sha256: str) -> Path:
        digest = checked_hash(video_sha256)
        return self._root / digest[:FOLDER_DIGITS] / digest

    def _path(self, video_sha256: str, recipe_digest: str, chunk: int) -> Path:
        if chunk < 0:
            message = f"chunk numbers begin at 0, got {chunk}"
            raise ContractViolation(message)
        folder = self._folder(video_sha256) / checked_hash(recipe_digest)
        return folder / f"chunk-{chunk:05d}.safetensors"


def checked_hash(digest: str) -> str:
    """Return a name that is safe as a folder name.

    Raises:
        ContractViolation: it is not.
    """
    if not HASH_PATTERN.fullmatch(digest):
        message = f"expected a lower-case hex digest, got {digest!r}"
        raise ContractViolation(message)
    return digest


def encode_chunk(features: ChunkFeatures) -> bytes:
    """Return the bytes of a chunk's file.

    Raises:
        ContractViolation: the values are no float32[t, D].
    """
    values = features.values
    if values.ndim != len("tD") or values.dtype != np.float32:
        message = f"features must be float32[t, D], got {values.dtype}{list(values.shape)}"
        raise ContractViolation(message)
    values = np.ascontiguousarray(values)
    metadata = {
        "format": FORMAT_VERSION,
        "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
        "computed_with": json.dumps(features.computed_with, sort_keys=True),
        "warnings": json.dumps([warning.to_json() for warning in features.warnings]),
    }
    return safetensors.numpy.save({VALUES_KEY: values}, metadata)


def decode_chunk(content: bytes) -> ChunkFeatures | None:
    """Return the chunk in a file's bytes, or None where they are not what was written."""
    try:
        values = safetensors.numpy.load(content)[VALUES_KEY]
        metadata = _metadata(content)
        if metadata["format"] != FORMAT_VERSION:
            return None
        if hashlib.sha256(values.tobytes()).hexdigest() != metadata["sha256"]:
            return None
        computed_with = json.loads(metadata["computed_with"])
        warnings = tuple(MediaWarning(**one) for one in json.loads(metadata["warnings"]))
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError):
        return None
    return ChunkFeatures(values, dict(computed_with), warnings)


def _metadata(content: bytes) -> dict[str, Any]:
    """Read the metadata of a safetensors file that was just parsed as such.

    Source: the safetensors format: eight bytes of little-endian length, then a JSON header.
    """
    prefix = 8
    length = int.from_bytes(content[:prefix], "little")
    header = json.loads(content[prefix : prefix + length])
    return dict(header["__metadata__"])
