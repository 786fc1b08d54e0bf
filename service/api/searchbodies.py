"""The bodies of /v1/searches."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service.api.jobbodies import Word
from service.api.schemas import Body
from service.api.segmentbodies import SegmentWish
from service.api.webhook_bodies import ABOUT_SECRET, Secret, Url
from service.search.records import SearchRecord


def _named(text: str) -> str:
    name = text.strip()
    if not name:
        message = "is blank"
        raise ValueError(message)
    return name


Name = Annotated[Word, AfterValidator(_named)]


class SearchWish(BaseModel):
    """A search to be kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field(description="Nothing else of yours has it.")
    filter: SegmentWish = Field(
        description="As the query of GET /v1/segments; label, camera and tag are lists."
    )


class SearchChange(BaseModel):
    """What is to change of a search; what is not named stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name | None = None
    filter: SegmentWish | None = Field(None, description="In place of the whole old one.")


class SearchWebhookWish(BaseModel):
    """Who is to be told of what a search finds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url = Field(description="http(s), public, port 80 or 443, no credentials.")
    secret: Secret | None = Field(None, description=ABOUT_SECRET + "one is made.")


class SearchBody(Body):
    """A saved search."""

    id: str
    name: str
    filter: dict[str, Any] = Field(description="What was given of the fields of a query.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, search: SearchRecord) -> "SearchBody":
        """Render one search."""
        return cls(
            id=search.id,
            name=search.name,
            filter=search.filter,
            created_at=search.created_at,
            updated_at=search.updated_at,
        )


class SearchList(Body):
    """All saved searches by their names."""

    searches: list[SearchBody]
