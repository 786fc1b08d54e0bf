"""/v1/videos in process: every way in, looking, ranges, deleting."""

import hashlib

import pytest
from sqlalchemy import func, select

from service.ingest.library import sweep_videos
from service.jobs.commands import NewJob, create_job
from service.jobs.queue import TaskQueue
from service.jobs.records import ContentRecord, JobRecord, Record, TaskRecord, VideoRecord
from service.jobs.store import reading, transaction

MP4 = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20
FACTS = {"duration": 9.0, "nominal_fps": 25.0, "vfr": False, "width": 64, "height": 48,
         "codec": "h264", "container": "mp4", "num_source_frames": 225}  # fmt: skip


def upload(client, content=MP4, **options):
    options.setdefault("headers", {"Content-Type": "video/mp4"})
    return client.post("/v1/videos", content=content, **options)


def look_at(client, video_id, facts=FACTS, thumbnails=None):
    """Do what the worker of the probe job does."""
    queue = TaskQueue(client.core.engine)
    task = queue.claim(owner="w", lease_seconds=60)
    assert task.kind == "probe"
    key = None
    if thumbnails is not None:
        key = f"thumbnails/{video_id}"
        client.core.blobs.put_bytes(key, thumbnails)
    queue.complete_probe(task.id, task.token, facts=facts, thumbnails_key=key)


def count(client, record):
    with reading(client.core.engine) as session:
        return session.execute(select(func.count()).select_from(record)).scalar_one()


def everything(client):
    """All text of all tables, and the names of all files."""
    with reading(client.core.engine) as session:
        rows = [
            str(row)
            for name, table in Record.metadata.tables.items()
            for row in session.execute(select(table))
            if name != "alembic_version"
        ]
    folder = client.context.settings.data_dir
    return "\n".join([*rows, *(str(p) for p in folder.rglob("*") if "models" not in p.parts)])


@pytest.mark.parametrize("how", ["raw", "octets", "form"])
def test_each_way_in_makes_the_same_video(client, how):
    said = {"camera": "dock", "recorded_at": "2026-03-01T09:00:00+01:00"}
    if how == "form":
        answer = client.post("/v1/videos", files={"video": ("cam.mp4", MP4)}, data=said)
    else:
        kind = "video/x-whatever; codecs=vp9" if how == "raw" else "application/octet-stream"
        answer = upload(
            client, params={"name": "a/b/cam.mp4", **said}, headers={"Content-Type": kind}
        )
    assert answer.status_code == 201, answer.text
    video = answer.json()
    assert answer.headers["location"] == f"/v1/videos/{video['id']}" == video["links"]["self"]
    assert video["sha256"] == hashlib.sha256(MP4).hexdigest()
    assert (video["name"], video["size_bytes"], video["status"]) == ("cam.mp4", len(MP4), "pending")
    assert (video["camera"], video["recorded_at"]) == ("dock", "2026-03-01T08:00:00Z")
    assert client.get(answer.headers["location"]).json() == video
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_a_name_may_come_as_a_disposition(client):
    disposition = 'attachment; filename="../../c\nam3.mp4"'.replace("\n", "")
    headers = {"Content-Type": "video/mp4", "Content-Disposition": disposition}
    assert upload(client, headers=headers).json()["name"] == "cam3.mp4"
    assert upload(client).json()["name"] == "video"


def test_facts_appear_once_somebody_looked(client):
    video_id = upload(client).json()["id"]
    look_at(client, video_id)
    video = client.get(f"/v1/videos/{video_id}").json()
    assert video["status"] == "ready"
    assert {
        name: video[name] for name in ("duration", "nominal_fps", "vfr", "codec", "container")
    } == {name: FACTS[name] for name in ("duration", "nominal_fps", "vfr", "codec", "container")}
    # The same bytes again: nobody needs to look twice.
    again = upload(client).json()
    assert again["status"] == "ready"
    assert count(client, ContentRecord) == 1


