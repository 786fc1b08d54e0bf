"""Signs messages as Standard Webhooks says, so that receivers can check them with its libraries.

Source: Standard Webhooks specification: signed is ``id.timestamp.body`` with HMAC-SHA256, secrets
are 24 to 64 random bytes, written ``whsec_`` and base64; several signatures go in one header,
separated by blanks, while secrets rotate.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

SECRET_PREFIX = "whsec_"  # noqa: S105 - the specification's prefix, no secret
SECRET_BYTES = 32
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64


def new_secret() -> str:
    """Return a fresh secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def is_secret(text: str) -> bool:
    """Return whether a text is a secret of the specified form."""
    try:
        return MIN_SECRET_BYTES <= len(_key(text)) <= MAX_SECRET_BYTES
    except ValueError:
        return False


def signed_headers(
    message_id: str, moment: datetime, body: bytes, keys: Sequence[str]
) -> list[tuple[bytes, bytes]]:
    """Return the headers of one attempt.

    Args:
        message_id: the same in every attempt.
        moment: of this attempt, which receivers compare with their clock.
        body: as it is sent.
        keys: secrets, the newest first; without any, the message goes unsigned.
    """
    seconds = str(int(moment.timestamp()))
    content = f"{message_id}.{seconds}.".encode() + body
    signatures = [hmac.new(_key(key), content, hashlib.sha256).digest() for key in keys]
    headers = [
        (b"Content-Type", b"application/json"),
        (b"webhook-id", message_id.encode()),
        (b"webhook-timestamp", seconds.encode()),
    ]
    if signatures:
        versions = b" ".join(b"v1," + base64.b64encode(one) for one in signatures)
        headers.append((b"webhook-signature", versions))
    return headers


def _key(secret: str) -> bytes:
    if not secret.startswith(SECRET_PREFIX):
        message = f"a secret begins with {SECRET_PREFIX}"
        raise ValueError(message)
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        message = "the secret is not base64"
        raise ValueError(message) from error
