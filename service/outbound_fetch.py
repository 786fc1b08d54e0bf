"""Fetching a file from a stranger's server to this disk: hashed on the way, resumed when it breaks.

Built on `service.outbound`, which guards every connection. A broken transfer goes on where it
broke only if the server proves that the file is still the same; otherwise it starts again.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from service.errors import UploadTooLarge, UrlUnreachable
from service.outbound import Answer, Deadline, Headers, Outbound, Pace, require_success

HEADERS_SECONDS = 30.0
"""For resolving, connecting, redirects and the head of the answer together."""
SLOWEST = Pace(bytes_per_second=8192.0, window_seconds=60.0)
MAX_BREAKS = 4
"""Failures in a row that brought nothing."""
MAX_TRIES = 50
FIRST_PAUSE_SECONDS = 0.5
RANGE_ANSWERS = frozenset({HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE})
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)")

Watch = Callable[[int, int | None], None]
"""Called with the bytes so far and in all (None: unknown) after each block; may raise to stop."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What a stranger's file may cost.

    Attributes:
        max_bytes: of the file.
        total_seconds: for everything, pauses included.
        pace: slower servers are given up.
    """

    max_bytes: int
    total_seconds: float = 6 * 3600.0
    pace: Pace = SLOWEST


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that came whole, as far as its server said how long it is."""

    sha256: str
    size_bytes: int


@dataclass(slots=True)
class _Transfer:
    """What has come so far.

    Attributes:
        validator: by which the server knows the file that we have a part of; None: unknown.
        total_bytes: as the server said.
    """

    file: BinaryIO
    size_bytes: int = 0
    total_bytes: int | None = None
    validator: str | None = None
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.size_bytes, self.total_bytes, self.validator = 0, None, None
        self.digest = hashlib.sha256()

    def add(self, block: bytes) -> None:
        self.file.write(block)
        self.digest.update(block)
        self.size_bytes += len(block)


class Fetcher:
    """Fetches files.

    Args:
        outbound: the guarded client.
        limits: of each file.
        pause: waits so many seconds; may raise to stop.
    """

    def __init__(
        self,
        outbound: Outbound,
        limits: FetchLimits,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._outbound = outbound
        self._limits = limits
        self._pause = pause

    def fetch(self, url: str, target: Path, watch: Watch) -> Fetched:
        """Fetch a file to ``target``, which is made; the caller removes it after a failure.

        Raises:
            UrlRefused: the URL, or one it redirects to, is not contacted.
            UrlUnreachable: the file did not come, however often it was tried.
            UploadTooLarge: it has more bytes than the limit.
            OSError: ``target`` cannot be written.
        """
        ends_at = time.monotonic() + self._limits.total_seconds
        with target.open("xb") as file:
            transfer = _Transfer(file)
            for breaks in self._tries(transfer):
                left = ends_at - time.monotonic()
                try:
                    if left <= 0:
                        message = "Fetching took too long; the server is too slow for this file."
                        raise UrlUnreachable(message)
                    self._go_on(url, transfer, watch, left)
                except UrlUnreachable as error:
                    if not error.passing or breaks.is_last(transfer):
                        raise
                    self._pause(breaks.pause_seconds)
                else:
                    file.flush()
                    return Fetched(transfer.digest.hexdigest(), transfer.size_bytes)
        message = "The connection broke again and again; try again later."
        raise UrlUnreachable(message, passing=True)

    def _tries(self, transfer: _Transfer) -> "Iterator[_Breaks]":
        breaks = _Breaks()
        for _ in range(MAX_TRIES):
            breaks.before_bytes = transfer.size_bytes
            yield breaks

    def _go_on(self, url: str, transfer: _Transfer, watch: Watch, left_seconds: float) -> None:
        """Ask for what is missing, once."""
        if transfer.validator is None:
            transfer.restart()
        deadline = Deadline(min(HEADERS_SECONDS, left_seconds))
        with self._outbound.get(url, _range_headers(transfer), deadline) as answer:
            if transfer.size_bytes > 0 and not _continues(answer, transfer):
                transfer.restart()
                if answer.status in RANGE_ANSWERS:
                    message = f"{answer.address.authority} does not go on with the file."
                    raise UrlUnreachable(message, passing=True)
            if transfer.size_bytes == 0:
                require_success(answer)
                transfer.total_bytes = _content_length(answer)
                transfer.validator = _validator(answer)
            self._check_size(max(transfer.size_bytes, transfer.total_bytes or 0))
            deadline.extend(left_seconds, self._limits.pace)
            for block in answer.body:
                transfer.add(block)
                self._check_size(transfer.size_bytes)
                watch(transfer.size_bytes, transfer.total_bytes)

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._limits.max_bytes:
            message = (
                f"The file at this URL has more than {self._limits.max_bytes} bytes, the limit; "
                "split the video, or ask the operator to raise KINETAG_MAX_UPLOAD_BYTES."
            )
            raise UploadTooLarge(message)


@dataclass(slots=True)
class _Breaks:
    """Failures in a row since the last byte came."""

    count: int = 0
    before_bytes: int = 0

    def is_last(self, transfer: _Transfer) -> bool:
        moved = transfer.size_bytes > self.before_bytes
        self.count = 1 if moved else self.count + 1
        return self.count >= MAX_BREAKS

    @property
    def pause_seconds(self) -> float:
        return FIRST_PAUSE_SECONDS * 2.0 ** (self.count - 1)


def _range_headers(transfer: _Transfer) -> Headers:
    if transfer.size_bytes == 0 or transfer.validator is None:
        return ()
    return (
        (b"Range", f"bytes={transfer.size_bytes}-".encode()),
        (b"If-Range", transfer.validator.encode("latin-1")),
    )


def _continues(answer: Answer, transfer: _Transfer) -> bool:
    """Whether an answer is the rest of the very file that we have the beginning of."""
    if answer.status != HTTPStatus.PARTIAL_CONTENT:
        return False
    found = CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    same = _validator(answer) in {None, transfer.validator}
    return found is not None and int(found[1]) == transfer.size_bytes and same


def _validator(answer: Answer) -> str | None:
    """Return what identifies the file strongly enough to be continued.

    Source: RFC 9110 §8.8.2.2 (when a date is a strong validator) and §13.1.5 (If-Range).
    """
    etag = answer.headers.get("etag")
    if etag is not None:
        return None if etag.startswith("W/") else etag
    modified, sent = answer.headers.get("last-modified"), answer.headers.get("date")
    if modified is None or sent is None:
        return None
    try:
        age = parsedate_to_datetime(sent) - parsedate_to_datetime(modified)
    except (TypeError, ValueError):
        return None
    return modified if age >= timedelta(seconds=1) else None


def _content_length(answer: Answer) -> int | None:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None
