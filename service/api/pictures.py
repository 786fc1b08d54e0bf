"""A job's timeline as a picture, from what the job left: result, evidence, thumbnails."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from models.errors import ContractViolation
from models.plots.layout import PictureChoice, lay_out
from models.plots.palette import Theme
from models.plots.png import MAX_PIXELS, MAX_SCALE, render_png
from models.plots.primitives import Strip
from models.plots.scene import Curves, Scene, scene_of
from models.plots.sheet_style import style_source
from models.plots.svg import SvgTheme, dark_style, render_svg
from service.api.deps import ApiContext
from service.api.rendering import file_response, finished_native
from service.errors import InvalidOption, RateLimited, ResultNotFound
from service.jobs.commands import JobView, get_result
from service.jobs.records import VideoRecord
from service.jobs.resegmenting import StoredActivations, stored_activations

SVG_TYPE, PNG_TYPE = "image/svg+xml", "image/png"
WAIT_SECONDS = 5.0
"""For others' pictures to be finished; longer, and waiting threads would be missing elsewhere."""

# Opened by itself, a picture runs nothing and loads nothing: it is a document of no origin.
SVG_POLICY = (
    f"sandbox; default-src 'none'; style-src {style_source(dark_style())}; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@contextmanager
def drawing_turn(
    drawing: threading.BoundedSemaphore, wait_seconds: float = WAIT_SECONDS
) -> Iterator[None]:
    """Hold one of the turns to draw a picture of pixels.

    Raises:
        RateLimited: all were taken for too long.
    """
    if not drawing.acquire(timeout=wait_seconds):
        error = RateLimited(
            "Other pictures are being drawn; come back in a few seconds, or fetch the SVG."
        )
        error.headers = {"Retry-After": str(round(wait_seconds))}
        raise error
    try:
        yield
    finally:
        drawing.release()


@dataclass(frozen=True, slots=True)
class PngLooks:
    """Of a PNG: its theme, and the pixels of the file per pixel of the drawing."""

    theme: Theme
    scale: float


def job_scene(
    context: ApiContext,
    job_id: str,
    labels: Sequence[str] | None,
    *,
    curves: bool = True,
    thumbnails: bool = True,
) -> tuple[JobView, Scene]:
    """Return what a picture of a finished job shows.

    Args:
        context: of a request, bound to the tenant.
        job_id: of a job that succeeded.
        labels: asked for; checked against the model's where they are known.
        curves: wanted, if they were kept.
        thumbnails: wanted, if the video's strip was drawn already; none is asked for here.

    Raises:
        JobNotFound: there is no such job.
        ResultNotReady: it has not ended.
        ResultNotFound: it ended without a result.
        InvalidOption: a label is none of the model's.
    """
    view, native = get_result(context.core, job_id)
    try:
        _, stored = stored_activations(context.core, context.evidence, job_id)
    except ResultNotFound:
        stored = None
    classes = () if stored is None else stored.activations.classes
    unknown = sorted(set(labels or ()) - set(classes)) if classes else []
    if unknown:
        message = f"The option label names {unknown[0]!r}, which this model does not know."
        raise InvalidOption(message)
    scene = scene_of(
        finished_native(view, native),
        classes=classes,
        curves=None if stored is None or not curves else _curves(stored),
        thumbnails=stored_strip(context, view.video) if thumbnails else None,
    )
    return view, scene


def stored_strip(context: ApiContext, video: VideoRecord) -> Strip | None:
    """Return a video's thumbnails where they lie ready."""
    shape: Mapping[str, Any] | None = (video.facts or {}).get("thumbnails")
    if video.thumbnails_key is None or not shape or not shape["seconds"]:
        return None
    try:
        jpeg = context.core.blobs.get_bytes(video.thumbnails_key)
    except FileNotFoundError:
        return None
    return Strip(
        jpeg, shape["tile_width"], shape["tile_height"], shape["columns"], tuple(shape["seconds"])
    )


def svg_response(
    view: JobView, scene: Scene, choice: PictureChoice, theme: SvgTheme, if_none_match: str | None
) -> Response:
    """Return a scene as SVG; see `file_response`."""
    response = file_response(
        render_svg(lay_out(scene, choice), theme).encode(),
        media_type=SVG_TYPE,
        file_name=f"{view.video.name}.timeline.svg",
        if_none_match=if_none_match,
    )
    response.headers["Content-Security-Policy"] = SVG_POLICY
    return response


def png_response(
    view: JobView,
    scene: Scene,
    choice: PictureChoice,
    looks: PngLooks,
    if_none_match: str | None,
) -> Response:
    """Return a scene as PNG; see `file_response`.

    Raises:
        InvalidOption: the picture would be too large.
    """
    try:
        content = render_png(scene, choice, looks.theme, looks.scale)
    except ContractViolation as error:
        message = (
            f"The picture would have more than {MAX_PIXELS:,} pixels; ask for a smaller width or "
            f"height, or a scale nearer to 1 than to {MAX_SCALE}."
        )
        raise InvalidOption(message) from error
    return file_response(
        content,
        media_type=PNG_TYPE,
        file_name=f"{view.video.name}.timeline.png",
        if_none_match=if_none_match,
    )


def _curves(stored: StoredActivations) -> Curves:
    lowest = min(stored.thresholds) if stored.thresholds else None
    return Curves(stored.seconds, stored.activations.localization, lowest)
