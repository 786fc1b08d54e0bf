"""Results, evidence and other thresholds over HTTP, from what a real worker computed."""

import csv
import io
import json

import numpy as np
import pytest
import webvtt

from models.exports import EXPORTS

WISH = {"thresholds": [0.2, 0.45, 0.5], "min_raw_score": -2.0, "nms": {"kind": "soft"}}
RECORDED_AT = "2026-11-20T23:30:00+01:00"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_result_in_every_format_and_cut_again(start_service, draw_video):
    service = start_service("--broker", "none", "--device", "cpu")
    video = draw_video(45)  # longer than a window: the evidence has scores that vary over time
    form = {"camera": "dock", "recorded_at": RECORDED_AT}
    plain = service.submit(video, **form, options=json.dumps({"min_raw_score": -2.0}))
    assert service.wait(plain)["status"] == "succeeded", service.read_log()
    get, post = service.client.get, service.client.post

    result = get(f"{plain}/result").raise_for_status().json()
    assert result["segments"]
    assert (result["camera"], result["recorded_at"]) == ("dock", "2026-11-20T22:30:00.000Z")
    read = {
        "csv": lambda text: list(csv.DictReader(io.StringIO(text))),
        "jsonl": lambda text: [json.loads(line) for line in text.splitlines()],
        "webvtt": lambda text: webvtt.from_string(text).captions,
        "activitynet": lambda text: json.loads(text)["results"]["square-45"],
        "labelstudio": lambda text: json.loads(text)[0]["predictions"][0]["result"],
        "fiftyone": lambda text: json.loads(text)["labels"]["square-45"],
        "native": lambda text: json.loads(text)["segments"],
    }
    for name, export in EXPORTS.items():
        answer = get(f"{plain}/result", headers={"Accept": export.media_type}).raise_for_status()
        assert answer.headers["content-type"].split(";")[0] == export.media_type
        assert len(read[name](answer.text)) == len(result["segments"]), name

    # Nothing changed gives the same; a change gives what a worker makes of the same change.
    assert post(f"{plain}/resegment", json={}).raise_for_status().json() == result
    again = service.submit(video, **form, options=json.dumps(WISH))
    assert service.wait(again)["status"] == "succeeded", service.read_log()
    assert not any(one["computed"] for one in service.events(again, "chunk.done"))
    by_worker = get(f"{again}/result").raise_for_status().json()
    at_once = post(f"{plain}/resegment", json=WISH).raise_for_status().json()
    assert at_once == by_worker
    assert at_once["segments"] != result["segments"]

    curves = get(f"{plain}/activations", params={"points": 10}).raise_for_status().json()
    assert (curves["num_steps"], len(curves["seconds"])) == (71, 10)
    assert set(curves["stream_attention"]) == {"rgb", "flow"}
    query = {"format": "npy", "array": "window_scores"}
    scores = np.load(io.BytesIO(get(f"{plain}/activations", params=query).content))
    assert scores.shape == (71, 2)
    assert service.stop() == 0
