"""Weights are loaded whole and verified, or not at all; pickles cannot run code."""

import contextlib
import dataclasses
import hashlib
import json
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from models.backbones.registry import build_backbone, random_weights
from models.catalog import GIT_BLOB_PREFIX, StreamFile
from models.errors import WeightsInvalid, WeightsMissing
from models.recipe import FeatureRecipe
from models.weights import (
    convert_checkpoint,
    find_weights,
    git_blob_id,
    is_converted,
    load_strictly,
    load_weights,
)

RECIPE = FeatureRecipe(name="small", width=0.0625, stream_width=64, crop_px=32, short_side_px=32)


def _write(path: Path, tensors) -> str:
    content = safetensors.torch.save(tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _record(path: Path, state_key=None) -> StreamFile:
    blob = git_blob_id(path)
    return StreamFile("rgb", "https://example.org/rgb.pt", blob, path.stat().st_size, state_key)


def _checkpoint(path: Path, state) -> Path:
    torch.save(state, path)
    return path


class _Marker:
    """Writes a file when unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_git_blob_ids_are_those_of_git(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello world\n")
    # Source: `printf 'hello world\n' | git hash-object --stdin`.
    assert git_blob_id(path) == "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"


def test_a_file_is_loaded_by_its_hash(tmp_path):
    path = tmp_path / "rgb.safetensors"
    digest = _write(path, {"a": torch.arange(6.0)})
    assert torch.equal(load_weights(path, digest)["a"], torch.arange(6.0))
    with pytest.raises(WeightsInvalid, match="damaged or another"):
        load_weights(path, "0" * 64)
    with pytest.raises(WeightsMissing, match="install"):
        load_weights(tmp_path / "flow.safetensors", digest)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsInvalid):
        load_weights(path, digest)


def test_a_pickle_with_the_right_hash_is_not_loaded_at_run_time(tmp_path):
    path, marker = tmp_path / "rgb.safetensors", tmp_path / "marker"
    path.write_bytes(pickle.dumps(_Marker(marker)))
    with pytest.raises(WeightsInvalid, match="safetensors"):
        load_weights(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert not marker.exists()


def test_loading_is_strict_in_names_and_shapes():
    network = build_backbone(RECIPE, "rgb")
    state = network.state_dict()
    changed = dict(state)
    del changed["Mixed_3b.b0.bn.weight"]
    changed["Mixed_3b.b9.bn.weight"] = torch.zeros(1)
    changed["logits.conv3d.bias"] = torch.zeros(7)
    with pytest.raises(WeightsInvalid) as caught:
        load_strictly(network, changed, "the test")
    for part in ("lacks Mixed_3b.b0.bn.weight", "has Mixed_3b.b9.bn.weight", "[7] for [400]"):
        assert part in str(caught.value)
    load_strictly(network, state, "the test")


def test_weights_are_found_by_hash_not_by_place(tmp_path):
    first, second = tmp_path / "model", tmp_path / "models"
    _write(second / "another" / "rgb.safetensors", {"a": torch.zeros(1)})
    digest = _write(second / "right" / "rgb.safetensors", {"a": torch.ones(1)})
    recipe = dataclasses.replace(RECIPE, streams=("rgb",), weights=(("rgb", digest),))
    assert torch.equal(find_weights(recipe, (first, second))["rgb"]["a"], torch.ones(1))
    own = _write(first / "rgb.safetensors", {"a": torch.full((1,), 2.0)})
    changed = dataclasses.replace(recipe, weights=(("rgb", own),))
    assert float(find_weights(changed, (first, second))["rgb"]["a"]) == 2


def test_missing_weights_name_the_command_and_damaged_ones_the_file(tmp_path):
    recipe = dataclasses.replace(RECIPE, weights=(("rgb", "0" * 64),))
    with pytest.raises(WeightsMissing, match="kinetag models pull small"):
        find_weights(recipe, (tmp_path / "absent", tmp_path))
    _write(tmp_path / "rgb.safetensors", {"a": torch.zeros(1)})
    with pytest.raises(WeightsInvalid, match=r"rgb\.safetensors"):
        find_weights(recipe, (tmp_path,))


def test_a_checkpoint_is_converted_and_found_by_its_blob(tmp_path):
    state = random_weights(RECIPE)["rgb"]
    # Checkpoints of 2017 have no batch counters.
    old = {name: value for name, value in state.items() if "num_batches" not in name}
    checkpoint = _checkpoint(tmp_path / "rgb.pt", old)
    record, target = _record(checkpoint), tmp_path / "pulled" / "rgb.safetensors"
    assert not is_converted(target, record)
    digest = convert_checkpoint(checkpoint, target, record, build_backbone(RECIPE, "rgb"))
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
    assert is_converted(target, record)
    identity = f"{GIT_BLOB_PREFIX}{record.git_blob}"
    loaded = load_weights(target, identity)
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    recipe = dataclasses.replace(RECIPE, streams=("rgb",), weights=(("rgb", identity),))
    assert set(find_weights(recipe, (tmp_path,))["rgb"]) == set(state)
    target.write_bytes(target.read_bytes()[:-1] + b"\1")
    assert not is_converted(target, record)


def test_a_converted_file_without_its_record_counts_for_nothing(tmp_path):
    checkpoint = _checkpoint(tmp_path / "rgb.pt", random_weights(RECIPE)["rgb"])
    record, target = _record(checkpoint), tmp_path / "pulled" / "rgb.safetensors"
    convert_checkpoint(checkpoint, target, record, build_backbone(RECIPE, "rgb"))
    identity = f"{GIT_BLOB_PREFIX}{record.git_blob}"
    for document in (None, "no json", "[]", json.dumps({"git_blob": "0" * 40})):
        if document is None:
            target.with_suffix(".json").unlink()
        else:
            target.with_suffix(".json").write_text(document)
        with pytest.raises(WeightsInvalid, match="pull"):
            load_weights(target, identity)


def test_entries_may_stand_under_a_key(tmp_path):
    state = random_weights(RECIPE)["rgb"]
    checkpoint = _checkpoint(tmp_path / "rgb.pt", {"model_state": state, "epoch": 3})
    target = tmp_path / "rgb.safetensors"
    network = build_backbone(RECIPE, "rgb")
    with pytest.raises(WeightsInvalid, match="table of tensors"):
        convert_checkpoint(checkpoint, target, _record(checkpoint), network)
    convert_checkpoint(checkpoint, target, _record(checkpoint, "model_state"), network)
    assert target.is_file()


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_partial_matches_are_refused_and_nothing_is_written(tmp_path, change):
    state = dict(random_weights(RECIPE)["rgb"])
    if change == "missing":
        del state["Mixed_4b.b0.conv3d.weight"]
    elif change == "extra":
        state["surplus"] = torch.zeros(1)
    else:
        state["logits.conv3d.bias"] = torch.zeros(157)
    checkpoint = _checkpoint(tmp_path / "rgb.pt", state)
    target = tmp_path / "out" / "rgb.safetensors"
    with pytest.raises(WeightsInvalid, match="do not fit"):
        convert_checkpoint(checkpoint, target, _record(checkpoint), build_backbone(RECIPE, "rgb"))
    assert not target.exists()


def test_another_file_is_refused_before_it_is_unpickled(tmp_path, monkeypatch):
    checkpoint = _checkpoint(tmp_path / "rgb.pt", random_weights(RECIPE)["rgb"])
    record = dataclasses.replace(_record(checkpoint), git_blob="0" * 40)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was unpickled"))
    with pytest.raises(WeightsInvalid, match="not the published file"):
        convert_checkpoint(
            checkpoint, tmp_path / "rgb.safetensors", record, build_backbone(RECIPE, "rgb")
        )


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["torch", "legacy", "plain"])
def test_malicious_pickles_never_run(tmp_path, form):
    marker, path = tmp_path / "marker", tmp_path / "rgb.pt"
    poison = {"logits.conv3d.bias": _Marker(marker)}
    if form == "plain":
        path.write_bytes(pickle.dumps(poison))
    else:
        torch.save(poison, path, _use_new_zipfile_serialization=form == "torch")
    network = build_backbone(RECIPE, "rgb")
    with pytest.raises(WeightsInvalid, match="refused"):
        convert_checkpoint(path, tmp_path / "rgb.safetensors", _record(path), network)
    assert not marker.exists()
    assert not (tmp_path / "rgb.safetensors").exists()
    with contextlib.suppress(RuntimeError):  # the plain pickle fails after it has run
        torch.load(path, weights_only=False)
    assert marker.exists()
