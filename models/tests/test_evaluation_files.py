"""Files of an evaluation: what is read, and one clear sentence for what is refused."""

import json

import pytest

from models.errors import EvaluationDataInvalid
from models.evaluation.files import (
    read_ambiguous,
    read_detections,
    read_ground_truth,
    read_ground_truth_file,
)
from models.evaluation.records import Detection, GroundTruth

DATABASE = {
    "v": {"subset": "test", "annotations": [{"label": "a", "segment": ["1.5", "4"]}]},
    "quiet": {"subset": "test", "annotations": []},
    "w": {"subset": "train", "annotations": [{"label": "a", "segment": [0, 1]}]},
}


def written(folder, content):
    path = folder / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_subset_with_its_quiet_videos(tmp_path):
    truth = read_ground_truth_file(written(tmp_path, {"database": DATABASE}), "test")
    assert truth.instances == (GroundTruth("v", "a", 1.5, 4.0),)
    assert truth.videos == {"v", "quiet"}
    assert truth.other_videos == {"w"}
    assert len(read_ground_truth(written(tmp_path, {"database": DATABASE}))) == 2


def test_detections(tmp_path):
    items = [{"label": "a", "score": "0.5", "segment": [1.5, 4.0], "extra": 1}]
    path = written(tmp_path, {"version": "x", "results": {"v": items, "quiet": []}})
    assert read_detections(path) == [Detection("v", "a", 1.5, 4.0, 0.5)]


def results(segment="[0, 1]", score="1"):
    return f'{{"results": {{"v": [{{"label": "a", "score": {score}, "segment": {segment}}}]}}}}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (results(segment="[0, NaN]"), "a segment of video v is nan"),
        (results(segment="[0, Infinity]"), "a segment of video v is inf"),
        (results(score="NaN"), "a score of video v is nan"),
        (results(segment="[3, 1]"), r"video v ends before it starts \(3.0, 1.0\)"),
        (results(segment="[3]"), "not an ActivityNet file"),
        (results(segment="7"), "not an ActivityNet file"),
        (results(score="null"), "not an ActivityNet file"),
        ('{"results": {"v": [], "v": []}}', "the key 'v' twice"),
        ('{"results": {"v": 3}}', "not an ActivityNet file"),
        ('{"results": [1]}', "not an ActivityNet file"),
        ('{"database": {}}', "not an ActivityNet file"),
        ("{", "not an ActivityNet file"),
        ("[" * 100_000, "not an ActivityNet file"),
    ],
)
def test_refused_results(tmp_path, content, words):
    with pytest.raises(EvaluationDataInvalid, match=words) as caught:
        read_detections(written(tmp_path, content))
    assert "file.json" in str(caught.value)


@pytest.mark.parametrize(
    ("database", "subset", "words"),
    [
        (DATABASE, "validation", "no instance in subset validation; its subsets are: test, train"),
        ({"v": {"annotations": []}}, None, "no instance to evaluate against"),
        ({}, None, "no instance to evaluate against"),
        ({"v": {"annotations": [{"label": "a", "segment": [5, 2]}]}}, None, "ends before"),
        ({"v": {"annotations": [{"segment": [5, 2]}]}}, None, "not an ActivityNet file"),
        ({"v": []}, "test", "not an ActivityNet file"),
    ],
)
def test_refused_ground_truth(tmp_path, database, subset, words):
    with pytest.raises(EvaluationDataInvalid, match=words):
        read_ground_truth(written(tmp_path, {"database": database}), subset)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(EvaluationDataInvalid, match="There is no file"):
        read_detections(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EvaluationDataInvalid, match=r"binary\.json is not an ActivityNet file"):
        read_detections(tmp_path / "binary.json")


def test_ambiguous_lines_survive_any_blanks(tmp_path):
    path = tmp_path / "doubt.txt"
    path.write_text("v1  0.0 1.4\n\nv2\t3 4\r\n")
    assert read_ambiguous(path) == (("v1", 0.0, 1.4), ("v2", 3.0, 4.0))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("v1 0.0\n", r"Line 1 of doubt\.txt must hold 3 columns"),
        ("v1 0 1\nv1 0 1 2\n", "Line 2"),
        ("v1 zero 1\n", "Line 1"),
        ("v1 2 1\n", "ends before"),
        ("v1 nan 1\n", "no finite number"),
        ("\n", "no ambiguous stretch"),
    ],
)
def test_refused_ambiguous_lines(tmp_path, content, words):
    path = tmp_path / "doubt.txt"
    path.write_text(content)
    with pytest.raises(EvaluationDataInvalid, match=words):
        read_ambiguous(path)
