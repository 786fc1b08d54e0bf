"""Timelines as pictures over HTTP: what they show, that they are inert, who may have them."""

import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sqlalchemy import update

from models.evidence_file import write_evidence
from models.plots.palette import CLASS_COLORS, NUM_SLOTS, color_slots
from models.plots.sheet_style import style_source
from models.plots.svg import dark_style
from models.tests.drawn_evidence import CLASSES, evidence_of, native_of
from service.jobs.lifecycle import Plan
from service.jobs.queue import TaskQueue
from service.jobs.records import JobRecord, VideoRecord
from service.jobs.store import create_engine_for, new_id, transaction
from service.storage import LocalBlobStore, store_activations

LEASE = 60.0
SVG = "{http://www.w3.org/2000/svg}"
COLORS = Path(__file__).parents[1] / "web" / "timeline" / "colors.js"
HOSTILE = '<script>alert("x")</script>\u202e&.mp4'


@pytest.fixture
def finished(client):
    """Make a finished job; return its address."""

    def make(evidence=None, name="cam.mp4", strip=None, native=None, **columns):
        answer = client.post("/v1/jobs", files={"video": (name, b"video")})
        job_id = answer.json()["id"]
        task = client.queue.claim(owner="w", lease_seconds=LEASE)
        facts = {"duration": 25.4, "nominal_fps": 25.0, "vfr": False, "width": 64, "height": 48}
        client.queue.complete_plan(task.id, task.token, Plan(1, facts, {0}))
        join = client.queue.claim(owner="w", lease_seconds=LEASE)
        drawn = evidence or evidence_of()
        result = native or native_of(drawn)
        result["video"]["name"] = name
        key = None
        if evidence is not None:
            key = store_activations(client.core.blobs, job_id, write_evidence(evidence))
        client.queue.complete_join(join.id, join.token, result=result, activations_key=key)
        with transaction(client.core.engine) as session:
            if columns:
                session.execute(update(JobRecord).where(JobRecord.id == job_id).values(**columns))
            if strip is not None:
                key = f"thumbnails/{new_id('vid')}"
                client.core.blobs.put_bytes(key, strip)
                shape = {"tile_width": 16, "tile_height": 9, "columns": 2, "count": 2,
                         "seconds": [5.0, 15.0]}  # fmt: skip
                values = {"thumbnails_key": key, "facts": {**facts, "thumbnails": shape}}
                session.execute(update(VideoRecord).values(**values))
        return f"/v1/jobs/{job_id}/timeline"

    return make


