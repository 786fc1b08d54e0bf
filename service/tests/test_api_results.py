"""Results over HTTP: every format, the evidence behind them, and segments made again."""

import csv
import io
import json
import os
import re
import subprocess
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import numpy as np
import pytest
import webvtt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from models.evidence_file import write_evidence
from models.exports import EXPORTS
from models.tests.drawn_evidence import CLASSES, evidence_of, native_of
from service.api.rendering import RESULT_TYPES, file_response
from service.jobs.lifecycle import Plan
from service.jobs.queue import TaskQueue
from service.jobs.records import JobRecord
from service.jobs.resegmenting import EvidenceCache
from service.jobs.store import create_engine_for, new_id, transaction
from service.storage import LocalBlobStore, store_activations

LEASE = 60.0
FACTS = {"duration": 9.0, "nominal_fps": 25.0, "vfr": False, "width": 64, "height": 48}


@pytest.fixture
def finished(client):
    """Make a finished job of a result and what is kept of its evidence; return its address."""

    def make(native, evidence=None, key=None, **columns):
        answer = client.post("/v1/jobs", files={"video": ("cam.mp4", b"video")})
        assert answer.status_code == 202
        job_id = answer.json()["id"]
        task = client.queue.claim(owner="w", lease_seconds=LEASE)
        client.queue.complete_plan(task.id, task.token, Plan(1, FACTS, {0}))
        join = client.queue.claim(owner="w", lease_seconds=LEASE)
        if evidence is not None and key is not None:
            client.core.blobs.put_bytes(key, evidence)
        elif evidence is not None:
            key = store_activations(client.core.blobs, job_id, evidence)
        client.queue.complete_join(join.id, join.token, result=native, activations_key=key)
        if columns:
            with transaction(client.core.engine) as session:
                session.execute(update(JobRecord).where(JobRecord.id == job_id).values(**columns))
        return f"/v1/jobs/{job_id}"

    return make


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("", None, "application/json"),
        ("", "*/*", "application/json"),
        ("", "text/csv", "text/csv; charset=utf-8"),
        ("", "application/json;q=0.1, text/*", "text/csv; charset=utf-8"),
        ("", "text/vtt, text/csv;q=0.9", "text/vtt; charset=utf-8"),
        ("", "application/jsonl", "application/x-ndjson"),
        ("", "application/vnd.activitynet+json", "application/vnd.activitynet+json"),
        ("?format=csv", "application/json", "text/csv; charset=utf-8"),
        ("?format=native", "text/csv", "application/json"),
        *((f"?format={name}", "image/png", None) for name in RESULT_TYPES),
    ],
)
def test_results_come_in_the_format_asked_for(finished, client, native, query, accept, media_type):
    headers = {"Accept": accept} if accept else {}
    answer = client.get(finished(native) + "/result" + query, headers=headers)
    assert answer.status_code == 200
    got = answer.headers["content-type"]
    assert media_type is None or got == media_type
    (name,) = (one for one, export in EXPORTS.items() if export.media_type == got.split(";")[0])
    assert answer.text == EXPORTS[name].render(native)
    ending = EXPORTS[name].ending
    assert answer.headers["content-disposition"] == f'inline; filename="cam{ending}"'


def test_every_format_of_the_command_line_is_offered():
    assert list(RESULT_TYPES) == list(EXPORTS)


