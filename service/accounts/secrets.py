"""The text of a key: ``kinetag_<id>_<secret>``. The secret is stored nowhere, only its hash."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

SECRET_BYTES = 32
"""256 random bits: nobody finds one by trying, so a fast hash keeps them as safe as a slow one."""

ID_PREFIX = "key_"
KEY_PATTERN = re.compile(r"kinetag_(?P<id>[0-9A-HJKMNP-TV-Z]{26})_(?P<secret>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class KeyText:
    """A key as its holder has it.

    Attributes:
        key_id: the public part, as the API shows it: ``key_`` and 26 characters.
        secret: never shown again after the key was made.
    """

    key_id: str
    secret: str = field(repr=False)

    def reveal(self) -> str:
        """Return the whole text: for its holder alone."""
        return f"kinetag_{self.key_id.removeprefix(ID_PREFIX)}_{self.secret}"

    def digest(self) -> str:
        """Return what is stored instead of the secret: SHA-256, in hexadecimal digits."""
        return hashlib.sha256(self.reveal().encode()).hexdigest()

    def matches(self, digest: str) -> bool:
        """Say whether this is the key that was stored; takes the same time either way."""
        return hmac.compare_digest(self.digest(), digest)


def new_key_text(key_id: str) -> KeyText:
    """Return a key that nobody has yet.

    Args:
        key_id: a fresh `service.jobs.store.new_id` with the prefix ``key``.
    """
    return KeyText(key_id, secrets.token_hex(SECRET_BYTES))


def parse_key(text: str) -> KeyText | None:
    """Return the parts of a key; None if it cannot be one of ours."""
    match = KEY_PATTERN.fullmatch(text)
    if match is None:
        return None
    return KeyText(f"{ID_PREFIX}{match.group('id')}", match.group("secret"))
