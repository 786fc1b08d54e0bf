"""Error analysis: each kind by hand, counts that add up, and agreement with the evaluator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ContractViolation, EvaluationDataInvalid
from models.evaluation.errors import (
    BACKGROUND_TIOU,
    KINDS,
    LENGTHS,
    THUMOS_LENGTHS,
    analyse_errors,
)
from models.evaluation.matching import match_detections
from models.evaluation.records import Detection, GroundTruth

TRUTHS = [
    GroundTruth("v", "a", 0, 10),
    GroundTruth("v", "b", 100, 110),
    *(GroundTruth("w", "a", 50 * i, 50 * i + 5) for i in range(5)),
]


@pytest.mark.parametrize(
    ("segment", "kind"),
    [
        ((0, 10), "true positive"),
        ((0, 5), "true positive"),
        ((0, 4), "poor boundary"),
        ((9, 19), "background"),
        ((8, 18), "poor boundary"),
        ((100, 110), "wrong class"),
        ((100, 103), "wrong class and boundary"),
        ((300, 310), "background"),
    ],
)
def test_each_kind(segment, kind):
    start, end = segment
    analysis = analyse_errors([Detection("v", "a", start, end, 1.0)], TRUTHS)
    counts = dict(zip(KINDS, analysis.kinds[0].tolist(), strict=True))
    assert counts == {name: int(name == kind) for name in KINDS}


def test_a_second_claim_is_double_and_an_unknown_video_background():
    found = [
        Detection("v", "a", 0, 10, 0.9),
        Detection("v", "a", 0, 9, 0.8),
        Detection("elsewhere", "a", 0, 9, 0.7),
    ]
    analysis = analyse_errors(found, TRUTHS)
    assert analysis.kinds.sum(axis=0).tolist() == [1, 1, 0, 0, 0, 1]
    assert analysis.instances.tolist() == [6, 1]
    assert analysis.missed.tolist() == [5, 1]


def test_only_as_many_detections_as_instances_are_judged_but_all_can_find():
    found = [Detection("v", "b", 300, 310, 0.9), Detection("v", "b", 100, 110, 0.1)]
    analysis = analyse_errors(found, TRUTHS)
    assert analysis.kinds.sum() == 1
    assert analysis.kinds.sum(axis=0)[KINDS.index("background")] == 1
    assert analysis.missed.tolist() == [6, 0]


def test_lengths_concern_the_instance():
    truths = [GroundTruth("v", "a", 0, 2), GroundTruth("v", "a", 100, 120)]
    found = [Detection("v", "a", 100, 105, 1.0), Detection("v", "a", 0, 2, 0.5)]
    analysis = analyse_errors(found, truths, 0.5, THUMOS_LENGTHS)
    assert analysis.length_instances.tolist() == [1, 0, 0, 0, 1]
    assert analysis.length_missed.tolist() == [0, 0, 0, 0, 1]
    assert analysis.length_kinds[0].tolist() == [1, 0, 0, 0, 0, 0]
    assert analysis.length_kinds[4].tolist() == [0, 0, 0, 1, 0, 0]
    assert analysis.length_texts() == ["up to 3 s", "3-6 s", "6-12 s", "12-18 s", "over 18 s"]


@st.composite
def scenes(draw):
    def part(kind, *more):
        start = draw(st.integers(0, 40))
        video, label = draw(st.sampled_from("vw")), draw(st.sampled_from("ab"))
        return kind(video, label, start, start + draw(st.integers(1, 12)), *more)

    truths = [GroundTruth("v", "a", 0, 5), GroundTruth("v", "b", 0, 5)]
    truths += [part(GroundTruth) for _ in range(draw(st.integers(0, 6)))]
    scores = draw(st.lists(st.integers(0, 1000), max_size=14, unique=True))
    return truths, [part(Detection, float(score)) for score in scores]


@settings(max_examples=40)
@given(scene=scenes(), tiou=st.sampled_from([0.05, 0.3, 0.5, 0.9]))
def test_counts_add_up_and_agree_with_the_evaluator(scene, tiou):
    truths, found = scene
    analysis = analyse_errors(found, truths, tiou)
    matches = match_detections(found, truths, "anet", (tiou,))
    for row, instances, missed, one in zip(
        analysis.kinds, analysis.instances, analysis.missed, matches.classes, strict=True
    ):
        top = one.verdicts[0, :instances]
        assert row.sum() == len(top)
        assert row[0] == (top == 1).sum()
        assert instances - missed == (one.verdicts[0] == 1).sum()
    about_something = analysis.kinds[:, :-1].sum(axis=0)
    assert analysis.length_kinds.sum(axis=0).tolist() == [*about_something, 0]
    assert analysis.length_instances.sum() == len(truths)
    assert analysis.length_missed.sum() == analysis.missed.sum()


def test_json_and_table_carry_their_definitions():
    analysis = analyse_errors([Detection("v", "a", 0, 10, 1.0)], TRUTHS)
    document = analysis.to_json()
    assert document["tiou"] == 0.5
    assert document["background_tiou"] == BACKGROUND_TIOU
    assert document["all"]["shares"]["true positive"] == 1.0
    assert document["per_class"]["b"]["missed_share"] == 1.0
    assert list(document["per_length"]) == list(LENGTHS)
    assert "errors at tIoU 0.5" in analysis.table()
    assert np.isfinite(document["length_borders_seconds"]).all()


def test_refusals():
    with pytest.raises(EvaluationDataInvalid, match="no instance"):
        analyse_errors([], [])
    with pytest.raises(EvaluationDataInvalid, match="label zz"):
        analyse_errors([Detection("v", "zz", 0, 1, 1.0)], TRUTHS)
    with pytest.raises(ContractViolation, match="tiou"):
        analyse_errors([], TRUTHS, 0.0)
    with pytest.raises(ContractViolation, match="ascending"):
        analyse_errors([], TRUTHS, 0.5, (1.0, 1.0, 2.0, 3.0))
