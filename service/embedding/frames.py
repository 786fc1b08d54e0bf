"""Signed lists of origins: from one of them the page of a frame says who may frame it.

A list is no secret and opens nothing: the page knows nobody's data before it has a token. It is
signed so that nobody else can put the page into a frame of his and invite clicks.
"""

from collections.abc import Sequence

from service.embedding.signing import Audience, Signer
from service.embedding.subjects import Subject

NOBODY = "'none'"


def sign_frame(signer: Signer, subject: Subject, origins: Sequence[str]) -> str:
    """Return the list as the address of a frame carries it."""
    return signer.sign(Audience.FRAME, {**subject.document(), "origins": list(origins)})


def frame_ancestors(signer: Signer, subject: Subject, text: str) -> str:
    """Return what stands behind ``frame-ancestors``; ``'none'`` unless the list is of this subject.

    Args:
        signer: of this process.
        subject: that the frame is to show.
        text: from the frame's address.
    """
    document = signer.read(Audience.FRAME, text)
    if document is None or Subject.of(document) != subject:
        return NOBODY
    return " ".join(document["origins"])
