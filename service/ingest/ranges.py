"""Which part of a video a request asks for, and what its bytes are called. Pure.

Source: RFC 9110, 14 (Range) and 13.1.5 (If-Range).
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

from service.errors import RangeRefused

HEAD_BYTES = 4096
"""What `media_type_of` looks at."""

UNKNOWN_TYPE = "application/octet-stream"
TS_PACKET_BYTES = 188

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes ``start`` to ``end`` (exclusive) of a file of ``size_bytes``."""

    start: int
    end: int
    size_bytes: int

    @property
    def length(self) -> int:
        """How many they are."""
        return self.end - self.start

    @property
    def header(self) -> str:
        """The value of Content-Range."""
        return f"bytes {self.start}-{self.end - 1}/{self.size_bytes}"


def read_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """Return the range a request asks for; None where the whole is to be sent.

    Several ranges, other units and malformed headers are answered with the whole, as RFC 9110
    allows.

    Args:
        header: Range; None without one.
        size_bytes: of the file.

    Raises:
        RangeRefused: it begins behind the end.
    """
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        wanted = int(last)
        start, end = max(0, size_bytes - wanted), size_bytes
        satisfiable = wanted > 0 and size_bytes > 0
    else:
        if last and int(last) < int(first):
            return None
        start = int(first)
        end = min(int(last) + 1, size_bytes) if last else size_bytes
        satisfiable = start < size_bytes
    if not satisfiable:
        message = f"The range begins behind the end of the {size_bytes} bytes that there are."
        error = RangeRefused(message)
        error.headers = {"Content-Range": f"bytes */{size_bytes}"}
        raise error
    return ByteRange(start, end, size_bytes)


def media_type_of(head: bytes) -> str:
    """Return the media type of a container by its first bytes.

    Args:
        head: the first `HEAD_BYTES` of a file that is known to be a video.

    Source: ISO/IEC 14496-12 (ftyp), RFC 9559 (DocType of Matroska), ISO/IEC 13818-1 (sync bytes
    and pack header), Microsoft's RIFF.
    """
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"\x42\x82\x84webm" in head else "video/x-matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "video/x-msvideo"
    if head.startswith(b"\x00\x00\x01\xba"):
        return "video/mp2p"
    if head[:1] == b"G" and head[TS_PACKET_BYTES : TS_PACKET_BYTES + 1] == b"G":
        return "video/mp2t"
    return UNKNOWN_TYPE


def disposition_of(name: str) -> str:
    """Return a Content-Disposition that saves under a name and shows nothing in a browser.

    Source: RFC 6266; both forms, because old clients read the first only.
    """
    plain = "".join(one if one.isascii() and one not in '"\\%' else "_" for one in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
