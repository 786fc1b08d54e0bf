"""Receives a multipart upload part by part: the video goes to disk, nothing waits in memory.

One file, a few small fields, every limit counted on what really arrives. Whatever goes wrong,
also a client that hangs up, leaves no file behind.
"""

import asyncio
import hashlib
import os
import tempfile
import time
import unicodedata
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import (
    InvalidRequest,
    MediaTypeUnsupported,
    StorageFull,
    UploadTimeout,
    UploadTooLarge,
)
from service.storage import mapped_storage_errors

VIDEO_FIELD = "video"
MAX_FIELDS = 16
MAX_FIELD_BYTES = 64 * 1024
MAX_NAME_CHARACTERS = 255
WRITE_BYTES = 1024 * 1024
"""What is gathered before a thread writes and hashes it."""

SPACE_CHECK_BYTES = 64 * 1024 * 1024
MIN_BYTES_PER_SECOND = 1024
"""Slower than this on average, after the first stall time, is taken for a stalled upload."""

FALLBACK_NAME = "video"


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How large and how slow an upload may be.

    Attributes:
        max_bytes: of the whole body.
        stall_seconds: without any byte.
        spare_bytes: returns the free space that an upload may still fill.
    """

    max_bytes: int
    stall_seconds: float
    spare_bytes: Callable[[], int]


@dataclass(frozen=True, slots=True)
class ReceivedUpload:
    """A finished upload; ``path`` is gone after the receiver's block unless it was moved."""

    path: Path
    name: str
    sha256: str
    size_bytes: int
    fields: dict[str, str]


def display_name(raw: str) -> str:
    """Return a file name fit to be shown: last part of a path, no control characters, bounded.

    Source: Unicode TR 36 on bidirectional controls, which are of category Cf and removed too.
    """
    name = unicodedata.normalize("NFC", raw.replace("\\", "/").rsplit("/", 1)[-1])
    name = "".join(one for one in name if unicodedata.category(one)[0] != "C").strip()
    if name.strip(".") == "":
        return FALLBACK_NAME
    if len(name) > MAX_NAME_CHARACTERS:
        stem, dot, ending = name.rpartition(".")
        keep = MAX_NAME_CHARACTERS - len(dot + ending)
        name = stem[:keep] + dot + ending if dot and keep > 0 else name[:MAX_NAME_CHARACTERS]
    return name


