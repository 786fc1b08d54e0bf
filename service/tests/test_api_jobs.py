import json
import threading
import time

import pytest

from service.jobs.lifecycle import Plan
from service.storage import store_activations

LEASE = 60.0
VIDEO = bytes(range(256)) * 40


def upload(client, content=VIDEO, name="cam.mp4", headers=None, **fields):
    return client.post(
        "/v1/jobs", files={"video": (name, content, "video/mp4")}, data=fields, headers=headers
    )


def stored_files(client):
    root = client.core.features_folder.parent
    return sorted(
        str(path.relative_to(root))
        for folder in ("tmp", "videos", "results", "features")
        for path in (root / folder).rglob("*")
        if path.is_file()
    )


def finish(client, native, evidence=None):
    task = client.queue.claim(owner="w", lease_seconds=LEASE)
    facts = {"duration": 9.0, "nominal_fps": 25.0, "vfr": False, "width": 64, "height": 48}
    client.queue.complete_plan(task.id, task.token, Plan(1, facts, {0}))
    join = client.queue.claim(owner="w", lease_seconds=LEASE)
    key = store_activations(client.core.blobs, join.job_id, evidence) if evidence else None
    client.queue.complete_join(join.id, join.token, result=native, activations_key=key)


def test_an_upload_becomes_a_durable_job(client):
    answer = upload(client, tag="store-12", options='{"labels": ["walk"], "min_score": 0.5}')
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert int(answer.headers["retry-after"]) > 0
    assert (job["status"], job["stage"], job["progress"], job["error"]) == (
        "queued",
        None,
        0.0,
        None,
    )
    assert (job["model"], job["tag"], job["labels"]) == ("kinetag-demo@1", "store-12", ["walk"])
    assert job["options"] == {"labels": ["walk"], "min_score": 0.5}
    assert job["created_at"].endswith("Z")
    video = job["video"]
    assert (video["name"], video["size_bytes"], video["duration"]) == ("cam.mp4", len(VIDEO), None)
    assert stored_files(client) == [f"videos/{video['id']}"]
    task = client.queue.claim(owner="w", lease_seconds=LEASE)
    with client.core.blobs.open_local(task.video_key) as path:
        assert path.read_bytes() == VIDEO
    assert task.video_sha256 == video["sha256"]
    assert client.get(answer.headers["location"]).json()["status"] == "processing"


def test_a_finished_job_shows_facts_metrics_and_links(client, native):
    job_id = upload(client).json()["id"]
    finish(client, native)
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert (job["status"], job["progress"], job["eta_seconds"]) == ("succeeded", 1.0, None)
    assert (job["video"]["duration"], job["video"]["vfr"], job["video"]["width"]) == (
        9.0,
        False,
        64,
    )
    assert job["metrics"]["num_chunks"] == 1
    assert job["metrics"]["run_seconds"] >= 0
    assert job["links"]["cancel"] is None
    assert job["links"]["activations"] is None
    assert client.get(job["links"]["result"]).json() == native


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ("{}", ["walk", "run"]),
        ('{"min_score": 0.5}', ["walk"]),
        ('{"labels": ["run"]}', ["run"]),
        ('{"labels": ["fall"], "min_score": 0}', []),
        ("", ["walk", "run"]),
    ],
)
def test_options_choose_what_is_returned(client, native, options, labels):
    job_id = upload(client, options=options).json()["id"]
    finish(client, native)
    result = client.get(f"/v1/jobs/{job_id}/result").json()
    assert [segment["label"] for segment in result["segments"]] == labels
    assert result["labels_seen"] == native["labels_seen"]


