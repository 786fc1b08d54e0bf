"""Annotations: published files give the published counts, malformed ones one clear sentence."""

import csv
import json
from collections import Counter

import numpy as np
import pytest

from models.datasets.annotations import read_annotations
from models.datasets.instances import AnnotatedInstance, AnnotationSet, VideoEntry, tags_of
from models.datasets.thumos import THUMOS14_CLASSES, read_ambiguous
from models.errors import TrainingDataInvalid
from models.evaluation.activitynet import read_ground_truth


def objects(lists):
    array = np.empty(len(lists), object)
    for index, one in enumerate(lists):
        array[index] = one
    return array


def write_wtalc(folder, **changes):
    """Write three videos in W-TALC's arrays; a change replaces an array, None leaves it out."""
    arrays = {
        "videoname": np.array([b"v1", b"v2", b"v3"]),
        "subset": np.array([b"validation", b"test", b"test"]),
        "classlist": np.array([b"Diving", b"Golf"]),
        "labels": objects([["Diving", "Diving"], ["Golf"], []]),
        "labels_all": objects([["Diving"], ["Golf", "Diving"], []]),
        "segments": objects([[[1.0, 2.0], [3.5, 9.0]], [[0, 4]], []]),
        "duration": np.array([[10.0], [4.0], [60.0]]),
    } | changes
    folder.mkdir(exist_ok=True)
    for name, values in arrays.items():
        if values is not None:
            np.save(folder / f"{name}.npy", values, allow_pickle=True)
    return folder


def write_evalkit(folder, **files):
    folder.mkdir(exist_ok=True)
    contents = {
        "Diving_test": "v2  1.0 2.5\n\nv1\t3 4\n",
        "CliffDiving_test": "v2 1.0 2.5\n",
        "Diving_val": "v7  0.5 1\n",
        "Ambiguous_test": "v2  7.5 8.5\nv9  1 2\n",
        "detclasslist": "1 Diving\n",
    } | files
    for name, text in contents.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def write_json(folder, database, name="gt.json"):
    path = folder / name
    path.write_text(json.dumps({"version": "x", "database": database}))
    return path


def entry(subset="test", **more):
    return {"subset": subset, "annotations": [{"label": "run", "segment": ["1.5", 4]}]} | more


def test_evalkit_files_are_read_whatever_the_spaces(tmp_path):
    found = read_annotations(write_evalkit(tmp_path / "kit"))
    assert found.classes == ("CliffDiving", "Diving")
    assert set(found.instances) == {
        AnnotatedInstance("v2", "CliffDiving", 1.0, 2.5),
        AnnotatedInstance("v2", "Diving", 1.0, 2.5),
        AnnotatedInstance("v1", "Diving", 3.0, 4.0),
        AnnotatedInstance("v7", "Diving", 0.5, 1.0),
    }
    assert found.videos["v2"] == VideoEntry("test", None, ("CliffDiving", "Diving"))
    assert found.videos["v7"].subset == "validation"
    assert list(found.ambiguous) == [("v2", 7.5, 8.5), ("v9", 1.0, 2.0)]


def test_wtalc_arrays_are_read_with_their_own_tags(tmp_path):
    folder = write_wtalc(tmp_path / "Set-Annotations")
    (folder / "Ambiguous_test.txt").write_text("v2  1.0 1.5\n")
    found = read_annotations(folder)
    assert found.classes == ("Diving", "Golf")
    assert found.instances == (
        AnnotatedInstance("v1", "Diving", 1.0, 2.0),
        AnnotatedInstance("v1", "Diving", 3.5, 9.0),
        AnnotatedInstance("v2", "Golf", 0.0, 4.0),
    )
    assert found.videos["v2"] == VideoEntry("test", 4.0, ("Diving", "Golf"))
    assert found.videos["v3"] == VideoEntry("test", 60.0, ())
    assert list(found.ambiguous) == [("v2", 1.0, 1.5)]


