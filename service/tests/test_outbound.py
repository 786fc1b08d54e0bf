"""Requests to hostile servers: real sockets, real TLS; a canary that must never be touched."""

import contextlib
import datetime
import hashlib
import ipaddress
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from service import outbound_fetch
from service.errors import UploadTooLarge, UrlRefused, UrlUnreachable
from service.outbound import Deadline, Outbound, OutboundPolicy, Pace
from service.outbound_fetch import Fetcher, FetchLimits

CLOSED = OutboundPolicy(allow_private=True)
CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ETAG = 'ETag: "v1"\r\n'


class Server:
    """Answers each connection by a function of (socket, request head); counts them."""

    def __init__(self, answer, tls=None):
        self.answer = answer
        self.heads = []
        self.touched = 0
        self._tls = tls
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/clip.mp4"

    def _serve(self):
        while not self._closing.is_set():
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            self.touched += 1
            threading.Thread(target=self._one, args=(link,), daemon=True).start()

    def _one(self, link):
        # A client that hangs up early is what many of these tests are about.
        with contextlib.suppress(OSError):
            if self._tls is not None:
                link = self._tls.wrap_socket(link, server_side=True)
            with link:
                head = b""
                while b"\r\n\r\n" not in head:
                    block = link.recv(65536)
                    if not block:
                        return
                    head += block
                # A posted body, which is short, may come in a packet of its own.
                while head.startswith(b"POST") and head.endswith(b"\r\n\r\n"):
                    head += link.recv(65536)
                self.heads.append(head.decode("latin-1"))
                self.answer(link, self.heads[-1])

    def wait(self, seconds):
        self._closing.wait(seconds)

    def close(self):
        self._closing.set()
        self._listener.close()


