"""Receives one video in one request: as a form, part by part, or as the plain body.

The video goes to disk as it arrives, nothing waits in memory. One file, a few small fields, every
limit counted on what really arrives. Whatever goes wrong, also a client that hangs up, leaves no
file behind.
"""

import hashlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.api.receiving import BatchWriter, SteadyBody, UploadLimits, too_large
from service.errors import EmptyUpload, InvalidRequest, MediaTypeUnsupported, UploadTooLarge
from service.ingest.files import ReceivedFile
from service.ingest.names import MAX_NAME_CHARACTERS, display_name
from service.storage import mapped_storage_errors

__all__ = [
    "MAX_NAME_CHARACTERS",
    "ReceivedUpload",
    "UploadLimits",
    "UploadReceiver",
    "display_name",
]

VIDEO_FIELD = "video"
MAX_FIELDS = 16
MAX_FIELD_BYTES = 64 * 1024
MAX_BOUNDARY_BYTES = 70
"""Source: RFC 2046, 5.1.1."""
WRITE_BYTES = 1024 * 1024
"""Of the form's file, what is gathered before it is handed on."""


@dataclass(frozen=True, slots=True)
class ReceivedUpload:
    """A finished upload; ``path`` is gone after the receiver's block unless it was moved."""

    path: Path
    name: str
    sha256: str
    size_bytes: int
    fields: dict[str, str]


class UploadReceiver:
    """Receives one request's body; an async context manager that cleans up after itself.

    Args:
        folder: for the unfinished file; on the file system of the blobs.
        content_type: the request's header; "" when missing.
        content_length: the same; None when missing.
        limits: of size and time.
        raw_name: what to call the video where the body is nothing but its bytes; None where the
            body is a form.
        file_field: of the form, where the file is.
    """

    def __init__(
        self,
        folder: Path,
        content_type: str,
        content_length: int | None,
        limits: UploadLimits,
        raw_name: str | None = None,
        file_field: str = VIDEO_FIELD,
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._content_length = content_length
        self._file_field = file_field
        self._reader = (
            _FormReader(_boundary(content_type), file_field) if raw_name is None else None
        )
        self._name = raw_name
        self._hash = hashlib.sha256()
        self._path: Path | None = None
        self._file: ReceivedFile | None = None

    async def __aenter__(self) -> "UploadReceiver":
        """Refuse what is too large by its own word, and open the unfinished file."""
        if self._content_length is not None:
            if self._content_length > self._limits.max_bytes:
                raise too_large(self._limits.max_bytes)
            self._limits.require_space(self._content_length)
        with mapped_storage_errors():
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix="upload-")
            self._path = Path(name)
            self._file = ReceivedFile(descriptor, 0)
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
            EmptyUpload: the video has no bytes.
        """
        if self._path is None or self._file is None:
            message = "The receiver was not entered."
            raise RuntimeError(message)
        async with BatchWriter((self._file.write, self._digest), self._file.sync) as writer:
            async for chunk in SteadyBody(stream, self._limits):
                for piece in self._video_bytes(chunk):
                    await writer.put(piece)
            for piece in self._last_bytes():
                await writer.put(piece)
            await writer.finish()
        return self._received(self._path, self._file.offset)

    def _video_bytes(self, chunk: bytes) -> tuple[bytes, ...]:
        if self._reader is None:
            return (chunk,)
        self._reader.feed(chunk)
        full = len(self._reader.file_bytes) >= WRITE_BYTES
        return (self._reader.take(),) if full else ()

    def _last_bytes(self) -> tuple[bytes, ...]:
        if self._reader is None:
            return ()
        self._reader.finish()
        return (self._reader.take(),)

    def _digest(self, parts: Sequence[bytes]) -> None:
        for part in parts:
            self._hash.update(part)

    def _received(self, path: Path, size_bytes: int) -> ReceivedUpload:
        name = self._name if self._reader is None else self._reader.file_name
        if name is None:
            message = f"The form has no file in its field {self._file_field!r}."
            raise InvalidRequest(message)
        if size_bytes == 0:
            message = "The video is empty; send a file with content."
            raise EmptyUpload(message)
        return ReceivedUpload(
            path=path,
            name=display_name(name),
            sha256=self._hash.hexdigest(),
            size_bytes=size_bytes,
            fields={} if self._reader is None else self._reader.fields,
        )


class _FormReader:
    """Turns the body's bytes into fields and the file's bytes; holds at most one write's worth."""

    def __init__(self, boundary: bytes, file_field: str) -> None:
        self._file_field = file_field
        self.fields: dict[str, str] = {}
        self.file_bytes = bytearray()
        self.file_name: str | None = None
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

    def take(self) -> bytes:
        """Return the file's bytes that were parsed since the last call."""
        content = bytes(self.file_bytes)
        self.file_bytes.clear()
        return content

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
        self._in_file = self._name == self._file_field
        if self._in_file and self.file_name is not None:
            message = f"The form has more than one {self._file_field!r}; send one file."
            raise InvalidRequest(message)
        if self._in_file:
            self.file_name = options.get(b"filename", b"").decode(errors="replace")
        elif b"filename" in options:
            message = f"The file is in the field {self._name!r}; put it in {self._file_field!r}."
            raise InvalidRequest(message)
        elif self._name in self.fields:
            message = f"The field {self._name!r} comes more than once."
            raise InvalidRequest(message)

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self.file_bytes += data[start:end]
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
    if kind != b"multipart/form-data" or not 1 <= len(boundary) <= MAX_BOUNDARY_BYTES:
        message = (
            "Send the video as multipart/form-data with a boundary, for instance with "
            "curl -F video=@FILE."
        )
        raise MediaTypeUnsupported(message)
    return boundary
