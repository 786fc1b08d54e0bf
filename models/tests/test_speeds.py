"""Speeds: recipes that cost less, heads that belong to them, and one sentence where one lacks."""

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from typer.testing import CliRunner

from models.backbones.registry import random_weights
from models.catalog import i3d_r50_recipe, published_recipe
from models.cli import app
from models.config import ProposalSettings, settings_to_json
from models.decode import VideoSource
from models.errors import ModelUnknown, RecipeMismatch
from models.features import ExtractorSettings, FeatureExtractor
from models.flow.frames import require_recipe
from models.heads.base import HeadSpec
from models.heads.registry import PRESETS, build_head
from models.modelcard import ModelCard, find_model, list_models, load_card, model_speeds, save_model
from models.pipeline import BUNDLED_FOLDER, load_localizer
from models.recipe import FeatureRecipe
from models.speeds import EXACT, FAST, RGB_ONLY, SPEEDS, ModelChoice, recipe_at, rgb_alone
from models.synthetic import encode_video
from models.training.train import TrainedHead
from models.weights import find_weights

TINY = FeatureRecipe(name="tiny", short_side_px=32, crop_px=32, width=0.125, stream_width=128)
CLASSES = ("left", "right")


def test_exact_is_the_recipe_itself_and_the_others_are_other_recipes():
    recipe = published_recipe((("rgb", "ab"), ("flow", "cd")))
    assert recipe_at(recipe, EXACT) is recipe
    assert len({recipe_at(recipe, speed).digest for speed in SPEEDS}) == len(SPEEDS)
    fast = recipe_at(recipe, FAST)
    assert fast.flow is not None
    assert replace(fast, flow=recipe.flow) == recipe
    assert (fast.flow.clip_px, fast.flow.quantize) == (recipe.flow.clip_px, recipe.flow.quantize)
    require_recipe(fast.flow)
    rgb = recipe_at(recipe, RGB_ONLY)
    assert (rgb.streams, rgb.flow, rgb.weights) == (("rgb",), None, (("rgb", "ab"),))
    assert rgb.feature_width == recipe.stream_width
    assert replace(rgb, streams=recipe.streams, flow=recipe.flow, weights=recipe.weights) == recipe


def test_the_speeds_of_the_published_recipe_keep_their_digests():
    # Stored features and heads belong to them: a change here orphans both.
    digests = {speed: recipe_at(published_recipe(), speed).digest for speed in SPEEDS}
    assert digests == {
        "exact": "615e30712b081f1a",
        "fast": "683f41447a84490f",
        "rgb-only": "0d74960a655d1872",
    }


@pytest.mark.parametrize("speed", [FAST, RGB_ONLY])
def test_a_recipe_without_flow_has_no_cheaper_speed(speed):
    with pytest.raises(RecipeMismatch, match=r"i3d_r50 has the stream rgb alone.*use its speed"):
        recipe_at(i3d_r50_recipe(), speed)


def test_an_unknown_speed_is_refused_with_the_known_ones():
    with pytest.raises(RecipeMismatch, match="choose one of exact, fast, rgb-only"):
        recipe_at(TINY, "ludicrous")


@pytest.mark.parametrize(
    ("spec", "choice"),
    [
        ("m", ModelChoice("m")),
        ("m@2", ModelChoice("m", "2")),
        ("m:fast", ModelChoice("m", "", "fast")),
        ("m@2:rgb-only", ModelChoice("m", "2", "rgb-only")),
    ],
)
def test_names_are_taken_apart_and_put_together(spec, choice):
    assert ModelChoice.parse(spec) == choice
    assert str(choice) == spec


def test_two_different_wishes_for_a_speed_are_refused():
    assert ModelChoice.parse("m").at("fast").speed == "fast"
    assert ModelChoice.parse("m:fast").at("").speed == "fast"
    with pytest.raises(ModelUnknown, match="named at speed fast and exact is wished"):
        ModelChoice.parse("m:fast").at("exact")


def untrained(recipe):
    preset = PRESETS["aicl"]["small"]
    head = build_head("aicl", HeadSpec.for_recipe(CLASSES, recipe), preset.head)
    return TrainedHead(
        head.eval(),
        "aicl",
        recipe,
        np.zeros(recipe.feature_width, np.float32),
        np.ones(recipe.feature_width, np.float32),
        preset,
        seed=0,
        training_videos=np.zeros(0, np.int64),
        held_out_videos=np.zeros(0, np.int64),
        chosen_step=0,
    )


