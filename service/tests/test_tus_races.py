"""Resumable uploads over real sockets: racing clients, cut connections, silent ones."""

import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {**TUS, "Content-Type": "application/offset+octet-stream"}
STALL_SECONDS = 30.0
NUM_CLIENTS = 20


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"upload_stall_seconds": STALL_SECONDS})


@pytest.fixture
def web(live_server):
    with httpx2.Client(base_url=f"http://127.0.0.1:{live_server[1]}", timeout=30) as client:
        yield client


def begin(web, length):
    answer = web.post("/v1/uploads", headers={**TUS, "Upload-Length": str(length)})
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def offset_of(web, where):
    return int(web.head(where, headers=TUS).headers["upload-offset"])


def until(look, seconds=20):
    deadline = time.monotonic() + seconds
    waiter = threading.Event()
    while not look():
        assert time.monotonic() < deadline, "it did not happen in time"
        waiter.wait(0.05)


def race(address, where, length, number):
    """Push own bytes wherever the upload stands until it is complete; return what was taken."""
    taken, rng = [], random.Random(number)  # noqa: S311 - sizes of chunks
    with httpx2.Client(base_url=address, timeout=60) as web:
        while True:
            head = web.head(where, headers=TUS)
            if head.status_code == 423:
                continue
            start = int(head.headers["upload-offset"])
            if start == length:
                return taken
            content = bytes([number]) * min(length - start, rng.randint(1, 60_000))
            answer = web.patch(
                where, content=content, headers={**CHUNK, "Upload-Offset": str(start)}
            )
            assert answer.status_code in {204, 409, 423}, answer.text
            if answer.status_code == 204:
                taken.append((start, content))


def test_racing_clients_never_mix_their_bytes(web, settings):
    length = 500_000
    where = begin(web, length)
    address = str(web.base_url)
    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        runs = list(pool.map(lambda n: race(address, where, length, n), range(NUM_CLIENTS)))
    chunks = sorted(chunk for run in runs for chunk in run)
    expected = b"".join(content for _, content in chunks)
    starts = [start for start, _ in chunks]
    assert starts == [sum(len(content) for _, content in chunks[:n]) for n in range(len(chunks))]
    video_id = web.get(where).json()["video_id"]
    assert (settings.data_dir / "videos" / video_id).read_bytes() == expected
    assert list(settings.uploads_folder.iterdir()) == []
    assert len(web.get("/v1/videos").json()["videos"]) == 1


def send_part(web, where, start, announced, content):
    """Begin a chunk on a connection of its own; return the open connection."""
    link = socket.create_connection((web.base_url.host, web.base_url.port), timeout=30)
    head = "".join(f"{name}: {value}\r\n" for name, value in CHUNK.items())
    link.sendall(
        f"PATCH {where} HTTP/1.1\r\nHost: localhost\r\n{head}Upload-Offset: {start}\r\n"
        f"Content-Length: {announced}\r\n\r\n".encode()
        + content
    )
    return link


def test_a_cut_connection_keeps_what_arrived(web, settings):
    where = begin(web, 1000)
    with send_part(web, where, 0, 1000, b"a" * 400):
        until(lambda: web.get(where).json()["offset_bytes"] or written(settings, where))
    until(lambda: offset_of(web, where) == 400)
    answer = web.patch(where, content=b"b" * 600, headers={**CHUNK, "Upload-Offset": "400"})
    assert answer.status_code == 204
    video_id = answer.headers["kinetag-video"]
    assert (settings.data_dir / "videos" / video_id).read_bytes() == b"a" * 400 + b"b" * 600


def written(settings, where):
    return (settings.uploads_folder / where.rpartition("/")[2]).stat().st_size


def test_a_chunk_with_a_checksum_that_was_cut_is_dropped(web, settings):
    where = begin(web, 3_000_000)
    link = socket.create_connection((web.base_url.host, web.base_url.port), timeout=30)
    head = "".join(f"{name}: {value}\r\n" for name, value in CHUNK.items())
    checksum = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="
    with link:
        link.sendall(
            f"PATCH {where} HTTP/1.1\r\nHost: localhost\r\n{head}Upload-Offset: 0\r\n"
            f"Upload-Checksum: {checksum}\r\nContent-Length: 3000000\r\n\r\n".encode()
            + b"a" * 2_500_000
        )
        until(lambda: written(settings, where))
        assert offset_of(web, where) == 0
    until(lambda: written(settings, where) == 0)
    assert offset_of(web, where) == 0


def test_a_client_that_is_back_is_let_in_though_its_old_connection_is_still_open(web):
    where = begin(web, 1000)
    started = time.monotonic()
    with send_part(web, where, 0, 1000, b"a" * 400):

        def go_on():
            start = offset_of(web, where)
            headers = {**CHUNK, "Upload-Offset": str(start)}
            return web.patch(where, content=b"b" * (1000 - start), headers=headers)

        codes = []

        def let_in():
            codes.append(go_on().status_code)
            return codes[-1] == 204

        until(let_in)
    assert 423 in codes
    assert time.monotonic() - started < STALL_SECONDS / 2


def test_a_client_that_hangs_up_on_a_plain_body_leaves_nothing(web, settings):
    link = socket.create_connection((web.base_url.host, web.base_url.port), timeout=30)
    folder = settings.temporary_folder
    with link:
        link.sendall(
            b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\n"
            b"Content-Length: 3000000\r\n\r\n" + b"a" * 2_500_000
        )
        until(lambda: folder.is_dir() and any(path.stat().st_size for path in folder.iterdir()))
    until(lambda: not list(folder.iterdir()))
    assert web.get("/v1/videos").json()["videos"] == []
    assert not (settings.data_dir / "videos").exists()