@pytest.fixture
def serve():
    servers = []

    def start(answer, **options):
        servers.append(Server(answer, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def canary(serve):
    return serve(lambda link, head: link.sendall(b"HTTP/1.1 200 OK\r\n\r\nsecret"))


def reply(text, body=b""):
    return lambda link, head: link.sendall(text.encode() + body)


def whole(content=CONTENT, extra=""):
    return reply(f"HTTP/1.1 200 OK\r\n{extra}Content-Length: {len(content)}\r\n\r\n", content)


def redirect(location, status=302):
    return reply(f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def fetch(tmp_path):
    """Fetch a URL to a file; pauses are skipped."""
    count = iter(range(1000))

    def run(url, *, outbound=None, watch=lambda done, total: None, **limits):
        target = tmp_path / f"fetched-{next(count)}"
        known = {"max_bytes": 10_000_000, "total_seconds": 20.0, **limits}
        fetcher = Fetcher(outbound or Outbound(CLOSED), FetchLimits(**known), lambda seconds: None)
        fetched = fetcher.fetch(url, target, watch)
        content = target.read_bytes()
        assert fetched.sha256 == hashlib.sha256(content).hexdigest()
        assert fetched.size_bytes == len(content)
        return content

    return run


def test_a_file_comes_whole_with_plain_headers(serve, fetch):
    server = serve(whole())
    assert fetch(server.url) == CONTENT
    head = server.heads[0].lower()
    assert f"host: 127.0.0.1:{server.port}\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert "cookie" not in head
    assert "authorization" not in head


def test_proxies_of_the_environment_are_not_used(serve, fetch, canary, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, canary.url)
    assert fetch(serve(whole()).url) == CONTENT
    assert canary.touched == 0


# Public by name, then private: what a rebinding attack answers.
@pytest.mark.parametrize("answers", [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"]])
def test_every_answer_of_the_resolver_is_checked(answers, canary, fetch):
    outbound = Outbound(OutboundPolicy(), resolver=lambda host, port: answers)
    with pytest.raises(UrlRefused):
        fetch("http://evil.example.com/", outbound=outbound)
    assert canary.touched == 0


def test_a_name_is_resolved_once_for_a_connection(serve, canary):
    """The first answer is fine, any later one would lead to the canary's host."""
    asked = []

    def rebinding(host, port):
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    server = serve(whole(b"ok"))
    outbound = Outbound(CLOSED, resolver=rebinding)
    url = f"http://evil.example.com:{server.port}/"
    with outbound.get(url, (), Deadline(5)) as answer:
        assert b"".join(answer.body) == b"ok"
    assert asked == ["evil.example.com"]
    assert f"Host: evil.example.com:{server.port}" in server.heads[0]


def test_an_address_that_swallows_packets_leaves_time_for_the_next(serve, monkeypatch):
    server = serve(whole(b"ok"))
    real, waits = socket.create_connection, []

    def connect(address, timeout, **options):
        waits.append((address[0], timeout))
        if address[0] != "127.0.0.1":
            raise TimeoutError
        return real(address, timeout, **options)

    monkeypatch.setattr("httpcore2._backends.sync.socket.create_connection", connect)
    addresses = ["127.0.0.3", "127.0.0.2", "127.0.0.1"]
    outbound = Outbound(CLOSED, resolver=lambda host, port: addresses)
    with outbound.get(f"http://example.com:{server.port}/", (), Deadline(6)) as answer:
        assert b"".join(answer.body) == b"ok"
    assert [address for address, _ in waits] == addresses
    assert 1.5 < waits[0][1] <= 2


def test_a_name_without_address_or_resolver_is_unreachable(fetch):
    def fails(host, port):
        raise socket.gaierror(-2, "unknown")

    for resolver in (fails, lambda host, port: []):
        with pytest.raises(UrlUnreachable):
            fetch("http://example.com/", outbound=Outbound(OutboundPolicy(), resolver=resolver))


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://0x7f.1/",
        "http://169.254.169.254/latest/",
        "http://evil.example.com:{port}/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "http://u:p@example.com/",
        "//127.0.0.1/",
    ],
)
def test_redirects_to_private_places_are_refused(location, serve, canary, fetch, monkeypatch):
    """A server that is public, as far as the policy can see, leads to the canary."""
    server = serve(redirect(location.format(port=canary.port)))
    real = socket.create_connection

    def connect(address, *rest, **options):
        return real(("127.0.0.1", server.port), *rest, **options)

    monkeypatch.setattr("httpcore2._backends.sync.socket.create_connection", connect)

    def resolver(host, port):
        return ["93.184.215.14"] if host == "public.example.com" else ["127.0.0.1"]

    outbound = Outbound(OutboundPolicy(), resolver=resolver)
    with pytest.raises(UrlRefused):
        fetch("http://public.example.com/", outbound=outbound)
    assert server.touched == 1
    assert canary.touched == 0


def test_redirects_are_followed_a_few_times_only(serve, fetch):
    last = serve(whole())
    third = serve(redirect(last.url, 308))
    second = serve(redirect(third.url, 307))
    first = serve(redirect(second.url, 301))
    assert fetch(first.url) == CONTENT
    with pytest.raises(UrlUnreachable, match="redirects more than 3 times"):
        fetch(serve(redirect(first.url)).url)


def test_a_redirect_without_location_or_to_itself_ends(serve, fetch):
    server = serve(redirect("/clip.mp4"))
    with pytest.raises(UrlUnreachable):
        fetch(server.url)
    assert server.touched == 4


@pytest.mark.parametrize("status", [204, 206, 400, 401, 403, 404, 410, 418])
def test_refusals_of_the_server_are_final(status, serve, fetch):
    server = serve(reply(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(UrlUnreachable, match=str(status)) as caught:
        fetch(server.url)
    assert not caught.value.passing
    assert server.touched == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_passing_troubles_are_tried_again(status, serve, fetch):
    server = serve(reply(f"HTTP/1.1 {status} Later\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(UrlUnreachable) as caught:
        fetch(server.url)
    assert caught.value.passing
    assert server.touched == outbound_fetch.MAX_BREAKS


def test_compressed_bodies_are_refused(serve, fetch):
    with pytest.raises(UrlUnreachable, match="compressed"):
        fetch(serve(whole(b"\x1f\x8b", "Content-Encoding: gzip\r\n")).url)


def test_a_server_that_is_too_large_by_its_own_word_is_not_read(serve, fetch):
    server = serve(reply("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"))
    with pytest.raises(UploadTooLarge):
        fetch(server.url)


def test_an_endless_body_is_cut_at_the_limit(serve, fetch):
    def endless(link, head):
        link.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            link.sendall(b"8000\r\n" + bytes(0x8000) + b"\r\n")

    started = time.monotonic()
    with pytest.raises(UploadTooLarge):
        fetch(serve(endless).url, max_bytes=1_000_000)
    assert time.monotonic() - started < 10


def test_endless_headers_are_cut(serve, fetch):
    def endless(link, head):
        link.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            link.sendall(b"X: " + b"a" * 1000 + b"\r\n")

    with pytest.raises(UrlUnreachable):
        fetch(serve(endless).url)


@pytest.mark.parametrize(
    "text",
    ["", "SSH-2.0-x\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nA b\r\n\r\n", "\x00" * 99],
)
def test_what_is_no_http_is_unreachable(text, serve, fetch):
    with pytest.raises(UrlUnreachable):
        fetch(serve(reply(text)).url)


def test_a_server_that_drips_its_headers_is_given_up(serve):
    server = serve(lambda link, head: None)

    def drip(link, head):
        for letter in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
            link.sendall(bytes([letter]))
            server.wait(0.05)

    server.answer = drip
    started = time.monotonic()
    with (
        pytest.raises(UrlUnreachable, match="in time"),
        Outbound(CLOSED).get(server.url, (), Deadline(0.5)),
    ):
        pass
    assert 0.4 < time.monotonic() - started < 3


def test_a_server_that_drips_its_body_is_given_up(serve, fetch):
    server = serve(lambda link, head: None)

    def drip(link, head):
        link.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            link.sendall(b"1\r\nx\r\n")
            server.wait(0.02)

    server.answer = drip
    started = time.monotonic()
    with pytest.raises(UrlUnreachable, match="too slowly"):
        fetch(server.url, pace=Pace(bytes_per_second=10_000, window_seconds=0.3))
    assert time.monotonic() - started < 5
    assert server.touched == 1


def ranges(head):
    found = [line for line in head.splitlines() if line.lower().startswith("range:")]
    return int(found[0].partition("=")[2].rstrip("-")) if found else None


def breaking(server_content, *, step, etag=ETAG, honour=True):
    """Sends ``step`` bytes and hangs up; goes on where asked to, if it honours ranges."""

    def answer(link, head):
        start = ranges(head)
        content = server_content()
        if start is None or not honour:
            link.sendall(
                f"HTTP/1.1 200 OK\r\n{etag}Content-Length: {len(content)}\r\n\r\n".encode()
                + content[:step]
            )
            return
        end = len(content) - 1
        link.sendall(
            f"HTTP/1.1 206 Partial\r\n{etag}Content-Range: bytes {start}-{end}/{len(content)}\r\n"
            f"Content-Length: {len(content) - start}\r\n\r\n".encode()
            + content[start : start + step]
        )

    return answer


def test_a_broken_transfer_goes_on_where_it_broke(serve, fetch):
    server = serve(breaking(lambda: CONTENT, step=200_000))
    assert fetch(server.url) == CONTENT
    assert server.touched == 3
    assert [ranges(head) for head in server.heads] == [None, 200_000, 400_000]
    assert 'If-Range: "v1"' in server.heads[1]


@pytest.mark.parametrize("etag", ["", 'ETag: W/"weak"\r\n'])
def test_without_a_strong_validator_it_starts_again(etag, serve, fetch):
    steps = iter([1000, 1000, len(CONTENT)])

    def answer(link, head):
        breaking(lambda: CONTENT, step=next(steps), etag=etag)(link, head)

    server = serve(answer)
    assert fetch(server.url) == CONTENT
    assert [ranges(head) for head in server.heads] == [None, None, None]


def test_a_modification_date_serves_as_validator_when_it_is_old_enough(serve, fetch):
    dates = (
        "Date: Sat, 21 Nov 2026 10:00:00 GMT\r\nLast-Modified: Sat, 21 Nov 2026 09:00:00 GMT\r\n"
    )
    server = serve(breaking(lambda: CONTENT, step=300_000, etag=dates))
    assert fetch(server.url) == CONTENT
    assert [ranges(head) for head in server.heads] == [None, 300_000]


def test_a_file_that_changed_meanwhile_is_fetched_anew(serve, fetch):
    """The server ignores If-Range, but its ETag gives it away."""
    versions = iter([b"a" * 300_000, b"b" * 300_000, b"b" * 300_000, b"b" * 300_000])
    tags = iter(["a", "b", "b", "b"])

    def answer(link, head):
        etag = f'ETag: "{next(tags)}"\r\n'
        breaking(lambda: next(versions), step=200_000, etag=etag)(link, head)

    assert fetch(serve(answer).url) == b"b" * 300_000


def test_a_server_that_ignores_ranges_is_read_from_the_start(serve, fetch):
    steps = iter([300_000, len(CONTENT)])

    def answer(link, head):
        breaking(lambda: CONTENT, step=next(steps), honour=False)(link, head)

    assert fetch(serve(answer).url) == CONTENT


@pytest.mark.parametrize("lie", ["bytes 5-9/10", "bytes x", "", "bytes 200000-1/-1"])
def test_a_lying_content_range_does_not_mix_files(lie, serve, fetch):
    count = iter(range(100))

    def answer(link, head):
        if next(count) == 1:
            text = f"HTTP/1.1 206 P\r\n{ETAG}Content-Range: {lie}\r\nContent-Length: 5\r\n\r\nwrong"
            link.sendall(text.encode())
        else:
            breaking(lambda: CONTENT, step=200_000)(link, head)

    assert fetch(serve(answer).url) == CONTENT


def test_a_lying_content_length_is_noticed(serve, fetch):
    promised = reply("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"short")
    server = serve(promised)
    with pytest.raises(UrlUnreachable, match="broke"):
        fetch(server.url)
    # What is more than was promised is no part of the file.
    assert (
        fetch(serve(reply("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"longer")).url)
        == b"longe"
    )


def test_the_watcher_can_stop_a_transfer(serve, fetch):
    class Enough(Exception):
        pass

    seen = []

    def watch(done, total):
        seen.append((done, total))
        if done > 100_000:
            raise Enough

    with pytest.raises(Enough):
        fetch(serve(whole()).url, watch=watch)
    assert all(total == len(CONTENT) for _, total in seen)
    assert seen[-1][0] < 300_000


def test_everything_together_ends_in_time(serve, fetch):
    server = serve(None)
    server.answer = lambda link, head: server.wait(30)
    started = time.monotonic()
    with pytest.raises(UrlUnreachable):
        fetch(server.url, total_seconds=0.6)
    assert time.monotonic() - started < 5


# Posting: webhooks.


def test_a_post_carries_the_body_and_drops_the_answer(serve):
    def answer(link, head):
        link.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            link.sendall(b"8000\r\n" + bytes(0x8000) + b"\r\n")

    server = serve(answer)
    status = Outbound(CLOSED).post(server.url, b'{"a":1}', [(b"Webhook-Id", b"msg_1")])
    assert status == 200
    assert server.heads[0].startswith("POST /clip.mp4 HTTP/1.1\r\n")
    assert "Content-Length: 7\r\n" in server.heads[0]
    assert server.heads[0].endswith('{"a":1}')


def test_a_post_follows_no_redirect(serve, canary):
    server = serve(redirect(canary.url))
    assert Outbound(CLOSED).post(server.url, b"{}", []) == 302
    assert canary.touched == 0


def test_a_post_to_a_private_address_is_refused_without_touching_it(canary):
    outbound = Outbound(OutboundPolicy(), resolver=lambda host, port: ["127.0.0.1"])
    for url in (canary.url, "http://evil.example.com/"):
        with pytest.raises(UrlRefused):
            outbound.post(url, b"{}", [])
    assert canary.touched == 0


@pytest.mark.parametrize("kind", ["hangs", "drips", "resets"])
def test_a_post_ends_in_time(kind, serve):
    server = serve(lambda link, head: None)

    def answer(link, head):
        if kind == "resets":
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        for letter in b"HTTP/1.1 200 OK\r\n" * 100:
            server.wait(10 if kind == "hangs" else 0.05)
            link.sendall(bytes([letter]))

    server.answer = answer
    started = time.monotonic()
    with pytest.raises(UrlUnreachable) as caught:
        Outbound(CLOSED).post(server.url, b"{}", [], seconds=0.5)
    assert caught.value.passing
    assert time.monotonic() - started < 3


# TLS.


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A private authority and a certificate for video.example.com."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "video.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("video.example.com"), x509.IPAddress(ipaddress.ip_address("10.9.9.9"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "cert.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=pem)


def test_tls_checks_the_name_not_the_address(serve, certificates):
    """The connection goes to the checked address; SNI, Host and certificate are the name's."""
    server_tls, client_tls = certificates
    names = []
    server_tls.sni_callback = lambda link, name, context: names.append(name)
    server = serve(whole(b"ok"), tls=server_tls)
    outbound = Outbound(CLOSED, resolver=lambda host, port: ["127.0.0.1"], tls=client_tls)
    with outbound.get(f"https://video.example.com:{server.port}/", (), Deadline(5)) as answer:
        assert b"".join(answer.body) == b"ok"
    assert names == ["video.example.com"]
    with (
        pytest.raises(UrlUnreachable, match="not trusted") as caught,
        outbound.get(f"https://other.example.com:{server.port}/", (), Deadline(5)),
    ):
        pass
    assert not caught.value.passing


def test_unknown_authorities_are_not_trusted(serve, certificates):
    server = serve(whole(b"ok"), tls=certificates[0])
    outbound = Outbound(CLOSED, resolver=lambda host, port: ["127.0.0.1"])
    with (
        pytest.raises(UrlUnreachable, match="not trusted"),
        outbound.get(f"https://video.example.com:{server.port}/", (), Deadline(5)),
    ):
        pass


def test_a_handshake_that_hangs_ends_in_time(serve, certificates):
    server = serve(None)
    server.answer = lambda link, head: server.wait(10)
    started = time.monotonic()
    with (
        pytest.raises(UrlUnreachable),
        Outbound(CLOSED).get(server.url.replace("http:", "https:"), (), Deadline(0.5)),
    ):
        pass
    assert time.monotonic() - started < 3
