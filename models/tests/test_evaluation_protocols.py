"""The three protocols: published vectors, naive oracles, and what must not change a figure."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ContractViolation, EvaluationDataInvalid
from models.evaluation.files import read_ambiguous, read_detections, read_ground_truth
from models.evaluation.matching import match_detections, pairwise_tiou
from models.evaluation.protocols import PROTOCOLS, cliffdiving_as_diving
from models.evaluation.records import ACTIVITYNET_TIOUS, THUMOS_TIOUS, Detection, GroundTruth
from models.evaluation.scoring import evaluate, precision_recall

TIOUS = (0.1, 0.3, 0.5, 0.7)
TRUTH = [GroundTruth("v", "a", 10, 20), GroundTruth("v", "a", 30, 40)]
VECTOR = [
    Detection("v", "a", 9, 21, 0.9),
    Detection("v", "a", 10, 20, 0.5),
    Detection("v", "a", 31, 39, 0.8),
    Detection("v", "a", 60, 70, 0.7),
]


def overlap(one, other) -> float:
    inter = min(one[1], other[1]) - max(one[0], other[0])
    union = max(one[1], other[1]) - min(one[0], other[0])
    return max(inter, 0.0) / union if union > 0 else 0.0


def snippet_overlap(one, other) -> float:
    """As sets of integers, the way the protocol is told."""
    first = set(range(round(one[0] * 25 / 16), round(one[1] * 25 / 16)))
    second = set(range(round(other[0] * 25 / 16), round(other[1] * 25 / 16)))
    return len(first & second) / len(first | second) if first | second else 0.0


def seconds(item) -> tuple[float, float]:
    return item.start_seconds, item.end_seconds


def naive_wtalc(found, truths, tiou, ambiguous):
    found = [
        one
        for one in found
        if not any(v == one.video and snippet_overlap(seconds(one), t) > 0 for v, *t in ambiguous)
    ]
    free, hits = list(truths), []
    for one in sorted(found, key=lambda p: -p.score):
        best = max(
            (t for t in free if t.video == one.video),
            key=lambda t: snippet_overlap(seconds(one), seconds(t)),
            default=None,
        )
        hit = best is not None and snippet_overlap(seconds(one), seconds(best)) >= tiou
        if hit:
            free.remove(best)
        hits.append(hit)
    area, best_precision = 0.0, 0.0
    for rank in range(len(hits), 0, -1):
        best_precision = max(best_precision, sum(hits[:rank]) / rank)
        area += hits[rank - 1] * best_precision / len(truths)
    return area


def naive_evalkit(found, truths, tiou, ambiguous):
    ranked = sorted(found, key=lambda p: (-p.score, p.video))
    hits = set()
    for truth in truths:
        free = [i for i, p in enumerate(ranked) if p.video == truth.video and i not in hits]
        best = max(free, key=lambda i: overlap(seconds(ranked[i]), seconds(truth)), default=None)
        if best is not None and overlap(seconds(ranked[best]), seconds(truth)) > tiou:
            hits.add(best)
    total, num_found, num_counted = 0.0, 0, 0
    for rank, one in enumerate(ranked):
        if rank in hits:
            num_found, num_counted = num_found + 1, num_counted + 1
            total += num_found / num_counted
        elif not any(v == one.video and overlap(seconds(one), t) > 0 for v, *t in ambiguous):
            num_counted += 1
    return total / len(truths)


NAIVE = {"wtalc": naive_wtalc, "evalkit": naive_evalkit}


@st.composite
def scenes(draw, *, rough=True):
    """Truths of one class in two videos, detections with distinct scores, ambiguous stretches.

    Rough times are whole numbers, so that overlaps tie and meet thresholds; fine ones do neither.
    """
    numbers = st.integers(0, 30) if rough else st.floats(0, 30, width=32)

    def interval() -> tuple[float, float]:
        start = draw(numbers)
        length = draw(st.integers(0, 12) if rough else st.floats(0.5, 12, width=32))
        return float(start), float(start) + float(length)

    videos = st.sampled_from("vw")
    truths = [GroundTruth(draw(videos), "a", *interval()) for _ in range(draw(st.integers(1, 5)))]
    scores = draw(st.lists(st.integers(0, 1000), max_size=9, unique=True))
    found = [
        Detection(draw(st.sampled_from("vwx")), "a", *interval(), score=float(s)) for s in scores
    ]
    ambiguous = [(draw(videos), *interval()) for _ in range(draw(st.integers(0, 2)))]
    return truths, found, ambiguous


@pytest.mark.parametrize(
    ("protocol", "expected"), [("anet", 1.0), ("wtalc", 1.0), ("evalkit", 0.5)]
)
def test_the_published_vector(protocol, expected):
    assert evaluate(VECTOR, TRUTH, protocol, (0.5,)).map_at(0.5) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("protocol", "hits"),
    [("anet", [1, 1, 0, 0]), ("wtalc", [1, 1, 0, 0]), ("evalkit", [0, 1, 0, 1])],
)
def test_the_published_vector_hits_by_score(protocol, hits):
    matches = match_detections(VECTOR, TRUTH, protocol, (0.5,))
    assert matches.classes[0].scores.tolist() == [0.9, 0.8, 0.7, 0.5]
    assert matches.classes[0].verdicts[0].tolist() == hits


@pytest.mark.parametrize(("protocol", "expected"), [("anet", 0.5), ("evalkit", 0.0)])
def test_equality_with_the_threshold(protocol, expected):
    half = [Detection("v", "a", 10, 15, 1.0)]
    assert evaluate(half, TRUTH, protocol, (0.5,)).map_at(0.5) == expected


@pytest.mark.parametrize("protocol", sorted(NAIVE))
@settings(max_examples=40)
@given(scene=scenes())
def test_agrees_with_a_naive_evaluator(protocol, scene):
    truths, found, ambiguous = scene
    got = evaluate(found, truths, protocol, TIOUS, ambiguous).average_precision[0]
    expected = [NAIVE[protocol](found, truths, tiou, ambiguous) for tiou in TIOUS]
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@settings(max_examples=40)
@given(scene=scenes(rough=False), seed=st.integers(0, 1000))
def test_the_order_of_the_input_plays_no_part(protocol, scene, seed):
    truths, found, ambiguous = scene
    rng = np.random.Generator(np.random.PCG64(seed))
    shuffled = [found[i] for i in rng.permutation(len(found))]
    # evalkit goes through the instances as they are listed, so only there their order counts.
    listed = truths
    if protocol == "anet":
        listed = [truths[i] for i in rng.permutation(len(truths))]
    one = evaluate(found, truths, protocol, TIOUS, ambiguous).average_precision
    assert evaluate(shuffled, listed, protocol, TIOUS, ambiguous).average_precision == (
        pytest.approx(one)
    )


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@settings(max_examples=40)
@given(scene=scenes())
def test_a_shift_of_time_and_new_names_change_nothing(protocol, scene):
    truths, found, ambiguous = scene
    shift = 16 * 8.0  # whole snippets, exact in binary

    def moved(items):
        return [
            replace(
                item,
                start_seconds=item.start_seconds + shift,
                end_seconds=item.end_seconds + shift,
                label=f"new {item.label}",
            )
            for item in items
        ]

    stretches = [(video, start + shift, end + shift) for video, start, end in ambiguous]
    before = evaluate(found, truths, protocol, TIOUS, ambiguous)
    after = evaluate(moved(found), moved(truths), protocol, TIOUS, stretches)
    assert after.classes == ("new a",)
    assert after.average_precision == pytest.approx(before.average_precision)


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@settings(max_examples=40)
@given(scene=scenes())
def test_average_precision_falls_with_the_threshold_and_stays_in_range(protocol, scene):
    truths, found, _ = scene
    row = evaluate(found, truths, protocol, THUMOS_TIOUS).average_precision[0]
    assert (row >= 0).all()
    assert (row <= 1 + 1e-12).all()
    if len(truths) == 1:
        assert (np.diff(row) <= 1e-12).all()


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_the_truth_itself_is_perfect(protocol):
    truths = [GroundTruth(f"v{i % 3}", "ab"[i % 2], 10 * i, 10 * i + 6) for i in range(12)]
    found = [
        Detection(t.video, t.label, *seconds(t), score=1 / (i + 1)) for i, t in enumerate(truths)
    ]
    assert evaluate(found, truths, protocol, THUMOS_TIOUS).average_map == pytest.approx(1.0)


def test_ambiguous_stretches():
    truth = [GroundTruth("v", "a", 0, 16)]
    hit = Detection("v", "a", 0, 16, 0.5)
    doubtful = Detection("v", "a", 160, 176, 0.9)
    stretch = [("v", 170.0, 200.0), ("elsewhere", 0.0, 1000.0)]
    for protocol, expected in (("anet", 0.5), ("wtalc", 1.0), ("evalkit", 1.0)):
        got = evaluate([doubtful, hit], truth, protocol, (0.5,), stretch).map_at(0.5)
        assert got == expected, protocol
    # A detection that found its instance is kept by evalkit and removed by wtalc all the same.
    over = [("v", 15.0, 18.0)]
    assert evaluate([hit], truth, "evalkit", (0.5,), over).map_at(0.5) == 1.0
    assert evaluate([hit], truth, "wtalc", (0.5,), over).map_at(0.5) == 0.0


def test_a_class_without_surviving_detection_does_not_empty_the_figure():
    truths = [GroundTruth("v", "a", 0, 16), GroundTruth("v", "b", 160, 176)]
    found = [Detection("v", "a", 0, 16, 0.5), Detection("v", "b", 160, 176, 0.5)]
    result = evaluate(found, truths, "wtalc", (0.5,), [("v", 160.0, 170.0)])
    assert result.average_precision[:, 0].tolist() == [1.0, 0.0]


def test_snippets_round_halves_to_even():
    # 1.6 s is snippet 2.5, rounded to 2; 4.8 s is 7.5, rounded to 8.
    truth = [GroundTruth("v", "a", 1.6, 4.8)]
    found = [Detection("v", "a", 2 * 0.64, 8 * 0.64, 1.0)]
    assert evaluate(found, truth, "wtalc", (1.0,)).map_at(1.0) == 1.0


def test_equal_scores_rank_by_input_or_by_video():
    truth = [GroundTruth("a", "x", 0, 10)]
    found = [Detection("b", "x", 0, 10, 0.5), Detection("a", "x", 0, 10, 0.5)]
    assert evaluate(found, truth, "anet", (0.5,)).map_at(0.5) == 0.5
    assert evaluate(found, truth, "evalkit", (0.5,)).map_at(0.5) == 1.0


def test_cliffdiving_counts_as_diving_on_demand():
    found = [Detection("v", "CliffDiving", 0, 1, 0.5), Detection("v", "Diving", 3, 4, 0.4)]
    assert [one.label for one in cliffdiving_as_diving(found)] == [
        "CliffDiving",
        "Diving",
        "Diving",
    ]


def test_intervals_without_length_overlap_nothing():
    spans = np.array([[1.0, 1.0], [0.0, 2.0]])
    assert pairwise_tiou(spans, spans).tolist() == [[0.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("found", "truths", "words"),
    [
        ([Detection("v", x, 0, 1, 1.0) for x in "zyxwvut"], TRUTH, r"labels t, u, v, w, x and 2"),
        ([Detection("v", "a", 2, 1, 1.0)], TRUTH, "prediction of a in video v .* ends before"),
        ([Detection("v", "a", 0, np.inf, 1.0)], TRUTH, "time that is no number"),
        ([Detection("v", "a", 0, 1, np.nan)], TRUTH, "score that is no number"),
        ([], [GroundTruth("v", "a", 2, 1)], "ground truth instance of a in video v"),
        ([], [], "no instance"),
    ],
)
def test_refuses_what_cannot_be_scored(found, truths, words):
    with pytest.raises(EvaluationDataInvalid, match=words):
        evaluate(found, truths)


@pytest.mark.parametrize(
    "wrong", [{"protocol": "P-ANET"}, {"tious": ()}, {"tious": (0.0,)}, {"tious": (1.5,)}]
)
def test_refuses_settings_that_mean_nothing(wrong):
    with pytest.raises(ContractViolation):
        evaluate(VECTOR, TRUTH, **wrong)


def test_every_output_names_its_protocol():
    for name, protocol in PROTOCOLS.items():
        result = evaluate(VECTOR, TRUTH, name, ACTIVITYNET_TIOUS)
        assert result.table().startswith(f"{protocol.title}: 1 videos, 2 instances")
        assert result.to_json()["protocol"] == name
        assert list(result.to_json()["map"])[:2] == ["0.5", "0.55"]


def test_curves_end_at_the_recall_that_was_reached():
    matches = match_detections(VECTOR, TRUTH, "anet", (0.5,))
    precision, recall = precision_recall(matches.classes[0])
    assert precision[0].tolist() == pytest.approx([1, 1, 2 / 3, 1 / 2])
    assert recall[0].tolist() == [0.5, 1, 1, 1]


def test_real_ambiguous_file_loses_no_row_and_moves_published_figures(real_clips):
    kit = real_clips / "annotations" / "thumos14" / "evalkit_groundtruth"
    stpn = real_clips / "predictions" / "stpn"
    if not (kit / "Ambiguous_test.txt").is_file() or not (stpn / "gt.json").is_file():
        pytest.skip("the folder has no THUMOS14 annotations or predictions")
    stretches = read_ambiguous(kit / "Ambiguous_test.txt")
    assert len(stretches) == 99
    assert stretches[0] == ("video_test_0000278", 0.0, 1.4)
    found, truths = read_detections(stpn / "results.json"), read_ground_truth(stpn / "gt.json")
    for protocol in ("wtalc", "evalkit"):
        with_doubt = evaluate(found, truths, protocol, THUMOS_TIOUS, stretches)
        without = evaluate(found, truths, protocol, THUMOS_TIOUS)
        assert with_doubt.average_map > without.average_map
