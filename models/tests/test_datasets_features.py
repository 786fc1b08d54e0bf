"""Feature folders: every layout gives the same numbers, everything unfit one clear sentence."""

import json
import logging

import numpy as np
import pytest

from models.datasets.feature_layouts import Layout
from models.datasets.features import EXTERNAL_I3D, open_features, write_features
from models.errors import DiskFull, RecipeMismatch, TrainingDataInvalid
from models.recipe import FeatureRecipe

RECIPE = FeatureRecipe(name="tiny", stream_width=3)
RGB_ONLY = FeatureRecipe(name="rgb", stream_width=3, streams=("rgb",), flow=None)
VIDEOS = {
    name: np.random.default_rng(index).normal(size=(length, 6)).astype(np.float32)
    for index, (name, length) in enumerate({"v_a": 5, "v_b": 1, "v_c": 8}.items())
}
SUBSETS = {"v_a": "train", "v_b": "train", "v_c": "test"}


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)


def write_joined(folder):
    for name, values in VIDEOS.items():
        save(folder / f"{name}.npy", values)


def write_split(folder):
    for name, values in VIDEOS.items():
        save(folder / SUBSETS[name] / f"{name}.npy", values)


def write_streams(folder, split=True, inside="features"):
    for name, values in VIDEOS.items():
        place = folder / inside / (SUBSETS[name] if split else "")
        save(place / "rgb" / f"{name}.npy", values[:, :3])
        save(place / "flow" / f"{name}.npy", values[:, 3:])


def write_bare_streams(folder):
    write_streams(folder, split=False, inside="")


def write_pairs(folder):
    for name, values in VIDEOS.items():
        save(folder / f"{name}_rgb.npy", values[:, :3])
        save(folder / f"{name}_flow.npy", values[:, 3:])


def write_tables(folder):
    for name, values in VIDEOS.items():
        header = ",".join(f"f{index}" for index in range(6))
        np.savetxt(folder / f"{name}.csv", values, delimiter=",", header=header, comments="")


def write_own(folder):
    for name, values in VIDEOS.items():
        write_features(folder, RECIPE, name, values)


def write_array(folder, annotations="Set-Annotations"):
    array = np.empty(len(VIDEOS), object)
    # Not in the order of the ids: positions must come from videoname.npy.
    names = ["v_c", "v_a", "v_b"]
    for index, name in enumerate(names):
        array[index] = VIDEOS[name]
    np.save(folder / "Set-I3D-JOINTFeatures.npy", array, allow_pickle=True)
    place = folder / annotations
    place.mkdir(exist_ok=True)
    np.save(place / "videoname.npy", np.array(names, "S"))
    np.save(place / "subset.npy", np.array([SUBSETS[name] for name in names], "S"))


def write_array_in_place(folder):
    write_array(folder, annotations="")
    labels = np.empty(3, object)
    labels[:] = [["x"], ["y"], []]
    np.save(folder / "labels.npy", labels, allow_pickle=True)
    np.save(folder / "classlist.npy", np.array([b"x"]))


