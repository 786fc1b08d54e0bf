"""Signs short documents with the deployment's secret, and reads back only what it signed.

The text is ``AUDIENCE_PAYLOAD.SIGNATURE``. Signed is everything before the point, so what is made
for one purpose serves no other. The signature is compared as text: there is one way to write it.

Source: RFC 2104 (HMAC), RFC 4648, section 5 (base64url), here without padding.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from service.embedding.records import SigningKeyRecord
from service.jobs.commands import JobCore
from service.jobs.store import reading, transaction

PURPOSE = "embedding"
SECRET_BYTES = 32

MEMORY_SECONDS = 5.0
"""After an operator deleted the secret, every process works with the new one after so long."""

MAX_PAYLOAD_CHARACTERS = 8192
SIGNATURE_CHARACTERS = 43
MAX_TEXT_CHARACTERS = len("kte_") + MAX_PAYLOAD_CHARACTERS + len(".") + SIGNATURE_CHARACTERS
SIGNED = re.compile(
    rf"(?P<audience>kt[a-z])_(?P<payload>[A-Za-z0-9_-]{{1,{MAX_PAYLOAD_CHARACTERS}}})"
    rf"\.(?P<signature>[A-Za-z0-9_-]{{{SIGNATURE_CHARACTERS}}})"
)


class Audience(StrEnum):
    """Whom a signed text is for; the values are how it begins."""

    TOKEN = "kte"  # noqa: S105 - a prefix, no secret
    """The API, from a page that shows a timeline: `service.embedding.tokens`."""
    TICKET = "ktt"
    """One video's bytes: `service.embedding.tickets`."""
    FRAME = "ktf"
    """The page of a frame: `service.embedding.frames`."""


class Signer:
    """Signs and reads, for one process; all processes of a database share its secret.

    Args:
        core: unbound.
        monotonic: clock, in seconds.
    """

    def __init__(self, core: JobCore, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._core = core
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._remembered: tuple[bytes, float] | None = None

    def sign(self, audience: Audience, document: Mapping[str, Any]) -> str:
        """Return a document as signed text.

        Raises:
            DatabaseUnavailable: the secret could not be read.
        """
        written = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        signed = f"{audience}_{_encoded(written.encode())}"
        return f"{signed}.{self._signature(signed)}"

    def read(self, audience: Audience, text: str) -> dict[str, Any] | None:
        """Return the document of a text that was signed here for this audience; None of another.

        Raises:
            DatabaseUnavailable: the secret could not be read.
        """
        match = SIGNED.fullmatch(text)
        if match is None or match["audience"] != audience:
            return None
        expected = self._signature(f"{audience}_{match['payload']}")
        if not hmac.compare_digest(expected, match["signature"]):
            return None
        # Only what `sign` wrote comes so far.
        padding = "=" * (-len(match["payload"]) % 4)
        document: dict[str, Any] = json.loads(base64.urlsafe_b64decode(match["payload"] + padding))
        return document

    def _signature(self, signed: str) -> str:
        return _encoded(hmac.new(self._secret(), signed.encode(), hashlib.sha256).digest())

    def _secret(self) -> bytes:
        now = self._monotonic()
        remembered = self._remembered
        if remembered is not None and now < remembered[1]:
            return remembered[0]
        with self._lock:
            secret = _shared_secret(self._core)
            self._remembered = (secret, now + MEMORY_SECONDS)
        return secret


def _shared_secret(core: JobCore) -> bytes:
    """Return the deployment's secret, which the first that asks makes."""
    found = _stored_secret(core)
    if found is not None:
        return found
    try:
        with transaction(core.engine) as session:
            fresh = SigningKeyRecord(
                purpose=PURPOSE,
                secret=secrets.token_hex(SECRET_BYTES),
                created_at=core.clock.now(session),
            )
            session.add(fresh)
    except IntegrityError:
        # Somebody else made it at the same moment.
        return _shared_secret(core)
    return bytes.fromhex(fresh.secret)


def _stored_secret(core: JobCore) -> bytes | None:
    with reading(core.engine) as session:
        secret = session.execute(
            select(SigningKeyRecord.secret).where(SigningKeyRecord.purpose == PURPOSE)
        ).scalar_one_or_none()
    return None if secret is None else bytes.fromhex(secret)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
