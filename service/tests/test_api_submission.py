"""Jobs by JSON: a video that is there, at a URL, on the server; retries; filters; races."""

import threading

import pytest

from service.jobs.lifecycle import Plan

LEASE = 60.0
VIDEO = bytes(range(256)) * 4
URL = "http://a.example/"
HOOK = "https://hooks.example.org/kinetag"


@pytest.fixture
def settings(settings, tmp_path):
    root = tmp_path / "archive"
    root.mkdir()
    (root / "cam3.mp4").write_bytes(VIDEO)
    return settings.model_copy(update={"path_roots": (str(root),)})


@pytest.fixture
def path(settings):
    return f"{settings.path_roots[0]}/cam3.mp4"


def post(client, headers=None, **body):
    return client.post("/v1/jobs", json=body, headers=headers)


def upload(client, **fields):
    return client.post("/v1/jobs", files={"video": ("a.mp4", VIDEO)}, data=fields)


def fail(client, code="x"):
    task = client.queue.claim(owner="w", lease_seconds=LEASE)
    client.queue.fail(task.id, task.token, code=code, message="It failed.", retryable=False)
    return task.job_id


def test_a_job_by_path_reads_the_file_where_it_lies(client, path):
    answer = post(client, path=path, tag="store-12")
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert (job["video"]["name"], job["video"]["sha256"], job["tag"]) == (
        "cam3.mp4",
        None,
        "store-12",
    )
    task = client.queue.claim(owner="w", lease_seconds=LEASE)
    assert (task.kind, task.video_key, task.video_ref) == ("plan", None, path)
    assert not list(client.core.features_folder.parent.glob("videos/*"))


def test_a_job_by_url_is_fetched_first(client):
    job = post(client, url="http://93.184.216.34/a%20b/cam%203.mp4?token=secret").json()
    assert job["video"]["name"] == "cam 3.mp4"
    assert job["links"]["video"] == f"/v1/videos/{job['video']['id']}"
    assert job["links"]["events"] == f"/v1/jobs/{job['id']}/events"
    assert client.queue.claim(owner="w", lease_seconds=LEASE) is None
    task = client.queue.claim(owner="s", lease_seconds=LEASE, kinds=("fetch",))
    assert task.video_ref.endswith("?token=secret")


def test_a_second_job_for_a_video_that_is_there(client):
    first = upload(client).json()
    second = post(client, video_id=first["video"]["id"], queue="batch").json()
    assert second["video"] == first["video"]
    assert (first["queue"], second["queue"]) == ("interactive", "batch")
    assert client.delete(f"/v1/jobs/{first['id']}").status_code == 204
    assert client.get(second["links"]["self"]).status_code == 200
    task = client.queue.claim(owner="w", lease_seconds=LEASE)
    with client.core.blobs.open_local(task.video_key) as stored:
        assert stored.read_bytes() == VIDEO


def test_everything_that_is_asked_for_is_shown(client, path):
    options = {
        "labels": ["walk"], "min_score": 0.5, "class_threshold": 0.2, "thresholds": [0.1, 0.4],
        "nms": {"kind": "soft", "threshold": 0.4}, "window_overlap": 0.25,
    }  # fmt: skip
    hook = {"url": HOOK, "events": ["job.succeeded"], "min_score": 0.5}
    job = post(
        client, path=path, model="kinetag-demo", options=options, queue="batch", tag="t",
        camera="dock", recorded_at="2026-03-01T09:00:00+01:00", webhook=hook,
    ).json()  # fmt: skip
    assert (job["model"], job["options"], job["labels"]) == ("kinetag-demo@1", options, ["walk"])
    assert (job["queue"], job["tag"], job["camera"]) == ("batch", "t", "dock")
    assert job["recorded_at"] == "2026-03-01T08:00:00Z"
    assert (job["batch_id"], job["retry_of"]) == (None, None)
    assert "webhook" not in job, "it may hold a secret"


