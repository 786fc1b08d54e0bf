"""/v1/jobs/{id}/timeline: a timeline as a picture."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query
from starlette.responses import Response

from models.plots.layout import (
    DEFAULT_WIDTH_PX,
    MAX_HEIGHT_PX,
    MAX_WIDTH_PX,
    MIN_HEIGHT_PX,
    MIN_WIDTH_PX,
    PictureChoice,
)
from models.plots.png import MAX_SCALE
from service.api.deps import JobId, JobShown, SecuredRoute
from service.api.pictures import (
    PNG_TYPE,
    SVG_TYPE,
    PngLooks,
    drawing_turn,
    job_scene,
    png_response,
    svg_response,
)
from service.api.schemas import PROBLEMS

MAX_LABELS = 1000
UNCHANGED: dict[str, Any] = {
    "description": "The client's copy, named by `If-None-Match`, is still the same."
}


def _answers(media_type: str) -> dict[int | str, dict[str, Any]]:
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    return {200: {"description": "The picture.", "content": content}, 304: UNCHANGED}


def picture_choice(
    width: Annotated[
        int, Query(ge=MIN_WIDTH_PX, le=MAX_WIDTH_PX, description="Pixels.")
    ] = DEFAULT_WIDTH_PX,
    height: Annotated[
        int | None,
        Query(ge=MIN_HEIGHT_PX, le=MAX_HEIGHT_PX, description="Default: what the lanes need."),
    ] = None,
    label: Annotated[
        list[str] | None,
        Query(max_length=MAX_LABELS, description="Only these classes, also where none was found."),
    ] = None,
    curves: Annotated[bool, Query(description="With the activations.")] = True,
) -> PictureChoice:
    """Return how the picture is to be drawn."""
    return PictureChoice(width, height, None if label is None else tuple(label), curves)


Choice = Annotated[PictureChoice, Depends(picture_choice)]
WithThumbnails = Annotated[
    bool, Query(description="With pictures of the video, where its strip was drawn already.")
]
IfNoneMatch = Annotated[str | None, Header(description="ETag of the copy the client has.")]

router = APIRouter(
    prefix="/v1/jobs", tags=["results"], responses=PROBLEMS, route_class=SecuredRoute
)


@router.get("/{job_id}/timeline.svg", response_class=Response, responses=_answers(SVG_TYPE))
def get_timeline_svg(
    context: JobShown,
    job_id: JobId,
    choice: Choice,
    theme: Annotated[
        Literal["auto", "light", "dark"], Query(description="`auto` follows the reader's.")
    ] = "auto",
    thumbnails: WithThumbnails = True,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Fetch a job's timeline as SVG: segments, activations and thumbnails, sharp at any size."""
    view, scene = job_scene(
        context, job_id, choice.labels, curves=choice.curves, thumbnails=thumbnails
    )
    return svg_response(view, scene, choice, theme, if_none_match)


@router.get("/{job_id}/timeline.png", response_class=Response, responses=_answers(PNG_TYPE))
def get_timeline_png(  # noqa: PLR0913 - a request's parameters are its own
    context: JobShown,
    job_id: JobId,
    choice: Choice,
    theme: Annotated[
        Literal["auto", "light", "dark"],
        Query(description="`auto` is light: pixels cannot follow a reader."),
    ] = "auto",
    scale: Annotated[
        float, Query(ge=1, le=MAX_SCALE, description="Pixels of the file per pixel asked for.")
    ] = 1.0,
    thumbnails: WithThumbnails = True,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Fetch a job's timeline as PNG, for mail, chat and reports."""
    view, scene = job_scene(
        context, job_id, choice.labels, curves=choice.curves, thumbnails=thumbnails
    )
    looks = PngLooks("dark" if theme == "dark" else "light", scale)
    with drawing_turn(context.drawing):
        return png_response(view, scene, choice, looks, if_none_match)
