"""Features in the blob store, for workers of several hosts. Nothing is kept on a worker's disk.

The layout is that of `models.feature_store.LocalFeatureStore`, so a local folder that is copied
into the object storage goes on to be found there.
"""

import re

from models.errors import ContractViolation, DiskFull
from models.feature_store import ChunkFeatures, checked_hash, decode_chunk, encode_chunk
from service.errors import StorageFull
from service.storage import BlobStore, features_prefix

CHUNK_KEY = re.compile(r"chunk-(\d{5,})\.safetensors")


class SharedFeatureStore:
    """A `models.feature_store.FeatureStore` in a blob store."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def has_chunk(self, video_sha256: str, recipe_digest: str, chunk: int) -> bool:
        """See `FeatureStore.has_chunk`."""
        return self.load_chunk(video_sha256, recipe_digest, chunk) is not None

    def load_chunk(self, video_sha256: str, recipe_digest: str, chunk: int) -> ChunkFeatures | None:
        """See `FeatureStore.load_chunk`."""
        try:
            content = self._blobs.get_bytes(_key(video_sha256, recipe_digest, chunk))
        except FileNotFoundError:
            return None
        return decode_chunk(content)

    def store_chunk(
        self, video_sha256: str, recipe_digest: str, chunk: int, features: ChunkFeatures
    ) -> None:
        """See `FeatureStore.store_chunk`."""
        key = _key(video_sha256, recipe_digest, chunk)
        try:
            self._blobs.put_bytes(key, encode_chunk(features))
        except StorageFull as error:
            raise DiskFull(str(error)) from error

    def chunks(self, video_sha256: str, recipe_digest: str) -> set[int]:
        """See `FeatureStore.chunks`."""
        return set(self.arithmetic(video_sha256, recipe_digest))

    def arithmetic(self, video_sha256: str, recipe_digest: str) -> dict[int, dict[str, str]]:
        """See `FeatureStore.arithmetic`."""
        prefix = f"{features_prefix(checked_hash(video_sha256))}/{checked_hash(recipe_digest)}"
        names = [key.rpartition("/")[2] for key, _ in self._blobs.keys(prefix)]
        numbers = sorted(int(match[1]) for name in names if (match := CHUNK_KEY.fullmatch(name)))
        loaded = ((at, self.load_chunk(video_sha256, recipe_digest, at)) for at in numbers)
        return {at: chunk.computed_with for at, chunk in loaded if chunk is not None}

    def delete_video(self, video_sha256: str) -> None:
        """See `FeatureStore.delete_video`."""
        for key, _ in list(self._blobs.keys(features_prefix(checked_hash(video_sha256)))):
            self._blobs.delete(key)


def _key(video_sha256: str, recipe_digest: str, chunk: int) -> str:
    if chunk < 0:
        message = f"chunk numbers begin at 0, got {chunk}"
        raise ContractViolation(message)
    prefix = features_prefix(checked_hash(video_sha256))
    return f"{prefix}/{checked_hash(recipe_digest)}/chunk-{chunk:05d}.safetensors"
