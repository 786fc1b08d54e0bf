"""The quick way of cutting curves is the plain one, to the last bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import Alignment
from models.evidence import make_segments
from models.localize import segments
from models.localize.oic import running_sums
from models.localize.proposals import Upsampler, runs_above, runs_above_each, upsample_linear
from models.overrides import LocalizeOverrides
from models.tests.drawn_evidence import evidence_of


@settings(max_examples=150, deadline=None)
@given(
    num_snippets=st.integers(1, 5000),
    factor=st.integers(1, 31),
    align=st.sampled_from(["center", "start"]),
    seed=st.integers(0, 9),
)
def test_samples_are_the_same_bits(num_snippets, factor, align, seed):
    rng = np.random.default_rng(seed)
    upsample = Upsampler(num_snippets, factor, align)
    for _ in range(2):  # memory is used again
        sequence = rng.random(num_snippets).astype(np.float32)
        plain = upsample_linear(sequence[:, None], factor, align)[:, 0]
        assert upsample(sequence, "a").tobytes() == plain.tobytes()


def test_roles_do_not_share_memory():
    upsample = Upsampler(50, 4, "center")
    first = upsample(np.zeros(50), "first")
    upsample(np.ones(50), "second")
    assert not first.any()


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]), max_size=60),
    thresholds=st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9]), max_size=6),
)
def test_runs_of_many_thresholds_are_those_of_each(values, thresholds):
    sequence = np.array(values, np.float64)
    found = runs_above_each(sequence, thresholds)
    for runs, threshold in zip(found, thresholds, strict=True):
        plain = runs_above(sequence, threshold)
        assert (runs.dtype, runs.tolist()) == (plain.dtype, plain.tolist())


@given(st.lists(st.floats(0, 1), max_size=50))
def test_sums_are_those_one_after_the_other(values):
    room = np.full(len(values) + 1, np.nan)
    sums = running_sums(np.array(values), room)
    plain = np.concatenate([[0.0], np.cumsum(np.array(values, np.float64))])
    assert sums.tobytes() == plain.tobytes()


class PlainUpsampler:
    """The formula as it is written down, for every sequence anew."""

    def __init__(self, num_snippets, factor, align):
        self.factor, self.align = factor, align

    def __call__(self, sequence, role=""):
        return upsample_linear(sequence[:, None], self.factor, self.align)[:, 0]

    def room(self, length, role):
        return np.empty(length)


@pytest.mark.parametrize("kinds", [
    {}, {"windowed": True}, {"same": True}, {"stretched": True}, {"calibrated": True},
    {"contrast": True}, {"variable": True}, {"nms": "soft"}, {"nms": "soft_once"},
])  # fmt: skip
@pytest.mark.parametrize("seed", range(4))
def test_segments_are_the_same(monkeypatch, kinds, seed):
    drawn = evidence_of(seed, num_snippets=150, **kinds)
    align: Alignment = "start" if seed % 2 else "center"
    proposals = replace(drawn.proposals, align=align, attention_thresholds=(0.4, 0.2))
    evidence = replace(drawn, proposals=proposals)
    overrides = LocalizeOverrides(thresholds=(0.5, 0.2, 0.7, 0.2), class_threshold=0.1)
    quick = make_segments(evidence), make_segments(evidence, overrides)
    assert quick[1]
    monkeypatch.setattr(segments, "Upsampler", PlainUpsampler)
    monkeypatch.setattr(
        segments, "runs_above_each", lambda values, cuts: [runs_above(values, cut) for cut in cuts]
    )
    assert (make_segments(evidence), make_segments(evidence, overrides)) == quick
