"""From annotations to a head: tags go in, times never do."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.datasets.features import LazyFeatures, open_features, write_features
from models.errors import TrainingDataInvalid
from models.heads.aicl import AiclSettings
from models.heads.registry import PRESETS
from models.recipe import FeatureRecipe
from models.training.tags import build_dataset_from_folder, read_tags, training_subset
from models.training.train import train_head

RECIPE = FeatureRecipe(name="tiny", stream_width=4)
LABELS = {"v1": ["run"], "v2": ["fall", "run"], "v3": [], "v4": ["fall"], "v5": ["run"]}


def write_features_of(folder, videos=LABELS):
    rng = np.random.default_rng(3)
    for video in videos:
        values = rng.normal(size=(int(rng.integers(8, 20)), 8)).astype(np.float32)
        write_features(folder, RECIPE, video, values)
    return open_features(folder)


def ground_truth(segment_of, subset="train"):
    """Return an ActivityNet document whose segments are whatever is asked for."""
    return {
        "database": {
            video: {
                "subset": subset,
                "duration": 90.0,
                "annotations": [
                    {"label": label, "segment": segment_of(video, label)} for label in labels
                ],
            }
            for video, labels in LABELS.items()
        }
    }


TRUE_TIMES = {
    (video, label): [float(index), index + 2.5]
    for index, (video, label) in enumerate(
        (video, label) for video, labels in LABELS.items() for label in labels
    )
}
SHUFFLED = dict(
    zip(
        TRUE_TIMES,
        np.random.default_rng(5).permutation(list(TRUE_TIMES.values())).tolist(),
        strict=True,
    )
)
TIMES = {
    "true": lambda video, label: TRUE_TIMES[video, label],
    "shuffled": lambda video, label: SHUFFLED[video, label],
    "reversed": lambda video, label: TRUE_TIMES[video, label][::-1],
    "beyond the end": lambda video, label: [1e9, 2e9],
    "rubbish": lambda video, label: {"start": "soon"},
    "absent": lambda video, label: None,
}


def weights_of(dataset):
    small = PRESETS["aicl"]["small"]
    assert isinstance(small.head, AiclSettings)
    settings = replace(
        small,
        head=replace(small.head, width=8),
        stages=(replace(small.training, steps=4, num_snippets=16, log_every=2),),
    )
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trained = train_head(dataset, "aicl", settings, seed=1)
    finally:
        torch.set_num_threads(before)
    return {name: value.numpy() for name, value in trained.head.state_dict().items()}


def test_segments_never_reach_training(tmp_path):
    features = write_features_of(tmp_path / "features")
    trained = {}
    for name, segment_of in TIMES.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(ground_truth(segment_of)))
        tags = read_tags(path, training_subset(path))
        assert tags == {video: tuple(sorted(labels)) for video, labels in LABELS.items()}
        trained[name] = weights_of(build_dataset_from_folder(tags, features))
    for name, weights in trained.items():
        assert weights.keys() == trained["true"].keys()
        for key, value in weights.items():
            np.testing.assert_array_equal(value, trained["true"][key], err_msg=f"{name}: {key}")


def test_other_tags_do_reach_training(tmp_path):
    """The test above would pass with a trainer that reads nothing at all; this one would not."""
    features = write_features_of(tmp_path / "features")
    tags = {video: tuple(labels) for video, labels in LABELS.items()}
    swapped = tags | {"v1": tags["v4"], "v4": tags["v1"]}
    one, other = (weights_of(build_dataset_from_folder(each, features)) for each in (tags, swapped))
    assert any(not np.array_equal(one[key], other[key]) for key in one)


def objects(lists):
    array = np.empty(len(lists), object)
    array[:] = lists
    return array


def test_tags_come_from_folders_of_annotations(tmp_path):
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    np.save(arrays / "videoname.npy", np.array(list(LABELS), "S"))
    np.save(arrays / "subset.npy", np.array(["validation"] * 4 + ["test"], "S"))
    np.save(arrays / "classlist.npy", np.array(["fall", "run"], "S"))
    np.save(arrays / "labels_all.npy", objects(list(LABELS.values())), allow_pickle=True)
    expected = {video: tuple(sorted(labels)) for video, labels in LABELS.items()}
    assert read_tags(arrays) == expected
    del expected["v5"]
    assert training_subset(arrays) == "validation"
    assert read_tags(arrays, "validation") == expected
    kit = tmp_path / "kit"
    kit.mkdir()
    (kit / "run_val.txt").write_text("v1  never ever\nv2  1 2\n")
    (kit / "fall_val.txt").write_text("v2  9 8\nv4  x y\n")
    (kit / "run_test.txt").write_text("v5  1 2\n")
    del expected["v3"]
    assert read_tags(kit, training_subset(kit)) == expected


def test_tags_come_from_bsn_pairs(tmp_path):
    one = {"duration_second": 1, "annotations": [{"label": "run", "segment": "rubbish"}]}
    path = tmp_path / "anet_anno_action.json"
    path.write_text(json.dumps({"v_a": one, "v_b": {"duration_second": 1, "annotations": []}}))
    (tmp_path / "video_info.csv").write_text(
        "video,seconds,subset\nv_a,1,training\nv_b,1,testing\n"
    )
    for source in (path, tmp_path):
        assert training_subset(source) == "training"
        assert read_tags(source, "training") == {"v_a": ("run",)}


@pytest.mark.parametrize(
    ("subsets", "meant"),
    [
        (["train", "test"], "train"),
        (["training", "validation", "testing"], "training"),
        (["validation", "test"], "validation"),
        (["training"], "training"),
        ([None, None], None),
    ],
)
def test_the_training_subset_is_found(tmp_path, subsets, meant):
    database = {str(i): {"subset": one, "annotations": []} for i, one in enumerate(subsets)}
    (tmp_path / "t.json").write_text(json.dumps({"database": database}))
    lines = [
        json.dumps({"video": str(i), "labels": [], "subset": s}) for i, s in enumerate(subsets)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    (tmp_path / "t.csv").write_text("video,label\na,run\n")
    assert training_subset(tmp_path / "t.json") == meant
    assert training_subset(tmp_path / "t.jsonl") == meant
    assert training_subset(tmp_path / "t.csv") is None


@pytest.mark.parametrize("subsets", [["validation", "testing"], ["test"], ["day1", "day2"]])
def test_an_unclear_training_subset_must_be_named(tmp_path, subsets):
    database = {str(i): {"subset": one, "annotations": []} for i, one in enumerate(subsets)}
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"database": database}))
    with pytest.raises(TrainingDataInvalid, match="say which one to train on"):
        training_subset(path)


def test_training_sets_from_folders_are_lazy_and_checked(tmp_path):
    folder = write_features_of(tmp_path)
    dataset = build_dataset_from_folder(LABELS, folder)
    assert dataset.ids == tuple(sorted(LABELS))
    assert dataset.recipe == RECIPE
    assert isinstance(dataset.features, LazyFeatures)
    np.testing.assert_array_equal(dataset.features[1], folder.load("v2"))
    with pytest.raises(TrainingDataInvalid, match="No features were found for v9 in"):
        build_dataset_from_folder(LABELS | {"v9": ["run"]}, folder)
    with pytest.raises(TrainingDataInvalid, match="tags use run, which the list"):
        build_dataset_from_folder(LABELS, folder, ["fall"])
    np.save(tmp_path / "v2.npy", np.full((3, 8), np.nan, np.float32))
    with pytest.raises(TrainingDataInvalid, match="features of v2 hold values"):
        build_dataset_from_folder(LABELS, folder)


def test_published_tags_are_those_of_their_folders(real_clips):
    folder = real_clips / "annotations"
    for name, subset, count in (
        ("wtalc/Thumos14reduced-Annotations", "validation", 200),
        ("thumos14/evalkit_groundtruth", "validation", 200),
        ("thumos14/basnet_gt.json", "train", 200),
        ("activitynet/bsn_anet_anno_action.json", "training", 9649),
        ("activitynet/activity_net.v1-2.min.json", "training", 4819),
    ):
        assert training_subset(folder / name) == subset
        tags = read_tags(folder / name, subset)
        assert len(tags) == count
        assert all(tags.values())
    by_kit = read_tags(folder / "thumos14/evalkit_groundtruth", "validation")
    assert by_kit == read_tags(folder / "thumos14/basnet_gt.json", "train")
