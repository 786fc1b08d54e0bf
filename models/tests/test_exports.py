"""Results rendered in every format and read back by what reads it."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.files import read_detections
from models.evaluation.records import Detection
from models.evidence import LocalizationResult
from models.exports import (
    EXPORTS,
    selected,
    stamped,
    to_activitynet,
    to_csv,
    to_jsonl,
    to_label_studio,
    to_native,
    to_webvtt,
)
from models.overrides import LocalizeOverrides
from models.types import MediaWarning, Segment, VideoFacts

FACTS = VideoFacts("cam 3.mp4", "ab" * 32, 60.0000004, 29.97002997, True, 640, 360, 1798, "h264")
LATE = Segment("wave", 0.8, 1.2, 41.28, 44.4799999, 1237, 1333)
CONSTANT = replace(FACTS, nominal_fps=25.0, variable_frame_rate=False)
RECORDED_AT = datetime(2026, 11, 21, 0, 30, tzinfo=timezone(timedelta(hours=2)))
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
    for name, export in EXPORTS.items():
        text = export.render(native)
        assert text == "" if name == "jsonl" else text.endswith("\n")
    assert to_activitynet(native)["results"] == {"cam 3": []}


def test_activitynet_has_the_three_keys_its_evaluator_insists_on(result):
    document = json.loads(EXPORTS["activitynet"].render(to_native(result)))
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
    text = EXPORTS["native"].render(
        to_native(replace(result, video=replace(FACTS, name="a\nb\u2028")))
    )
    assert text.count("\n") == 1
    assert json.loads(text)["video"]["name"] == "a\nb\u2028"


HOSTILE = (
    'a --> b', 'line\nbreak\r\n\r\nNOTE', '\U0001f938 <c>&amp;</c>', '"quoted",comma', "=1+1",
    "\u2028\u2029\x85", "\\u003e", "</script>",
)  # fmt: skip


def hostile_native(result):
    segments = tuple(
        replace(EARLY, label=label, start_seconds=float(at), end_seconds=at + 0.5)
        for at, label in enumerate(HOSTILE)
    )
    return to_native(replace(result, segments=segments))


def test_jsonl_holds_one_self_contained_segment_a_line(result):
    native = stamped(hostile_native(result), RECORDED_AT, "dock")
    text = EXPORTS["jsonl"].render(native)
    assert text.endswith("\n")
    assert len(text.splitlines()) == len(HOSTILE), "also readers that know Unicode see one line"
    for line, segment in zip(text.splitlines(), native["segments"], strict=True):
        assert json.loads(line) == {
            "video": "cam 3.mp4",
            "video_sha256": "ab" * 32,
            "model": "kinetag-demo@1",
            "camera": "dock",
            **segment,
        }


def test_webvtt_is_read_back_by_its_parser_whatever_the_labels(result):
    native = hostile_native(result)
    captions = webvtt.from_string(EXPORTS["webvtt"].render(native)).captions
    assert [json.loads(caption.text) for caption in captions] == native["segments"]
    assert [caption.start for caption in captions[:2]] == ["00:00:00.000", "00:00:01.000"]
    assert [caption.end for caption in captions[:2]] == ["00:00:00.500", "00:00:01.500"]


def test_webvtt_cues_are_never_empty_and_know_hours(result):
    short = replace(EARLY, start_seconds=100 * 3600 + 62.0001, end_seconds=100 * 3600 + 62.0002)
    text = EXPORTS["webvtt"].render(to_native(replace(result, segments=(short,))))
    assert "100:01:02.000 --> 100:01:02.001" in text
    assert EXPORTS["webvtt"].render(to_native(replace(result, segments=()))) == "WEBVTT\n"


@given(st.lists(st.text(max_size=20), max_size=5))
def test_no_label_breaks_a_text_format(labels):
    segments = tuple(
        Segment(label, 0.5, 0.5, float(at), at + 0.5, at, at + 1) for at, label in enumerate(labels)
    )
    native = to_native(LocalizationResult(FACTS, "m@1", "r", {}, segments, {}, ()))
    captions = webvtt.from_string(to_webvtt(native)).captions
    assert [json.loads(caption.text)["label"] for caption in captions] == labels
    lines = to_jsonl(native).splitlines()
    assert [json.loads(line)["label"] for line in lines] == labels
    rows = list(csv.DictReader(io.StringIO(to_csv(native), newline="")))
    assert [row["label"].removeprefix("'") for row in rows] == [
        one.removeprefix("'") for one in labels
    ]


def test_activitynet_goes_through_our_own_evaluator(result, tmp_path):
    path = tmp_path / "result.json"
    native = stamped(to_native(result), RECORDED_AT)
    path.write_text(EXPORTS["activitynet"].render(native))
    assert read_detections(path) == [
        Detection("cam 3", "fall", 3.0, 5.5, 0.0),
        Detection("cam 3", "wave", 41.28, 44.48, 0.8),
    ]


def test_label_studio_counts_frames_from_one_and_includes_the_last(result):
    (task,) = to_label_studio(to_native(replace(result, video=CONSTANT)))
    assert task["data"] == {"video": "cam 3.mp4", "fps": 25.0}
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("kinetag-demo@1", 0.8)
    assert [region["value"] for region in prediction["result"]] == [
        {"ranges": [{"start": 91, "end": 165}], "timelinelabels": ["fall"]},
        {"ranges": [{"start": 1238, "end": 1333}], "timelinelabels": ["wave"]},
    ]


def test_label_studio_frames_of_a_variable_rate_are_time_times_rate(result):
    video = replace(CONSTANT, variable_frame_rate=True)
    (task,) = to_label_studio(to_native(replace(result, video=video)))
    ranges = [one["value"]["ranges"][0] for one in task["predictions"][0]["result"]]
    assert ranges == [{"start": 76, "end": 138}, {"start": 1033, "end": 1112}]


def test_label_studio_tasks_have_the_published_shape(result):
    (task,) = to_label_studio(hostile_native(result))
    for region in task["predictions"][0]["result"]:
        assert set(region) == {"id", "from_name", "to_name", "type", "value", "score"}
        assert (region["from_name"], region["to_name"]) == ("actions", "video")
        assert region["type"] == "timelinelabels"
        assert set(region["value"]) == {"ranges", "timelinelabels"}
        (span,) = region["value"]["ranges"]
        assert 1 <= span["start"] <= span["end"]


def test_label_studio_accepts_it(result):
    label_interface = pytest.importorskip(
        "label_studio_sdk.label_interface", reason="Label Studio's SDK is not installed"
    )
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    (config,) = re.findall(r"```xml\n(.*?)```", page, re.DOTALL)
    interface = label_interface.LabelInterface(config)
    (task,) = to_label_studio(to_native(result))
    assert interface.validate_prediction(task["predictions"][0], return_errors=True) == []
    (wrong,) = to_label_studio(hostile_native(result))
    assert interface.validate_prediction(wrong["predictions"][0], return_errors=True)


def test_fiftyone_supports_count_from_one_and_include_the_last(result):
    document = json.loads(EXPORTS["fiftyone"].render(stamped(to_native(result), RECORDED_AT)))
    fall, wave = document["labels"]["cam 3"]
    assert (fall["label"], fall["support"], fall["confidence"]) == ("fall", [91, 165], 0.0)
    assert (wave["label"], wave["support"], wave["confidence"]) == ("wave", [1238, 1333], 0.8)
    assert wave["attributes"]["start_time"] == "2026-11-20T22:30:41.280Z"


def test_fiftyone_imports_it(result, tmp_path):
    importers = pytest.importorskip(
        "fiftyone.utils.data.importers", reason="FiftyOne is not installed"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cam 3.mp4").touch()
    (tmp_path / "labels.json").write_text(EXPORTS["fiftyone"].render(to_native(result)))
    importer = importers.FiftyOneTemporalDetectionDatasetImporter(dataset_dir=str(tmp_path))
    with importer:
        ((path, _, found, _),) = list(importer)
    assert path == str(tmp_path / "data" / "cam 3.mp4")
    assert [(one.label, one.support, one.confidence) for one in found.detections] == [
        ("fall", [91, 165], 0.0),
        ("wave", [1238, 1333], 0.8),
    ]


def test_a_recording_with_a_moment_has_absolute_times(result):
    native = stamped(to_native(result), RECORDED_AT, "dock")
    assert (native["camera"], native["recorded_at"]) == ("dock", "2026-11-20T22:30:00.000Z")
    assert [segment["start_time"] for segment in native["segments"]] == [
        "2026-11-20T22:30:03.000Z",
        "2026-11-20T22:30:41.280Z",
    ]
    assert native["segments"][1]["end_time"] == "2026-11-20T22:30:44.480Z"
    rows = list(csv.DictReader(io.StringIO(to_csv(native))))
    assert rows[0]["start_time"] == "2026-11-20T22:30:03.000Z"
    item = to_activitynet(native)["results"]["cam 3"][0]
    assert item["end_time"] == "2026-11-20T22:30:05.500Z"
    assert stamped(to_native(result), None) == to_native(result)


def test_labels_and_scores_choose_what_is_returned(result):
    native = to_native(result)
    wanted = selected(native, LocalizeOverrides(labels=("wave",)))
    assert [segment["label"] for segment in wanted["segments"]] == ["wave"]
    assert selected(native, LocalizeOverrides(min_score=0.9))["segments"] == []
    assert selected(native, LocalizeOverrides()) == native