def test_wtalc_arrays_that_numpy_made_square_are_read_alike(tmp_path):
    square = write_wtalc(
        tmp_path / "square",
        labels=np.array([["Diving"], ["Golf"], ["Golf"]]),
        labels_all=np.array([["Diving"], ["Golf"], ["Golf"]], object),
        segments=np.array([[[0.0, 1.0]], [[2, 3]], [[4, 5]]]),
        duration=np.array([10.0, 4.0, 60.0]),
        videoname=objects(["v1", "v2", "v3"]),
    )
    found = read_annotations(square, subset="test")
    assert found.instances == (
        AnnotatedInstance("v2", "Golf", 2.0, 3.0),
        AnnotatedInstance("v3", "Golf", 4.0, 5.0),
    )


def test_activitynet_files_are_read_with_texts_for_numbers(tmp_path):
    database = {"a": entry(duration=9), "b": {"subset": "testing", "annotations": []}}
    found = read_annotations(write_json(tmp_path, database))
    assert found.instances == (AnnotatedInstance("a", "run", 1.5, 4.0),)
    assert found.videos == {
        "a": VideoEntry("test", 9.0, ("run",)),
        "b": VideoEntry("testing", None, ()),
    }


def test_bsn_pairs_take_subsets_from_the_table(tmp_path):
    one = {"duration_second": 10.0, "annotations": [{"label": "run", "segment": [1, 2]}]}
    document = {"v_a": one, "v_b": {"duration_second": 5.0, "annotations": []}}
    (tmp_path / "x_anno_action.json").write_text(json.dumps(document))
    table = tmp_path / "video_info_new.csv"
    table.write_text("video,numFrame,seconds,subset\nv_a,1,9.5,training\nv_b,1,5,testing\n")
    found = read_annotations(tmp_path, subset="training")
    assert found.videos == {"v_a": VideoEntry("training", 9.5, ("run",))}
    assert read_annotations(tmp_path / "x_anno_action.json", subset="training") == found
    table.write_text("video,numFrame,seconds,subset\nv_a,1,9.5,training\n")
    with pytest.raises(TrainingDataInvalid, match="no row for v_b"):
        read_annotations(tmp_path)
    table.unlink()
    with pytest.raises(TrainingDataInvalid, match="needs the table of its videos"):
        read_annotations(tmp_path)


def test_detection_tables_are_read(tmp_path):
    gtad = tmp_path / "gtad.csv"
    gtad.write_text(
        "video,type,type_idx,start,end,startFrame,endFrame\n"
        "video_test_0000004,Diving,26,0.2,1.1,6,33\nvideo_test_0000004,Ambiguous,0,2,3,60,90\n"
    )
    found = read_annotations(gtad)
    assert found.instances == (AnnotatedInstance("video_test_0000004", "Diving", 0.2, 1.1),)
    assert list(found.ambiguous) == [("video_test_0000004", 2.0, 3.0)]
    rtd = tmp_path / "rtd.csv"
    rtd.write_text(
        "video-name,t-init,t-end,f-init,f-end,video-duration,frame-rate,video-frames,label-idx\n"
        "video_test_0000004,0.2,1.1,6,33,33.5,30.0,1000,7\nvideo_test_0000004,2,3,0,0,33.5,30,9,-1\n"
    )
    same = read_annotations(rtd)
    assert (same.instances, same.ambiguous) == (found.instances, found.ambiguous)
    assert same.videos["video_test_0000004"] == VideoEntry("test", 33.5, ("Diving",))
    rtd.write_text(rtd.read_text().replace(",7\n", ",20\n"))
    with pytest.raises(TrainingDataInvalid, match=r"row of rtd\.csv is malformed"):
        read_annotations(rtd)


def test_tags_are_all_that_is_left_without_times(tmp_path):
    for path in (
        write_wtalc(tmp_path / "arrays"),
        write_evalkit(tmp_path / "kit"),
        write_json(tmp_path, {"a": entry(), "b": entry("train")}),
    ):
        whole = read_annotations(path)
        blind = read_annotations(path, times=False)
        assert not blind.instances
        assert not blind.ambiguous
        assert tags_of(blind) == tags_of(whole)
        assert tags_of(blind, "test") == tags_of(read_annotations(path, subset="test"))


