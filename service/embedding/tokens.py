"""Embed tokens: what a page of another origin shows a job or a camera with.

A token is made by whoever has an API key, for a few minutes, and is worth nothing once that key is
revoked. It names the origins of the pages that may use it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from service.embedding.signing import Audience, Signer
from service.embedding.subjects import Subject

MAX_LIFETIME_SECONDS = 15 * 60


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody may see for a while.

    Attributes:
        subject: what it is limited to; None (of tickets made with an API key alone) for no limit
            but the ticket's own.
        origins: of the pages that may use it.
        expires_at: whole seconds.
        key_id: of the API key that made it, without which it is worth nothing; None where it was
            made without one.
    """

    tenant_id: str
    subject: Subject | None
    origins: tuple[str, ...]
    expires_at: datetime
    key_id: str | None

    def document(self) -> dict[str, Any]:
        """Return it as it is signed."""
        subject = {} if self.subject is None else self.subject.document()
        return {
            "tenant": self.tenant_id,
            **subject,
            "origins": list(self.origins),
            "expires": int(self.expires_at.timestamp()),
            "key": self.key_id,
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Grant":
        """Return what `document` wrote."""
        return cls(
            document["tenant"],
            Subject.of(document),
            tuple(document["origins"]),
            datetime.fromtimestamp(document["expires"], UTC),
            document["key"],
        )


def expiry(now: datetime, lifetime_seconds: int) -> datetime:
    """Return the whole second at which what is made now ends, at the latest."""
    return now.replace(microsecond=0) + timedelta(seconds=lifetime_seconds)


def sign_token(signer: Signer, grant: Grant) -> str:
    """Return the text of a token, ``kte_…``."""
    return signer.sign(Audience.TOKEN, grant.document())


def read_token(signer: Signer, text: str) -> Grant | None:
    """Return what a token grants, once it was made here; it may have expired. None of another."""
    document = signer.read(Audience.TOKEN, text)
    return None if document is None else Grant.of(document)


def is_token(text: str) -> bool:
    """Say whether a text means to be a token."""
    return text.startswith(f"{Audience.TOKEN}_")