def test_results_of_unfinished_and_failed_jobs_are_problems(client):
    job_id = upload(client).json()["id"]
    for part in ("result", "activations"):
        early = client.get(f"/v1/jobs/{job_id}/{part}")
        assert (early.status_code, early.json()["code"]) == (409, "result_not_ready")
    task = client.queue.claim(owner="w", lease_seconds=LEASE)
    client.queue.fail(task.id, task.token, code="empty_video", message="No frame.", retryable=False)
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert job["error"] == {"code": "empty_video", "message": "No frame."}
    late = client.get(f"/v1/jobs/{job_id}/result")
    assert (late.status_code, late.json()["code"]) == (404, "result_not_found")
    assert "No frame." in late.json()["detail"]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"model": "nothing"}, 422, "model_unknown"),
        ({"model": "kinetag-demo@7"}, 422, "model_unknown"),
        ({"model": "../../etc"}, 422, "model_unknown"),
        ({"options": "{"}, 422, "invalid_request"),
        ({"options": "[]"}, 422, "invalid_request"),
        ({"options": '{"unheard": 1}'}, 422, "option_invalid"),
        ({"options": '{"min_score": 2}'}, 422, "option_invalid"),
        ({"options": '{"min_score": NaN}'}, 422, "option_invalid"),
        ({"options": '{"labels": ["fly"]}'}, 422, "option_invalid"),
        ({"options": '{"labels": ["\\ud800"]}'}, 422, "option_invalid"),
        ({"options": '{"labels": []}'}, 422, "option_invalid"),
        ({"options": '{"nms": {"kind": "hardest"}}'}, 422, "option_invalid"),
        ({"options": '{"nms": {"sigma": 1}}'}, 422, "option_invalid"),
        ({"options": '{"window_overlap": 0.95}'}, 422, "option_invalid"),
        ({"options": '{"thresholds": [1.0]}'}, 422, "option_invalid"),
        ({"options": '{"class_threshold": "0.5"}'}, 422, "option_invalid"),
        ({"options": "[" * 100_000}, 413, "too_large"),
        ({"options": "[" * 60_000}, 422, "invalid_request"),
        ({"queue": "express"}, 422, "invalid_request"),
        ({"camera": "a\nb"}, 422, "invalid_request"),
        ({"recorded_at": "2026-03-01T09:00:00"}, 422, "invalid_request"),
        ({"recorded_at": "0001-01-01T00:00:00+14:00"}, 422, "invalid_request"),
        ({"recorded_at": "yesterday"}, 422, "invalid_request"),
        ({"webhook": "http://127.0.0.1/hook"}, 422, "url_refused"),
        ({"webhook": "ftp://example.org/"}, 422, "url_refused"),
        ({"webhook": '{"url": "http://example.org/", "event": 1}'}, 422, "invalid_request"),
        ({"webhook": '{"url": "http://example.org/", "events": ["x"]}'}, 422, "invalid_request"),
        ({"webhook": "{"}, 422, "invalid_request"),
        ({"tag": "x" * 256}, 422, "invalid_request"),
        ({"tag": "a\x00b"}, 422, "invalid_request"),
        ({"unheard": "x"}, 422, "invalid_request"),
        ({"tag": "x" * 70_000}, 413, "too_large"),
        ({f"field{n}": "x" for n in range(17)}, 413, "too_large"),
    ],
)
def test_refused_forms_leave_nothing(client, fields, status, code):
    answer = upload(client, **fields)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert stored_files(client) == []
    assert client.get("/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"other": ("a.mp4", b"x")}, "invalid_request"),
        ([("video", ("a.mp4", b"x")), ("video", ("b.mp4", b"x"))], "invalid_request"),
        ({"video": ("a.mp4", b"")}, "empty_video"),
        ({"video": ("a.mp4", b"x" * 3_000_001)}, "too_large"),
    ],
)
def test_refused_files_leave_nothing(client, files, code):
    answer = client.post("/v1/jobs", files=files)
    assert answer.json()["code"] == code
    assert stored_files(client) == []


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("text/plain", b"{}", "media_type_unsupported"),
        ("", b"{}", "media_type_unsupported"),
        ("multipart/form-data", b"x", "media_type_unsupported"),
        ("multipart/mixed; boundary=b", b"x", "media_type_unsupported"),
        ("multipart/form-data; boundary=" + "b" * 500, b"x", "media_type_unsupported"),
        ("multipart/form-data; boundary=b", b"", "invalid_request"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", "invalid_request"),
        ("multipart/form-data; boundary=b", b"garbage", "invalid_request"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="video"; filename="a"\r\n\r\nbytes',
            "invalid_request",
        ),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n", "invalid_request"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\n" + b"X-Long: " + b"x" * 10_000 + b"\r\n\r\n\r\n--b--\r\n",
            "invalid_request",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="tag"\r\n\r\n\xff\r\n--b--\r\n',
            "invalid_request",
        ),
    ],
)
def test_broken_bodies_are_problems(client, content_type, body, code):
    answer = client.post("/v1/jobs", content=body, headers={"Content-Type": content_type})
    assert answer.json()["code"] == code
    assert answer.headers["content-type"] == "application/problem+json"
    assert stored_files(client) == []


