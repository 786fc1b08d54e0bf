"""The only way out: HTTP requests to addresses that strangers named, guarded against misuse.

A name is resolved once, every answer is checked, and the connection goes to a checked address
with the name in Host and SNI, so that nothing can be rebound in between. No proxies, cookies or
credentials; redirects are followed by hand and checked again; time, headers and bytes are capped.

Source: reliability notes B9 and B10; OWASP, server-side request forgery prevention.
"""

import contextlib
import http
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpcore2

from service.errors import UrlRefused, UrlUnreachable
from service.outbound_addresses import (
    OutboundPolicy,
    WebAddress,
    check_address,
    check_url,
)

__all__ = ["Answer", "Deadline", "Outbound", "OutboundPolicy", "Pace", "WebAddress", "check_url"]

MAX_REDIRECTS = 3
MAX_ADDRESSES = 4
"""Of one name; what is behind more of them is not tried."""
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
"""Longest time in which a server sends nothing at all."""
POST_SECONDS = 15.0
"""Source: Standard Webhooks, "15-30 s" for one attempt."""
MAX_ANSWER_BYTES = 1024
USER_AGENT = b"Kinetag"

REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Answers after which the same request may pass later.
TRY_AGAIN = frozenset({408, 425, 429})

Resolver = Callable[[str, int], Sequence[str]]
Headers = Sequence[tuple[bytes, bytes]]


def resolve(host: str, port: int) -> list[str]:
    """Ask the system for all addresses of a name.

    Raises:
        OSError: it has none, or cannot be asked.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Pace:
    """How much a transfer has to bring in each window of time."""

    bytes_per_second: float
    window_seconds: float


class Deadline:
    """A moment after which nothing more is waited for; the single waits are cut to it."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = clock() + seconds
        self._pace: Pace | None = None
        self._window_at = 0.0
        self._window_bytes = 0

    def extend(self, seconds: float, pace: Pace | None = None) -> None:
        """Count anew from now, and from now on watch the pace."""
        self._until = self._clock() + seconds
        self._pace = pace
        self._window_at, self._window_bytes = self._clock(), 0

    def clipped(self, seconds: float) -> float:
        """Return a wait's length.

        Raises:
            httpcore2.ReadTimeout: the moment has passed.
        """
        left = self._until - self._clock()
        if left <= 0:
            raise httpcore2.ReadTimeout
        return min(seconds, left)

    def came(self, size_bytes: int) -> None:
        """Take note of bytes that came.

        Raises:
            UrlUnreachable: they come too slowly to be waited for.
        """
        if self._pace is None:
            return
        self._window_bytes += size_bytes
        spent = self._clock() - self._window_at
        if spent >= self._pace.window_seconds:
            if self._window_bytes < self._pace.bytes_per_second * spent:
                message = "The server sends the file too slowly; try again later."
                raise UrlUnreachable(message)
            self._window_at, self._window_bytes = self._clock(), 0


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose every wait ends with the deadline, however slowly bytes drip in."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        block = self._stream.read(max_bytes, self._deadline.clipped(timeout or SILENCE_SECONDS))
        self._deadline.came(len(block))
        return block

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.clipped(timeout or SILENCE_SECONDS))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        wait = self._deadline.clipped(timeout or CONNECT_SECONDS)
        return _TimedStream(
            self._stream.start_tls(ssl_context, server_hostname, wait), self._deadline
        )

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - the library's own signature
        return self._stream.get_extra_info(info)


