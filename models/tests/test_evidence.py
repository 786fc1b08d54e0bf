"""Evidence: a file that keeps every bit, and segments that come out of it the same again."""

import io
import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import EvidenceInvalid
from models.evidence import labels_seen, make_segments
from models.evidence_file import array_bytes, read_evidence, write_evidence
from models.overrides import LocalizeOverrides, NmsOverrides
from models.presentation import PresentationTimes
from models.tests.drawn_evidence import CLASSES, evidence_of

KINDS = st.fixed_dictionaries(
    {
        name: st.booleans()
        for name in (
            "own", "windowed", "same", "stretched", "calibrated", "contrast", "variable"
        )
    }
    | {"nms": st.sampled_from(["hard", "soft", "soft_once", "contain"])}
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(KINDS, st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_a_stored_result_comes_out_again_bit_for_bit(kinds, seed, num_snippets):
    known = evidence_of(seed, num_snippets, **kinds)
    content = write_evidence(known)
    again = read_evidence(content)
    assert make_segments(again) == make_segments(known)
    assert labels_seen(again) == labels_seen(known)
    wishes = LocalizeOverrides(
        class_threshold=0.1, min_raw_score=-2.0, nms=NmsOverrides("soft_once", 0.3)
    )
    assert make_segments(again, wishes) == make_segments(known, wishes)
    assert write_evidence(again) == content


def test_every_array_and_setting_is_kept():
    known = evidence_of(own=True, windowed=True, calibrated=True, variable=True, streams=True)
    again = read_evidence(write_evidence(known))
    assert (again.grid, again.proposals, again.calibration) == (
        known.grid,
        known.proposals,
        known.calibration,
    )
    assert again.times.time_base == known.times.time_base
    assert again.activations.classes == CLASSES
    for name in ("localization", "scoring", "video_scores", "attention", "window_scores"):
        mine, theirs = getattr(again.activations, name), getattr(known.activations, name)
        assert mine.dtype == theirs.dtype
        assert mine.tobytes() == theirs.tobytes()
    assert list(again.activations.stream_attention) == ["rgb", "flow"]
    for stream, values in again.activations.stream_attention.items():
        assert values.tobytes() == known.activations.stream_attention[stream].tobytes()
    assert again.times.ticks.tolist() == known.times.ticks.tolist()


def test_numpy_opens_it_without_pickle_and_finds_what_the_docs_name():
    content = write_evidence(evidence_of(own=True, windowed=True))
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        assert set(arrays.files) == {
            "header", "localization", "scoring", "attention", "video_scores", "window_scores",
            "seconds", "frame_steps", "proposal_class_index", "proposal_steps",
            "proposal_raw_scores",
        }  # fmt: skip
        assert json.loads(arrays["header"].tobytes())["format"] == 1
        assert len(arrays["seconds"]) == len(arrays["localization"]) == 40


def test_a_constant_frame_rate_costs_next_to_nothing():
    hour = replace(
        evidence_of(), times=PresentationTimes(Fraction(1001, 30000), np.arange(108_000))
    )
    assert len(write_evidence(hour)) - len(write_evidence(evidence_of())) < 1000


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damage_is_noticed(data):
    content = bytearray(write_evidence(evidence_of(own=True)))
    known = make_segments(read_evidence(bytes(content)))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    try:
        found = make_segments(read_evidence(bytes(content)))
    except EvidenceInvalid:
        return
    assert found == known  # the flip hit a byte that means nothing, such as a date


def test_another_release_is_named():
    with pytest.raises(EvidenceInvalid, match="format 2"):
        read_evidence(_with_format(write_evidence(evidence_of()), 2))


def _with_format(content, number):
    target = io.BytesIO()
    with np.load(io.BytesIO(content)) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    header = {**json.loads(kept["header"].tobytes()), "format": number}
    kept["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(target, **kept)
    return target.getvalue()


def test_frames_of_segments_are_those_on_screen():
    evidence = evidence_of(variable=True)
    seconds = evidence.times.ticks * float(evidence.times.time_base)
    for segment in make_segments(evidence):
        assert seconds[segment.start_frame] <= segment.start_seconds + 1e-3
        assert segment.start_frame < segment.end_frame <= len(seconds)
        assert seconds[segment.end_frame - 1] < segment.end_seconds + 1e-3


def test_no_segments_no_frames_to_ask_for():
    evidence = evidence_of()
    assert make_segments(evidence, LocalizeOverrides(class_threshold=1.0)) == ()


def test_an_array_alone_is_an_npy_file():
    array = np.arange(6.0).reshape(2, 3).T
    assert np.array_equal(np.load(io.BytesIO(array_bytes(array)), allow_pickle=False), array)
