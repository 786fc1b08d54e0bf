"""What comes before a body has limits, on a real socket: nobody needs a key to send that."""

import json
import socket
import threading
import time

import pytest
import uvicorn

from service.api import protocol
from service.api.protocol import MAX_HEAD_BYTES, BoundedProtocol

HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
DEADLINE_SECONDS = 0.6


async def count_body(scope, receive, send):
    """Answers with the number of bytes that came; what is to be refused is, without reading."""
    if scope["path"] == "/refused":
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"refused"})
        return
    num_bytes, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        num_bytes, more = num_bytes + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % num_bytes})


@pytest.fixture
def connect(tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", DEADLINE_SECONDS)
    path = str(tmp_path / "api.sock")
    server = uvicorn.Server(
        uvicorn.Config(count_body, uds=path, http=BoundedProtocol, lifespan="off", log_config=None)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    opened = []

    def open_one():
        connection = socket.socket(socket.AF_UNIX)
        opened.append(connection)
        connection.settimeout(20)
        connection.connect(path)
        return connection

    yield open_one
    for connection in opened:
        connection.close()
    server.should_exit = True
    thread.join(20)


def answer(connection):
    """Return everything that comes until the server closes."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionError:
        pass  # it closed while we were still sending
    return received


def send_endlessly(connection, begin, piece, limit_bytes=8 * 1024 * 1024):
    sent = 0
    try:
        connection.sendall(begin)
        while sent < limit_bytes:
            connection.sendall(piece)
            sent += len(piece)
    except (BrokenPipeError, ConnectionError):
        pass
    return sent


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (HEAD, b"X: y\r\n" * 1000),
        (HEAD + b"X: ", b"y" * 6000),
        (b"GET /?", b"a" * 6000),
        (CHUNKED + b"0\r\n", b"X: y\r\n" * 1000),
        (CHUNKED + b"0\r\nX: ", b"y" * 6000),
        (CHUNKED + b"3;x=", b"y" * 6000),
    ],
    ids=["headers", "header", "address", "trailers", "trailer", "extension"],
)
def test_nothing_that_is_no_body_goes_on_for_ever(connect, begin, piece):
    sent = send_endlessly(connect(), begin, piece)
    assert sent < 2 * 1024 * 1024, "what the sockets hold, and no more"


@pytest.mark.parametrize("num_headers", [1, MAX_HEAD_BYTES // 8])
def test_a_head_that_is_too_long_says_so(connect, num_headers):
    connection = connect()
    value = b"y" * (2 * MAX_HEAD_BYTES // num_headers)
    connection.sendall(HEAD + b"X: %s\r\n" % value * num_headers + b"\r\n")
    head, body = answer(connection).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(body)["code"] == "head_too_large"


def test_what_is_no_http_is_a_problem_too(connect):
    connection = connect()
    connection.sendall(b"Good morning\r\n\r\n")
    head, body = answer(connection).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 400 ")
    document = json.loads(body)
    assert (document["code"], document["status"]) == ("invalid_request", 400)


def test_who_asks_nothing_is_not_waited_for(connect):
    for begin in (b"", b"GE", HEAD):
        connection = connect()
        began = time.monotonic()
        connection.sendall(begin)
        assert answer(connection) == b""
        assert time.monotonic() - began < 10 * DEADLINE_SECONDS


def test_the_next_request_has_a_deadline_as_well(connect):
    connection = connect()
    connection.sendall(HEAD + b"\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    connection.sendall(HEAD)
    while connection.recv(65536):
        pass  # the rest of the first answer, and then the end


def test_a_body_may_be_slow_and_long(connect):
    connection = connect()
    size = 3 * MAX_HEAD_BYTES
    connection.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n")
    connection.sendall(b"Content-Length: %d\r\n\r\n" % size)
    connection.sendall(b"z" * (size - 1))
    time.sleep(2 * DEADLINE_SECONDS)
    connection.sendall(b"z")
    assert b"\r\n%d\r\n" % size in answer(connection)


def test_many_small_chunks_are_no_head(connect):
    connection = connect()
    connection.sendall(CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
    for _ in range(100):
        connection.sendall(b"1\r\nz\r\n" * 500)
    connection.sendall(b"0\r\n\r\n")
    assert b"\r\n50003\r\n" in answer(connection)


def test_who_is_refused_in_mid_body_gets_the_answer_and_no_reset(connect):
    connection = connect()
    connection.sendall(b"POST /refused HTTP/1.1\r\nHost: here\r\nContent-Length: 900000000\r\n\r\n")
    # Far more than buffers on the way take, before anything is read.
    connection.sendall(b"x" * 4_000_000)
    received = answer(connection)
    assert received.endswith(b"refused\r\n0\r\n\r\n"), "the whole answer, then the end"
    # What is still sent is taken and dropped, not answered by a reset.
    assert send_endlessly(connection, b"", b"x" * 100_000, 2_000_000) == 2_000_000


def test_after_a_refusal_nothing_more_is_served_on_the_connection(connect):
    connection = connect()
    connection.sendall(b"POST /refused HTTP/1.1\r\nHost: here\r\nContent-Length: 6\r\n\r\nabc")
    received = answer(connection)
    connection.sendall(b"abc" + HEAD + b"\r\n")
    assert received.count(b"HTTP/1.1") == 1
    assert answer(connection) == b""
