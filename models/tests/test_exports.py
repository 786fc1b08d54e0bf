"""Results rendered as native JSON, ActivityNet JSON and CSV."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from models.config import ProposalSettings
from models.exports import (
    EXPORTS,
    activations_from_json,
    activations_to_json,
    to_activitynet,
    to_csv,
    to_native,
)
from models.localize.segments import localize_activations
from models.timegrid import TimeGrid
from models.types import (
    Activations,
    HeadProposals,
    LocalizationResult,
    MediaWarning,
    Segment,
    VideoFacts,
)

FACTS = VideoFacts("cam 3.mp4", "ab" * 32, 60.0000004, 29.97002997, True, 640, 360, 1798, "h264")
LATE = Segment("wave", 0.8, 1.2, 41.28, 44.4799999, 1237, 1333)
EARLY = Segment("fall", 0.0, -0.1, 3.0, 5.5, 90, 165)


@pytest.fixture
def result() -> LocalizationResult:
    return LocalizationResult(
        video=FACTS,
        model="kinetag-demo@1",
        recipe_digest="0123456789abcdef",
        computed_with={"torch": "2.12.1", "flow": "native"},
        segments=(LATE, EARLY),
        labels_seen={"fall": 0.2, "wave": 0.97},
        warnings=(MediaWarning("frames_lost", "Some frames were lost.", 12.5),),
    )


def test_native_has_exactly_the_promised_fields(result):
    native = to_native(result)
    assert list(native) == [
        "version",
        "video",
        "model",
        "speed",
        "recipe",
        "computed_with",
        "segments",
        "labels_seen",
        "warnings",
    ]
    assert native["video"] == {
        "name": "cam 3.mp4",
        "sha256": "ab" * 32,
        "duration": 60.0,
        "nominal_fps": 29.97003,
        "vfr": True,
        "width": 640,
        "height": 360,
    }
    assert native["segments"][1] == {
        "label": "wave",
        "score": 0.8,
        "start": 41.28,
        "end": 44.48,
        "start_ms": 41280,
        "end_ms": 44480,
        "start_frame": 1237,
        "end_frame": 1333,
        "raw_score": 1.2,
    }
    assert native["warnings"] == [
        {"code": "frames_lost", "message": "Some frames were lost.", "seconds": 12.5}
    ]


def test_native_orders_segments_by_time_and_labels_by_score(result):
    native = to_native(result)
    assert [segment["label"] for segment in native["segments"]] == ["fall", "wave"]
    assert list(native["labels_seen"]) == ["wave", "fall"]


def test_every_format_renders_an_empty_answer(result):
    native = to_native(replace(result, segments=(), labels_seen={}))
    for _, render in EXPORTS.values():
        assert render(native).endswith("\n")
    assert to_activitynet(native)["results"] == {"cam 3": []}


def test_activitynet_has_the_three_keys_its_evaluator_insists_on(result):
    document = json.loads(EXPORTS["activitynet"][1](to_native(result)))
    assert set(document) == {"version", "results", "external_data"}
    assert document["results"]["cam 3"][0] == {
        "label": "fall",
        "score": 0.0,
        "segment": [3.0, 5.5],
    }


def test_csv_reads_back_and_runs_no_formula(result):
    hostile = replace(result, video=replace(FACTS, name='=cmd|"calc",x\n.mp4'))
    rows = list(csv.DictReader(io.StringIO(to_csv(to_native(hostile)))))
    assert [row["label"] for row in rows] == ["fall", "wave"]
    assert rows[0]["video"] == '\'=cmd|"calc",x\n.mp4'


def test_native_is_one_line_whatever_the_name(result):
    text = EXPORTS["native"][1](to_native(replace(result, video=replace(FACTS, name="a\nb\u2028"))))
    assert text.count("\n") == 1
    assert json.loads(text)["video"]["name"] == "a\nb\u2028"


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("windowed", [True, False])
@pytest.mark.parametrize("same", [True, False])
def test_stored_activations_make_the_same_segments_again(own, windowed, same):
    rng = np.random.default_rng(0)
    curve = rng.random((30, 2)).astype(np.float32)
    ends = np.sort(rng.uniform(0, 30, (9, 2)), axis=1)
    proposals = HeadProposals(rng.integers(0, 2, 9), ends, rng.random(9))
    known = Activations(
        curve,
        curve if same else rng.random((30, 2)).astype(np.float32),
        np.array([0.7, 0.4], np.float32),
        curve[:, 0],
        ("a", "b"),
        rng.random((30, 2)).astype(np.float32) if windowed else None,
        proposals if own else None,
    )
    document = json.loads(json.dumps(activations_to_json(known), allow_nan=False))
    assert (document["scoring"] is None) == same
    again, grid = activations_from_json(document), TimeGrid(25.0, 16, 16, 30 * 0.64)
    kinds = [ProposalSettings()]
    if own:
        kinds += [
            ProposalSettings(source="head"),
            ProposalSettings(source="head", score="contrast"),
        ]
    else:
        assert again.proposals is None
    for settings in kinds:
        found = localize_activations(known, grid, settings)
        assert found
        assert localize_activations(again, grid, settings) == found
    assert again.attention.tolist() == known.attention.tolist()