def test_without_times_nothing_with_times_is_opened(tmp_path):
    folder = write_wtalc(tmp_path / "arrays")
    expected = tags_of(read_annotations(folder))
    for name in ("segments.npy", "labels.npy", "Ambiguous_test.txt"):
        (folder / name).write_bytes(b"rubbish")
    assert tags_of(read_annotations(folder, times=False)) == expected
    with pytest.raises(TrainingDataInvalid, match=r"labels\.npy"):
        read_annotations(folder)


def test_instances_survive_the_way_through_activitynet_json(tmp_path):
    found = read_annotations(write_evalkit(tmp_path / "kit"))
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(found.to_activitynet_json()))
    again = read_annotations(path)
    assert Counter(again.instances) == Counter(found.instances)
    assert again.videos == dict(found.videos)
    truths = read_ground_truth(path, "test")
    assert len(truths) == 3


THUMOS = {
    "video_test_0000001": ("test", 1),
    "video_test_0000270": ("test", 2),
    "video_test_0001292": ("test", 0),
    "video_validation_0000001": ("validation", 1),
}


def test_a_variant_needs_exactly_its_number_of_test_videos(tmp_path):
    database = {
        video: entry(subset, annotations=[{"label": "run", "segment": [0, 1]}] * count)
        for video, (subset, count) in THUMOS.items()
    } | {f"video_test_{number:07d}": entry() for number in range(2000, 2210)}
    path = write_json(tmp_path, database)
    wide = read_annotations(path, variant="212")
    assert len(wide.videos) == 213
    assert "video_test_0001292" not in wide.videos
    del database["video_test_0002000"]
    narrow = read_annotations(write_json(tmp_path, database), variant="210", subset="test")
    assert len(narrow.videos) == 210
    assert "video_test_0000270" not in narrow.videos
    with pytest.raises(TrainingDataInvalid, match=r"212 annotated test videos, but .* has 211"):
        read_annotations(path, variant="212")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": objects([["Diving"], ["Golf"], []])}, "1 labels and 2 segments for v1"),
        ({"segments": objects([[[1, 2], [3, 4]], [[4, 0]], []])}, "of v2 from 4.0 to 0.0"),
        ({"segments": objects([[[1, 2], [3, np.nan]], [[0, 1]], []])}, "of v1 from 3.0 to nan"),
        ({"segments": objects([[[1, 2], [3]], [[0, 1]], []])}, "no pair of seconds"),
        ({"segments": objects([[[1, 2], "ab"], [[0, 1]], []])}, "no pair of seconds"),
        ({"segments": objects([[1, 2], [3], []])}, "no pair of seconds"),
        ({"segments": objects([[[1, 2]], [[3, 4]]])}, "2 entries for 3 videos"),
        ({"labels_all": objects([["Golf"], ["Tennis"], []])}, "uses Tennis, not in classlist"),
        ({"labels_all": objects([["Golf"], [3], []])}, "list of names per video"),
        ({"labels_all": objects(["Golf", [], []])}, "one list per video"),
        ({"labels_all": None}, r"labels_all\.npy is no array"),
        ({"classlist": None}, r"classlist\.npy .*can be read"),
        ({"classlist": np.arange(3)}, "must be a list of names"),
        ({"videoname": np.array([b"v1", b"v1", b"v3"])}, "names a video twice"),
        ({"videoname": np.array([b"v1", b"\xff", b"v3"])}, "no UTF-8"),
        ({"videoname": objects(["v1", 2, "v3"])}, "must be a list of names"),
        ({"subset": np.array([b"test"])}, "1 entries for 3 videos"),
        ({"duration": np.ones((3, 2))}, "one number of seconds per video"),
        ({"duration": np.ones(2)}, "2 entries for 3 videos"),
    ],
)
def test_malformed_arrays_are_refused_in_one_sentence(tmp_path, change, words):
    folder = write_wtalc(tmp_path / "arrays", **change)
    refused(folder, words)


