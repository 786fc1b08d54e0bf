"""The words of the tus protocol: its headers, read and written. Pure; no files, no HTTP.

Source: the tus resumable upload protocol, version 1.0.0, with the extensions creation,
creation-with-upload, expiration, checksum and termination.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from service.errors import InvalidRequest, LengthRequired
from service.ingest.moments import read_moment
from service.ingest.names import FALLBACK_NAME, display_name

if TYPE_CHECKING:
    from hashlib import _Hash

VERSION = "1.0.0"
EXTENSIONS = ("creation", "creation-with-upload", "expiration", "checksum", "termination")
CONTENT_TYPE = "application/offset+octet-stream"
CHECKSUMS: dict[str, Callable[[], "_Hash"]] = {
    # The protocol asks for SHA-1; all of them guard against accidents here, not attackers.
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
}

MAX_METADATA_CHARACTERS = 4096
MAX_WORD_CHARACTERS = 255
MAX_DIGITS = 18
"""Of a length or an offset: what fits into the database's 64 bits."""

_KEY = re.compile(r"[!-+\--~]{1,255}")
"""Printable ASCII without space and comma."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a client says its chunk hashes to."""

    algorithm: str
    digest: bytes

    def start(self) -> "_Hash":
        """Return a fresh hash of this algorithm."""
        return CHECKSUMS[self.algorithm]()


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a client says about its file.

    Attributes:
        name: fit to be shown.
        camera: where it was recorded; None when not said.
        recorded_at: wall-clock moment of the first frame; None when not said.
        header: as it came, to be given back.
    """

    name: str
    camera: str | None
    recorded_at: datetime | None
    header: str


def read_length(upload_length: str | None, defer_length: str | None) -> int:
    """Return the bytes that an upload is going to have.

    Raises:
        LengthRequired: it is not said, or to be said later.
        InvalidRequest: it is no number.
    """
    if upload_length is None:
        what = "Upload-Defer-Length is not supported" if defer_length else "It is missing"
        message = f"Say the file's size in the header Upload-Length. {what}."
        raise LengthRequired(message)
    return _number("Upload-Length", upload_length)


def read_offset(text: str | None) -> int:
    """Return where a chunk starts.

    Raises:
        InvalidRequest: it is not said, or is no number.
    """
    if text is None:
        message = "Say where the chunk starts in the header Upload-Offset, as HEAD returns it."
        raise InvalidRequest(message)
    return _number("Upload-Offset", text)


def read_checksum(text: str | None) -> Checksum | None:
    """Return what a chunk has to hash to; None without the header.

    Raises:
        InvalidRequest: the header is malformed, or of an algorithm that is not offered.
    """
    if text is None:
        return None
    algorithm, _, encoded = text.strip().partition(" ")
    if algorithm not in CHECKSUMS:
        offered = ", ".join(CHECKSUMS)
        message = f"The header Upload-Checksum names an algorithm that is not one of {offered}."
        raise InvalidRequest(message)
    digest = _base64(encoded.strip())
    if digest is None or len(digest) != CHECKSUMS[algorithm]().digest_size:
        message = f"The header Upload-Checksum holds no {algorithm} digest in Base64."
        raise InvalidRequest(message)
    return Checksum(algorithm, digest)


def read_metadata(header: str | None) -> Metadata:
    """Return what the header Upload-Metadata says; keys we do not know are given back only.

    Raises:
        InvalidRequest: the header is malformed, or a value of ours is.
    """
    text = (header or "").strip()
    if len(text) > MAX_METADATA_CHARACTERS:
        message = f"The header Upload-Metadata is longer than {MAX_METADATA_CHARACTERS} characters."
        raise InvalidRequest(message)
    values = _pairs(text) if text else {}
    name = values.get("filename", values.get("name", b""))
    return Metadata(
        # Bytes that are no text are replaced: a name never makes an upload fail.
        name=display_name(name.decode(errors="replace")) if name else FALLBACK_NAME,
        camera=_word("camera", values),
        recorded_at=read_moment(_word("recorded_at", values)),
        header=text,
    )


def http_date(moment: datetime) -> str:
    """Return a moment as HTTP writes it (RFC 9110, 5.6.7)."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def _pairs(text: str) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    for part in text.split(","):
        key, _, encoded = part.strip().partition(" ")
        value = _base64(encoded.strip())
        if not _KEY.fullmatch(key) or value is None:
            message = (
                "The header Upload-Metadata is malformed; it lists pairs of a key and its value "
                "in Base64, separated by commas: filename Y2FtMy5tcDQ=."
            )
            raise InvalidRequest(message)
        if key in values:
            message = f"The header Upload-Metadata holds the key {key} more than once."
            raise InvalidRequest(message)
        values[key] = value
    return values


def _word(key: str, values: dict[str, bytes]) -> str | None:
    try:
        text = values.get(key, b"").decode()
    except UnicodeDecodeError:
        text = "\0"
    if not text:
        return None
    if not text.isprintable() or len(text) > MAX_WORD_CHARACTERS:
        message = (
            f"The {key} in Upload-Metadata is not up to {MAX_WORD_CHARACTERS} printable characters."
        )
        raise InvalidRequest(message)
    return text


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > MAX_DIGITS:
        message = f"The header {name} is no number of bytes."
        raise InvalidRequest(message)
    return int(text)


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