def test_a_form_says_the_same(client):
    job = upload(
        client, queue="batch", camera="dock", recorded_at="2026-03-01T09:00:00+01:00",
        webhook=HOOK, options='{"nms": {"threshold": 0.4}}',
    ).json()  # fmt: skip
    assert (job["queue"], job["camera"]) == ("batch", "dock")
    assert job["recorded_at"] == "2026-03-01T08:00:00Z"
    assert job["options"] == {"nms": {"threshold": 0.4}}


@pytest.mark.parametrize(
    ("body", "status", "code", "word"),
    [
        ({}, 422, "invalid_request", "video_id"),
        ({"url": URL, "path": "/a"}, 422, "invalid_request", "one of them"),
        ({"url": URL, "color": 1}, 422, "invalid_request", "color"),
        ({"video_id": "vid_" + "0" * 26}, 404, "video_not_found", "video"),
        ({"video_id": "../x"}, 404, "video_not_found", "video"),
        ({"video_id": "vid_\0"}, 422, "invalid_request", "video_id"),
        ({"url": "http://127.0.0.1/a.mp4"}, 422, "url_refused", ""),
        ({"url": "file:///etc/passwd"}, 422, "url_refused", ""),
        ({"path": "/etc/passwd"}, 422, "path_refused", ""),
        ({"url": URL, "model": "nothing"}, 422, "model_unknown", "nothing"),
        ({"url": URL, "options": {"colour": 1}}, 422, "option_invalid", "colour"),
        ({"url": URL, "options": {"nms": {"x": 1}}}, 422, "option_invalid", "nms"),
        ({"url": URL, "options": []}, 422, "invalid_request", "options"),
        ({"url": URL, "options": {"labels": ["fly"]}}, 422, "option_invalid", "fly"),
        ({"url": URL, "webhook": {"uri": "x"}}, 422, "invalid_request", "webhook"),
        ({"url": URL, "webhook": "http://10.0.0.1/"}, 422, "url_refused", ""),
        ({"url": URL, "tag": ""}, 422, "invalid_request", "tag"),
        ({"url": URL, "recorded_at": 5}, 422, "invalid_request", "recorded_at"),
    ],
)  # fmt: skip
def test_refused_requests_say_why_and_leave_nothing(client, body, status, code, word):
    answer = post(client, **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert word in answer.json()["detail"]
    assert answer.json()["detail"].endswith(".")
    assert client.get("/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"url": "\xff"}', b"[" * 9999])
def test_broken_documents_are_problems(client, body):
    answer = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_document_without_end_is_refused(client):
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/jobs", content=b" " * 300_000, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_an_idempotency_key_makes_one_job_of_a_document_too(client, path):
    headers = {"Idempotency-Key": "k"}
    first = post(client, headers, path=path)
    again = post(client, headers, path=path)
    assert first.json()["id"] == again.json()["id"]
    for change in ({"tag": "other"}, {"queue": "batch"}, {"webhook": HOOK}, {"camera": "c"}):
        other = post(client, headers, path=path, **change)
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert len(client.get("/v1/jobs").json()["jobs"]) == 1


def test_requests_with_one_key_at_the_same_moment_make_one_job(client, path):
    barrier = threading.Barrier(6)
    answers = []

    def send():
        barrier.wait(30)
        answers.append(post(client, {"Idempotency-Key": "k"}, path=path))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status_code for answer in answers] == [202] * 6
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(client.get("/v1/jobs").json()["jobs"]) == 1


def test_a_failed_job_is_retried_as_a_new_one(client, path):
    wish = {"path": path, "tag": "t", "camera": "c", "options": {"min_score": 0.5}}
    first = post(client, **wish).json()
    refused = client.post(f"/v1/jobs/{first['id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")
    fail(client)
    failed = client.get(f"/v1/jobs/{first['id']}").json()
    answer = client.post(failed["links"]["retry"], headers={"Idempotency-Key": "again"})
    assert answer.status_code == 202
    second = answer.json()
    assert answer.headers["location"] == second["links"]["self"] != failed["links"]["self"]
    assert (second["retry_of"], second["status"], second["error"]) == (first["id"], "queued", None)
    same = ("tag", "camera", "options", "model", "video", "queue")
    assert {name: second[name] for name in same} == {name: failed[name] for name in same}
    repeated = client.post(failed["links"]["retry"], headers={"Idempotency-Key": "again"})
    assert repeated.json()["id"] == second["id"]
    assert client.get(failed["links"]["self"]).json()["status"] == "failed", "it stays as it was"
    client.post(second["links"]["cancel"])
    assert client.post(f"{second['links']['self']}/retry").status_code == 202
    assert client.post(f"/v1/jobs/job_{'0' * 26}/retry").status_code == 404


def test_a_succeeded_job_is_not_retried(client, path, native):
    job = post(client, path=path).json()
    task = client.queue.claim(owner="w", lease_seconds=LEASE)
    client.queue.complete_plan(task.id, task.token, Plan(1, {}, {0}))
    join = client.queue.claim(owner="w", lease_seconds=LEASE)
    client.queue.complete_join(join.id, join.token, result=native)
    answer = client.post(f"/v1/jobs/{job['id']}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")
    assert client.get(job["links"]["self"]).json()["links"]["retry"] is None


def test_a_url_that_could_not_be_fetched_is_fetched_again(client):
    job = post(client, url="http://93.184.216.34/a.mp4").json()
    task = client.queue.claim(owner="s", lease_seconds=LEASE, kinds=("fetch",))
    client.queue.fail(
        task.id, task.token, code="url_unreachable", message="It is away.", retryable=False
    )
    again = client.post(f"/v1/jobs/{job['id']}/retry").json()
    task = client.queue.claim(owner="s", lease_seconds=LEASE, kinds=("fetch",))
    assert task.job_id == again["id"]


def test_lists_are_filtered(client, path):
    one = post(client, path=path, tag="t", camera="dock").json()
    two = post(client, path=path, tag="t", queue="batch").json()
    three = post(client, video_id=one["video"]["id"], camera="dock").json()
    fail(client)

    def listed(**query):
        answer = client.get("/v1/jobs", params=query)
        assert answer.status_code == 200, answer.text
        return [job["id"] for job in answer.json()["jobs"]]

    ids = [three["id"], two["id"], one["id"]]
    assert listed() == ids
    assert listed(tag="t") == ids[1:]
    assert listed(tag="t", camera="dock") == [one["id"]]
    assert listed(queue="batch") == [two["id"]]
    assert listed(video_id=one["video"]["id"]) == [three["id"], one["id"]]
    assert listed(status="failed") == [one["id"]]
    assert listed(model="kinetag-demo@1") == listed(model="kinetag-demo") == ids
    assert listed(model="kinetag") == listed(model="kinetag-demo@2") == listed(model="%") == []
    assert listed(created_before=two["created_at"]) == [one["id"]]
    assert listed(created_after=two["created_at"]) == [three["id"]]
    assert listed(batch="batch_" + "0" * 26) == []
    assert listed(tag="t", page_size=1) == [two["id"]]
    for bad in (
        {"created_after": "yesterday"}, {"created_after": "2026-03-01T09:00:00"}, {"colour": "x"},
        {"queue": "x"}, {"page_token": "bm90aGluZw"}, {"created_before": "0001-01-01T00:00:00Z"},
    ):  # fmt: skip
        answer = client.get("/v1/jobs", params=bad)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_pages_do_not_shift_when_jobs_are_made_meanwhile(client, path):
    made = [post(client, path=path).json()["id"] for _ in range(4)]
    first = client.get("/v1/jobs", params={"page_size": 2}).json()
    post(client, path=path)
    rest = client.get(
        "/v1/jobs", params={"page_size": 9, "page_token": first["next_page_token"]}
    ).json()
    assert [job["id"] for job in first["jobs"] + rest["jobs"]] == made[::-1]


def test_quotas_of_jobs_hold(client, path):
    quotas = client.core.quotas.__class__(queued_jobs=1)
    object.__setattr__(client.context.core, "quotas", quotas)
    assert post(client, path=path).status_code == 202
    refused = post(client, path=path)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_jobs")
    assert upload(client).json()["code"] == "quota_jobs"
    fail(client)
    assert post(client, path=path).status_code == 202
