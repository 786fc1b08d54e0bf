"""What a client may ask of a job, as JSON or as the fields of a form."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from models.overrides import MAX_LABELS, MAX_WINDOW_OVERLAP
from service.api.resultbodies import Label, SegmentChoice
from service.api.videobodies import MAX_URL_CHARACTERS
from service.api.webhook_bodies import JobWebhookWish
from service.ingest.moments import EARLIEST, LATEST
from service.jobs.listing import JobFilter
from service.jobs.records import ID_LENGTH, NAME_LENGTH
from service.jobs.states import JobQueue, JobStatus


def _printable(text: str) -> str:
    if not text.isprintable():
        message = "holds characters that cannot be printed"
        raise ValueError(message)
    return text


def _storable(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= LATEST:
        message = f"is no moment between the years {EARLIEST.year} and {LATEST.year}"
        raise ValueError(message)
    return moment.astimezone(UTC)


def _written(value: object) -> object:
    # Pydantic would take a number, also a written one, for seconds since 1970.
    if not isinstance(value, str) or "-" not in value.removeprefix("-"):
        message = "is text like 2026-03-01T09:00:00+01:00"
        raise ValueError(message)
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_storable)]
Word = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_LENGTH),
    AfterValidator(_printable),
]
Id = Annotated[str, StringConstraints(max_length=ID_LENGTH), AfterValidator(_printable)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_CHARACTERS)]

WEBHOOK_FORMS = ("webhook-url", "webhook-object")
Webhook = Annotated[
    Annotated[Reference, Tag(WEBHOOK_FORMS[0])] | Annotated[JobWebhookWish, Tag(WEBHOOK_FORMS[1])],
    # So that what is wrong is told of the form that was meant.
    Discriminator(lambda value: WEBHOOK_FORMS[not isinstance(value, str)]),
]


class JobOptions(SegmentChoice):
    """What to choose for one job over what its model's card says; nothing has to be given."""

    labels: list[Label] | None = Field(
        None, min_length=1, max_length=MAX_LABELS, description="Only these of the model's labels."
    )
    window_overlap: float | None = Field(
        None,
        ge=0,
        le=MAX_WINDOW_OVERLAP,
        allow_inf_nan=False,
        description="Share of a window that neighbours share, in long videos.",
    )
    speed: Literal["exact", "fast", "rgb-only"] | None = Field(
        None, description="How features are made; one of the model's speeds."
    )

    def given(self) -> dict[str, Any]:
        """Return what was given, as JSON values; null is the same as nothing."""
        return self.model_dump(exclude_none=True)


class JobWish(BaseModel):
    """What is asked of a job, whatever its video is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Word | None = Field(
        None, description="NAME[@VERSION][:SPEED]; the deployment's default if unset."
    )
    options: JobOptions = Field(default_factory=JobOptions)
    queue: Literal["interactive", "batch"] = Field(
        "interactive", description="Interactive jobs go before those of batch."
    )
    tag: Word | None = Field(None, description="Yours; given back as it is.")
    camera: Word | None = Field(None, description="Where it was recorded; the video's if unset.")
    recorded_at: Moment | None = Field(
        None,
        description="Wall-clock moment of the first frame, with its time zone: segments then have "
        "absolute times too. The video's if unset.",
    )
    webhook: Webhook | None = Field(
        None, description="URL that is told how this job ends; or an object, to choose more."
    )

    def webhook_wish(self) -> dict[str, Any] | None:
        """Return the job's own webhook as it is stored."""
        if self.webhook is None:
            return None
        if isinstance(self.webhook, str):
            return {"url": self.webhook}
        return self.webhook.model_dump(exclude_none=True)


class JobRequest(JobWish):
    """A job for a video that is there, at a URL, or on the server: one of the three."""

    video_id: Id | None = Field(None, description="Of a video that is there.")
    url: Reference | None = Field(
        None, description="http or https, without a login; fetched once, soon."
    )
    path: Reference | None = Field(
        None, description="Absolute, below one of KINETAG_PATH_ROOTS; read where it lies."
    )

    @model_validator(mode="after")
    def _one_video(self) -> "JobRequest":
        named = [one for one in (self.video_id, self.url, self.path) if one is not None]
        if len(named) != 1:
            message = "name the video by video_id, by url or by path, by one of them"
            raise ValueError(message)
        return self


MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50
MAX_TOKEN_CHARACTERS = 200


class JobQuery(BaseModel):
    """Which jobs to list, and how many at a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: JobStatus | None = Field(None, description="Only jobs in this state.")
    model: Word | None = Field(
        None, description="NAME, NAME@VERSION or NAME@VERSION:SPEED; what is left out may be any."
    )
    tag: Word | None = None
    camera: Word | None = None
    queue: JobQueue | None = None
    video_id: Id | None = None
    batch: Id | None = Field(None, description="Id of a batch.")
    created_after: Moment | None = Field(None, description="Exclusive, with time zone.")
    created_before: Moment | None = Field(None, description="Exclusive, with time zone.")
    page_size: int = Field(DEFAULT_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE)
    page_token: Annotated[str, StringConstraints(max_length=MAX_TOKEN_CHARACTERS)] | None = Field(
        None, description="next_page_token of the page before."
    )

    def filter(self) -> JobFilter:
        """Return what the list is to hold."""
        given = self.model_dump(exclude={"page_size", "page_token", "batch"})
        return JobFilter(**given, batch_id=self.batch)


def flat_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's JSON schema with every definition in its place.

    Pydantic's references are to the schema's own root, which inside an OpenAPI document is not
    there. For models that do not contain themselves.
    """
    schema = model.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs", {})

    def placed(value: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
        if isinstance(value, list):
            return [placed(one) for one in value]
        if not isinstance(value, dict):
            return value
        reference = value.get("$ref")
        if reference is None:
            return {name: placed(one) for name, one in value.items()}
        return placed({**definitions[reference.rpartition("/")[2]], **_without_reference(value)})

    flat: dict[str, Any] = placed(schema)
    return flat


def _without_reference(value: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in value.items() if name != "$ref"}


_FORM_TEXT = {"type": "string"}

REQUEST_DOCUMENTATION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["video"],
                    "properties": {
                        "video": {"type": "string", "format": "binary"},
                        "model": {**_FORM_TEXT, "description": "NAME[@VERSION][:SPEED]"},
                        "options": {
                            **_FORM_TEXT,
                            "description": "As JSON, the same as in a JSON body.",
                        },
                        "queue": {**_FORM_TEXT, "enum": ["interactive", "batch"]},
                        "tag": {**_FORM_TEXT, "description": "Yours; given back as it is."},
                        "camera": {**_FORM_TEXT, "description": "Where it was recorded."},
                        "recorded_at": {
                            **_FORM_TEXT,
                            "format": "date-time",
                            "description": "Wall-clock moment of the first frame.",
                        },
                        "webhook": {
                            **_FORM_TEXT,
                            "description": "A URL, or JSON as in a JSON body.",
                        },
                    },
                }
            },
            "application/json": {"schema": flat_schema(JobRequest)},
        },
    }
}
