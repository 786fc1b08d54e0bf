"""What every `FeatureStore` must do, and what the local one does besides."""

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import ContractViolation, DiskFull
from models.feature_store import ChunkFeatures, FeatureStore, LocalFeatureStore
from models.types import MediaWarning

VIDEO, OTHER_VIDEO = "ab" * 32, "cd" * 32
RECIPE, OTHER_RECIPE = "0123456789abcdef", "fedcba9876543210"


def _chunk(seed=0, rows=5):
    values = np.random.default_rng(seed).standard_normal((rows, 8)).astype(np.float32)
    warnings = (MediaWarning("frames_lost", "Some frames are lost.", 1.5),)
    return ChunkFeatures(values, {"precision": "fp32", "flow": "native 1"}, warnings)


@pytest.fixture(params=[LocalFeatureStore])
def store(request, tmp_path) -> FeatureStore:
    return request.param(tmp_path / "features")


class TestConformance:
    def test_nothing_is_there_at_first(self, store):
        assert not store.has_chunk(VIDEO, RECIPE, 0)
        assert store.load_chunk(VIDEO, RECIPE, 0) is None
        assert store.chunks(VIDEO, RECIPE) == set()
        store.delete_video(VIDEO)

    def test_a_chunk_comes_back_bit_by_bit(self, store):
        chunk = _chunk()
        store.store_chunk(VIDEO, RECIPE, 3, chunk)
        loaded = store.load_chunk(VIDEO, RECIPE, 3)
        assert loaded is not None
        assert loaded.values.dtype == np.float32
        np.testing.assert_array_equal(loaded.values, chunk.values)
        assert loaded.computed_with == chunk.computed_with
        assert loaded.warnings == chunk.warnings
        assert store.has_chunk(VIDEO, RECIPE, 3)

    def test_videos_recipes_and_numbers_are_apart(self, store):
        store.store_chunk(VIDEO, RECIPE, 0, _chunk(0))
        store.store_chunk(VIDEO, RECIPE, 12, _chunk(1))
        assert store.chunks(VIDEO, RECIPE) == {0, 12}
        assert store.chunks(VIDEO, OTHER_RECIPE) == set()
        assert store.chunks(OTHER_VIDEO, RECIPE) == set()
        assert not store.has_chunk(VIDEO, RECIPE, 1)

    def test_each_chunk_says_how_it_was_computed(self, store):
        assert store.arithmetic(VIDEO, RECIPE) == {}
        kinds = {0: {"precision": "fp32"}, 7: {"precision": "bf16"}, 3: {}}
        for number, kind in kinds.items():
            store.store_chunk(VIDEO, RECIPE, number, replace(_chunk(), computed_with=kind))
        assert store.arithmetic(VIDEO, RECIPE) == kinds
        assert store.arithmetic(VIDEO, OTHER_RECIPE) == {}

    def test_storing_again_replaces(self, store):
        store.store_chunk(VIDEO, RECIPE, 0, _chunk(0))
        store.store_chunk(VIDEO, RECIPE, 0, _chunk(1))
        loaded = store.load_chunk(VIDEO, RECIPE, 0)
        assert loaded is not None
        np.testing.assert_array_equal(loaded.values, _chunk(1).values)

    def test_deleting_takes_every_recipe_of_one_video(self, store):
        for video, recipe in ((VIDEO, RECIPE), (VIDEO, OTHER_RECIPE), (OTHER_VIDEO, RECIPE)):
            store.store_chunk(video, recipe, 0, _chunk())
        store.delete_video(VIDEO)
        assert store.chunks(VIDEO, RECIPE) == store.chunks(VIDEO, OTHER_RECIPE) == set()
        assert store.chunks(OTHER_VIDEO, RECIPE) == {0}

    @pytest.mark.parametrize("bad", ["", "../../etc/passwd", "AB" * 32, "xyz", "ab/cd"])
    def test_names_that_are_no_digests_are_refused(self, store, bad):
        with pytest.raises(ContractViolation):
            store.load_chunk(bad, RECIPE, 0)
        with pytest.raises(ContractViolation):
            store.store_chunk(VIDEO, bad, 0, _chunk())
        with pytest.raises(ContractViolation):
            store.delete_video(bad)

    @pytest.mark.parametrize("values", [np.zeros((2, 3)), np.zeros(3, np.float32)])
    def test_other_arrays_are_refused(self, store, values):
        with pytest.raises(ContractViolation):
            store.store_chunk(VIDEO, RECIPE, 0, ChunkFeatures(values))
        with pytest.raises(ContractViolation):
            store.store_chunk(VIDEO, RECIPE, -1, _chunk())


def _only_file(root: Path) -> Path:
    (path,) = [path for path in root.rglob("*") if path.is_file()]
    return path


def test_layout_is_by_video_and_recipe(tmp_path):
    LocalFeatureStore(tmp_path).store_chunk(VIDEO, RECIPE, 7, _chunk())
    expected = tmp_path / "ab" / VIDEO / RECIPE / "chunk-00007.safetensors"
    assert _only_file(tmp_path) == expected


@pytest.mark.parametrize("damage", ["truncate", "flip", "header", "empty", "foreign"])
def test_a_damaged_chunk_counts_as_absent(tmp_path, damage):
    store = LocalFeatureStore(tmp_path)
    store.store_chunk(VIDEO, RECIPE, 0, _chunk())
    path = _only_file(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        del content[-4:]
    elif damage == "flip":
        content[-3] ^= 1
    elif damage == "header":
        content[9] ^= 0xFF
    elif damage == "empty":
        content.clear()
    else:
        content[:] = b"no tensors at all" * 100
    path.write_bytes(content)
    assert store.load_chunk(VIDEO, RECIPE, 0) is None
    assert not store.has_chunk(VIDEO, RECIPE, 0)
    assert store.arithmetic(VIDEO, RECIPE) == {}
    assert store.chunks(VIDEO, RECIPE) == set()
    store.store_chunk(VIDEO, RECIPE, 0, _chunk())
    assert store.has_chunk(VIDEO, RECIPE, 0)


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    store = LocalFeatureStore(tmp_path)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFull, match="full"):
        store.store_chunk(VIDEO, RECIPE, 0, _chunk())
    monkeypatch.undo()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not store.has_chunk(VIDEO, RECIPE, 0)


def test_a_leftover_of_a_killed_writer_is_no_chunk(tmp_path):
    store = LocalFeatureStore(tmp_path)
    store.store_chunk(VIDEO, RECIPE, 0, _chunk())
    path = _only_file(tmp_path)
    path.rename(path.with_name(f".{path.name}.x1y2"))
    assert store.chunks(VIDEO, RECIPE) == set()