class _GuardedNetwork(httpcore2.NetworkBackend):
    """Resolves once, checks all answers, connects to one of them."""

    def __init__(self, policy: OutboundPolicy, resolver: Resolver, deadline: Deadline) -> None:
        self._policy = policy
        self._resolver = resolver
        self._deadline = deadline
        self._network = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - the library's own signature
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        failure: Exception = httpcore2.ConnectError("the name has no address")
        addresses = self._addresses(host, port)
        for index, address in enumerate(addresses):
            # One that swallows packets, a broken IPv6 for instance, leaves time for the next.
            wait = self._deadline.clipped(timeout or CONNECT_SECONDS) / (len(addresses) - index)
            try:
                stream = self._network.connect_tcp(
                    address, port, timeout=wait, socket_options=socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = self._resolver(host, port)
        except (OSError, UnicodeError) as error:
            message = f"the name {host} cannot be resolved"
            raise httpcore2.ConnectError(message) from error
        for address in addresses:
            check_address(host, address, self._policy)
        return addresses[:MAX_ADDRESSES]

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002 - the library's own signature
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - as above
    ) -> httpcore2.NetworkStream:
        message = f"Unix sockets are never contacted, {path} neither."
        raise UrlRefused(message)


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer, and its body while it streams.

    Attributes:
        address: that gave it, after redirects.
        body: in blocks, errors already ours; to be read inside the `with` block only.
    """

    address: WebAddress
    status: int
    headers: Mapping[str, str]
    body: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, its body cut where it was long enough."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Outbound:
    """Sends guarded requests; safe to share between threads.

    Attributes:
        policy: whom it may contact.
        resolver: name and port to addresses.
        tls: which certificates are trusted.
    """

    policy: OutboundPolicy
    resolver: Resolver = resolve
    tls: ssl.SSLContext = field(default_factory=httpcore2.default_ssl_context)

    @contextlib.contextmanager
    def get(self, url: str, headers: Headers, deadline: Deadline) -> Iterator[Answer]:
        """Ask for a URL, following redirects; the body is uncompressed or refused.

        Args:
            url: where.
            headers: beside the usual ones.
            deadline: for the whole of it; may be extended meanwhile.

        Raises:
            UrlRefused: it, or one it redirects to, may not be contacted.
            UrlUnreachable: no answer came, or one that is no use; ``passing`` says more.
        """
        address = check_url(url, self.policy)
        for _ in range(MAX_REDIRECTS + 1):
            with self._exchange(b"GET", address, headers, b"", deadline) as answer:
                if answer.status not in REDIRECTS:
                    _require_plain(answer)
                    yield answer
                    return
                location = answer.headers.get("location", "")
            address = address.joined(location, self.policy)
        message = f"{address.authority} redirects more than {MAX_REDIRECTS} times; give the last."
        raise UrlUnreachable(message)

    def post(
        self, url: str, body: bytes, headers: Headers, *, seconds: float = POST_SECONDS
    ) -> int:
        """Post a body and return the status; redirects are not followed, the answer is dropped.

        Raises:
            UrlRefused: the URL may not be contacted.
            UrlUnreachable: no answer came in time.
        """
        address = check_url(url, self.policy)
        with self._exchange(b"POST", address, headers, body, Deadline(seconds)) as answer:
            received = 0
            with contextlib.suppress(UrlUnreachable):
                for block in answer.body:
                    received += len(block)
                    if received >= MAX_ANSWER_BYTES:
                        break
            return answer.status

    def ask(
        self,
        method: bytes,
        url: str,
        headers: Headers,
        body: bytes = b"",
        *,
        seconds: float,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Reply:
        """Send a request and return the answer; redirects are not followed.

        Args:
            method: such as ``b"GET"``.
            url: where.
            headers: beside the usual ones.
            body: empty for none.
            seconds: for the whole of it.
            max_bytes: of the answer's body; the rest is not read.

        Raises:
            UrlRefused: the URL may not be contacted.
            UrlUnreachable: no whole answer came in time.
        """
        address = check_url(url, self.policy)
        with self._exchange(method, address, headers, body, Deadline(seconds)) as answer:
            content = bytearray()
            for block in answer.body:
                content += block
                if len(content) >= max_bytes:
                    break
            return Reply(answer.status, answer.headers, bytes(content[:max_bytes]))

    @contextlib.contextmanager
    def _exchange(
        self, method: bytes, address: WebAddress, headers: Headers, body: bytes, deadline: Deadline
    ) -> Iterator[Answer]:
        request = httpcore2.Request(
            method,
            httpcore2.URL(
                scheme=address.scheme.encode(),
                host=address.host.encode(),
                port=address.port,
                target=address.target,
            ),
            headers=[
                (b"Host", address.authority.encode()),
                (b"User-Agent", USER_AGENT),
                (b"Accept-Encoding", b"identity"),
                (b"Connection", b"close"),
                *([(b"Content-Length", str(len(body)).encode())] if body else []),
                *headers,
            ],
            content=body,
            extensions={"timeout": {"connect": CONNECT_SECONDS, "read": SILENCE_SECONDS}},
        )
        network = _GuardedNetwork(self.policy, self.resolver, deadline)
        with (
            httpcore2.ConnectionPool(ssl_context=self.tls, network_backend=network) as pool,
            _mapped_errors(address),
        ):
            response = pool.handle_request(request)
            try:
                yield Answer(
                    address,
                    response.status,
                    {
                        name.decode("latin-1").lower(): value.decode("latin-1")
                        for name, value in response.headers
                    },
                    _blocks(response, address),
                )
            finally:
                response.close()


def _blocks(response: httpcore2.Response, address: WebAddress) -> Iterator[bytes]:
    with _mapped_errors(address):
        yield from response.iter_stream()


def _require_plain(answer: Answer) -> None:
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        message = f"{answer.address.authority} sends the file compressed; offer it uncompressed."
        raise UrlUnreachable(message)


def require_success(answer: Answer, wanted: Sequence[int] = (http.HTTPStatus.OK,)) -> None:
    """Refuse an answer that is not one of the wanted.

    Raises:
        UrlUnreachable: with the status; ``passing`` where waiting may help.
    """
    if answer.status not in wanted:
        message = f"{answer.address.shown} answered {answer.status}; check that it can be fetched."
        raise UrlUnreachable(message, passing=is_passing(answer.status))


def is_passing(status: int) -> bool:
    """Return whether the same request may be answered otherwise later."""
    return status in TRY_AGAIN or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR


@contextlib.contextmanager
def _mapped_errors(address: WebAddress) -> Iterator[None]:
    """Turn the HTTP library's errors into ours."""
    try:
        yield
    except httpcore2.TimeoutException as error:
        message = f"{address.authority} did not answer in time."
        raise UrlUnreachable(message, passing=True) from error
    except httpcore2.ConnectError as error:
        # The pool cuts the chain of causes, but the first error is this one's argument.
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args):
            message = f"The certificate of {address.authority} is not trusted."
            raise UrlUnreachable(message) from error
        message = f"{address.authority} cannot be reached."
        raise UrlUnreachable(message, passing=True) from error
    except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as error:
        message = f"The connection to {address.authority} broke before everything had come."
        raise UrlUnreachable(message, passing=True) from error
    except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
        message = f"{address.authority} does not speak HTTP as it should."
        raise UrlUnreachable(message) from error
