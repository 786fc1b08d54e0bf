"""/v1/batches over HTTP: what can be asked for, what is refused, what comes back."""

import io
import json
import zipfile

import pytest

from models.exports import to_activitynet
from service.batches.feeding import FeedLimits, feed_batches
from service.batches.unpacking import Unpacker
from service.jobs.store import new_id
from service.settings import Settings


@pytest.fixture
def archive_folder(tmp_path):
    folder = tmp_path / "archive"
    (folder / "cam").mkdir(parents=True)
    for name in ("a.mp4", "cam/a.mp4", "cam/b.mkv"):
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def settings(settings, archive_folder):
    given = {**settings.model_dump(), "path_roots": (str(archive_folder),)}
    return Settings(**given)


@pytest.fixture
def feed(client, settings):
    """Do what the sweeper would."""
    limits = FeedLimits.of(settings)
    unpacker = Unpacker(client.core, limits, settings.temporary_folder, lambda: 10**9)

    def feed():
        feed_batches(client.core, limits)
        while unpacker.step():
            pass
        feed_batches(client.core, limits)

    return feed


@pytest.fixture
def run(client, run_job, feed):
    """Feed and work until nothing is left to do."""

    def run(rounds=3):
        for _ in range(rounds):
            feed()
            run_job(num_chunks=1)
        feed()

    return run


@pytest.fixture
def queue(client):
    return client.queue