def test_an_unknown_format_is_refused(finished, client, native):
    address = finished(native)
    refused = client.get(f"{address}/result", headers={"Accept": "image/png"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")
    for part in ("result", "activations"):
        answer = client.get(f"{address}/{part}?format=xml")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_copy_that_is_still_good_is_not_sent_again(finished, client, native):
    address = finished(native) + "/result"
    first = client.get(address)
    for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
        again = client.get(address, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    other = client.get(f"{address}?format=csv", headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("cam 3.csv", 'inline; filename="cam 3.csv"'),
        ('a"; x=1\r\nSet-Cookie: b.csv', 'inline; filename="a__ x_1__Set-Cookie_ b.csv"'),
        ("../../etc/passwd", 'inline; filename="_.._etc_passwd"'),
        ("...", 'inline; filename="result"'),
        ("Tür\U0001f938.csv",
         "inline; filename=\"T_r_.csv\"; filename*=UTF-8''T%C3%BCr_.csv"),
    ],
)  # fmt: skip
def test_file_names_harm_neither_headers_nor_disks(name, header):
    response = file_response(b"", media_type="text/csv", file_name=name)
    assert response.headers["content-disposition"] == header


def test_a_recording_with_a_moment_gets_absolute_times_in_every_format(finished, client, native):
    address = finished(native, recorded_at=datetime(2026, 11, 20, 22, 30, tzinfo=UTC), camera="d")
    result = client.get(f"{address}/result").json()
    assert (result["camera"], result["recorded_at"]) == ("d", "2026-11-20T22:30:00.000Z")
    assert result["segments"][0]["start_time"] == "2026-11-20T22:30:01.000Z"
    rows = list(csv.DictReader(io.StringIO(client.get(f"{address}/result?format=csv").text)))
    assert rows[0]["end_time"] == "2026-11-20T22:30:03.000Z"
    cues = webvtt.from_string(client.get(f"{address}/result?format=webvtt").text).captions
    assert json.loads(cues[0].text)["start_time"] == "2026-11-20T22:30:01.000Z"
    line = client.get(f"{address}/result?format=jsonl").text.splitlines()[0]
    assert json.loads(line)["camera"] == "d"


def test_results_of_releases_that_stored_all_segments_are_still_cut(finished, client, native):
    address = finished(native, options={"min_score": 0.5})
    assert [one["label"] for one in client.get(f"{address}/result").json()["segments"]] == ["walk"]


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.lists(st.sampled_from(CLASSES), unique=True),
        "min_score": st.floats(0, 1),
        "class_threshold": st.floats(0, 1),
        "min_raw_score": st.floats(-2, 2),
        "nms": st.fixed_dictionaries(
            {},
            optional={
                "kind": st.sampled_from(["hard", "soft", "soft_once", "contain"]),
                "threshold": st.floats(0.01, 1),
                "alpha": st.floats(0.01, 10),
            },
        ),
    },
)
CUTS = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5)
KINDS = st.fixed_dictionaries(
    {name: st.booleans() for name in ("own", "windowed", "same", "stretched", "contrast")}
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=st.tuples(KINDS, CUTS, st.integers(0, 2**31)), options=OPTIONS, others=OPTIONS)
def test_with_the_jobs_own_options_the_stored_result_comes_again(
    client, finished, drawn, options, others
):
    kinds, cuts, seed = drawn
    evidence = evidence_of(seed, 30, **kinds)
    if not kinds["own"]:
        options = {**options, "thresholds": cuts}
    stored = native_of(evidence, options)
    address = finished(stored, write_evidence(evidence), options=options)
    assert client.get(f"{address}/result").json() == stored
    assert client.post(f"{address}/resegment", json={}).json() == stored
    changed = client.post(f"{address}/resegment", json=others)
    assert changed.status_code == 200, changed.text
    assert changed.json() == native_of(evidence, {**options, **others})
    undone = client.post(f"{address}/resegment", json=dict.fromkeys(options))
    assert undone.json() == native_of(evidence)
    assert client.get(f"{address}/result").json() == stored