def jpeg():
    buffer = io.BytesIO()
    Image.new("RGB", (32, 9), (200, 40, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


def parsed(answer):
    assert answer.status_code == 200
    return ET.fromstring(answer.text)  # noqa: S314 - from the service under test


def test_a_finished_job_has_a_picture(finished, client):
    evidence = evidence_of()
    address = finished(evidence, strip=jpeg(), camera="dock", recorded_at=None)
    answer = client.get(address + ".svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["content-disposition"] == 'inline; filename="cam.mp4.timeline.svg"'
    root = parsed(answer)
    assert root.get("width") == "1200"
    words = [one.text for one in root.iter(SVG + "text")]
    assert {"cam.mp4", "walk"} <= set(words)
    assert any("dock" in text for text in words)
    hints = [one.find(SVG + "title").text for one in root.iter(SVG + "rect") if len(one)]
    assert len(hints) == len(native_of(evidence)["segments"]) > 0
    assert len(list(root.iter(SVG + "polyline"))) == len(CLASSES) + 1
    assert len(list(root.iter(SVG + "image"))) == 1
    picture = client.get(address + ".png?width=700&scale=1.5&theme=dark")
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size[0] == 1050


def test_nothing_in_a_picture_runs_or_loads(finished, client):
    address = finished(evidence_of(), name=HOSTILE)
    answer = client.get(address + ".svg")
    assert "<script" not in answer.text
    root = parsed(answer)
    assert root.find(SVG + "title").text.startswith("Timeline of <script>")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert style_source(root.find(SVG + "style").text) in policy
    assert style_source(dark_style()) in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    named = answer.headers["content-disposition"]
    assert named.startswith('inline; filename="')
    assert named.count('"') == 2


def test_what_is_drawn_can_be_chosen(finished, client):
    address = finished(evidence_of(), strip=jpeg())
    root = parsed(client.get(address + ".svg?curves=false&thumbnails=false&theme=light"))
    known = {one.tag.removeprefix(SVG) for one in root.iter()}
    assert known == {"svg", "title", "desc", "rect", "line", "text"}
    root = parsed(client.get(address + ".svg", params={"label": CLASSES[0], "width": 360}))
    assert len(list(root.iter(SVG + "polyline"))) == 1
    root = parsed(client.get(address + ".svg?width=900&height=700"))
    assert (root.get("width"), root.get("height")) == ("900", "700")
    dark = client.get(address + ".svg?theme=dark").text
    assert "<style" not in dark


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_copy_that_is_still_good_is_not_sent_again(finished, client, ending):
    address = f"{finished(evidence_of())}.{ending}"
    first = client.get(address)
    again = client.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(f"{address}?width=500", headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("width=319", "invalid_request"),
        ("width=4097", "invalid_request"),
        ("height=9", "invalid_request"),
        ("theme=blue", "invalid_request"),
        ("label=flies", "option_invalid"),
    ],
)
@pytest.mark.parametrize("ending", ["svg", "png"])
def test_impossible_wishes_are_refused(finished, client, ending, query, code):
    answer = client.get(f"{finished(evidence_of())}.{ending}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_a_picture_has_a_largest_size(finished, client):
    address = finished(evidence_of())
    for query in ("width=4096&height=4096&scale=2", "scale=5", "scale=nan"):
        answer = client.get(f"{address}.png?{query}")
        assert answer.status_code == 422
    large = client.get(f"{address}.png?width=4096&height=2160&curves=false")
    assert Image.open(io.BytesIO(large.content)).size == (4096, 2160)


def test_without_evidence_the_segments_are_shown(finished, client):
    address = finished(None)
    root = parsed(client.get(address + ".svg"))
    assert not list(root.iter(SVG + "polyline"))
    assert [one for one in root.iter(SVG + "rect") if len(one)]


def test_jobs_without_a_result_have_no_picture(client):
    job = client.post("/v1/jobs", files={"video": ("cam.mp4", b"video")}).json()["id"]
    answer = client.get(f"/v1/jobs/{job}/timeline.svg")
    assert (answer.status_code, answer.json()["code"]) == (409, "result_not_ready")
    answer = client.get(f"/v1/jobs/{new_id('job')}/timeline.png")
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


def test_a_recording_of_a_known_moment_shows_the_time_of_day(finished, client):
    evidence = evidence_of()
    native = {**native_of(evidence)}
    address = finished(evidence, native=native)
    moment = "2026-11-20T09:00:00+00:00"
    job = client.post(
        "/v1/jobs", files={"video": ("cam.mp4", b"video")}, data={"recorded_at": moment}
    )
    assert job.status_code == 202
    with transaction(client.core.engine) as session:
        record = session.get(JobRecord, job.json()["id"])
        values = {"recorded_at": record.recorded_at}
        session.execute(update(JobRecord).values(**values))
    words = [one.text for one in parsed(client.get(address + ".svg")).iter(SVG + "text")]
    assert "09:00:10" in words


NODE = """
import {CLASS_COLORS, colorSlots} from "MODULE";
const sets = JSON.parse(await new Response(process.stdin).text());
const answer = sets.map((labels) => Object.fromEntries(colorSlots(labels)));
console.log(JSON.stringify({colors: CLASS_COLORS, answer}));
"""


@pytest.fixture(scope="module")
def label_sets():
    sets = []

    @settings(max_examples=120, database=None, derandomize=True)
    @given(st.lists(st.text(min_size=1, max_size=12), max_size=40))
    def collect(labels):
        sets.append(labels)

    collect()
    return sets


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_web_element_has_the_same_colours(label_sets):
    script = NODE.replace("MODULE", COLORS.as_uri())
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        input=json.dumps(label_sets).encode(), capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["colors"] == {theme: list(colors) for theme, colors in CLASS_COLORS.items()}
    for labels, slots in zip(label_sets, told["answer"], strict=True):
        shown = {label: slot % NUM_SLOTS for label, slot in slots.items()}
        assert shown == color_slots(labels)


def test_the_document_tells_of_the_pictures(client):
    paths = client.get("/openapi.json").json()["paths"]
    for ending, media_type in (("svg", "image/svg+xml"), ("png", "image/png")):
        operation = paths[f"/v1/jobs/{{job_id}}/timeline.{ending}"]["get"]
        assert media_type in operation["responses"]["200"]["content"]
        names = {one["name"] for one in operation["parameters"]}
        assert {"width", "height", "theme", "label", "curves", "thumbnails"} <= names


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_commands_of_the_documentation_work_as_written(live_server, settings, tmp_path):
    drawn = evidence_of()
    evidence = replace(drawn, activations=replace(drawn.activations, classes=("fall", "wave", "x")))
    address = f"http://127.0.0.1:{live_server[1]}"
    made = httpx2.post(f"{address}/v1/jobs", files={"video": ("cam.mp4", b"video")}).json()
    job, items = made["id"], [{"video_id": made["video"]["id"]}]
    batch = httpx2.post(f"{address}/v1/batches", json={"items": items}).json()
    engine = create_engine_for(settings.resolved_database_url)
    queue, blobs = TaskQueue(engine), LocalBlobStore(settings.data_dir)
    task = queue.claim(owner="w", lease_seconds=LEASE)
    queue.complete_plan(task.id, task.token, Plan(1, {}, {0}))
    join = queue.claim(owner="w", lease_seconds=LEASE)
    key = store_activations(blobs, job, write_evidence(evidence))
    queue.complete_join(join.id, join.token, result=native_of(evidence), activations_key=key)
    engine.dispose()
    page = (Path(__file__).parents[2] / "docs" / "pictures.md").read_text()
    blocks = [one for one in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "curl" in one]
    assert len(blocks) == 2
    for block in blocks:
        command = block.replace("http://127.0.0.1:8000", address).replace("curl", "curl -sS -f")
        environment = {"PATH": "/usr/bin:/bin", "JOB": job, "BATCH": batch["id"]}
        run = ["sh", "-ec", command]
        subprocess.run(run, cwd=tmp_path, env=environment, check=True, timeout=60)
    assert (tmp_path / "timeline.svg").read_text().startswith("<svg ")
    picture = Image.open(io.BytesIO((tmp_path / "timeline.png").read_bytes()))
    assert picture.width == 2400
    assert (tmp_path / "sheet.html").read_text().startswith("<!doctype html>")
