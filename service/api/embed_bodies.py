"""The bodies of embed tokens and tickets, and the HTML that hosts copy."""

import html
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from service.api.jobbodies import Id, Word
from service.api.schemas import Body
from service.embedding.origins import MAX_ORIGINS
from service.embedding.subjects import Subject
from service.embedding.tokens import MAX_LIFETIME_SECONDS

MAX_ORIGIN_CHARACTERS = 300
ELEMENT_MODULE = "/web/timeline/kinetag-timeline.js"


class EmbedTokenRequest(BaseModel):
    """What a page is to show, and which page: one job, or a camera."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: Id | None = Field(None, description="The one job that is shown, with its video.")
    camera: Word | None = Field(
        None, description="The camera whose jobs are shown, with their videos."
    )
    origins: list[Annotated[str, StringConstraints(max_length=MAX_ORIGIN_CHARACTERS)]] = Field(
        min_length=1,
        max_length=MAX_ORIGINS,
        description="scheme://host[:port] of each page that may show it, of every page around it "
        "included.",
        examples=[["https://dash.example"]],
    )
    expires_in_seconds: int = Field(
        MAX_LIFETIME_SECONDS, ge=1, le=MAX_LIFETIME_SECONDS, description="How long it holds."
    )

    @model_validator(mode="after")
    def _one_subject(self) -> "EmbedTokenRequest":
        if (self.job is None) == (self.camera is None):
            message = "name what is shown by job or by camera, by one of them"
            raise ValueError(message)
        return self

    def subject(self) -> Subject:
        """Return what is to be shown."""
        return Subject(self.job, self.camera)


class EmbedTokenBody(Body):
    """An embed token and what to do with it."""

    token: str = Field(description="kte_…; shown now and never again.")
    expires_at: datetime
    url: str = Field(description="Of the page for an iframe, with the token in its fragment.")
    iframe: str = Field(description="HTML: a frame that shows it.")
    element: str = Field(description="HTML: the element that shows it, without a frame.")


class TicketBody(Body):
    """An address of a video's bytes that needs no header."""

    url: str = Field(description="Relative to the service.")
    expires_at: datetime


def iframe_html(address: str) -> str:
    """Return the HTML of a frame.

    Args:
        address: of the page, whole.
    """
    attributes = {
        "src": address,
        "title": "Timeline of a video",
        "allow": "fullscreen; autoplay; clipboard-write",
        "style": "width: 100%; height: 80vh; min-height: 30rem; border: 0",
    }
    return f"<iframe{_written(attributes)}></iframe>"


def element_html(base: str, subject: Subject, token: str) -> str:
    """Return the HTML of the element, with the module it comes from.

    Args:
        base: origin of the service.
        subject: that is shown.
        token: that shows it.
    """
    module = _written({"type": "module", "src": base + ELEMENT_MODULE})
    named = {name: str(value) for name, value in subject.document().items()}
    attributes = _written({"api": base, **named, "token": token})
    return f"<script{module}></script>\n<kinetag-timeline{attributes}></kinetag-timeline>"


def _written(attributes: Mapping[str, str]) -> str:
    return "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items())
