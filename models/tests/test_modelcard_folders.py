"""Model folders: what is saved comes back, what is damaged is refused."""

import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import safetensors.torch
import torch

from models.config import ProposalSettings, settings_to_json
from models.errors import ModelUnknown, WeightsInvalid, WeightsMissing
from models.heads.aicl import AiclSettings
from models.heads.base import Head, HeadSpec
from models.heads.registry import PRESETS, build_head
from models.modelcard import ModelCard, find_model, list_models, load_card, load_model, save_model
from models.prediction import predict
from models.recipe import FeatureRecipe
from models.training.tags import TaggedDataset
from models.training.train import train_head
from models.types import FeatureSet, MediaWarning

RECIPE = FeatureRecipe(name="tiny", stream_width=4, weights=(("rgb", "ab"), ("flow", "cd")))
SMALL_HEAD = PRESETS["aicl"]["small"].head
assert isinstance(SMALL_HEAD, AiclSettings)
SMALL = replace(SMALL_HEAD, width=4)
DEMO = MediaWarning("demo_model", "This is a demonstration.")


@dataclass
class Untrained:
    head: Head
    standardize_mean: np.ndarray
    standardize_std: np.ndarray


def untrained():
    head = build_head("aicl", HeadSpec.for_recipe(("a", "b"), RECIPE), SMALL).eval()
    return Untrained(head, np.arange(8, dtype=np.float32), np.full(8, 2, np.float32))


def card(version="1", name="mine"):
    return ModelCard(
        name=name,
        version=version,
        method="aicl",
        classes=("a", "b"),
        recipe=RECIPE,
        head_settings=settings_to_json(SMALL),
        proposals=ProposalSettings(thresholds=(0.25, 0.5), class_threshold=0.3),
        metrics={"map": [0.5]},
        licence="CC0",
        warnings=(DEMO,),
        notes=("One note.",),
    )


def test_a_saved_model_comes_back_equal(tmp_path):
    trained = untrained()
    save_model(tmp_path / "m", card(), trained)
    loaded = load_model(tmp_path / "m")
    assert loaded.card == card() == load_card(tmp_path / "m")
    assert loaded.recipe == RECIPE
    assert loaded.inference == card().inference
    assert loaded.standardize_mean.tolist() == trained.standardize_mean.tolist()
    assert loaded.standardize_std.tolist() == trained.standardize_std.tolist()
    features = torch.randn(1, 6, 8)
    assert torch.equal(loaded.head(features).localization, trained.head(features).localization)
    assert not loaded.head.training
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "card.json",
        "head.safetensors",
    ]


def test_saving_again_replaces_the_model(tmp_path):
    save_model(tmp_path, card("1"), untrained())
    trained = untrained()
    save_model(tmp_path, card("2"), trained)
    loaded = load_model(tmp_path)
    assert loaded.card.version == "2"
    for name, value in trained.head.state_dict().items():
        assert torch.equal(loaded.head.state_dict()[name], value)


@pytest.mark.parametrize("bad", ["", "../up", "a/b", "a b", ".hidden", "x@1"])
def test_names_that_do_not_fit_are_refused(tmp_path, bad):
    for broken in (card(name=bad), card(version=bad)):
        with pytest.raises(WeightsInvalid, match="name and version"):
            save_model(tmp_path, broken, untrained())


def edit_card(folder, **changes):
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite_weights(folder, change):
    path = folder / "head.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    change(tensors)
    path.write_bytes(safetensors.torch.save(tensors))
    edit_card(folder, head_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("head.trunk.conv.bias"),
        lambda tensors: tensors.update({"head.extra": torch.zeros(1)}),
        lambda tensors: tensors.update({"head.trunk.conv.bias": torch.zeros(5)}),
        lambda tensors: tensors.update({"standardize.mean": torch.zeros(7)}),
    ],
)
def test_weights_must_fit_in_every_name_and_shape(tmp_path, change):
    save_model(tmp_path, card(), untrained())
    rewrite_weights(tmp_path, change)
    with pytest.raises(WeightsInvalid, match=r"do not fit its card in (head|standardize)"):
        load_model(tmp_path)