def refused(path, words, **options):
    with pytest.raises(TrainingDataInvalid, match=words) as caught:
        read_annotations(path, **options)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("database", "words"),
    [
        ([], '"database" is no object'),
        ({"a": []}, "a in gt.json has no list of annotations"),
        ({"a": {"annotations": [{"segment": [1, 2]}]}}, "annotation of a in gt.json has no label"),
        ({"a": {"annotations": [{"label": "x"}]}}, "no pair of seconds"),
        ({"a": {"annotations": [{"label": "x", "segment": [1, 2, 3]}]}}, "no pair of seconds"),
        ({"a": {"annotations": [{"label": "x", "segment": ["-1", 3]}]}}, "from -1.0 to 3.0"),
        ({"a": {"annotations": [{"label": "x", "segment": "12"}]}}, "no pair of seconds"),
        ({"a": {"annotations": [{"label": "x", "segment": [1, 10**400]}]}}, "no pair of seconds"),
        ({"a": {"annotations": [], "duration": 10**400}}, "is no number of seconds"),
        ({"a": {"annotations": [], "duration": "long"}}, "duration of a in gt.json is no number"),
        ({"a": {"annotations": [], "duration": float("nan")}}, "is no number of seconds"),
        ({"a": {"annotations": [], "subset": 3}}, "subset of a in gt.json is no name"),
    ],
)
def test_malformed_json_is_refused_in_one_sentence(tmp_path, database, words):
    refused(write_json(tmp_path, database), words)


def test_other_files_are_refused_in_one_sentence(tmp_path):
    for name, content, words in (
        ("a.json", b"{", "cannot be read as JSON"),
        ("a.json", b"[" * 100_000, "cannot be read as JSON"),
        ("a.json", b"[]", "one JSON object"),
        ("a.json", b"{}", "no annotations in a known form"),
        ("a.csv", b"video,label\na,b\n", "no annotations in a known form"),
        ("a.csv", b"\xff", "cannot be read as text"),
        ("a.csv", b"video,type,start,end\n" + b"a" * 200_000, "row of a.csv is malformed"),
        ("a.txt", b"", "no annotations in a known form"),
    ):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, words)
    refused(tmp_path / "absent.json", "cannot be read as JSON")
    refused(tmp_path, "no folder of annotations that is known")
    refused(write_evalkit(tmp_path / "a", Diving_test="v1 2\n"), "Line 1 of Diving_test.txt")
    refused(write_evalkit(tmp_path / "b", Diving_test="v1 x 2\n"), "no pair of seconds")
    kit = write_evalkit(tmp_path / "c")
    refused(kit, "subset train; there are test, validation", subset="train")
    refused(kit, "variant 211 of THUMOS14 is not known", variant="211")
    refused(kit, "needs THUMOS14 with 210", variant="210")
    refused(kit, "together with the times", variant="210", times=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "Ambiguous_test.txt").write_text("v1 1 2\n")
    refused(tmp_path / "empty", "holds no instance")


# What the published files hold, counted independently of the readers.

EVALKIT = "thumos14/evalkit_groundtruth"
THUMOS_SOURCES = [
    (EVALKIT, "test", 212, 3358, 99),
    ("wtalc/Thumos14reduced-Annotations", "test", 212, 3358, 99),
    ("thumos14/gtad_test_Annotation.csv", "test", 212, 3358, 99),
    ("thumos14/rtd_thumos14_test_groundtruth.csv", "test", 212, 3358, 99),
    ("sf-net/th14_groundtruth.json", "test", 212, 3358, 0),
    ("thumos14/basnet_gt.json", "test", 210, 3311, 0),
    (EVALKIT, "validation", 200, 3007, 89),
    ("wtalc/Thumos14reduced-Annotations", "validation", 200, 3007, 0),
    ("thumos14/gtad_val_Annotation.csv", "validation", 200, 3007, 89),
    ("thumos14/basnet_gt.json", "train", 200, 3007, 0),
]


@pytest.mark.parametrize(("name", "subset", "videos", "instances", "ambiguous"), THUMOS_SOURCES)
def test_thumos14_has_its_published_counts(real_clips, name, subset, videos, instances, ambiguous):
    found = read_annotations(real_clips / "annotations" / name, subset=subset)
    assert found.classes == THUMOS14_CLASSES
    assert len(found.videos) == videos
    assert len(found.instances) == instances
    if ambiguous:
        known = [one for one in found.ambiguous if subset in one[0] and one[0] in found.videos]
        # Three of the 99 lie in the one test video without an instance.
        assert len(known) == (96 if subset == "test" else ambiguous)
        of_subset = [one for one in found.ambiguous if f"video_{subset}_" in one[0]]
        assert len(of_subset) == ambiguous


