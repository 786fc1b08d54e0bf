"""`kinetag train` as a user meets it: models out, one clear sentence for each mistake."""

import csv
import json
from dataclasses import fields, replace

import numpy as np
import pytest
from typer.testing import CliRunner

from models.cli import app
from models.datasets.features import write_features
from models.heads.registry import PRESETS
from models.modelcard import load_card, load_model
from models.recipe import FeatureRecipe
from models.synthetic.planted import PlantedSettings, PlantedWorld
from models.training.overrides import settable, with_overrides
from models.training.tags import TaggedDataset
from models.training.train import RunOptions, train_head

SETTINGS = PlantedSettings(num_classes=3, stream_width=8, min_snippets=50, max_snippets=70)
RECIPE = FeatureRecipe(name="planted", stream_width=8)
CLASSES = ("fall", "run", "wave")


def run(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.fixture
def data(tmp_path):
    world = PlantedWorld(SETTINGS, 0)
    rows = []
    for index, video in enumerate([*world.videos(12), *world.action_free(3)]):
        name = f"v{index:02}"
        write_features(tmp_path / "features", RECIPE, name, video.features)
        found = [CLASSES[c] for c in np.flatnonzero(video.labels)]
        rows += [(name, label) for label in found] or [(name, "")]
    write_tags(tmp_path / "tags.csv", rows)
    return tmp_path


def write_tags(path, rows, columns=("video", "label")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def quick(data, *more, method="aicl", out="model"):
    return run(
        *("--method", method, "--features", data / "features", "--tags", data / "tags.csv"),
        *("--out", data / out, "--home", data / "home", "--threads", 1),
        *("--set", "steps=6", "--set", "width=8", *more),
    )


def test_a_model_folder_is_written_installed_and_complete(data):
    got = quick(data, "--json", "--holdout", "0.2")
    assert got.exit_code == 0, got.output
    row = json.loads(got.stdout)["models"][0]
    assert row["model"] == "model@1"
    card = load_card(data / "model")
    assert card.classes == CLASSES
    assert card.recipe.digest == RECIPE.digest
    assert card.training["data"]["background_videos"] >= 3
    assert card.training["data"]["videos_per_class"].keys() == set(CLASSES)
    assert card.training["stages"][0]["steps"] == 6
    assert "no timestamps" in card.metrics["protocol"]
    assert card.metrics["false_segments_per_hour"] >= 0
    assert card.calibration is not None
    assert len(card.proposals.class_min_scores) == 3
    installed = load_model(data / "home" / "models" / "model-1")
    assert installed.card.to_json() == card.to_json()
    assert {"curves.png", "training.jsonl"} <= {path.name for path in (data / "model").iterdir()}
    assert not list((data / "model").glob("checkpoint*"))


def test_a_trained_head_is_run_on_features_and_evaluated(data):
    assert quick(data).exit_code == 0
    found = CliRunner().invoke(
        app,
        [
            *("localize", "--model", "model", "--features", str(data / "features"), "--keep-all"),
            *("--output", str(data / "said"), "--home", str(data / "home")),
        ],
    )
    assert found.exit_code == 0, found.output
    results = json.loads((data / "said" / "predictions.json").read_text())["results"]
    assert len(results) == 15
    assert {one["label"] for items in results.values() for one in items} <= set(CLASSES)
    truth = {
        "v00": {"subset": "test", "annotations": [{"label": "fall", "segment": [1.0, 5.0]}]},
        "v01": {"subset": "test", "annotations": [{"label": "run", "segment": [1.0, 5.0]}]},
        "v02": {"subset": "test", "annotations": [{"label": "wave", "segment": [1.0, 5.0]}]},
    }
    (data / "truth.json").write_text(json.dumps({"database": truth}))
    scored = CliRunner().invoke(
        app,
        [
            *("evaluate", "--predictions", str(data / "said" / "predictions.json")),
            *("--ground-truth", str(data / "truth.json"), "--protocol", "anet", "--json", "-"),
        ],
    )
    assert scored.exit_code == 0, scored.output
    assert json.loads(scored.stdout)["videos"] == 3


def test_localize_wants_files_or_features(data):
    for arguments in ([], ["a.mp4", "--features", str(data / "features")]):
        assert CliRunner().invoke(app, ["localize", *arguments]).exit_code == 2


def test_the_same_seed_writes_the_same_weights_and_a_second_run_the_next_version(data):
    assert quick(data).exit_code == quick(data, out="again").exit_code == 0
    assert quick(data).exit_code == 0
    first, again = (load_model(data / "home/models" / name) for name in ("model-1", "again-1"))
    assert (data / "model/head.safetensors").read_bytes() == (
        data / "again/head.safetensors"
    ).read_bytes()
    assert first.card.version == again.card.version == "1"
    assert load_card(data / "model").version == "2"


def test_all_methods_are_trained_and_compared(data):
    got = quick(data, "--compare", method="all")
    assert got.exit_code == 0, got.output
    for method in PRESETS:
        assert f"model-{method}@1" in got.stdout
        assert load_card(data / "model" / method).method == method
    assert "says nothing about times" in got.stdout


@pytest.mark.parametrize(
    ("rows", "columns", "sentence"),
    [
        ([("v00", "fall", "1.0")], ("video", "label", "start"), "it needs exactly video and label"),
        ([("v00", "fall"), ("nowhere", "run")], None, "no features in features for nowhere"),
        ([("v00", "fall"), ("v01", "fall")], None, "Every video is tagged fall"),
        ([], None, "names no video"),
    ],
)
def test_mistakes_in_tags_get_one_sentence(data, rows, columns, sentence):
    write_tags(data / "tags.csv", rows, columns or ("video", "label"))
    got = quick(data)
    assert got.exit_code == 3
    assert sentence in got.output.replace("\n", " ")
    assert "Traceback" not in got.output
    assert not (data / "home").exists()


def test_features_of_another_recipe_are_refused(data):
    values = np.load(data / "features" / "v00.npy")
    wide = np.concatenate([values, values], axis=1)
    np.save(data / "features" / "v00.npy", wide)
    got = quick(data)
    assert got.exit_code != 0
    assert "recipe" in got.output


def test_features_that_are_no_numbers_are_refused(data):
    values = np.load(data / "features" / "v00.npy")
    values[3, 3] = np.nan
    np.save(data / "features" / "v00.npy", values)
    got = quick(data)
    assert got.exit_code == 3
    assert "v00" in got.output
    assert "finite" in got.output


def test_wrong_usage_is_told_before_anything_is_read(data):
    both = run(
        "--method", "aicl", "--features", data, "--videos", data, "--tags", "t", "--out", "o"
    )
    assert both.exit_code == 2
    assert quick(data, "--compare").exit_code == 2
    for arguments, sentence in (
        (("--set", "colour=red"), "knows no single setting"),
        (("--set", "steps=many"), "--set steps=many"),
        (("--set", "steps"), "KEY=VALUE"),
        (("--preset", "large"), "no preset large"),
        (("--name", "../x"), "cannot be a model's name"),
    ):
        got = quick(data, *arguments)
        assert got.exit_code == 3
        assert sentence in got.output.replace("\n", " ")
    wrong = quick(data, "--json", method="magic")
    assert json.loads(wrong.stdout)["error"]["code"] == "training_data_invalid"


def test_a_run_killed_half_way_is_resumed_to_the_same_weights(data):
    # Six steps are stopped after three by a Cancelled from inside, as a kill would leave them.
    assert quick(data, "--no-install", out="whole").exit_code == 0
    asked = iter([False, False, True])

    def stopped(dataset, method, preset, seed, on_log, options):
        told = replace(options, should_stop=lambda: next(asked))
        return train_head(dataset, method, preset, seed, on_log, told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.commands.train.train_head", stopped)
        assert quick(data, out="part").exit_code != 0
    assert (data / "part/checkpoint.safetensors").is_file()
    assert quick(data, "--resume", out="part").exit_code == 0
    assert (data / "part/head.safetensors").read_bytes() == (
        data / "whole/head.safetensors"
    ).read_bytes()


def test_shuffled_timestamps_do_not_change_a_weight(data):
    rng = np.random.default_rng(0)
    with (data / "tags.csv").open() as file:
        rows = list(csv.DictReader(file))
    states = []
    for round_ in range(2):
        database: dict[str, dict] = {}
        for row in rows:
            start = float(rng.uniform(0, 9))
            entry = database.setdefault(row["video"], {"subset": "t", "annotations": []})
            if row["label"]:
                segment = {"label": row["label"], "segment": [start, start + 1]}
                entry["annotations"].append(segment)
        path = data / f"truth{round_}.json"
        path.write_text(json.dumps({"database": database}))
        got = quick(data, "--tags", path, out=f"m{round_}")
        assert got.exit_code == 0, got.output
        states.append((data / f"m{round_}/head.safetensors").read_bytes())
    assert states[0] == states[1]


@pytest.mark.parametrize("method", sorted(PRESETS))
def test_every_setting_can_be_named_and_set_to_itself(method):
    for preset in PRESETS[method].values():
        for key in settable(preset):
            part, *path = key.split(".")
            value = next(
                (stage for stage in preset.stages if stage.stage == part),
                getattr(preset, part, None),
            )
            for name in path:
                value = getattr(value, name)
            if isinstance(value, tuple):
                text = ",".join(map(str, value))
            else:
                text = str(value).lower() if isinstance(value, bool) else str(value)
            if key.endswith(".steps"):
                continue  # steps win over epochs, which they end
            if value is None or (isinstance(value, tuple) and not value):
                continue
            assert with_overrides(preset, [f"{key}={text}"]) == preset


def test_steps_win_over_epochs():
    preset = with_overrides(PRESETS["aicl"]["thumos14"], ["steps=7"])
    assert preset.training.num_steps(200) == 7


def test_registered_presets_survive_one_step_of_training():
    world = PlantedWorld(SETTINGS, 1).videos(8)
    dataset = TaggedDataset(
        ids=tuple(f"v{i}" for i in range(8)),
        features=[one.features for one in world],
        labels=np.stack([one.labels for one in world]),
        classes=CLASSES,
        recipe=RECIPE,
    )
    for method, presets in PRESETS.items():
        preset = with_overrides(presets["small"], ["steps=1"])
        narrow = {f.name: 8 for f in fields(preset.head) if f.name == "width"}
        preset = replace(preset, head=replace(preset.head, **narrow))
        assert train_head(dataset, method, preset, 0, run=RunOptions()).chosen_step == 1
