"""Results rendered as native JSON, ActivityNet JSON and CSV."""

import csv
import io
import json
from dataclasses import replace

import pytest

from models.exports import EXPORTS, to_activitynet, to_csv, to_native
from models.types import LocalizationResult, MediaWarning, Segment, VideoFacts

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