def test_damage_is_refused(tmp_path):
    save_model(tmp_path, card(), untrained())
    weights = tmp_path / "head.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(WeightsInvalid, match="not those its card names"):
        load_model(tmp_path)
    weights.unlink()
    with pytest.raises(WeightsMissing, match=r"no head\.safetensors"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 99}, "another format"),
        ({"surprise": 1}, "damaged or from another release"),
        ({"recipe": {}}, "damaged or from another release"),
        ({"proposals": {"tresholds": []}}, "settings unknown to this release"),
        ({"head_settings": {"depth": 3}}, "settings unknown to this release"),
    ],
)
def test_cards_this_release_cannot_read_are_refused(tmp_path, changes, words):
    save_model(tmp_path, card(), untrained())
    edit_card(tmp_path, **changes)
    with pytest.raises(WeightsInvalid, match=words):
        load_model(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_broken_json_is_refused(tmp_path, content):
    (tmp_path / "card.json").write_text(content)
    with pytest.raises(WeightsInvalid, match="install the model again"):
        load_card(tmp_path)


def test_a_folder_without_card_is_no_model(tmp_path):
    with pytest.raises(ModelUnknown, match=r"has no card\.json"):
        load_model(tmp_path)


def test_models_are_found_by_name_and_newest_version(tmp_path):
    user, bundled = tmp_path / "models", tmp_path / "bundled"
    for version in ("9", "10", "2"):
        save_model(user / f"mine@{version}", card(version), untrained())
    save_model(bundled, card("1", "demo"), untrained())
    (user / "rubbish").mkdir()
    (user / "damaged").mkdir()
    (user / "damaged" / "card.json").write_text("{")
    folders = (user, bundled, tmp_path / "absent")
    assert find_model("mine", folders).card.version == "10"
    assert find_model("mine@2", folders).folder == user / "mine@2"
    assert find_model("demo", folders).folder == bundled
    names = [one.identity for _, one in list_models(folders)]
    assert names == ["demo@1", "mine@10", "mine@9", "mine@2"]
    for unknown in ("mine@3", "nobody", ""):
        with pytest.raises(ModelUnknown, match="installed are: demo@1, mine@10"):
            find_model(unknown, folders)


def test_an_earlier_folder_wins(tmp_path):
    save_model(tmp_path / "a", card(), untrained())
    save_model(tmp_path / "b", card(), untrained())
    assert find_model("mine@1", (tmp_path / "b", tmp_path / "a")).folder == tmp_path / "b"


def test_the_card_of_a_trained_head_is_complete(tmp_path):
    rng = np.random.default_rng(0)
    features = [rng.random((5, 8)).astype(np.float32) for _ in range(3)]
    labels = np.array([[1, 0], [0, 1], [0, 0]], np.bool_)
    dataset = TaggedDataset(("x", "y", "z"), features, labels, ("a", "b"), RECIPE)
    small = PRESETS["aicl"]["small"]
    quick = replace(small, head=SMALL, stages=(replace(small.training, steps=2),))
    trained = train_head(dataset, "aicl", quick, seed=5)
    written = replace(trained.card("mine", "3"), licence="CC0", warnings=(DEMO,))
    save_model(tmp_path, written, trained)
    loaded = load_model(tmp_path)
    assert loaded.card.training["seed"] == 5
    assert loaded.card.training["num_videos"] == 3
    assert loaded.card.training["final"]["step"] == 2
    video = FeatureSet(features[0], np.zeros((5, 2)), RECIPE.digest, 3.2)
    again = predict(loaded, video)
    assert np.array_equal(again.localization, predict(trained, video).localization)
