import asyncio
import hashlib
import select
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.uploads import (
    MAX_NAME_CHARACTERS,
    UploadLimits,
    UploadReceiver,
    display_name,
)
from service.errors import InvalidRequest, StorageFull, UploadTimeout, UploadTooLarge

BOUNDARY = "boundary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
LIMITS = UploadLimits(max_bytes=10_000_000, stall_seconds=5, spare_bytes=lambda: 1 << 40)


def form(content, *, name="a.mp4", fields=()):
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields
    ]
    head = f'Content-Disposition: form-data; name="video"; filename="{name}"'
    parts.append(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def receive(folder, chunks, limits=LIMITS, content_length=None):
    async def stream():
        for chunk in chunks:
            if isinstance(chunk, float):
                await asyncio.sleep(chunk)
            else:
                yield chunk

    async def run():
        async with UploadReceiver(folder, CONTENT_TYPE, content_length, limits) as receiver:
            upload = await receiver.receive(stream())
            return upload, upload.path.read_bytes()

    return asyncio.run(run())


@pytest.mark.parametrize("step", [1, 7, 64, 4096, 10_000_000])
def test_cuts_of_the_body_do_not_matter(tmp_path, step):
    content = b"\r\n--bound" + bytes(range(256)) * 8 + b"\r\n--boundar\r\n-"
    body = form(content, fields=[("tag", "ä\r\nb"), ("model", "")])
    chunks = [body[start : start + step] for start in range(0, len(body), step)]
    upload, stored = receive(tmp_path, chunks)
    assert stored == content
    assert upload.size_bytes == len(content)
    assert upload.sha256 == hashlib.sha256(content).hexdigest()
    assert upload.fields == {"tag": "ä\r\nb", "model": ""}
    assert list(tmp_path.iterdir()) == []


@given(st.binary(min_size=1, max_size=300), st.integers(1, 50))
def test_any_content_arrives_as_it_was(tmp_path_factory, content, step):
    body = form(content)
    chunks = [body[start : start + step] for start in range(0, len(body), step)]
    assert receive(tmp_path_factory.mktemp("upload"), chunks)[1] == content


@pytest.mark.parametrize(
    ("chunks", "limits", "error"),
    [
        ([form(b"x")[:60], form(b"x")[60:]], {"max_bytes": 80}, UploadTooLarge),
        ([form(b"x" * 500)], {"max_bytes": 100}, UploadTooLarge),
        ([form(b"x")[:40], 5.0], {"stall_seconds": 0.05}, UploadTimeout),
        ([b"-", 0.04, b"-", 0.04, b"b", 0.04, b"o"], {"stall_seconds": 0.06}, UploadTimeout),
        ([form(b"x")[:-9]], {}, InvalidRequest),
    ],
)
def test_limits_count_what_arrives(tmp_path, chunks, limits, error):
    changed = {name: getattr(LIMITS, name) for name in LIMITS.__slots__} | limits
    with pytest.raises(error):
        receive(tmp_path, chunks, UploadLimits(**changed))
    assert list(tmp_path.iterdir()) == []


def test_announced_sizes_are_refused_before_the_body(tmp_path):
    read = []

    def never():
        read.append(True)
        yield b"x"

    with pytest.raises(UploadTooLarge):
        receive(tmp_path, never(), content_length=LIMITS.max_bytes + 1)
    narrow = UploadLimits(max_bytes=10**9, stall_seconds=5, spare_bytes=lambda: 1000)
    with pytest.raises(StorageFull):
        receive(tmp_path, never(), narrow, content_length=1001)
    assert read == []
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=600))
def test_display_names_are_short_and_printable(raw):
    name = display_name(raw)
    assert 0 < len(name) <= MAX_NAME_CHARACTERS
    assert "/" not in name
    assert "\\" not in name
    assert name.isprintable() or " " in name or any(char.isspace() for char in name)
    assert display_name(name) == name


def settle(condition, seconds=20):
    deadline = time.monotonic() + seconds
    waiter = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        waiter.wait(0.02)


def start_upload(address, length, head=b""):
    link = socket.create_connection(address[:2], timeout=20)
    link.sendall(
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
        + f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {length}\r\n".encode()
        + head
        + b"\r\n"
    )
    return link


def test_a_client_that_hangs_up_leaves_nothing(live_server, settings):
    body = form(b"x" * 2_000_000)
    folder = settings.temporary_folder
    with start_upload(live_server, len(body)) as link:
        link.sendall(body[:1_500_000])
        settle(lambda: folder.is_dir() and any(path.stat().st_size for path in folder.iterdir()))
    settle(lambda: not list(folder.iterdir()))
    assert not (settings.data_dir / "videos").exists()


def test_a_client_that_stalls_is_told_so(live_server, settings):
    body = form(b"x" * 1000)
    with start_upload(live_server, len(body)) as link:
        link.sendall(body[:500])
        answer = b""
        # Head and body of the answer may come in two packets.
        while b"}" not in answer and (part := link.recv(65536)):
            answer += part
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"upload_timeout" in answer
    settle(lambda: not list(settings.temporary_folder.iterdir()))


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/videos", "/v1/batches", "/v1/webhooks"])
@pytest.mark.parametrize("drops", [0, 30], ids=["silent", "by drops"])
def test_a_client_that_stalls_in_a_document_is_told_so(live_server, path, drops):
    with socket.create_connection(live_server[:2], timeout=20) as link:
        link.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            'Content-Length: 1000\r\n\r\n{"url"'.encode()
        )
        for _ in range(drops):
            link.sendall(b" ")
            if select.select([link], [], [], 0.05)[0]:
                break
        answer = b""
        while b"}" not in answer and (part := link.recv(65536)):
            answer += part
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"upload_timeout" in answer


def test_a_client_that_expects_to_be_refused_sends_no_body(live_server):
    with start_upload(live_server, 10**9, b"Expect: 100-continue\r\n") as link:
        answer = link.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_body_without_a_length_is_taken(live_server, settings):
    body = form(b"x" * 5000)
    with socket.create_connection(live_server[:2], timeout=20) as link:
        link.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            + f"Content-Type: {CONTENT_TYPE}\r\n\r\n".encode()
        )
        for start in range(0, len(body), 1000):
            part = body[start : start + 1000]
            link.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        link.sendall(b"0\r\n\r\n")
        answer = link.recv(65536)
    assert answer.startswith(b"HTTP/1.1 202")
    [stored] = (settings.data_dir / "videos").iterdir()
    assert stored.stat().st_size == 5000
