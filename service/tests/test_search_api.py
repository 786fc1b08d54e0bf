"""GET /v1/segments over HTTP: rows, formats, facets, refusals."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest

from service.jobs.commands import NewJob, create_job
from service.jobs.lifecycle import Plan
from service.jobs.videos import NewContent, NewVideo

RECORDED = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture
def finish(client, native):
    """Make a job that succeeds with the two segments; returns its id."""

    def make(content=b"video", name="cam.mp4", result=native, **fields):
        stored = NewContent((content.hex() * 64)[:64], len(content), f"videos/{content.hex()}")
        video = NewVideo(name=name, content=stored, kept=True)
        request = NewJob(video=video, model="kinetag-demo@1", **fields)
        job_id = create_job(client.core, request)[0].job.id
        while (task := client.queue.claim(owner="w", lease_seconds=60.0)) is not None:
            if task.kind == "plan":
                client.queue.complete_plan(task.id, task.token, Plan(1, {"duration": 9.0}, {0}))
            else:
                client.queue.complete_join(task.id, task.token, result=result)
        return job_id

    return make


def test_a_row_tells_what_was_found_where_and_when(client, finish):
    job_id = finish(camera="dock", tag="store-12", recorded_at=RECORDED)
    page = client.get("/v1/segments?label=walk").json()
    (segment,) = page["segments"]
    job = client.get(f"/v1/jobs/{job_id}").json()
    created_at = datetime.fromisoformat(segment.pop("created_at"))
    assert abs((created_at - datetime.fromisoformat(job["completed_at"])).total_seconds()) < 0.001
    assert segment == {
        "id": job_id.replace("job", "seg") + "_0",
        "job": job_id,
        "video": {"id": job["video"]["id"], "name": "cam.mp4", "duration": 9.0},
        "label": "walk",
        "score": 0.9,
        "raw_score": 0.9,
        "start": 1.0,
        "end": 3.0,
        "start_ms": 1000,
        "end_ms": 3000,
        "start_time": "2026-03-01T09:00:01.000Z",
        "end_time": "2026-03-01T09:00:03.000Z",
        "camera": "dock",
        "tag": "store-12",
        "model": "kinetag-demo@1",
    }
    assert page["next_page_token"] is None


FOUND = [
    ("", 4),
    ("label=walk", 2),
    ("label=walk&label=run", 4),
    ("label=WALK", 0),
    ("min_score=0.9", 2),
    ("min_score=0.9000001", 0),
    ("max_score=0.4", 2),
    ("min_score=0.4&max_score=0.4", 2),
    ("camera=dock", 2),
    ("camera=dock&camera=gate&label=run", 2),
    ("tag=x", 2),
    ("since=2026-03-01T09:00:01Z", 2),
    ("since=2026-03-01T10:00:01%2B01:00", 2),
    ("since=2026-03-01T09:00:01.001Z", 1),
    ("until=2026-03-01T09:00:05Z", 1),
    ("since=2026-03-01T09:00:00Z&until=2026-03-01T09:00:06Z&camera=gate", 0),
    ("min_duration=2&max_duration=2", 4),
    ("min_duration=2.001", 0),
    ("order=score&tag=x", 2),
    ("job={job}", 2),
    ("video={video}&label=run", 1),
    ("job={job}&video=vid_other", 0),
    ("job={job}&camera=gate", 0),
]


def test_filters_are_understood(client, finish):
    job_id = finish(camera="dock", tag="x", recorded_at=RECORDED)
    finish(b"other", camera="gate")
    video_id = client.get(f"/v1/jobs/{job_id}").json()["video"]["id"]
    for query, count in FOUND:
        answer = client.get(f"/v1/segments?{query.format(job=job_id, video=video_id)}")
        assert answer.status_code == 200, answer.text
        assert (query, len(answer.json()["segments"])) == (query, count)


REFUSED = {
    "colour=red": "colour",
    "labels=walk": "labels",
    "label=": "label",
    "min_score=1.5": "min_score",
    "min_score=nan": "min_score",
    "min_score=0.5&max_score=0.4": "min_score is above max_score",
    "min_duration=3&max_duration=2": "min_duration is above max_duration",
    "min_duration=-1": "min_duration",
    "min_duration=1e300": "min_duration",
    "since=2026-03-01T09:00:00": "since",
    "since=1772355600": "since",
    "since=2026-03-02T00:00:00Z&until=2026-03-01T00:00:00Z": "since is not before until",
    "order=label": "order",
    "format=pdf": "format",
    "page_size=0": "page_size",
    "page_size=201": "page_size is at most 200",
    "format=csv&page_size=10001": "page_size",
    "page_token=abc": "page_token",
    "page_token=" + "a" * 300: "page_token",
    "camera=%00": "camera",
    "&".join(f"label=l{number}" for number in range(101)): "label",
}


@pytest.mark.parametrize("query", REFUSED)
def test_what_makes_no_sense_is_refused_with_a_sentence(client, query):
    answer = client.get(f"/v1/segments?{query}")
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_request"
    assert REFUSED[query] in answer.json()["detail"]


def follow(client, address):
    """All pages of a file, as whoever follows its links reads them."""
    while address is not None:
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        yield answer
        link = answer.links.get("next")
        address = None if link is None else link["url"]


EVIL = '=HYPERLINK("http://evil")'


def test_csv_is_whole_and_runs_in_no_spreadsheet(client, finish, native):
    evil = {**native["segments"][0], "label": "@SUM(1)"}
    finish(name=f"{EVIL},\r\n.mp4", camera="+gate", tag="-1", recorded_at=RECORDED,
           result={**native, "segments": [evil, native["segments"][1]]})  # fmt: skip
    finish(b"other")
    pages = list(follow(client, "/v1/segments?format=csv&page_size=3"))
    assert [page.headers["content-type"] for page in pages] == ["text/csv; charset=utf-8"] * 2
    rows = [row for page in pages for row in csv.DictReader(io.StringIO(page.text, newline=""))]
    assert len(rows) == 4
    assert rows[1]["label"] == "'@SUM(1)"
    assert rows[1]["video"].startswith("'=HYPERLINK")
    assert (rows[1]["camera"], rows[1]["tag"]) == ("'+gate", "'-1")
    assert (rows[1]["start_time"], rows[2]["start_time"]) == ("2026-03-01T09:00:01.000Z", "")
    assert not any(cell.startswith(tuple("=+-@")) for row in rows for cell in row.values())


def test_json_lines_are_the_rows(client, finish):
    finish(camera="dock\u2028")
    finish(b"other", recorded_at=RECORDED)
    native = client.get("/v1/segments?order=score").json()["segments"]
    pages = list(follow(client, "/v1/segments?format=jsonl&order=score&page_size=3"))
    assert len(pages) == 2
    assert [json.loads(line) for page in pages for line in page.text.splitlines()] == native
    assert all(page.text.isascii() for page in pages)


def test_grafana_is_told_of_whatever_has_a_time(client, finish):
    finish(camera="dock", tag="x", recorded_at=RECORDED)
    finish(b"other")
    assert client.get("/v1/segments?format=grafana&label=run").json() == [
        {
            "time": 1772355605000,
            "timeEnd": 1772355607000,
            "tags": ["run", "dock", "x"],
            "text": "run 0.40",
        }
    ]
    assert client.get("/v1/segments?format=grafana&label=none").json() == []


def test_facets_count_what_there_is(client, finish):
    assert client.get("/v1/segments/facets").json() == {"labels": [], "cameras": [], "tags": []}
    finish(camera="dock", tag="x")
    finish(b"other", camera="dock")
    gone = finish(b"third", camera="gate", tag="y")
    client.delete(f"/v1/jobs/{gone}")
    assert client.get("/v1/segments/facets").json() == {
        "labels": [{"value": "run", "count": 2}, {"value": "walk", "count": 2}],
        "cameras": [{"value": "dock", "count": 4}],
        "tags": [{"value": "x", "count": 2}],
    }
