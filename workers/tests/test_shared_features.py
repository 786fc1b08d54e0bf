"""The store of features in object storage does what the local one does (models/tests)."""

from dataclasses import replace

import numpy as np
import pytest

from models.errors import ContractViolation, DiskFull
from models.feature_store import ChunkFeatures, LocalFeatureStore
from models.types import MediaWarning
from service.errors import StorageFull
from service.storage import LocalBlobStore
from service.storage_remote import open_remote
from workers.shared_features import SharedFeatureStore

VIDEO, OTHER_VIDEO = "ab" * 32, "cd" * 32
RECIPE, OTHER_RECIPE = "0123456789abcdef", "fedcba9876543210"


def chunk(seed=0, rows=5):
    values = np.random.default_rng(seed).standard_normal((rows, 8)).astype(np.float32)
    warnings = (MediaWarning("frames_lost", "Some frames are lost.", 1.5),)
    return ChunkFeatures(values, {"precision": "fp32"}, warnings)


@pytest.fixture(params=["local", "s3"])
def blobs(request, tmp_path):
    if request.param == "local":
        return LocalBlobStore(tmp_path)
    bucket, server = (request.getfixturevalue(name) for name in ("s3_bucket", "s3_server"))
    return open_remote(bucket, server, tmp_path / "tmp")


@pytest.fixture
def store(blobs):
    return SharedFeatureStore(blobs)


def test_a_chunk_comes_back_bit_by_bit(store):
    assert store.load_chunk(VIDEO, RECIPE, 3) is None
    store.store_chunk(VIDEO, RECIPE, 3, chunk())
    loaded = store.load_chunk(VIDEO, RECIPE, 3)
    np.testing.assert_array_equal(loaded.values, chunk().values)
    assert (loaded.computed_with, loaded.warnings) == (chunk().computed_with, chunk().warnings)
    assert store.has_chunk(VIDEO, RECIPE, 3)
    store.store_chunk(VIDEO, RECIPE, 3, chunk(1))
    np.testing.assert_array_equal(store.load_chunk(VIDEO, RECIPE, 3).values, chunk(1).values)


def test_videos_recipes_and_numbers_are_apart(store):
    kinds = {0: {"precision": "fp32"}, 12: {"precision": "bf16"}, 3: {}}
    for number, kind in kinds.items():
        store.store_chunk(VIDEO, RECIPE, number, replace(chunk(), computed_with=kind))
    assert store.arithmetic(VIDEO, RECIPE) == kinds
    assert store.chunks(VIDEO, RECIPE) == set(kinds)
    assert store.chunks(VIDEO, OTHER_RECIPE) == store.chunks(OTHER_VIDEO, RECIPE) == set()
    assert not store.has_chunk(VIDEO, RECIPE, 1)


def test_deleting_a_video_leaves_the_others(store):
    for video, recipe in ((VIDEO, RECIPE), (VIDEO, OTHER_RECIPE), (OTHER_VIDEO, RECIPE)):
        store.store_chunk(video, recipe, 0, chunk())
    store.delete_video(VIDEO)
    store.delete_video(VIDEO)
    assert store.chunks(VIDEO, RECIPE) == store.chunks(VIDEO, OTHER_RECIPE) == set()
    assert store.chunks(OTHER_VIDEO, RECIPE) == {0}


def test_a_damaged_chunk_counts_as_absent(store, blobs):
    store.store_chunk(VIDEO, RECIPE, 0, chunk())
    ((key, _),) = blobs.keys("features")
    content = blobs.get_bytes(key)
    blobs.put_bytes(key, content[:-1] + bytes([content[-1] ^ 1]))
    assert store.load_chunk(VIDEO, RECIPE, 0) is None
    assert store.chunks(VIDEO, RECIPE) == set()


def test_names_that_are_no_digests_are_refused(store):
    for video, recipe, number in (("../x", RECIPE, 0), (VIDEO, "../x", 0), (VIDEO, RECIPE, -1)):
        with pytest.raises(ContractViolation):
            store.load_chunk(video, recipe, number)


def test_a_local_store_s_files_are_found_at_the_same_place(tmp_path):
    LocalFeatureStore(tmp_path / "features").store_chunk(VIDEO, RECIPE, 7, chunk())
    assert SharedFeatureStore(LocalBlobStore(tmp_path)).chunks(VIDEO, RECIPE) == {7}


def test_a_full_storage_is_a_full_disk(tmp_path, monkeypatch):
    blobs = LocalBlobStore(tmp_path)

    def full(*_):
        raise StorageFull("full")

    monkeypatch.setattr(blobs, "put_bytes", full)
    with pytest.raises(DiskFull):
        SharedFeatureStore(blobs).store_chunk(VIDEO, RECIPE, 0, chunk())