LAYOUTS = {
    "own": (write_own, Layout.JOINED, False),
    "joined": (write_joined, Layout.JOINED, False),
    "split": (write_split, Layout.JOINED, True),
    "streams": (write_streams, Layout.STREAM_FOLDERS, True),
    "bare streams": (write_bare_streams, Layout.STREAM_FOLDERS, False),
    "pairs": (write_pairs, Layout.STREAM_SUFFIXES, False),
    "tables": (write_tables, Layout.TABLES, False),
    "array": (write_array, Layout.OBJECT_ARRAY, True),
    "array in place": (write_array_in_place, Layout.OBJECT_ARRAY, True),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_numbers(tmp_path, name):
    write, layout, has_subsets = LAYOUTS[name]
    write(tmp_path)
    (tmp_path / "README.md").write_text("not ours")
    (tmp_path / "notes").mkdir()
    (tmp_path / ".v_z.npy.tmp").write_bytes(b"half written")
    found = open_features(tmp_path, RECIPE)
    assert found.layout is layout
    assert found.ids == ("v_a", "v_b", "v_c")
    assert found.recipe == RECIPE
    for video, expected in VIDEOS.items():
        values = found.load(video)
        assert values.dtype == np.float32
        assert values.flags.writeable
        np.testing.assert_allclose(values, expected, rtol=1e-6)
        assert found.subset_of(video) == (SUBSETS[video] if has_subsets else None)


def test_tags_beside_arrays_are_no_features(tmp_path):
    write_joined(tmp_path)
    (tmp_path / "tags.csv").write_text("video,label\nv_a,run\n")
    assert open_features(tmp_path, RECIPE).ids == ("v_a", "v_b", "v_c")


def test_own_folders_state_their_recipe(tmp_path):
    write_own(tmp_path)
    assert open_features(tmp_path).recipe == RECIPE
    other = FeatureRecipe(name="other", stream_width=3, fps=12.5)
    with pytest.raises(RecipeMismatch, match=r"differs in fps \(expected 12.5, got 25.0\)"):
        open_features(tmp_path, other)
    with pytest.raises(RecipeMismatch, match="differs in fps"):
        write_features(tmp_path, other, "v_d", VIDEOS["v_a"])


def test_any_layout_may_state_its_recipe(tmp_path):
    write_streams(tmp_path)
    for place in (tmp_path, tmp_path / "features"):
        path = place / "recipe.json"
        path.write_text(json.dumps(RGB_ONLY.to_json()))
        found = open_features(tmp_path)
        assert found.recipe == RGB_ONLY
        assert found.load("v_a").shape == (5, 3)
        path.unlink()


def test_unstated_features_are_taken_for_published_i3d(tmp_path):
    save(tmp_path / "v.npy", np.zeros((2, 2048)))
    found = open_features(tmp_path)
    assert found.recipe is EXTERNAL_I3D
    assert found.load("v").shape == (2, 2048)


def test_ids_of_own_folders_may_end_like_a_stream(tmp_path):
    for name in ("door_flow", "door"):
        write_features(tmp_path, RECIPE, name, VIDEOS["v_a"])
    assert open_features(tmp_path).ids == ("door", "door_flow")


def test_written_features_are_replaced_whole(tmp_path):
    for values in (VIDEOS["v_a"], VIDEOS["v_c"].astype(np.float64)[:, ::-1]):
        path = write_features(tmp_path / "new", RECIPE, "a b.mp4", values)
        np.testing.assert_array_equal(open_features(tmp_path / "new").load("a b.mp4"), values)
        assert np.load(path, allow_pickle=False).dtype == np.float32
    names = {one.name for one in (tmp_path / "new").iterdir()}
    assert names == {"recipe.json", "a b.mp4.npy"}


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    write_features(tmp_path, RECIPE, "a", VIDEOS["v_a"])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFull):
        write_features(tmp_path, RECIPE, "b", VIDEOS["v_a"])
    assert open_features(tmp_path).ids == ("a",)


@pytest.mark.parametrize("video", ["", "a/b", "..", ".hidden", "a\0", "x" * 300])
def test_ids_that_are_no_file_names_are_refused(tmp_path, video):
    with pytest.raises(TrainingDataInvalid, match="cannot be a file name"):
        write_features(tmp_path, RECIPE, video, VIDEOS["v_a"])
    assert not list(tmp_path.iterdir())


def test_rgb_comes_first_and_one_snippet_more_is_cut(tmp_path, caplog):
    save(tmp_path / "rgb" / "v.npy", np.full((6, 3), 1.0))
    save(tmp_path / "flow" / "v.npy", np.full((5, 3), 2.0))
    with caplog.at_level(logging.INFO, "models.datasets.features"):
        values = open_features(tmp_path, RECIPE).load("v")
    np.testing.assert_array_equal(values, [[1, 1, 1, 2, 2, 2]] * 5)
    assert [one.message for one in caplog.records] == ["stream_longer_by_one"]
    save(tmp_path / "flow" / "v.npy", np.full((4, 3), 2.0))
    refused(tmp_path, "streams of v have 6, 4 snippets")


