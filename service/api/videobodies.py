"""The bodies of /v1/videos."""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from service.api.schemas import Body
from service.jobs.records import NAME_LENGTH, VideoRecord
from service.jobs.states import VideoStatus

MAX_URL_CHARACTERS = 4096
Word = Annotated[str, StringConstraints(min_length=1, max_length=NAME_LENGTH)]


class VideoReference(BaseModel):
    """A video that is elsewhere: at a URL, or on the server already."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, StringConstraints(max_length=MAX_URL_CHARACTERS)] | None = Field(
        None, description="http or https, without a login; fetched once, soon."
    )
    path: Annotated[str, StringConstraints(max_length=MAX_URL_CHARACTERS)] | None = Field(
        None, description="Absolute, below one of KINETAG_PATH_ROOTS; read where it lies."
    )
    name: Word | None = Field(None, description="For display; the reference's last part if unset.")
    camera: Word | None = Field(None, description="Where it was recorded.")
    recorded_at: AwareDatetime | None = Field(
        None, description="Wall-clock moment of the first frame, with its time zone."
    )

    @model_validator(mode="after")
    def _one_reference(self) -> "VideoReference":
        if (self.url is None) == (self.path is None):
            message = "name the video by url or by path, by one of them"
            raise ValueError(message)
        return self


class VideoLinks(Body):
    """Addresses belonging to a video; null while there is nothing."""

    self: str  # the name users know
    content: str | None
    thumbnails: str | None


class VideoErrorBody(Body):
    """Why a video cannot be worked with."""

    code: str
    message: str


class VideoDetails(Body):
    """A video; what only looking at it can tell is null while ``status`` is pending."""

    id: str
    name: str
    status: VideoStatus
    source: str = Field(description="upload, url or path.")
    size_bytes: int | None
    sha256: str | None
    duration: float | None = Field(description="Seconds.")
    nominal_fps: float | None
    vfr: bool | None = Field(description="Whether the frame rate varies.")
    width: int | None
    height: int | None
    num_frames: int | None
    codec: str | None
    container: str | None
    camera: str | None
    recorded_at: datetime | None = Field(description="Wall-clock moment of the first frame.")
    error: VideoErrorBody | None
    created_at: datetime
    links: VideoLinks

    @classmethod
    def of(cls, video: VideoRecord) -> "VideoDetails":
        """Render one video."""
        facts = video.facts or {}
        return cls(
            id=video.id,
            name=video.name,
            status=VideoStatus(video.status),
            source=video.source,
            size_bytes=video.size_bytes,
            sha256=video.sha256,
            duration=facts.get("duration"),
            nominal_fps=facts.get("nominal_fps"),
            vfr=facts.get("vfr"),
            width=facts.get("width"),
            height=facts.get("height"),
            num_frames=facts.get("num_source_frames"),
            codec=facts.get("codec"),
            container=facts.get("container"),
            camera=video.camera,
            recorded_at=video.recorded_at,
            error=_error(video),
            created_at=video.created_at,
            links=_links(video),
        )


class VideoList(Body):
    """A page of videos, newest first."""

    videos: list[VideoDetails]
    next_page_token: str | None


class ThumbnailsPending(Body):
    """The thumbnails are being drawn; ask again."""

    status: str = "pending"


def _error(video: VideoRecord) -> VideoErrorBody | None:
    if video.error_code is None:
        return None
    return VideoErrorBody(code=video.error_code, message=video.error_message or "")


def _links(video: VideoRecord) -> VideoLinks:
    here = f"/v1/videos/{video.id}"
    failed = video.status == VideoStatus.FAILED
    readable = video.blob_key is not None or video.source == "path"
    return VideoLinks(
        self=here,
        content=f"{here}/content" if readable else None,
        thumbnails=None if failed else f"{here}/thumbnails",
    )