class UploadReceiver:
    """Receives one request's body; an async context manager that cleans up after itself.

    Args:
        folder: for the unfinished file; on the file system of the blobs.
        content_type, content_length: the request's headers; "" and None when missing.
        limits: of size and time.
    """

    def __init__(
        self, folder: Path, content_type: str, content_length: int | None, limits: UploadLimits
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._content_length = content_length
        self._parts = _PartReader(_boundary(content_type))
        self._hash = hashlib.sha256()
        self._path: Path | None = None
        self._file: IO[bytes] | None = None

    async def __aenter__(self) -> "UploadReceiver":
        """Refuse what is too large by its own word, and open the unfinished file."""
        if self._content_length is not None:
            if self._content_length > self._limits.max_bytes:
                raise _too_large(self._limits.max_bytes)
            self._require_space(self._content_length)
        with mapped_storage_errors():
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix="upload-")
            self._path = Path(name)
            self._file = os.fdopen(descriptor, "wb", buffering=0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the unfinished file unless it was moved away."""
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def receive(self, stream: AsyncIterator[bytes]) -> ReceivedUpload:
        """Read the body to its end.

        Raises:
            UploadTooLarge: the body, a field, or the number of fields exceeds its limit.
            UploadTimeout: nothing, or next to nothing, arrives.
            StorageFull: free space falls below the floor.
            InvalidRequest: the body is no complete form with one video.
        """
        received = checked = 0
        async for chunk in self._steadily(stream):
            received += len(chunk)
            if received > self._limits.max_bytes:
                raise _too_large(self._limits.max_bytes)
            if received - checked >= SPACE_CHECK_BYTES:
                checked = received
                self._require_space(0)
            self._parts.feed(chunk)
            if len(self._parts.file_bytes) >= WRITE_BYTES:
                await self._flush()
        self._parts.finish()
        await self._flush()
        return self._received()

    async def _steadily(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        started, received = time.monotonic(), 0
        iterator = aiter(stream)
        while True:
            try:
                async with asyncio.timeout(self._limits.stall_seconds):
                    chunk = await anext(iterator)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                message = f"Nothing arrived for {self._limits.stall_seconds:.0f} s; send it again."
                raise UploadTimeout(message) from error
            received += len(chunk)
            spent_seconds = time.monotonic() - started
            slow = received < MIN_BYTES_PER_SECOND * spent_seconds
            if slow and spent_seconds > self._limits.stall_seconds:
                message = (
                    f"Less than {MIN_BYTES_PER_SECOND} bytes per second arrive; send it again."
                )
                raise UploadTimeout(message)
            yield chunk

    async def _flush(self) -> None:
        content = bytes(self._parts.file_bytes)
        self._parts.file_bytes.clear()
        if content:
            await asyncio.to_thread(self._write, content)

    def _write(self, content: bytes) -> None:
        if self._file is None:
            return
        with mapped_storage_errors():
            view = memoryview(content)
            while view:
                view = view[self._file.write(view) :]
        self._hash.update(content)

    def _require_space(self, more_bytes: int) -> None:
        if self._limits.spare_bytes() < more_bytes:
            message = (
                "There is not enough free disk space for this upload; delete jobs that are no "
                "longer needed, or ask the operator for space."
            )
            raise StorageFull(message)

    def _received(self) -> ReceivedUpload:
        if self._parts.file_name is None or self._path is None:
            message = f"The form has no file in its field {VIDEO_FIELD!r}."
            raise InvalidRequest(message)
        if self._parts.file_size == 0:
            message = "The video is empty; send a file with content."
            raise InvalidRequest(message)
        return ReceivedUpload(
            path=self._path,
            name=display_name(self._parts.file_name),
            sha256=self._hash.hexdigest(),
            size_bytes=self._parts.file_size,
            fields=self._parts.fields,
        )


class _PartReader:
    """Turns the body's bytes into fields and the file's bytes; holds at most one write's worth."""

    def __init__(self, boundary: bytes) -> None:
        self.fields: dict[str, str] = {}
        self.file_bytes = bytearray()
        self.file_name: str | None = None
        self.file_size = 0
        self._num_parts = 0
        self._headers: dict[str, str] = {}
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._name = ""
        self._value = bytearray()
        self._in_file = False
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header_name,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Parse some more of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            message = f"The form cannot be read ({error})."
            raise InvalidRequest(message) from error

    def finish(self) -> None:
        """Note that the body is over."""
        if not self._ended:
            message = "The form ends before its closing boundary; send it again."
            raise InvalidRequest(message)

    def _begin_part(self) -> None:
        self._num_parts += 1
        if self._num_parts > MAX_FIELDS + 1:
            message = f"The form has more than {MAX_FIELDS} fields beside the video."
            raise UploadTooLarge(message)
        self._headers = {}
        self._value.clear()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        name = self._header_name.decode("latin-1").lower()
        self._headers[name] = self._header_value.decode("latin-1")
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition", ""))
        if kind != b"form-data" or b"name" not in options:
            message = "A part of the form has no Content-Disposition: form-data with a name."
            raise InvalidRequest(message)
        self._name = options[b"name"].decode(errors="replace")
        self._in_file = self._name == VIDEO_FIELD
        if self._in_file and self.file_name is not None:
            message = f"The form has more than one {VIDEO_FIELD!r}; send one video per job."
            raise InvalidRequest(message)
        if self._in_file:
            self.file_name = options.get(b"filename", b"").decode(errors="replace")
        elif b"filename" in options:
            message = f"The file is in the field {self._name!r}; put it in {VIDEO_FIELD!r}."
            raise InvalidRequest(message)
        elif self._name in self.fields:
            message = f"The field {self._name!r} comes more than once."
            raise InvalidRequest(message)

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self.file_bytes += data[start:end]
            self.file_size += end - start
            return
        self._value += data[start:end]
        if len(self._value) > MAX_FIELD_BYTES:
            message = f"The field {self._name!r} is longer than {MAX_FIELD_BYTES} bytes."
            raise UploadTooLarge(message)

    def _end_part(self) -> None:
        if self._in_file:
            return
        try:
            self.fields[self._name] = self._value.decode()
        except UnicodeDecodeError as error:
            message = f"The field {self._name!r} is not UTF-8 text."
            raise InvalidRequest(message) from error

    def _end(self) -> None:
        self._ended = True


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        message = (
            "Send the video as multipart/form-data with a boundary, for instance with "
            "curl -F video=@FILE."
        )
        raise MediaTypeUnsupported(message)
    return boundary


def _too_large(max_bytes: int) -> UploadTooLarge:
    return UploadTooLarge(
        f"The upload is larger than the {max_bytes} bytes this service takes; cut the video or "
        "ask the operator to raise KINETAG_MAX_UPLOAD_BYTES."
    )