def test_one_stream_is_enough_for_a_recipe_of_one_stream(tmp_path):
    save(tmp_path / "v_rgb.npy", np.ones((2, 3)))
    assert open_features(tmp_path, RGB_ONLY).load("v").shape == (2, 3)
    refused(tmp_path, "has no flow features of v; add or remove")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_other_floats_are_converted(tmp_path, dtype):
    save(tmp_path / "v.npy", VIDEOS["v_a"].astype(dtype))
    values = open_features(tmp_path, RECIPE).load("v")
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, VIDEOS["v_a"], rtol=1e-3, atol=1e-3)


def refused(folder, words, error=TrainingDataInvalid):
    with pytest.raises(error, match=words) as caught:
        open_features(folder, RECIPE).load("v")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


ONES = np.ones((3, 6), np.float32)
ROW = np.arange(18.0).reshape(3, 6)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.where(ROW == 7, np.nan, ROW), "features of v hold values that are not finite"),
        (np.where(ROW == 7, 1e300, ROW), "not finite"),
        (ONES[:0], "features of v are empty"),
        (ONES[:, :0], "features of v are empty"),
        (np.float32(3), r"shape \(\) instead of \(snippets, width\)"),
        (ONES[None], r"shape \(1, 3, 6\) instead of"),
        (ONES.astype(int), "no floating-point numbers"),
        (ONES.astype(complex), "no floating-point numbers"),
        (ONES.astype(str), "no floating-point numbers"),
    ],
)
@pytest.mark.parametrize("layout", ["joined", "array"])
def test_unfit_features_are_refused_in_one_sentence(tmp_path, values, words, layout):
    if layout == "joined":
        save(tmp_path / "v.npy", values)
    else:
        if np.iscomplexobj(values):  # known no earlier than the array is opened
            words = "a type other than numbers, texts, bytes and objects"
        array = np.empty(1, object)
        array[0] = np.asarray(values)
        np.save(tmp_path / "x.npy", array, allow_pickle=True)
        save(tmp_path / "a" / "videoname.npy", np.array([b"v"]))
        save(tmp_path / "a" / "subset.npy", np.array([b"test"]))
    refused(tmp_path, words)


def test_another_width_is_another_recipe(tmp_path):
    save(tmp_path / "v.npy", ONES[:, :4])
    refused(tmp_path, "are 4 wide, but the recipe asks for 6", RecipeMismatch)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "v.npy"
    save(path, ONES)
    content = path.read_bytes()
    for length in (0, 5, 20, len(content) - 1):
        path.write_bytes(content[:length])
        refused(tmp_path, r"v\.npy .*can(not)? be read")
    enormous = content.replace(b"(3, 6), ", b"(3" + b"0" * 13 + b", 6), ").replace(
        b" " * 13, b"", 1
    )
    assert len(enormous) == len(content)
    path.write_bytes(enormous)
    refused(tmp_path, "it is cut short")


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([write_joined, write_pairs], r"mixes the layouts joined \(.*\) and stream-suffixes"),
        ([write_joined, write_bare_streams], "joined .* and stream-folders"),
        ([write_pairs, write_array], "stream-suffixes .* and object-array"),
        ([write_split, write_bare_streams], "joined .* and stream-folders"),
        ([write_joined, write_split], "holds v_a twice"),
    ],
)
def test_mixed_layouts_are_refused(tmp_path, others, words):
    for write in others:
        write(tmp_path)
    refused(tmp_path, words)


def test_a_video_in_two_subsets_is_refused(tmp_path):
    write_streams(tmp_path)
    save(tmp_path / "features" / "test" / "rgb" / "v_a.npy", ONES)
    refused(tmp_path, "holds v_a twice")


def test_a_missing_stream_is_named(tmp_path):
    write_streams(tmp_path)
    (tmp_path / "features" / "test" / "flow" / "v_c.npy").unlink()
    refused(tmp_path, "has no flow features of v_c")


def test_folders_without_features_are_refused(tmp_path):
    refused(tmp_path, "no features in a known layout")
    refused(tmp_path / "absent", "is no folder")
    write_joined(tmp_path)
    refused(tmp_path, "has no features of v; extract")


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"name": "x", "unknown": 1, "flow": null, "streams": [], "weights": []}'],
)
def test_malformed_recipes_are_refused(tmp_path, text):
    write_joined(tmp_path)
    (tmp_path / "recipe.json").write_text(text)
    refused(tmp_path, r"recipe\.json in .* is no feature recipe")
    document = RECIPE.to_json() | {"streams": ["sound"]}
    (tmp_path / "recipe.json").write_text(json.dumps(document))
    refused(tmp_path, "streams or widths that cannot be")


