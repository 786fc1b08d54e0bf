"""Tags in every accepted form, and one sentence for everything that cannot be used."""

import json

import numpy as np
import pytest

from models.errors import TrainingDataInvalid
from models.recipe import FeatureRecipe
from models.training.tags import TaggedDataset, build_dataset, read_tags
from models.types import FeatureSet

RECIPE = FeatureRecipe(name="tiny", stream_width=2)


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def features_of(values=None, recipe=RECIPE):
    array = np.ones((3, 4), np.float32) if values is None else values
    return FeatureSet(array, np.zeros((len(array), 2)), recipe.digest, 2.0)


def test_csv_has_one_row_per_pair_and_empty_labels_for_background(tmp_path):
    path = write(tmp_path, "tags.csv", "video,label\na.mp4,fall\na.mp4,run\nb.mp4,\na.mp4,fall\n")
    assert read_tags(path) == {"a.mp4": ("fall", "run"), "b.mp4": ()}


def test_csv_takes_quotes_byte_order_marks_and_swapped_columns(tmp_path):
    path = write(tmp_path, "tags.csv", '\ufefflabel, video\r\n"sit, down","x,y.mp4"\r\n')
    assert read_tags(path) == {"x,y.mp4": ("sit, down",)}


def test_json_lines_know_subsets(tmp_path):
    lines = [
        {"video": "a", "labels": ["fall"], "subset": "train"},
        {"video": "b", "labels": [], "subset": "test"},
        {"video": "c", "labels": ["run", "fall"]},
    ]
    path = write(tmp_path, "tags.jsonl", "\n\n".join(json.dumps(line) for line in lines))
    assert read_tags(path) == {"a": ("fall",), "b": (), "c": ("fall", "run")}
    assert set(read_tags(path, "train")) == {"a", "c"}


def test_activitynet_segments_are_ignored(tmp_path):
    annotations = [{"label": "fall", "segment": [1, 2]}, {"label": "fall", "segment": "rubbish"}]
    database = {
        "a": {"subset": "training", "annotations": annotations},
        "b": {"subset": "validation", "annotations": []},
    }
    path = write(tmp_path, "gt.json", json.dumps({"database": database}))
    assert read_tags(path) == {"a": ("fall",), "b": ()}
    assert read_tags(path, "validation") == {"b": ()}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "t.csv",
            "video,tag\na,b\n",
            r"has the columns video, tag; it needs exactly video and label",
        ),
        ("t.csv", "", "has the columns none"),
        ("t.csv", "video,label\n,fall\n", "Line 2 of t.csv is not of the form"),
        ("t.csv", "video,label\na,fall,9\n", "Line 2 of t.csv is not of the form"),
        ("t.csv", "video,label\n", "names no video"),
        ("t.csv", "video,label\na," + "b" * 200_000 + "\n", "no proper CSV"),
        ("t.jsonl", '{"video": "a"}', 'needs "video"'),
        ("t.jsonl", '{"video": "a", "labels": "fall"}', "a list of names"),
        ("t.jsonl", '{"video": "a", "labels": [], "start": 3}', "unknown fields start"),
        ("t.jsonl", "[1]", "one JSON object in line 1"),
        ("t.jsonl", "{", "no valid JSON in line 1"),
        ("t.json", "{}", "no ActivityNet ground truth"),
        ("t.json", '{"database": {"a": {"annotations": [{}]}}}', "has no label"),
        ("t.json", '{"database": {"a": []}}', "has no list of annotations"),
        ("t.txt", "a", r"must end in \.csv, \.jsonl or \.json"),
    ],
)
def test_malformed_tags_are_refused_in_one_sentence(tmp_path, name, text, words):
    with pytest.raises(TrainingDataInvalid, match=words) as caught:
        read_tags(write(tmp_path, name, text))
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_unreadable_files_are_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\xfa")
    for path in (tmp_path / "t.csv", tmp_path / "absent.csv"):
        with pytest.raises(TrainingDataInvalid, match="cannot be read"):
            read_tags(path)


def test_tags_and_features_are_joined_by_id():
    tags = {"b": ["run"], "a": ["fall"], "c": []}
    features = {name: features_of() for name in "abcd"}
    dataset = build_dataset(tags, features, RECIPE)
    assert dataset.ids == ("a", "b", "c")
    assert dataset.classes == ("fall", "run")
    assert dataset.labels.tolist() == [[True, False], [False, True], [False, False]]
    swapped = build_dataset(tags, features, RECIPE, ["run", "fall"])
    assert swapped.labels[0].tolist() == [False, True]


OTHER = FeatureRecipe(name="other", stream_width=2, fps=12.5)
NAN = np.full((3, 4), np.nan, np.float32)


@pytest.mark.parametrize(
    ("tags", "features", "classes", "words"),
    [
        ({"a": ["x"], "b": []}, {"a": features_of()}, None, "No features were found for b"),
        ({"a": ["x"], "b": []}, {"b": features_of(recipe=OTHER)}, None, "another recipe than tiny"),
        ({"a": ["x"], "b": []}, {"b": features_of(NAN)}, None, "features of b hold values"),
        ({"a": ["x"], "b": []}, {"b": features_of(NAN[:0])}, None, r"shape \(0, 4\)"),
        ({"a": ["x"], "b": []}, {"b": features_of(NAN[:, :3])}, None, r"shape \(3, 3\)"),
        ({"a": ["x"], "b": []}, {}, ["x", "y"], "No video is tagged y"),
        ({"a": ["x"], "b": ["y"]}, {}, ["x"], "tags use y, which the list"),
        ({"a": ["x"], "b": ["x", "y"]}, {}, None, "Every video is tagged x"),
        ({"a": [], "b": []}, {}, None, "nothing to train on"),
    ],
)
def test_unusable_training_sets_are_refused_in_one_sentence(tags, features, classes, words):
    complete = (
        features if "No features" in words else {"a": features_of(), "b": features_of()} | features
    )
    with pytest.raises(TrainingDataInvalid, match=words) as caught:
        build_dataset(tags, complete, RECIPE, classes)
    assert str(caught.value).endswith(".")


def test_disagreeing_sizes_are_refused():
    dataset = TaggedDataset(("a",), [], np.ones((1, 1), np.bool_), ("x",), RECIPE)
    with pytest.raises(TrainingDataInvalid, match="inconsistent"):
        dataset.check()


def test_long_lists_are_shortened():
    tags = {f"v{i}": ["x"] for i in range(9)}
    with pytest.raises(TrainingDataInvalid, match="v4 and 4 more"):
        build_dataset(tags, {}, RECIPE)
