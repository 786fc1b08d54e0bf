"""The tus protocol in process: its headers, its refusals, what each leaves behind."""

import base64
import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from service.errors import RequestError
from service.ingest import tus
from service.ingest.records import UploadRecord
from service.jobs.records import ContentRecord, JobRecord, VideoRecord
from service.jobs.store import reading

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {**TUS, "Content-Type": "application/offset+octet-stream"}


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


NEWLINE = b64("a\nb")


def begin(client, length, **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/v1/uploads", headers={**TUS, "Upload-Length": str(length), **given})


def send(client, where, offset, content, **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.patch(
        where, content=content, headers={**CHUNK, "Upload-Offset": str(offset), **given}
    )


def offset_of(client, where):
    answer = client.head(where, headers=TUS)
    assert answer.status_code == 200, answer.headers
    return int(answer.headers["upload-offset"])


def refused(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert answer.json()["code"] == code
    return answer


def rows(client, record):
    with reading(client.core.engine) as session:
        return list(session.execute(select(record)).scalars())


def files(settings):
    folder = settings.uploads_folder
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_file_in_three_pieces_becomes_a_video(client, settings):
    content = bytes(range(256)) * 40
    said = f"filename {b64('cam3.mp4')},camera {b64('dock')},mine {b64('x')},flag"
    answer = begin(client, len(content), Upload_Metadata=said)
    where = answer.headers["location"]
    assert answer.status_code == 201
    assert answer.headers["upload-offset"] == "0"
    assert answer.headers["upload-expires"].endswith(" GMT")
    for start, end in ((0, 1000), (1000, 1001), (1001, len(content))):
        assert offset_of(client, where) == start
        answer = send(client, where, start, content[start:end])
        assert answer.status_code == 204
        assert answer.headers["upload-offset"] == str(end)
    head = client.head(where, headers=TUS)
    assert head.headers["upload-metadata"] == said
    assert head.headers["kinetag-video"] == answer.headers["kinetag-video"]
    shown = client.get(where).json()
    assert shown["status"] == "complete"
    assert shown["video_id"] == answer.headers["kinetag-video"]
    [video] = rows(client, VideoRecord)
    assert (video.name, video.camera, video.kept) == ("cam3.mp4", "dock", True)
    assert video.sha256 == hashlib.sha256(content).hexdigest()
    assert client.core.blobs.get_bytes(video.blob_key) == content
    [job] = rows(client, JobRecord)
    assert (job.kind, job.video_id) == ("probe", video.id)
    assert files(settings) == []


def test_what_is_offered_is_said(client):
    answer = client.options("/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-max-size"] == "3000000"
    assert "checksum" in answer.headers["tus-extension"]
    assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256,md5"


def test_the_same_bytes_are_stored_once(client):
    videos = []
    for _ in range(2):
        where = begin(client, 5).headers["location"]
        videos.append(send(client, where, 0, b"hello").headers["kinetag-video"])
    assert len(set(videos)) == 2
    assert len(rows(client, ContentRecord)) == 1
    assert len(list(client.core.blobs.keys("videos"))) == 1


def test_the_first_bytes_may_come_with_the_creation(client):
    headers = {**CHUNK, "Upload-Length": "10"}
    answer = client.post("/v1/uploads", headers=headers, content=b"hello")
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "5")
    answer = client.post("/v1/uploads", headers={**headers, "Upload-Length": "5"}, content=b"hello")
    assert answer.headers["kinetag-video"].startswith("vid_")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 411, "length_required"),
        ({"Upload-Defer-Length": "1"}, 411, "length_required"),
        ({"Upload-Length": "0"}, 422, "empty_video"),
        ({"Upload-Length": "-1"}, 422, "invalid_request"),
        ({"Upload-Length": "1e3"}, 422, "invalid_request"),
        ({"Upload-Length": "9" * 19}, 422, "invalid_request"),
        ({"Upload-Length": "3000001"}, 413, "too_large"),
        ({"Upload-Length": "5", "Tus-Resumable": "0.2.2"}, 412, "tus_version_unsupported"),
        ({"Upload-Length": "5", "Upload-Metadata": "filename !!"}, 422, "invalid_request"),
        ({"Upload-Length": "5", "Upload-Metadata": "a YQ==,a YQ=="}, 422, "invalid_request"),
        ({"Upload-Length": "5", "Upload-Metadata": ",,"}, 422, "invalid_request"),
        ({"Upload-Length": "5", "Upload-Metadata": "x" * 5000}, 422, "invalid_request"),
        ({"Upload-Length": "5", "Upload-Metadata": f"camera {NEWLINE}"}, 422, "invalid_request"),
        ({"Upload-Length": "5", "Upload-Metadata": f"recorded_at {b64('2026-01-01')}"}, 422,
         "invalid_request"),
        ({"Upload-Length": "5", "Upload-Checksum": "crc32 AAAA"}, 422, "invalid_request"),
    ],
)  # fmt: skip
def test_garbage_is_refused_and_nothing_is_begun(client, settings, headers, status, code):
    refused(client.post("/v1/uploads", headers={**TUS, **headers}), status, code)
    assert rows(client, UploadRecord) == []
    assert files(settings) == []


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"../../etc/passwd", "passwd"),
        (b"C:\\videos\\cam.mp4", "cam.mp4"),
        (b"a\nb\0c.mp4", "abc.mp4"),
        ("\N{VIDEO CAMERA} dock \N{RIGHT-TO-LEFT OVERRIDE}4pm.mp4".encode(),
         "\N{VIDEO CAMERA} dock 4pm.mp4"),
        (b"\xff\xfe.mp4", "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}.mp4"),
        (b"..", "video"),
        (b"", "video"),
        (b"x" * 2000 + b".mp4", "x" * 251 + ".mp4"),
    ],
)  # fmt: skip
def test_hostile_names_are_only_shown(client, settings, raw, shown):
    where = begin(client, 5, Upload_Metadata=f"filename {b64(raw)}").headers["location"]
    assert client.get(where).json()["name"] == shown
    send(client, where, 0, b"hello")
    [video] = rows(client, VideoRecord)
    assert video.name == shown
    assert sorted(path.name for path in (settings.data_dir / "videos").iterdir()) == [video.id]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_a_checksum_keeps_the_whole_chunk_or_nothing(client, algorithm):
    where = begin(client, 10).headers["location"]
    good = b64(hashlib.new(algorithm, b"hello").digest())
    refused(
        send(client, where, 0, b"hellO", Upload_Checksum=f"{algorithm} {good}"),
        460,
        "checksum_mismatch",
    )
    assert offset_of(client, where) == 0
    assert (
        send(client, where, 0, b"hello", Upload_Checksum=f"{algorithm} {good}").status_code == 204
    )
    refused(
        send(client, where, 5, b"world", Upload_Checksum=f"{algorithm} {good}"),
        460,
        "checksum_mismatch",
    )
    answer = send(client, where, 5, b"WORLD")
    [video] = rows(client, VideoRecord)
    assert video.sha256 == hashlib.sha256(b"helloWORLD").hexdigest()
    assert answer.headers["kinetag-video"] == video.id


