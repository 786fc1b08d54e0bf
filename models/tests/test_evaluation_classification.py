"""Video-level average precision against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.errors import EvaluationDataInvalid
from models.evaluation.classification import video_average_precision, video_map


def naive(scores, truths):
    """Precision at each threshold, weighted by the recall it adds."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        claimed = scores >= threshold
        gained = (claimed & truths).sum() / truths.sum()
        total += (gained - recall) * (claimed & truths).sum() / claimed.sum()
        recall = gained
    return total


@settings(max_examples=40)
@given(
    arrays(np.float64, (9, 3), elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9])),
    arrays(np.bool_, (9, 3)),
)
def test_agrees_with_the_definition(scores, labels):
    got = video_average_precision(scores, labels)
    for column in range(3):
        if labels[:, column].any():
            expected = naive(scores[:, column], labels[:, column])
            assert got[column] == pytest.approx(expected)
        else:
            assert np.isnan(got[column])


@settings(max_examples=40)
@given(
    arrays(np.float64, (7, 2), elements=st.floats(-5, 5)),
    arrays(np.bool_, (7, 2)).filter(lambda labels: labels.any()),
    st.permutations(range(7)),
)
def test_order_and_scale_play_no_part(scores, labels, order):
    scores = scores.astype(np.float32).astype(np.float64)
    before = video_map(scores, labels)
    assert video_map(scores[order], labels[order]) == pytest.approx(before)
    assert video_map(4 * scores, labels) == pytest.approx(before)


def test_known_values():
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]])
    assert video_map(labels.astype(np.float32), labels) == 1.0
    assert video_average_precision(np.zeros((4, 3)), labels)[:2].tolist() == [0.25, 0.5]
    # The third class has no video and is left out.
    assert video_map(np.zeros((4, 3)), labels) == pytest.approx(0.375)
    ranked = np.array([[0.9], [0.8], [0.7], [0.6]])
    truths = np.array([[0], [1], [0], [1]])
    assert video_map(ranked, truths) == pytest.approx((1 / 2 + 2 / 4) / 2)


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3)), "No video has any class"),
        (np.zeros((2, 3)), np.ones((3, 2)), "same shape"),
        (np.zeros(3), np.ones(3), "same shape"),
        (np.full((2, 1), np.nan), np.ones((2, 1)), "no finite number"),
    ],
)
def test_refusals(scores, labels, words):
    with pytest.raises(EvaluationDataInvalid, match=words):
        video_map(scores, labels)