def test_hostile_names_are_only_shown(client):
    names = {
        "../../etc/passwd": "passwd",
        "C:\\videos\\a.mp4": "a.mp4",
        "..": "video",
        "\u202egpm.exe": "gpm.exe",
        "x" * 300 + ".mp4": "x" * 251 + ".mp4",
        "<script>alert(1)</script>.mp4": "script>.mp4",
        "ünïcödé 影片.mp4": "ünïcödé 影片.mp4",
    }
    for name, shown in names.items():
        job = upload(client, name=name).json()
        assert job["video"]["name"] == shown
    assert all(name.startswith("videos/vid_") for name in stored_files(client))


def test_jobs_are_listed_in_pages(client):
    ids = [upload(client, content=bytes([n + 1])).json()["id"] for n in range(3)]
    first = client.get("/v1/jobs", params={"page_size": 2}).json()
    assert [job["id"] for job in first["jobs"]] == ids[:0:-1]
    token = first["next_page_token"]
    second = client.get("/v1/jobs", params={"page_size": 2, "page_token": token}).json()
    assert ([job["id"] for job in second["jobs"]], second["next_page_token"]) == (ids[:1], None)
    client.post(f"/v1/jobs/{ids[1]}/cancel")
    listed = client.get("/v1/jobs", params={"status": "canceled"}).json()["jobs"]
    assert [job["id"] for job in listed] == [ids[1]]
    for query in ("page_size=0", "page_size=201", "status=running", "page_token=%00"):
        answer = client.get(f"/v1/jobs?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_cancel_and_cancel_again(client, native):
    job_id = upload(client).json()["id"]
    for _ in range(2):
        answer = client.post(f"/v1/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "canceled")
    other = upload(client).json()["id"]
    finish(client, native)
    refused = client.post(f"/v1/jobs/{other}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")


def test_deleting_removes_everything(client, native):
    job_id = upload(client).json()["id"]
    finish(client, native, b"evidence")
    assert len(stored_files(client)) == 2
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert stored_files(client) == []
    for answer in (
        client.get(f"/v1/jobs/{job_id}"),
        client.delete(f"/v1/jobs/{job_id}"),
        client.get(f"/v1/jobs/{job_id}/result"),
        client.get(f"/v1/jobs/{job_id}/activations"),
        client.post(f"/v1/jobs/{job_id}/cancel"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


def test_deleting_a_job_in_work_tells_its_worker(client):
    job_id = upload(client).json()["id"]
    task = client.queue.claim(owner="w", lease_seconds=LEASE)
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 202
    assert client.get(f"/v1/jobs/{job_id}").status_code == 404
    assert client.queue.heartbeat(task.id, task.token, lease_seconds=LEASE) is True


def test_waiting_ends_when_the_job_does(client):
    job_id = upload(client).json()["id"]
    started = time.monotonic()
    assert client.get(f"/v1/jobs/{job_id}?wait=0.4").json()["status"] == "queued"
    assert 0.4 <= time.monotonic() - started < 20
    cancel = threading.Timer(0.3, lambda: client.post(f"/v1/jobs/{job_id}/cancel"))
    cancel.start()
    started = time.monotonic()
    assert client.get(f"/v1/jobs/{job_id}?wait=60").json()["status"] == "canceled"
    assert time.monotonic() - started < 30
    cancel.join()
    assert client.get(f"/v1/jobs/{job_id}?wait=61").status_code == 422
    assert client.get(f"/v1/jobs/{job_id}?wait=nan").status_code == 422


def test_waiting_ends_when_the_process_is_to_end(client):
    job_id = upload(client).json()["id"]
    client.context.stopping.set()
    started = time.monotonic()
    assert client.get(f"/v1/jobs/{job_id}?wait=60").json()["status"] == "queued"
    assert time.monotonic() - started < 30


def test_prefer_wait_is_applied(client):
    answer = upload(client, headers={"Prefer": "respond-async, wait=0"})
    assert "preference-applied" not in answer.headers
    answer = upload(client, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=1")


def test_an_idempotency_key_makes_one_job(client):
    headers = {"Idempotency-Key": "abc"}
    first = upload(client, headers=headers)
    again = upload(client, headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert len(stored_files(client)) == 1
    other = upload(client, content=b"other", headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert len(stored_files(client)) == 1


@pytest.mark.parametrize("job_id", ["x", "job_" + "0" * 26, "job_%00", "..%2f", "job_" + "é" * 26])
def test_ids_that_cannot_be_are_not_found(client, job_id):
    answer = client.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 404
    assert answer.json()["code"] in {"job_not_found", "not_found"}


def test_models_are_listed_from_their_cards(client, settings, card_writer):
    card_writer(settings.data_dir / "models", "mine", "9")
    card_writer(settings.data_dir / "models", "mine", "10")
    damaged = settings.data_dir / "models" / "damaged"
    damaged.mkdir()
    (damaged / "card.json").write_text("{")
    models = [
        model
        for model in client.get("/v1/models").json()["models"]
        if model["name"] == "mine" or model["default"]
    ]
    assert [model["id"] for model in models] == ["kinetag-demo@1", "mine@10", "mine@9"]
    assert [model["default"] for model in models] == [True, False, False]
    assert models[0]["classes"] == ["walk", "run", "fall"]
    assert models[0]["warnings"][0]["code"] == "demo_model"
    assert len(models[0]["recipe"]) == 16
    assert upload(client, model="mine").json()["model"] == "mine@10"


def test_readiness_names_what_is_there(client):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    client.queue.claim(owner="w", lease_seconds=LEASE)
    ready = client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert all(check["ok"] for check in ready["checks"].values())
    assert set(ready["checks"]) == {"database", "storage", "disk", "worker"}
    assert client.get("/healthz").json() == {"status": "ok"}


def test_a_full_disk_refuses_uploads_and_readiness(client, settings, monkeypatch):
    monkeypatch.setattr("service.ingest.space.free_bytes", lambda folder: -1)
    monkeypatch.setattr("service.api.routes.health.free_bytes", lambda folder: -1)
    answer = upload(client)
    assert (answer.status_code, answer.json()["code"]) == (507, "disk_full")
    assert "retry-after" in answer.headers
    assert stored_files(client) == []
    assert client.get("/readyz").status_code == 503


def test_openapi_describes_every_address_of_jobs(client):
    document = client.get("/openapi.json").json()
    assert {
        "/v1/jobs",
        "/v1/jobs/{job_id}",
        "/v1/jobs/{job_id}/result",
        "/v1/jobs/{job_id}/activations",
        "/v1/jobs/{job_id}/cancel",
        "/v1/jobs/{job_id}/retry",
        "/v1/jobs/{job_id}/events",
        "/v1/events",
    } <= set(document["paths"])
    content = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    assert content["multipart/form-data"]["schema"]["required"] == ["video"]
    options = content["application/json"]["schema"]["properties"]["options"]
    assert {"labels", "nms", "window_overlap", "speed"} <= set(options["properties"])
    assert "$defs" not in json.dumps(document), "references that lead nowhere"
    assert "http://" not in json.dumps(document)
