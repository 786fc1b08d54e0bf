"""Tickets: addresses of one video's bytes for ``<video src>``, which can send no header.

A ticket stands in an address, so it opens one video and nothing else, and not for long.
"""

from dataclasses import dataclass

from service.embedding.signing import Audience, Signer
from service.embedding.tokens import Grant

MAX_LIFETIME_SECONDS = 15 * 60


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to one video's bytes, as long as `grant` holds."""

    video_id: str
    grant: Grant


def sign_ticket(signer: Signer, ticket: Ticket) -> str:
    """Return the text of a ticket."""
    document = {"video": ticket.video_id, **ticket.grant.document()}
    return signer.sign(Audience.TICKET, document)


def read_ticket(signer: Signer, text: str) -> Ticket | None:
    """Return a ticket that was made here; it may have expired. None of another text."""
    document = signer.read(Audience.TICKET, text)
    return None if document is None else Ticket(document["video"], Grant.of(document))