def test_segments_made_again_come_in_every_format(finished, client):
    evidence = evidence_of()
    address = finished(native_of(evidence), write_evidence(evidence))
    wish = {"min_raw_score": -2.0, "labels": [CLASSES[0]]}
    expected = native_of(evidence, wish)
    assert expected["segments"]
    for name, export in EXPORTS.items():
        answer = client.post(f"{address}/resegment?format={name}", json=wish)
        assert answer.text == export.render(expected)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"min_score": 2}, "min_score"),
        ({"class_threshold": "0.5"}, "class_threshold"),
        ({"thresholds": []}, "thresholds"),
        ({"thresholds": [0.5, 1]}, "thresholds"),
        ({"min_raw_score": -3}, "min_raw_score"),
        ({"nms": {"kind": "medium"}}, "nms.kind"),
        ({"nms": {"threshold": 0}}, "nms.threshold"),
        ({"labels": ["flies"]}, "labels"),
        ({"window_overlap": 0.5}, "window_overlap"),
        ({"speed": "fast"}, "speed"),
        ({"treshold": 0.5}, "treshold"),
    ],
)
def test_a_wrong_option_is_refused_by_name(finished, client, body, field):
    evidence = evidence_of()
    address = finished(native_of(evidence), write_evidence(evidence))
    answer = client.post(f"{address}/resegment", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] in {"invalid_request", "option_invalid"}
    assert field in answer.json()["detail"]


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_without_end_is_not_read_into_memory(finished, client, native, announced):
    address = finished(native) + "/resegment"

    def endless():
        for _ in range(5000):
            yield b" " * 10_000

    body = b" " * 50_000_000 if announced else endless()
    answer = client.post(address, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_cut_levels_are_refused_for_a_model_that_proposes_by_itself(finished, client):
    evidence = evidence_of(own=True)
    address = finished(native_of(evidence), write_evidence(evidence))
    answer = client.post(f"{address}/resegment", json={"thresholds": [0.5]})
    assert (answer.status_code, answer.json()["code"]) == (422, "option_invalid")
    assert "thresholds" in answer.json()["detail"]


@pytest.mark.parametrize("kept", ["nothing", "damaged", "json"])
def test_without_usable_evidence_nothing_can_be_made_again(finished, client, native, kept):
    evidence = {"nothing": None, "damaged": b"PK\x03\x04 not", "json": OLD_JSON}[kept]
    key = f"results/{new_id('job')}/activations.json" if kept == "json" else None
    address = finished(native, evidence, key)
    answer = client.post(f"{address}/resegment", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "evidence_missing")
    curves = client.get(f"{address}/activations")
    assert curves.status_code == (200 if kept == "json" else 404)


OLD_JSON = json.dumps(
    {
        "seconds": [0.32, 0.96], "classes": ["walk", "run"],
        "localization": [[0.25, 0.5], [0.75, 1.0]], "scoring": None, "attention": [0.5, 0.125],
        "video_scores": [0.5, 0.25], "window_scores": None, "proposals": None,
    }
).encode()  # fmt: skip


def test_activations_of_earlier_releases_are_still_read(finished, client, native):
    address = finished(native, OLD_JSON, f"results/{new_id('job')}/activations.json")
    known = json.loads(OLD_JSON)
    curves = client.get(f"{address}/activations").json()
    assert curves == {
        **known, "num_steps": 2, "window": None, "thresholds": None, "stream_attention": {}
    }  # fmt: skip
    answer = client.get(f"{address}/activations?format=npy&array=localization")
    assert np.load(io.BytesIO(answer.content)).tolist() == known["localization"]
    answer = client.get(f"{address}/activations", headers={"Accept": "application/x-npz"})
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as arrays:
        assert arrays["seconds"].tolist() == known["seconds"]


def test_plots_are_thinned_so_that_peaks_survive(finished, client):
    evidence = evidence_of(num_snippets=60, windowed=True, own=True)
    address = finished(native_of(evidence), write_evidence(evidence)) + "/activations"
    whole, thin = client.get(address).json(), client.get(f"{address}?points=7").json()
    assert len(whole["seconds"]) == len(whole["localization"]) == whole["num_steps"] == 60
    for name in ("localization", "scoring", "window_scores"):
        full = np.round(getattr(evidence.activations, name).astype(float), 6)
        assert whole[name] == full.tolist()
        assert (len(thin[name]), thin["num_steps"]) == (7, 60)
        assert np.max(thin[name], axis=0).tolist() == full.max(axis=0).tolist()
        assert thin[name][0] == full[:8].max(axis=0).tolist()
    assert thin["seconds"] == sorted(thin["seconds"])
    assert len(thin["proposals"]["raw_scores"]) == 7
    assert max(thin["proposals"]["raw_scores"]) == max(whole["proposals"]["raw_scores"])


@pytest.mark.parametrize("own", [False, True])
def test_a_plot_is_told_where_curves_were_cut(finished, client, own):
    evidence = evidence_of(own=own)
    address = finished(native_of(evidence), write_evidence(evidence)) + "/activations"
    told = client.get(address).json()["thresholds"]
    assert told == (None if own else list(evidence.proposals.thresholds))
    if own:
        return
    options = {"thresholds": [0.25, 0.5]}
    address = finished(native_of(evidence, options), write_evidence(evidence), options=options)
    assert client.get(f"{address}/activations").json()["thresholds"] == [0.25, 0.5]


def test_a_stretch_of_the_video_comes_in_detail(finished, client):
    evidence = evidence_of(num_snippets=400, windowed=True, own=True, streams=True)
    address = finished(native_of(evidence), write_evidence(evidence)) + "/activations"
    seconds = evidence.step_seconds()
    part = client.get(f"{address}?start=100&end=120.5&points=20").json()
    window = part["window"]
    assert (window["start"], window["end"], part["num_steps"]) == (100, 120.5, 400)
    rows = slice(window["first_step"], window["first_step"] + window["num_steps"])
    # Every step in the stretch, and one more on each side.
    assert seconds[rows][0] < 100 <= seconds[rows][1]
    assert seconds[rows][-2] <= 120.5 < seconds[rows][-1]
    for name in ("localization", "scoring", "window_scores"):
        full = np.round(getattr(evidence.activations, name).astype(float), 6)[rows]
        assert len(part[name]) == 20
        assert np.max(part[name], axis=0).tolist() == full.max(axis=0).tolist()
    assert len(part["stream_attention"]["rgb"]) == len(part["seconds"]) == 20
    starts_and_ends = np.array(part["proposals"]["steps"])
    assert np.all((starts_and_ends[:, 1] > rows.start) & (starts_and_ends[:, 0] < rows.stop))
    answer = client.get(f"{address}?start=100&end=120.5&format=npy&array=attention")
    exact = np.load(io.BytesIO(answer.content))
    assert exact.tobytes() == evidence.activations.attention[rows].tobytes()
    answer = client.get(f"{address}?start=100&end=120.5&format=npz")
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as arrays:
        assert arrays["seconds"].tobytes() == seconds[rows].tobytes()


def test_a_stretch_is_cut_to_the_video(finished, client):
    evidence = evidence_of(num_snippets=40, same=True)
    duration = evidence.grid.duration_seconds
    address = finished(native_of(evidence), write_evidence(evidence)) + "/activations"
    whole = client.get(address).json()
    for query in ("start=0", f"end={duration + 5}", f"start=0&end={duration}"):
        part = client.get(f"{address}?{query}").json()
        assert part.pop("window")["end"] == pytest.approx(duration, abs=1e-3)
        assert part == {name: value for name, value in whole.items() if name != "window"}
    tail = client.get(f"{address}?start={duration - 0.01}").json()
    assert tail["window"]["num_steps"] >= 1
    for query in ("start=5&end=5", "start=6&end=5", f"start={duration}", f"start={duration + 1}"):
        answer = client.get(f"{address}?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "option_invalid"), query
    for query in ("start=-1", "start=nan", "end=inf", "end=0", "start=x"):
        answer = client.get(f"{address}?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), query


def test_classes_can_be_chosen(finished, client):
    evidence = evidence_of(own=True)
    address = finished(native_of(evidence), write_evidence(evidence)) + "/activations"
    params = {"label": [CLASSES[2], CLASSES[0]]}
    curves = client.get(address, params=params).json()
    assert curves["classes"] == [CLASSES[0], CLASSES[2]]
    assert len(curves["localization"][0]) == len(curves["video_scores"]) == 2
    assert set(curves["proposals"]["class_index"]) <= {0, 1}
    answer = client.get(address, params={**params, "format": "npy"})
    expected = evidence.activations.localization[:, [0, 2]]
    assert np.array_equal(np.load(io.BytesIO(answer.content)), expected)
    wrong = client.get(address, params={"label": "flies"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "option_invalid")


@pytest.mark.parametrize(
    "name", ["localization", "scoring", "attention", "video_scores", "window_scores", "seconds"]
)
def test_numpy_gets_everything(finished, client, name):
    evidence = evidence_of(windowed=True)
    address = finished(native_of(evidence), write_evidence(evidence)) + "/activations"
    query = {"format": "npy", "array": name}
    answer = client.get(address, params=query)
    assert answer.headers["content-type"] == "application/x-npy"
    expected = evidence.step_seconds() if name == "seconds" else getattr(evidence.activations, name)
    got = np.load(io.BytesIO(answer.content), allow_pickle=False)
    assert (got.dtype, got.tobytes()) == (expected.dtype, expected.tobytes())
    archive = client.get(f"{address}?format=npz").content
    with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
        assert arrays[name].tobytes() == expected.tobytes()
        assert json.loads(arrays["classes"].tobytes()) == list(CLASSES)


def test_what_each_stream_sees_is_told_where_a_head_knows_it(finished, client):
    evidence = evidence_of(streams=True)
    address = finished(native_of(evidence), write_evidence(evidence)) + "/activations"
    curves = client.get(f"{address}?points=5").json()["stream_attention"]
    for stream, values in evidence.activations.stream_attention.items():
        assert max(curves[stream]) == round(float(values.max()), 6)
        answer = client.get(f"{address}?format=npy&array=attention_{stream}")
        assert np.load(io.BytesIO(answer.content)).tobytes() == values.tobytes()


def test_an_array_that_is_not_there_is_not_found(finished, client):
    evidence = evidence_of()
    address = finished(native_of(evidence), write_evidence(evidence)) + "/activations"
    for name in ("window_scores", "attention_rgb"):
        answer = client.get(f"{address}?format=npy&array={name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "result_not_found")


def test_the_cache_holds_what_was_used_last_within_its_bounds():
    pieces = [evidence_of(seed, 60) for seed in range(4)]
    size = len(pieces[0].activations.localization) * 4 * (3 + 3 + 1)
    cache = EvidenceCache(max_bytes=2 * (size + pieces[0].times.ticks.nbytes) + size)
    cache.put("a", pieces[0])
    cache.put("b", pieces[1])
    assert cache.get("a") is pieces[0]
    cache.put("c", pieces[2])
    assert cache.get("b") is None
    assert (cache.get("a"), cache.get("c")) == (pieces[0], pieces[2])
    tiny = EvidenceCache(max_bytes=10)
    tiny.put("a", pieces[0])
    assert tiny.get("a") is None


def test_the_cache_survives_many_threads():
    pieces = {str(seed): evidence_of(seed, 10) for seed in range(8)}
    cache = EvidenceCache(max_bytes=20_000)
    failures = []

    def use(offset):
        for turn in range(300):
            key = str((turn * 7 + offset) % 8)
            found = cache.get(key)
            if found is not None and found is not pieces[key]:
                failures.append(key)
            cache.put(key, pieces[key])

    threads = [threading.Thread(target=use, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert 0 < cache._held_bytes <= 20_000
    assert cache._held_bytes == sum(size for _, size in cache._entries.values())


def test_openapi_describes_every_media_type(client):
    paths = client.get("/openapi.json").json()["paths"]
    result = paths["/v1/jobs/{job_id}/result"]["get"]["responses"]["200"]["content"]
    assert set(result) == {export.media_type for export in EXPORTS.values()}
    assert result["application/json"]["schema"]["$ref"].endswith("/ResultBody")
    again = paths["/v1/jobs/{job_id}/resegment"]["post"]["responses"]["200"]["content"]
    assert set(again) == set(result)
    curves = paths["/v1/jobs/{job_id}/activations"]["get"]["responses"]["200"]["content"]
    assert set(curves) == {"application/json", "application/x-npy", "application/x-npz"}


def test_the_commands_of_the_documentation_work_as_written(live_server, settings, tmp_path):
    host, port = live_server
    address = f"http://{host}:{port}"
    drawn = evidence_of()
    evidence = replace(drawn, activations=replace(drawn.activations, classes=("fall", "wave", "x")))
    made = httpx2.post(f"{address}/v1/jobs", files={"video": ("cam.mp4", b"video")}).json()
    engine = create_engine_for(settings.resolved_database_url)
    queue, blobs = TaskQueue(engine), LocalBlobStore(settings.data_dir)
    task = queue.claim(owner="w", lease_seconds=LEASE)
    queue.complete_plan(task.id, task.token, Plan(1, FACTS, {0}))
    join = queue.claim(owner="w", lease_seconds=LEASE)
    key = store_activations(blobs, made["id"], write_evidence(evidence))
    queue.complete_join(join.id, join.token, result=native_of(evidence), activations_key=key)
    engine.dispose()
    page = Path(__file__).parents[2] / "docs" / "formats.md"
    (commands,) = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    fails_aloud = 'set -euo pipefail; curl() { command curl -fsS "$@"; }\n'
    done = subprocess.run(
        ["bash", "-c", fails_aloud + commands.replace("http://127.0.0.1:8000", address)],
        cwd=tmp_path,
        env={**os.environ, "JOB": made["id"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"segments":' in done.stdout
    assert "WEBVTT" in done.stdout
    assert np.load(tmp_path / "fall.npy", allow_pickle=False).shape == (40, 1)