def test_a_malformed_checksum_is_refused_before_the_body(client):
    where = begin(client, 5).headers["location"]
    for text in ("sha1", "sha1 !!", "sha1 QUJD", "whirlpool QUJD"):
        refused(send(client, where, 0, b"hello", Upload_Checksum=text), 422, "invalid_request")
    assert offset_of(client, where) == 0


def test_chunks_begin_where_the_upload_stands_and_end_where_it_ends(client):
    where = begin(client, 10).headers["location"]
    assert send(client, where, 0, b"hello").status_code == 204
    refused(send(client, where, 0, b"hello"), 409, "offset_conflict")
    refused(send(client, where, 6, b"h"), 409, "offset_conflict")
    refused(send(client, where, 5, b"worldX"), 422, "invalid_request")
    refused(send(client, where, 5, (part for part in (b"wor", b"ldX"))), 422, "invalid_request")
    refused(client.patch(where, content=b"x", headers={**CHUNK}), 422, "invalid_request")
    refused(
        client.patch(where, content=b"x", headers={**TUS, "Upload-Offset": "5"}),
        415,
        "media_type_unsupported",
    )
    assert offset_of(client, where) == 5
    assert send(client, where, 5, (part for part in (b"wor", b"ld"))).status_code == 204
    # Complete: an empty chunk at its end is no error, anything else is.
    assert send(client, where, 10, b"").headers["kinetag-video"].startswith("vid_")
    refused(send(client, where, 0, b"hello"), 409, "offset_conflict")


def test_an_ended_upload_is_gone_and_a_complete_one_leaves_its_video(client, settings):
    where = begin(client, 10).headers["location"]
    send(client, where, 0, b"hello")
    assert client.delete(where, headers=TUS).status_code == 204
    assert files(settings) == []
    refused(client.delete(where, headers=TUS), 404, "upload_not_found")
    refused(send(client, where, 5, b"world"), 404, "upload_not_found")
    assert client.head(where, headers=TUS).status_code == 404
    where = begin(client, 5).headers["location"]
    send(client, where, 0, b"hello")
    assert client.delete(where, headers=TUS).status_code == 204
    assert len(rows(client, VideoRecord)) == 1


def test_ids_that_cannot_be_are_unknown(client):
    for name in ("upl_x", "..%2f..%2fkinetag.db", "job_01J9", "upl_" + "0" * 26):
        assert client.head(f"/v1/uploads/{name}", headers=TUS).status_code == 404


def test_a_narrow_proxy_is_no_obstacle(client):
    where = begin(client, 5).headers["location"]
    override = {**CHUNK, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert client.post(where, headers=override, content=b"hello").status_code == 204
    override = {**TUS, "X-HTTP-Method-Override": "DELETE"}
    assert client.post(where, headers=override).status_code == 204
    refused(client.post(where, headers=TUS), 405, "method_not_allowed")


@given(st.text(max_size=60), st.sampled_from(["", "filename ", "sha1 ", "camera ", "recorded_at "]))
def test_no_header_breaks_its_reader(text, before):
    for read in (
        tus.read_metadata,
        tus.read_checksum,
        tus.read_offset,
        lambda header: tus.read_length(header, None),
    ):
        with contextlib.suppress(RequestError):
            read(before + text)


@given(st.dictionaries(st.from_regex("[a-z]{1,8}", fullmatch=True), st.binary(), min_size=1))
def test_all_well_formed_metadata_is_read_and_kept(values):
    header = ",".join(f"{key} {b64(value)}" for key, value in values.items())
    try:
        said = tus.read_metadata(header)
    except RequestError:
        # Ours have rules of their own; a name has none.
        assert {"camera", "recorded_at"} & values.keys() or len(header) > 4096
        return
    assert said.header == header.strip()