def test_a_video_that_is_none_says_so(client):
    video_id = upload(client, b"not a video").json()["id"]
    queue = TaskQueue(client.core.engine)
    task = queue.claim(owner="w", lease_seconds=60)
    queue.fail(task.id, task.token, code="no_video_stream", message="Sound only.", retryable=False)
    video = client.get(f"/v1/videos/{video_id}").json()
    assert video["status"] == "failed"
    assert video["error"] == {"code": "no_video_stream", "message": "Sound only."}
    assert client.get(f"/v1/videos/{video_id}/thumbnails").json()["code"] == "video_not_ready"


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"content": b""}, 422, "empty_video"),
        ({"content": b"x" * 3_000_001}, 413, "too_large"),
        ({"headers": {"Content-Type": "text/html"}}, 415, "media_type_unsupported"),
        ({"headers": {"Content-Type": ""}}, 415, "media_type_unsupported"),
        ({"headers": {"Content-Type": "multipart/form-data"}}, 415, "media_type_unsupported"),
        ({"params": {"recorded_at": "yesterday"}}, 422, "invalid_request"),
        ({"params": {"camera": "a\nb"}}, 422, "invalid_request"),
        ({"content": b"{}", "headers": {"Content-Type": "application/json"}}, 422,
         "invalid_request"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422,
         "invalid_request"),
        ({"content": b" " * 70_000, "headers": {"Content-Type": "application/json"}}, 413,
         "too_large"),
        ({"content": b'{"url": "http://a/", "path": "/b"}',
          "headers": {"Content-Type": "application/json"}}, 422, "invalid_request"),
        ({"content": b'{"url": "http://127.0.0.1/a.mp4"}',
          "headers": {"Content-Type": "application/json"}}, 422, "url_refused"),
        ({"content": b'{"url": "file:///etc/passwd"}',
          "headers": {"Content-Type": "application/json"}}, 422, "url_refused"),
        ({"content": b'{"path": "/etc/passwd"}',
          "headers": {"Content-Type": "application/json"}}, 422, "path_refused"),
        ({"content": b'{"url": "https://example.org/a.mp4", "extra": 1}',
          "headers": {"Content-Type": "application/json"}}, 422, "invalid_request"),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_nothing(client, settings, options, status, code):
    answer = upload(client, **options)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert count(client, VideoRecord) == count(client, JobRecord) == 0
    assert list(client.core.blobs.keys("videos")) == []
    folder = settings.temporary_folder
    assert not folder.is_dir() or list(folder.iterdir()) == []


def test_a_form_with_unknown_fields_is_refused(client):
    answer = client.post("/v1/videos", files={"video": ("a.mp4", MP4)}, data={"model": "x"})
    assert answer.json()["code"] == "invalid_request"
    assert count(client, VideoRecord) == 0


def test_a_url_is_accepted_to_be_fetched(client):
    answer = client.post("/v1/videos", json={"url": "https://example.org/x/cam%203.mp4?token=1"})
    assert answer.status_code == 202
    video = answer.json()
    assert (video["name"], video["source"], video["status"]) == ("cam 3.mp4", "url", "pending")
    assert "token" not in answer.text
    assert video["links"]["content"] is None
    with reading(client.core.engine) as session:
        assert session.execute(select(TaskRecord.kind)).scalar_one() == "fetch"
    refused = client.get(f"/v1/videos/{video['id']}/content")
    assert (refused.status_code, refused.json()["code"]) == (409, "video_not_ready")


def test_an_idempotency_key_makes_one_video(client):
    headers = {"Content-Type": "video/mp4", "Idempotency-Key": "k1"}
    first, second = upload(client, headers=headers), upload(client, headers=headers)
    assert first.json()["id"] == second.json()["id"]
    assert count(client, VideoRecord) == 1
    assert len(list(client.core.blobs.keys("videos"))) == 1
    other = upload(client, b"other", headers=headers)
    assert other.json()["code"] == "idempotency_conflict"


