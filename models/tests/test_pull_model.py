"""A pulled backbone becomes a model that answers with the 400 Kinetics classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.backbones.registry import random_weights
from models.catalog import GIT_BLOB_PREFIX, BackboneRecord, StreamFile, kinetics400_labels
from models.commands.pull import pull_model
from models.errors import WeightsMissing
from models.modelcard import find_model
from models.prediction import predict
from models.recipe import FeatureRecipe
from models.types import FeatureSet
from models.weights import find_weights, git_blob_id

RECIPE = FeatureRecipe(name="small", width=0.0625, stream_width=64, crop_px=32, short_side_px=32)


@pytest.fixture
def record(tmp_path) -> BackboneRecord:
    """A record of checkpoints that lie where a finished download would have put them."""
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    files = []
    for stream, state in random_weights(RECIPE, seed=1).items():
        path = folder / f"{stream}.pt"
        torch.save(state, path)
        url = f"http://127.0.0.1:9/{path.name}"
        files.append(StreamFile(stream, url, git_blob_id(path), path.stat().st_size))
    recipe = replace(
        RECIPE, weights=tuple((one.stream, f"{GIT_BLOB_PREFIX}{one.git_blob}") for one in files)
    )
    return BackboneRecord("small", recipe, tuple(files), "Apache-2.0", "here", "none", "A test.")


def test_the_model_is_found_and_answers_as_its_backbone_would(record, tmp_path):
    folders = (tmp_path / "models",)
    assert pull_model(record, folders[0] / "small") == "kinetics400@1"
    model = find_model("kinetics400", folders)
    assert model.card.classes == kinetics400_labels()
    assert len(model.card.classes) == 400
    states = find_weights(model.recipe, (model.folder, *folders))
    values = np.random.default_rng(0).random((5, 128), dtype=np.float32)
    features = FeatureSet(values, np.zeros((5, 2)), model.recipe.digest, 3.2)
    logits = [
        torch.from_numpy(values[:, half]) @ states[stream]["logits.conv3d.weight"].flatten(1).T
        + states[stream]["logits.conv3d.bias"]
        for stream, half in (("rgb", slice(0, 64)), ("flow", slice(64, 128)))
    ]
    expected = torch.softmax((logits[0] + logits[1]) / 2, dim=1).numpy()
    np.testing.assert_allclose(predict(model, features).localization, expected, atol=1e-5)


def test_no_pickle_is_left_behind(record, tmp_path):
    folder = tmp_path / "models" / "small"
    pull_model(record, folder)
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


def test_offline_is_one_clear_sentence(record, tmp_path):
    with pytest.raises(WeightsMissing, match="Connect this machine to the internet"):
        pull_model(record, tmp_path / "models" / "elsewhere")