def test_all_sources_of_thumos14_agree(real_clips):
    folder = real_clips / "annotations"
    sources = [one[0] for one in THUMOS_SOURCES[:6]]
    found = [
        Counter(read_annotations(folder / one, variant="210", subset="test").instances)
        for one in sources
    ]
    assert all(one == found[0] for one in found)
    assert sum(found[0].values()) == 3311
    full = read_annotations(folder / EVALKIT, variant="212", subset="test")
    assert (len(full.videos), len(full.instances)) == (212, 3358)
    gone = [one.video for one in full.instances if AnnotatedInstance(*_key(one)) not in found[0]]
    assert Counter(gone) == {"video_test_0000270": 29, "video_test_0001496": 18}


def _key(one):
    return one.video, one.label, one.start_seconds, one.end_seconds


def test_every_cliff_dive_is_also_a_dive(real_clips):
    found = read_annotations(real_clips / "annotations" / EVALKIT, subset="test")
    dives = {_key(one) for one in found.instances if one.label == "Diving"}
    cliff = [_key(one) for one in found.instances if one.label == "CliffDiving"]
    assert (len(cliff), len(dives)) == (217, 388)
    assert all((video, "Diving", start, end) in dives for video, _, start, end in cliff)


def test_no_ambiguous_row_is_lost_to_the_double_space(real_clips):
    for folder in (EVALKIT, "wtalc/Thumos14-Annotations"):
        path = real_clips / "annotations" / folder / "Ambiguous_test.txt"
        lines = [line for line in path.read_text().splitlines() if line]
        assert all("  " in line for line in lines)
        assert len(read_ambiguous(path)) == len(lines) == 99


def test_training_tags_of_thumos14(real_clips):
    folder = real_clips / "annotations"
    by_instance = tags_of(read_annotations(folder / EVALKIT, times=False), "validation")
    own = read_annotations(folder / "wtalc/Thumos14reduced-Annotations", times=False)
    by_video = tags_of(own, "validation")
    assert set(by_instance) == set(by_video)
    assert Counter(map(len, by_instance.values())) == {1: 173, 2: 27}
    assert Counter(map(len, by_video.values())) == {1: 179, 2: 21}
    assert sum(by_instance[video] != by_video[video] for video in by_video) == 8


@pytest.mark.parametrize(
    ("name", "subset", "videos", "instances", "classes"),
    [
        ("activitynet/activity_net.v1-2.min.json", "training", 4819, 7151, 100),
        ("activitynet/activity_net.v1-2.min.json", "validation", 2383, 3582, 100),
        ("activitynet/activity_net.v1-2.min.json", "testing", 2480, 0, 100),
        ("activitynet/dgam_gt_anet12.json", "test", 2383, 3582, 100),
        ("3c-net/ActivityNet1.2-Annotations", "training", 4819, 7151, 100),
        ("3c-net/ActivityNet1.2-Annotations", "validation", 2383, 3582, 100),
        ("activitynet/bsn_anet_anno_action.json", "training", 9649, 14859, 200),
        ("activitynet/bsn_anet_anno_action.json", "validation", 4728, 7293, 200),
        ("activitynet/bsn_anet_anno_action.json", "testing", 4851, 0, 200),
        ("sf-net/GTEA-Annotations", "training", 21, 367, 7),
        ("sf-net/BEOID-Annotations", "training", 46, 594, 34),
    ],
)
def test_other_sets_have_their_counts(real_clips, name, subset, videos, instances, classes):
    found = read_annotations(real_clips / "annotations" / name, subset=subset)
    assert len(found.videos) == videos
    assert len(found.instances) == instances
    assert len(found.classes) == classes


def test_classes_of_activitynet_are_the_published_list(real_clips):
    folder = real_clips / "annotations" / "activitynet"
    with (folder / "bsn_action_name.csv").open() as file:
        names = [row["action"] for row in csv.DictReader(file)]
    assert read_annotations(folder).classes == tuple(sorted(names))


def test_an_empty_subset_is_named():
    empty = AnnotationSet((), (), {})
    with pytest.raises(TrainingDataInvalid, match="subset x; no video states"):
        tags_of(empty, "x")