def _zip(*members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


def _post(client, document, **headers):
    return client.post("/v1/batches", json=document, headers=headers)


def test_a_list_of_paths_runs_to_its_combined_results(client, archive_folder, run):
    items = [
        {"path": str(archive_folder / "a.mp4"), "recorded_at": "2026-11-20T09:00:00+01:00"},
        {"path": str(archive_folder / "cam/a.mp4"), "name": "yard/a.mp4", "camera": "yard"},
        {"path": str(archive_folder / "absent.mp4")},
    ]
    answer = _post(client, {"items": items, "tag": "night", "options": {"min_score": 0.5}})
    assert answer.status_code == 202
    batch = answer.json()
    here = answer.headers["location"]
    assert here == batch["links"]["self"] == f"/v1/batches/{batch['id']}"
    assert (batch["status"], batch["num_items"], batch["queue"]) == ("processing", 3, "batch")
    assert batch["counts"]["waiting"] == 3
    run()
    batch = client.get(here).json()
    assert (batch["status"], batch["progress"]) == ("finished", 1.0)
    assert (batch["counts"]["succeeded"], batch["counts"]["failed"]) == (2, 1)

    failed = client.get(batch["links"]["failures"]).json()["items"]
    assert [(item["name"], item["error"]["code"]) for item in failed] == [
        ("absent.mp4", "path_refused")
    ]
    items = client.get(batch["links"]["items"], params={"page_size": 2}).json()
    assert [item["name"] for item in items["items"]] == ["a.mp4", "yard/a.mp4"]
    rest = client.get(
        batch["links"]["items"], params={"page_token": items["next_page_token"]}
    ).json()
    assert [item["position"] for item in rest["items"]] == [2]
    job = client.get(items["items"][1]["links"]["job"]).json()
    assert (job["tag"], job["queue"], job["camera"]) == ("night", "batch", "yard")

    single = client.get(items["items"][1]["links"]["result"]).json()
    combined = client.get(f"{here}/result")
    assert combined.headers["content-type"] == "application/json"
    document = combined.json()
    (segments,) = to_activitynet(single)["results"].values()
    assert len(segments) == 1, "the score asked for did not hold"
    assert document["results"]["yard/a"] == segments
    assert document["external_data"]["used"] is True
    rows = client.get(f"{here}/result", params={"format": "csv"}).text.splitlines()
    assert rows[0] == "video,label,start,end,score,start_time,end_time"
    assert rows[1] == "a.mp4,walk,1.0,3.0,0.9,2026-11-20T08:00:01.000Z,2026-11-20T08:00:03.000Z"
    assert rows[2] == "yard/a.mp4,walk,1.0,3.0,0.9,,"
    lines = client.get(f"{here}/result", params={"format": "jsonl"}).text.splitlines()
    assert [json.loads(line)["video"] for line in lines] == ["a.mp4", "yard/a.mp4"]
    natives = client.get(f"{here}/result", params={"format": "native"}).text.splitlines()
    assert json.loads(natives[1])["result"]["segments"] == single["segments"]


def test_a_folder_and_an_archive(client, archive_folder, run):
    folder = _post(client, {"folder": str(archive_folder), "pattern": ["*.mp4"]})
    assert folder.status_code == 202
    assert folder.json()["status"] == "preparing"
    content = _zip(("x/a.mp4", b"\0\0\0\x18ftypisom"), ("x/bad.txt", b"plain text is no video"))
    archive = client.post(
        "/v1/batches", files={"archive": ("videos.zip", content)}, data={"tag": "zip"}
    )
    assert archive.status_code == 202, archive.text
    run()
    folder = client.get(folder.headers["location"]).json()
    assert (folder["status"], folder["counts"]["succeeded"]) == ("finished", 2)
    archive = client.get(archive.headers["location"]).json()
    assert (archive["counts"]["succeeded"], archive["counts"]["failed"]) == (1, 1)
    (failed,) = client.get(archive["links"]["failures"]).json()["items"]
    assert failed["error"]["code"] == "archive_refused"


def test_an_archive_that_was_uploaded_before(client, run):
    content = _zip(("a.mp4", b"\0\0\0\x18ftypisom"))
    video = client.post("/v1/videos", files={"video": ("videos.zip", content)}).json()
    answer = _post(client, {"zip_video_id": video["id"]})
    assert answer.status_code == 202, answer.text
    run()
    assert client.get(answer.headers["location"]).json()["counts"]["succeeded"] == 1


def test_the_same_request_again_is_the_same_batch(client):
    key = {"Idempotency-Key": "once"}
    document = {"items": [{"url": "http://example.com/a.mp4"}]}
    first = _post(client, document, **key)
    assert _post(client, document, **key).json()["id"] == first.json()["id"]
    other = _post(client, {**document, "tag": "x"}, **key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    content = _zip(("a.mp4", b"\0\0\0\x18ftypisom"))
    made = [
        client.post(
            "/v1/batches",
            files={"archive": ("videos.zip", content)},
            headers={"Idempotency-Key": "archive"},
        )
        for _ in range(2)
    ]
    assert made[0].json()["id"] == made[1].json()["id"]
    stored = [key for key, _ in client.core.blobs.keys("videos")]
    assert len(stored) == 1, "the archive is stored twice"
    assert len(client.get("/v1/batches").json()["batches"]) == 2


def test_cancel_retry_delete(client, archive_folder, feed):
    here = _post(client, {"folder": str(archive_folder)}).headers["location"]
    feed()
    canceled = client.post(f"{here}/cancel")
    assert canceled.status_code == 202
    feed()
    assert client.get(here).json()["status"] == "canceled"
    retried = client.post(f"{here}/retry")
    assert (retried.status_code, retried.json()["retried"]) == (202, 3)
    feed()
    assert client.get(here).json()["counts"]["open"] == 3
    assert client.delete(here).status_code == 202
    assert client.get(here).json()["code"] == "batch_not_found"
    feed()
    assert client.get("/v1/jobs").json()["jobs"] == []


BAD = [
    ({}, 422, "invalid_request"),
    ({"items": []}, 422, "invalid_request"),
    ({"items": [{"url": "http://example.com/a.mp4"}], "folder": "/x"}, 422, "invalid_request"),
    ({"items": [{"url": "http://example.com/a.mp4", "path": "/x"}]}, 422, "invalid_request"),
    ({"items": [{"url": "http://127.0.0.1/a.mp4"}]}, 422, "url_refused"),
    ({"items": [{"url": "file:///etc/passwd"}]}, 422, "url_refused"),
    ({"items": [{"url": "http://example.com/a.mp4"}], "model": "none"}, 422, "model_unknown"),
    (
        {"items": [{"url": "http://example.com/a.mp4"}], "options": {"wrong": 1}},
        422,
        "option_invalid",
    ),
    ({"items": [{"video_id": "vid_00000000000000000000000000"}]}, 422, "invalid_request"),
    ({"items": [{"url": "http://example.com/a.mp4", "name": "a\nb"}]}, 422, "invalid_request"),
    ({"items": [{"video_id": "\0"}]}, 422, "invalid_request"),
    ({"items": [{"path": "/archive/a\0b.mp4"}]}, 422, "invalid_request"),
    (
        {"items": [{"path": "/a.mp4", "recorded_at": "0001-01-01T00:00:00+14:00"}]},
        422,
        "invalid_request",
    ),
    ({"folder": "/etc"}, 422, "path_refused"),
    ({"folder": "/archive\0"}, 422, "path_refused"),
    ({"zip_video_id": "vid_00000000000000000000000000"}, 404, "video_not_found"),
    ({"items": [{"url": "http://example.com/a.mp4"}], "webhook": "ftp://x"}, 422, "url_refused"),
    ({"items": [{"url": "http://example.com/a.mp4"}], "surplus": 1}, 422, "invalid_request"),
]


@pytest.mark.parametrize(("document", "status", "code"), BAD)
def test_what_cannot_be_used_is_refused_with_a_sentence(client, document, status, code):
    answer = _post(client, document)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert problem["detail"].endswith((".", "?"))
    assert client.get("/v1/batches").json()["batches"] == []


def test_bodies_that_are_no_batch(client):
    broken = client.post("/v1/batches", content=b"{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, broken.json()["code"]) == (422, "invalid_request")
    text = client.post("/v1/batches", content=b"x", headers={"Content-Type": "text/plain"})
    assert (text.status_code, text.json()["code"]) == (415, "media_type_unsupported")
    no_zip = client.post("/v1/batches", files={"archive": ("a.zip", b"no archive at all")})
    assert (no_zip.status_code, no_zip.json()["code"]) == (422, "archive_refused")
    wrong_field = client.post("/v1/batches", files={"video": ("a.zip", _zip())})
    assert (wrong_field.status_code, wrong_field.json()["code"]) == (422, "invalid_request")
    for address in (f"/v1/batches/{new_id('batch')}", "/v1/batches/none"):
        for answer in (
            client.get(address),
            client.get(f"{address}/items"),
            client.get(f"{address}/result"),
            client.post(f"{address}/cancel"),
            client.post(f"{address}/retry"),
            client.delete(address),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "batch_not_found")