def save_head(folder, recipe, speed=EXACT, *, version="1"):
    card = ModelCard(
        name="tiny",
        version=version,
        method="aicl",
        classes=CLASSES,
        recipe=recipe,
        head_settings=settings_to_json(PRESETS["aicl"]["small"].head),
        proposals=ProposalSettings(thresholds=(0.01,), class_threshold=0.0),
        speed=speed,
    )
    save_model(folder, card, untrained(recipe))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home with a tiny untrained model at three speeds and one at exact alone."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "models" / "tiny-1"
    folder.mkdir(parents=True)
    digests = []
    for stream, state in random_weights(TINY, seed=3).items():
        content = safetensors.torch.save({k: v.contiguous() for k, v in state.items()})
        (folder / f"{stream}.safetensors").write_bytes(content)
        digests.append((stream, hashlib.sha256(content).hexdigest()))
    recipe = replace(TINY, weights=tuple(digests))
    save_head(folder, recipe)
    for speed in (FAST, RGB_ONLY):
        save_head(folder / speed, recipe_at(recipe, speed), speed)
    save_head(home / "models" / "tiny-2", recipe, version="2")
    return home


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Four short videos."""
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.Generator(np.random.PCG64(1))
    for index in range(4):
        noise = rng.integers(0, 255, (32, 64, 3), np.uint8)
        frames = [np.roll(noise, index * shift, axis=1) for shift in range(20)]
        encode_video(frames, folder / f"v{index}.mp4", fps=25.0)
    return folder


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_model_offers_the_speeds_it_has_heads_for(home):
    folders = (home / "models",)
    listed = list_models(folders)
    assert [card.identity for _, card in listed] == ["tiny@2", "tiny@1"]
    offered = [tuple(model_speeds(folder, card)) for folder, card in listed]
    assert offered == [("exact",), ("exact", "fast", "rgb-only")]
    for speed in SPEEDS:
        by_name, beside = (
            find_model(f"tiny@1:{speed}", folders),
            find_model("tiny@1", folders, speed),
        )
        assert by_name.card.speed == beside.card.speed == speed
        assert by_name.model_folder == home / "models" / "tiny-1"
    assert find_model("tiny@1", folders).card.speed == EXACT


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("tiny:fast", "tiny@2 has no head for the speed fast; choose exact, or train one"),
        ("tiny@1:ludicrous", "There is no speed ludicrous; choose one of exact, fast, rgb-only"),
        ("tiny@1:../tiny-2", "There is no speed"),
        ("nobody:fast", "There is no model nobody:fast; installed are: tiny@2, tiny@1"),
    ],
)
def test_what_is_not_there_is_one_sentence(home, spec, sentence):
    with pytest.raises(ModelUnknown, match=sentence):
        find_model(spec, (home / "models",))


def test_heads_of_another_version_and_damaged_ones_are_not_offered(tmp_path):
    save_head(tmp_path, TINY)
    save_head(tmp_path / FAST, recipe_at(TINY, FAST), FAST, version="0")
    save_head(tmp_path / RGB_ONLY, recipe_at(TINY, RGB_ONLY), RGB_ONLY)
    card = tmp_path / RGB_ONLY / "card.json"
    assert set(model_speeds(tmp_path, load_card(tmp_path))) == {EXACT, RGB_ONLY}
    card.write_text(json.dumps(json.loads(card.read_text()) | {"speed": "ludicrous"}))
    assert set(model_speeds(tmp_path, load_card(tmp_path))) == {EXACT}
    (tmp_path / "card.json").write_text("{")
    assert list_models((tmp_path,)) == [], "a head of another speed never stands in for its model"


def test_the_rgb_stream_of_two_is_what_rgb_only_computes(home, videos):
    model = find_model("tiny@1", (home / "models",))
    features = {}
    for speed in (EXACT, RGB_ONLY):
        recipe = recipe_at(model.recipe, speed)
        extractor = FeatureExtractor(
            recipe,
            find_weights(recipe, (model.folder,)),
            ExtractorSettings(num_threads=1, precision="fp32"),
        )
        with VideoSource(videos / "v1.mp4", fps=recipe.fps, short_side_px=32) as source:
            features[speed] = extractor.extract(source)
    taken = rgb_alone(features[EXACT], model.recipe)
    assert taken.recipe_digest == features[RGB_ONLY].recipe_digest
    assert taken.computed_with == features[RGB_ONLY].computed_with
    assert np.array_equal(taken.values, features[RGB_ONLY].values)


def test_localize_says_its_speed_and_recipe(home, videos):
    recipes = set()
    for speed in SPEEDS:
        got = run(
            "localize", "--home", home, "--model", "tiny@1", "--speed", speed, videos / "v1.mp4"
        )
        assert got.exit_code == 0, got.output
        native = json.loads(got.stdout)
        assert (native["model"], native["speed"]) == ("tiny@1", speed)
        assert ("flow" in native["computed_with"]) == (speed != RGB_ONLY)
        recipes.add(native["recipe"])
    assert len(recipes) == len(SPEEDS)


def test_a_speed_that_a_model_lacks_is_status_4(home, videos):
    got = run(
        *("localize", "--home", home, "--model", "tiny", "--speed", "fast", "--json"),
        videos / "v1.mp4",
    )
    assert got.exit_code == 4
    error = json.loads(got.stdout)["error"]
    assert error["code"] == "model_unknown"
    assert "kinetag train --videos DIR --speed fast" in error["message"]
    assert run("localize", "--speed", "ludicrous", videos / "v1.mp4").exit_code == 2


def test_models_list_and_show_name_the_speeds(home):
    rows = json.loads(run("models", "list", "--home", home, "--json").stdout)
    speeds = {f"{row['name']}@{row['version']}": row["speeds"] for row in rows}
    assert speeds["tiny@2"] == ["exact"]
    assert speeds["tiny@1"] == list(SPEEDS)
    shown = json.loads(run("models", "show", "--home", home, "tiny@1:fast").stdout)
    assert shown["speed"] == FAST
    assert list(shown["speeds"]) == list(SPEEDS)
    assert len(set(shown["speeds"].values())) == len(SPEEDS)


def train(home, videos, out, *more):
    tags = videos.parent / "tags.csv"
    with tags.open("w", newline="") as file:
        rows = [("video", "label"), ("v0", ""), ("v1", "left"), ("v2", "right"), ("v3", "left")]
        csv.writer(file).writerows(rows)
    return run(
        *("train", "--method", "aicl", "--videos", videos, "--tags", tags, "--out", out),
        *("--home", home, "--backbone", "tiny@1", "--set", "steps=2", "--set", "width=4"),
        *("--holdout", "0", "--threads", 1, "--json", *more),
    )


def test_one_training_gives_a_head_per_speed(home, videos, tmp_path):
    out = tmp_path / "taught"
    got = train(home, videos, out, *(f"--speed={speed}" for speed in ("rgb-only", "exact", "fast")))
    assert got.exit_code == 0, got.output
    assert [row["speed"] for row in json.loads(got.stdout)["models"]] == list(SPEEDS)
    for folder in (out, home / "models" / "taught-1"):
        assert list(model_speeds(folder, load_card(folder))) == list(SPEEDS)
    recipe = load_card(out).recipe
    for speed in SPEEDS:
        model = find_model(f"taught:{speed}", (home / "models",))
        assert model.recipe == recipe_at(recipe, speed)
        localizer = load_localizer(f"taught:{speed}", (home / "models",))
        assert localizer.speed == speed
    again = train(home, videos, out, "--speed", "fast")
    assert again.exit_code == 0, again.output
    assert list(model_speeds(out, load_card(out))) == ["fast"], "heads of the first run are gone"
    assert find_model("taught", (home / "models",)).card.speed == FAST


def test_speeds_that_cannot_be_trained_are_refused(home, videos, tmp_path):
    assert train(home, videos, tmp_path / "a", "--speed", "ludicrous").exit_code == 2
    got = train(home, videos, tmp_path / "b", "--backbone", "tiny@1:rgb-only", "--speed", "fast")
    assert got.exit_code == 4
    assert "tiny@1 makes features at speed rgb-only alone" in got.stdout


def test_the_bundled_model_offers_every_speed():
    card = load_card(BUNDLED_FOLDER)
    assert list(model_speeds(BUNDLED_FOLDER, card)) == list(SPEEDS)
    for speed in SPEEDS:
        model = find_model(f"kinetag-demo:{speed}", (BUNDLED_FOLDER,))
        assert model.recipe == recipe_at(card.recipe, speed)
        assert model.card.classes == card.classes
        assert model.card.warnings == card.warnings
        assert len(model.card.metrics["seeds"]) == 3
        find_weights(model.recipe, (model.model_folder,))