def test_the_bytes_come_back_whole_or_in_part(client):
    video_id = upload(client, params={"name": 'a"ü.mp4'}).json()["id"]
    address = f"/v1/videos/{video_id}/content"
    assert client.get(address).headers["content-type"] == "application/octet-stream"
    look_at(client, video_id)
    whole = client.get(address)
    assert (whole.status_code, whole.content) == (200, MP4)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"].startswith("attachment; ")
    assert whole.headers["accept-ranges"] == "bytes"
    part = client.get(address, headers={"Range": "bytes=10-29"})
    assert (part.status_code, part.content) == (206, MP4[10:30])
    assert part.headers["content-range"] == f"bytes 10-29/{len(MP4)}"
    fresh = {"Range": "bytes=-5", "If-Range": whole.headers["etag"]}
    assert client.get(address, headers=fresh).content == MP4[-5:]
    stale = {"Range": "bytes=-5", "If-Range": '"other"'}
    assert client.get(address, headers=stale).content == MP4
    behind = client.get(address, headers={"Range": f"bytes={len(MP4)}-"})
    assert (behind.status_code, behind.json()["code"]) == (416, "range_not_satisfiable")
    assert behind.headers["content-range"] == f"bytes */{len(MP4)}"
    head = client.head(address, headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.headers["content-length"], head.content) == (206, "10", b"")


def test_a_page_named_as_a_video_is_never_shown_as_one(client):
    video_id = upload(client, b"<html><script>alert(1)</script>").json()["id"]
    look_at(client, video_id)
    answer = client.get(f"/v1/videos/{video_id}/content")
    assert answer.headers["content-type"] == "application/octet-stream"


def test_a_video_by_path_stays_where_it_is(client, settings, tmp_path):
    root = tmp_path / "archive"
    root.mkdir()
    (root / "a.mp4").write_bytes(MP4)
    # Frozen settings: the fixture's are replaced for this one field.
    object.__setattr__(settings, "path_roots", (str(root),))
    video = client.post("/v1/videos", json={"path": str(root / "a.mp4"), "camera": "dock"}).json()
    assert (video["source"], video["name"], video["camera"]) == ("path", "a.mp4", "dock")
    assert list(client.core.blobs.keys("videos")) == []
    address = f"/v1/videos/{video['id']}/content"
    assert client.get(address, headers={"Range": "bytes=4-7"}).content == b"ftyp"
    (root / "a.mp4").unlink()
    (root / "a.mp4").symlink_to("/etc/passwd")
    assert client.get(address).json()["code"] == "path_refused"
    assert client.delete(f"/v1/videos/{video['id']}").status_code == 204
    assert (root / "a.mp4").is_symlink()


def test_thumbnails_are_drawn_once_asked_for(client):
    video_id = upload(client).json()["id"]
    address = f"/v1/videos/{video_id}/thumbnails"
    for _ in range(2):
        answer = client.get(address)
        assert (answer.status_code, answer.json()) == (202, {"status": "pending"})
        assert answer.headers["retry-after"]
    assert count(client, JobRecord) == 1
    shape = {"count": 3, "tile_width": 160, "tile_height": 90, "seconds": [1, 2, 3]}
    look_at(client, video_id, {**FACTS, "thumbnails": shape}, b"\xff\xd8strip")
    answer = client.get(address)
    assert (answer.status_code, answer.content) == (200, b"\xff\xd8strip")
    assert answer.headers["content-type"] == "image/jpeg"
    assert client.get(address, params={"info": "true"}).json() == shape


def test_a_look_that_failed_is_begun_again_when_asked_for(client):
    video_id = upload(client).json()["id"]
    queue = TaskQueue(client.core.engine)
    task = queue.claim(owner="w", lease_seconds=60)
    queue.cancel_now(task.id, task.token)
    for _ in range(2):
        assert client.get(f"/v1/videos/{video_id}/thumbnails").status_code == 202
    assert count(client, JobRecord) == 2


def test_a_video_of_which_no_picture_could_be_drawn_says_so(client):
    video_id = upload(client).json()["id"]
    look_at(client, video_id)
    answer = client.get(f"/v1/videos/{video_id}/thumbnails")
    assert (answer.status_code, answer.json()["code"]) == (409, "video_not_ready")
    assert count(client, JobRecord) == 1


