"""The evaluator against hand-made cases, a naive oracle and published figures."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import EvaluationDataInvalid
from models.evaluation.activitynet import (
    THUMOS_TIOUS,
    Detection,
    GroundTruth,
    mean_average_precision,
    read_detections,
    read_ground_truth,
)
from models.evaluation.scoring import average_precision

TRUTH = [GroundTruth("v", "a", 10, 20), GroundTruth("v", "a", 30, 40)]


def naive_average_precision(predictions, truths, tiou):
    """One prediction after the other, as the protocol is told."""
    taken, hits = set(), []
    for one in sorted(predictions, key=lambda p: -p.score):
        candidates = []
        for index, truth in enumerate(truths):
            if truth.video != one.video:
                continue
            inter = min(one.end_seconds, truth.end_seconds) - max(
                one.start_seconds, truth.start_seconds
            )
            inter = max(0.0, inter)
            union = (
                one.end_seconds
                - one.start_seconds
                + truth.end_seconds
                - truth.start_seconds
                - inter
            )
            candidates.append((inter / union, index))
        hit = False
        for overlap, index in sorted(candidates, key=lambda c: -c[0]):
            if overlap < tiou:
                break
            if index not in taken:
                taken.add(index)
                hit = True
                break
        hits.append(hit)
    area, best = 0.0, 0.0
    for rank in range(len(hits), 0, -1):
        best = max(best, sum(hits[:rank]) / rank)
        if hits[rank - 1]:
            area += best / len(truths)
    return area


def test_the_published_vector():
    predictions = [
        Detection("v", "a", 9, 21, 0.9),
        Detection("v", "a", 10, 20, 0.5),
        Detection("v", "a", 31, 39, 0.8),
        Detection("v", "a", 60, 70, 0.7),
    ]
    assert mean_average_precision(predictions, TRUTH, (0.5,)).map_at(0.5) == 1.0


def test_equality_with_the_threshold_matches():
    exact = [Detection("v", "a", 10, 15, 1.0)]
    result = mean_average_precision(exact, TRUTH, (0.5, 0.51))
    assert result.map_per_tiou.tolist() == [0.5, 0.0]


def test_a_second_prediction_takes_the_next_free_instance():
    truths = [GroundTruth("v", "a", 0, 10), GroundTruth("v", "a", 2, 12)]
    twice = [Detection("v", "a", 0, 10, 0.9), Detection("v", "a", 0, 10, 0.8)]
    assert mean_average_precision(twice, truths, (0.5,)).map_at(0.5) == 1.0
    assert mean_average_precision(twice, truths, (0.7,)).map_at(0.7) == 0.5


def test_videos_without_the_class_and_classes_without_predictions():
    truths = [*TRUTH, GroundTruth("w", "b", 0, 5)]
    predictions = [Detection("w", "a", 10, 20, 0.9), Detection("v", "a", 10, 20, 0.5)]
    result = mean_average_precision(predictions, truths, (0.5,))
    assert result.classes == ("a", "b")
    assert result.average_precision[:, 0].tolist() == [0.25, 0.0]
    assert result.num_ground_truth.tolist() == [2, 1]
    assert result.num_predictions.tolist() == [2, 0]


def test_equal_scores_keep_the_order_of_the_input():
    good, bad = Detection("v", "a", 10, 20, 0.5), Detection("v", "a", 60, 70, 0.5)
    truth = TRUTH[:1]
    assert mean_average_precision([good, bad], truth, (0.5,)).map_at(0.5) == 1.0
    assert mean_average_precision([bad, good], truth, (0.5,)).map_at(0.5) == 0.5


def test_the_envelope_fills_dips():
    verdicts = np.array([[1, 0, 1]], np.int8)
    assert average_precision(verdicts, 2, envelope=True) == pytest.approx(0.5 + 0.5 * 2 / 3)
    dip = np.array([[0, 1, 1]], np.int8)
    assert average_precision(dip, 2, envelope=True) == pytest.approx(2 / 3)
    assert average_precision(dip, 2, envelope=False) == pytest.approx((1 / 2 + 2 / 3) / 2)


@st.composite
def scenes(draw):
    def interval():
        start = draw(st.integers(0, 30))
        return start, start + draw(st.integers(1, 12))

    truths = []
    for _ in range(draw(st.integers(1, 6))):
        start, end = interval()
        truths.append(GroundTruth(draw(st.sampled_from("vw")), "a", start, end))
    predictions = []
    for score in draw(st.lists(st.integers(0, 1000), max_size=10, unique=True)):
        start, end = interval()
        predictions.append(Detection(draw(st.sampled_from("vwx")), "a", start, end, float(score)))
    return truths, predictions


@given(scenes())
def test_agrees_with_a_naive_evaluator(scene):
    truths, predictions = scene
    tious = (0.1, 0.3, 0.5, 0.7)
    got = mean_average_precision(predictions, truths, tious).average_precision[0]
    expected = [naive_average_precision(predictions, truths, tiou) for tiou in tious]
    assert got == pytest.approx(expected)


@pytest.mark.parametrize(
    ("predictions", "truths", "words"),
    [
        ([], [], "no instance"),
        ([Detection("v", "z", 0, 1, 1.0)], TRUTH, "predicted label z"),
        ([Detection("v", "a", 0, 1, float("nan"))], TRUTH, "no number"),
    ],
)
def test_refuses_what_cannot_be_scored(predictions, truths, words):
    with pytest.raises(EvaluationDataInvalid, match=words):
        mean_average_precision(predictions, truths)


def test_files_are_read_and_the_table_names_its_protocol(tmp_path):
    truth = {
        "database": {
            "v": {"subset": "test", "annotations": [{"label": "a", "segment": ["1.5", "4"]}]},
            "w": {"subset": "train", "annotations": [{"label": "a", "segment": [0, 1]}]},
        }
    }
    results = {"results": {"v": [{"label": "a", "score": 0.5, "segment": [1.5, 4.0]}]}}
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(results))
    truths = read_ground_truth(tmp_path / "gt.json", "test")
    assert truths == [GroundTruth("v", "a", 1.5, 4.0)]
    assert len(read_ground_truth(tmp_path / "gt.json")) == 2
    result = mean_average_precision(read_detections(tmp_path / "results.json"), truths)
    assert result.average_map == 1.0
    table = result.table()
    assert table.startswith("P-ANET: 1 videos, 1 instances, 1 predictions")
    assert table.splitlines()[-1].split() == ["mean", "AP", *["100.0"] * 8, "1", "1"]
    assert result.to_json()["map"] == {f"{tiou}": 100.0 for tiou in THUMOS_TIOUS}


@pytest.mark.parametrize("content", ["{", "[]", '{"database": []}', '{"database": {"v": {}}}'])
def test_malformed_ground_truth_is_refused(tmp_path, content):
    path = tmp_path / "gt.json"
    path.write_text(content)
    with pytest.raises(EvaluationDataInvalid, match=r"gt\.json is not an ActivityNet file"):
        read_ground_truth(path)


def test_published_detections_give_the_published_figures():
    root = os.environ.get("KINETAG_TEST_DATA")
    folder = Path(root or "") / "predictions" / "stpn"
    if not root or not (folder / "results.json").is_file():
        pytest.skip("KINETAG_TEST_DATA has no predictions/stpn")
    started = time.perf_counter()
    result = mean_average_precision(
        read_detections(folder / "results.json"),
        read_ground_truth(folder / "gt.json"),
        THUMOS_TIOUS,
    )
    assert time.perf_counter() - started < 10  # measured well under 2 s; slack for a busy machine
    published = [52.1, 44.2, 34.7, 26.1, 17.7, 10.1, 4.9]
    assert 100 * result.map_per_tiou == pytest.approx(published, abs=0.1)
    assert int(result.num_ground_truth.sum()) == 3311