def test_arrays_need_the_names_of_their_videos(tmp_path):
    write_array(tmp_path)
    place = tmp_path / "Set-Annotations"
    # The public repository has two sets of annotations beside one array; length tells them apart.
    save(tmp_path / "Whole-Annotations" / "videoname.npy", np.array([b"v_a", b"v_x"]))
    assert open_features(tmp_path, RECIPE).ids == ("v_a", "v_b", "v_c")
    np.save(place / "subset.npy", np.array([b"test"]))
    refused(tmp_path, "1 entries for 3 videos")
    (place / "videoname.npy").unlink()
    refused(tmp_path, "found 0 among 1")
    np.save(tmp_path / "second.npy", np.array([[], [1]], object), allow_pickle=True)
    refused(tmp_path, "holds 2 arrays of objects")


def test_objects_below_stream_folders_are_refused(tmp_path):
    write_bare_streams(tmp_path)
    np.save(tmp_path / "rgb" / "v_a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(TrainingDataInvalid, match="holds Python objects instead of numbers"):
        open_features(tmp_path, RECIPE).load("v_a")


def test_feature_sets_have_seconds_of_the_recipe(tmp_path):
    write_joined(tmp_path)
    found = open_features(tmp_path, RECIPE).feature_set("v_a")
    assert found.recipe_digest == RECIPE.digest
    assert found.duration_seconds == pytest.approx(5 * 0.64)
    np.testing.assert_allclose(found.seconds[:, 0], np.arange(5) * 0.64)
    np.testing.assert_allclose(found.seconds[:, 1], np.arange(1, 6) * 0.64)


def test_sequences_read_a_video_when_it_is_asked_for(tmp_path):
    write_joined(tmp_path)
    sequence = open_features(tmp_path, RECIPE).sequence(["v_c", "v_a"])
    (tmp_path / "v_a.npy").unlink()
    assert len(sequence) == 2
    np.testing.assert_array_equal(sequence[0], VIDEOS["v_c"])
    assert [len(one) for one in sequence[:1]] == [8]
    with pytest.raises(TrainingDataInvalid, match=r"v_a\.npy .*can be read"):
        sequence[1]
    with pytest.raises(IndexError):
        sequence[2]


def test_real_pairs_are_read(real_clips):
    folder = real_clips / "features" / "bmt-women-long-jump"
    found = open_features(folder)
    assert (found.layout, found.ids) == (Layout.STREAM_SUFFIXES, ("women_long_jump",))
    values = found.load("women_long_jump")
    assert values.shape == (14, 2048)
    np.testing.assert_array_equal(values[:, 1024:], np.load(folder / "women_long_jump_flow.npy"))


def test_real_tables_are_read(real_clips, tmp_path):
    source = real_clips / "features" / "mmaction2" / "activitynet_features_v_test1.csv"
    (tmp_path / source.name).write_bytes(source.read_bytes())
    found = open_features(tmp_path, FeatureRecipe(name="tsn", stream_width=200))
    values = found.load("activitynet_features_v_test1")
    assert values.shape == (5, 400)
    assert values[0, 0] == np.float32(-2.52400826749)


def test_real_annotations_fit_an_array_of_412_videos(real_clips, tmp_path):
    array = np.empty(412, object)
    for index in range(412):
        array[index] = np.full((1 + index % 3, 6), index, np.float32)
    np.save(tmp_path / "Thumos14reduced-I3D-JOINTFeatures.npy", array, allow_pickle=True)
    for name in ("Thumos14reduced-Annotations", "Thumos14-Annotations"):
        (tmp_path / name).symlink_to(real_clips / "annotations" / "wtalc" / name)
    found = open_features(tmp_path, RECIPE)
    assert len(found.ids) == 412
    assert found.subset_of("video_validation_0000051") == "validation"
    assert found.load("video_validation_0000051")[0, 0] == 0
    assert found.load("video_test_0001558")[0, 0] == 411