def test_lists_go_page_by_page_and_can_be_narrowed(client):
    ids = [
        upload(client, b"%d" % n, params={"name": f"cam{n}.MP4", "camera": f"c{n % 2}"}).json()[
            "id"
        ]
        for n in range(5)
    ]
    found, token = [], None
    while True:
        params = {"page_size": 2, **({"page_token": token} if token else {})}
        page = client.get("/v1/videos", params=params).json()
        found += [video["id"] for video in page["videos"]]
        token = page["next_page_token"]
        if token is None:
            break
    assert found == ids[::-1]

    def names(**params):
        return {v["name"] for v in client.get("/v1/videos", params=params).json()["videos"]}

    assert names(name="M3.mp") == {"cam3.MP4"}
    assert names(name="%") == set()
    assert names(camera="c1") == {"cam1.MP4", "cam3.MP4"}
    assert names(status="ready") == set()
    for bad in ({"page_token": "x"}, {"name": "\0"}, {"status": "odd"}, {"page_size": 0}):
        assert client.get("/v1/videos", params=bad).json()["code"] == "invalid_request"


def test_a_deleted_video_leaves_no_trace(client, settings):
    answer = upload(client, params={"name": "private-name.mp4"}).json()
    video_id, sha256 = answer["id"], answer["sha256"]
    features = settings.features_folder / sha256[:2] / sha256
    features.mkdir(parents=True)
    (features / "x.npy").touch()
    look_at(client, video_id, thumbnails=b"strip")
    job = create_job(client.core, NewJob(video=video_id, model="kinetag-demo@1"))[0].job
    refused = client.delete(f"/v1/videos/{video_id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "video_in_use")
    assert job.id in refused.json()["detail"]
    assert client.delete(f"/v1/videos/{video_id}", params={"force": "true"}).status_code == 204
    assert client.get(f"/v1/videos/{video_id}").json()["code"] == "video_not_found"
    assert client.get(f"/v1/jobs/{job.id}").json()["code"] == "job_not_found"
    left = everything(client)
    for trace in (video_id, sha256, "private-name", job.id):
        assert trace not in left


def test_a_video_that_a_worker_holds_is_out_of_sight_at_once(client):
    video_id = upload(client).json()["id"]
    queue = TaskQueue(client.core.engine)
    task = queue.claim(owner="w", lease_seconds=60)
    assert client.delete(f"/v1/videos/{video_id}").status_code == 202
    assert client.get(f"/v1/videos/{video_id}").status_code == 404
    assert client.get("/v1/videos").json()["videos"] == []
    queue.cancel_now(task.id, task.token)
    assert queue.expired_jobs(older_than_days=30) == [task.job_id]


def test_the_same_bytes_outlive_one_of_their_videos(client):
    first, second = (upload(client).json()["id"] for _ in range(2))
    assert client.delete(f"/v1/videos/{first}").status_code == 204
    assert client.get(f"/v1/videos/{second}/content").content == MP4
    assert client.delete(f"/v1/videos/{second}").status_code == 204
    assert list(client.core.blobs.keys("videos")) == []


def test_retention_ends_videos_that_no_job_has(client):
    kept, used = upload(client, b"1").json()["id"], upload(client, b"2").json()["id"]
    for _ in range(2):
        look_at(client, kept)
    with transaction(client.core.engine) as session:
        for job in session.execute(select(JobRecord).where(JobRecord.video_id == kept)).scalars():
            session.delete(job)
    assert sweep_videos(client.core, older_than_days=1) == 0
    assert sweep_videos(client.core, older_than_days=0) == 1
    assert [v["id"] for v in client.get("/v1/videos").json()["videos"]] == [used]


def test_ids_that_cannot_be_are_unknown(client):
    for name in ("vid_x", "vid_" + "0" * 26, "job_" + "0" * 26, "..%2f"):
        assert client.get(f"/v1/videos/{name}").status_code == 404
        assert client.delete(f"/v1/videos/{name}").status_code == 404
