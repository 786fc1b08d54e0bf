"""/v1/jobs: segments in every format, activations, other thresholds."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from service.api.curves import (
    ArrayName,
    archive_file,
    array_file,
    chosen_columns,
    cut,
    plot_json,
    window_of,
)
from service.api.deps import JobId, JobShown, SecuredRoute
from service.api.rendering import (
    CURVE_TYPES,
    RESULT_TYPES,
    CurveFormat,
    ResultFormat,
    choose_format,
    file_response,
    finished_native,
    placed_native,
    render_result,
)
from service.api.resultbodies import CurvesBody, ResultBody, SegmentChoice
from service.api.schemas import PROBLEMS
from service.jobs.commands import get_result
from service.jobs.resegmenting import resegment, stored_activations

DEFAULT_POINTS = 1000
MAX_POINTS = 10_000
MAX_LABELS = 1000

TEXT: dict[str, Any] = {"schema": {"type": "string"}}
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
OBJECT: dict[str, Any] = {"schema": {"type": "object"}}
ARRAY: dict[str, Any] = {"schema": {"type": "array", "items": {"type": "object"}}}

RESULT_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ResultBody,
        "description": "The segments, in the format asked for.",
        "content": {
            "application/vnd.activitynet+json": OBJECT,
            "text/csv": TEXT,
            "application/x-ndjson": TEXT,
            "text/vtt": TEXT,
            "application/vnd.labelstudio+json": ARRAY,
            "application/vnd.fiftyone+json": OBJECT,
        },
    },
}
UNCHANGED_ANSWER: dict[int | str, dict[str, Any]] = {
    304: {"description": "The client's copy, named by `If-None-Match`, is still the same."}
}
CURVES_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "model": CurvesBody,
        "description": "Thinned JSON, one whole array, or all arrays.",
        "content": {"application/x-npy": BINARY, "application/x-npz": BINARY},
    },
}

Format = Annotated[
    ResultFormat | None, Query(alias="format", description="Goes before the Accept header.")
]
Accept = Annotated[str | None, Header(include_in_schema=False)]
IfNoneMatch = Annotated[str | None, Header(description="ETag of the copy the client has.")]

router = APIRouter(
    prefix="/v1/jobs", tags=["results"], responses=PROBLEMS, route_class=SecuredRoute
)


@router.get(
    "/{job_id}/result", response_class=Response, responses={**RESULT_ANSWER, **UNCHANGED_ANSWER}
)
def get_job_result(
    context: JobShown,
    job_id: JobId,
    result_format: Format = None,
    accept: Accept = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Fetch the segments of a job that succeeded, in the format asked for."""
    chosen = result_format or choose_format(accept, RESULT_TYPES)
    view, native = get_result(context.core, job_id)
    return render_result(finished_native(view, native), chosen, if_none_match)


@router.post("/{job_id}/resegment", response_class=Response, responses=RESULT_ANSWER)
def post_resegment(
    context: JobShown,
    job_id: JobId,
    choice: SegmentChoice,
    result_format: Format = None,
    accept: Accept = None,
) -> Response:
    """Make a job's segments again with other thresholds, at once and without a worker.

    The answer has the form of the job's result; the job and its result stay as they are.
    """
    chosen = result_format or choose_format(accept, RESULT_TYPES)
    view, native = resegment(context.core, context.evidence, job_id, choice.changes())
    return render_result(placed_native(view, native), chosen)


@router.get(
    "/{job_id}/activations",
    response_class=Response,
    responses={**CURVES_ANSWER, **UNCHANGED_ANSWER},
)
def get_job_activations(  # noqa: PLR0913 - a request's parameters are its own
    context: JobShown,
    job_id: JobId,
    curve_format: Annotated[
        CurveFormat | None, Query(alias="format", description="Goes before the Accept header.")
    ] = None,
    points: Annotated[
        int, Query(ge=1, le=MAX_POINTS, description="Of JSON: at most so many.")
    ] = DEFAULT_POINTS,
    label: Annotated[
        list[str] | None,
        Query(max_length=MAX_LABELS, description="Of JSON and npy: only these classes."),
    ] = None,
    array: Annotated[ArrayName, Query(description="Of npy: which array.")] = "localization",
    start: Annotated[
        float | None,
        Query(ge=0, allow_inf_nan=False, description="Seconds: only the steps from here on."),
    ] = None,
    end: Annotated[
        float | None,
        Query(gt=0, allow_inf_nan=False, description="Seconds: only the steps up to here."),
    ] = None,
    accept: Accept = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Fetch the class activations behind a result: the evidence.

    JSON is thinned for plots, so that peaks survive; npy and npz hold everything. With `start` or
    `end` all three hold that stretch of the video alone, and one step beyond it on each side.
    """
    chosen = curve_format or choose_format(accept, CURVE_TYPES)
    view, stored = stored_activations(context.core, context.evidence, job_id)
    columns = chosen_columns(stored, label)
    window = window_of(stored, start, end)
    if chosen != "json" and window is not None:
        stored = cut(stored, window)
    if chosen == "json":
        content, ending = plot_json(stored, columns, points, window).encode(), "activations.json"
    elif chosen == "npy":
        content, ending = array_file(stored, columns, array), f"{array}.npy"
    else:
        content, ending = archive_file(stored), "activations.npz"
    return file_response(
        content,
        media_type=CURVE_TYPES[chosen][0],
        file_name=f"{view.video.name}.{ending}",
        if_none_match=if_none_match,
    )
