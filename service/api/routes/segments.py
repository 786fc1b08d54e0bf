"""/v1/segments: segments of all jobs, found by what they are."""

import json
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from service.api.deps import CameraShown, JobsRead, SecuredRoute, seen_camera
from service.api.schemas import PROBLEMS
from service.api.segment_files import WRITERS, gathered
from service.api.segmentbodies import (
    DEFAULT_PAGE_SIZE,
    MAX_EXPORT_SIZE,
    FacetsBody,
    SegmentList,
    SegmentQuery,
    segment_json,
)
from service.search.finding import count_facets, find_many, find_segments

FOUND: dict[int | str, dict[str, Any]] = {
    200: {
        "model": SegmentList,
        "description": "The segments, in the format asked for.",
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    },
}

router = APIRouter(
    prefix="/v1/segments", tags=["segments"], responses=PROBLEMS, route_class=SecuredRoute
)


@router.get("", response_class=Response, responses=FOUND)
def get_segments(
    request: Request, context: CameraShown, wanted: Annotated[SegmentQuery, Query()]
) -> Response:
    """Find segments of all jobs.

    A page token stays valid, and segments found or deleted meanwhile shift nothing. A page may be
    short, even empty, and still have a next one, where much had to be looked through.
    """
    camera = seen_camera(context, None)
    if wanted.format != "native":
        return _file(request, context, wanted, camera)
    page = find_segments(
        context.core,
        wanted.filter(),
        order=wanted.order,
        page_size=wanted.page_size or DEFAULT_PAGE_SIZE,
        page_token=wanted.page_token,
        camera=camera,
    )
    body = {
        "segments": [segment_json(one) for one in page.segments],
        "next_page_token": page.next_page_token,
    }
    content = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(content.encode(errors="backslashreplace"), media_type="application/json")


@router.get("/facets")
def get_facets(context: JobsRead) -> FacetsBody:
    """Count the segments of each label, camera and tag."""
    return FacetsBody.of(count_facets(context.core))


def _file(
    request: Request, context: CameraShown, wanted: SegmentQuery, camera: str | None
) -> Response:
    media_type, name, write = WRITERS[wanted.format]
    found, next_page_token = find_many(
        context.core,
        wanted.filter(),
        order=wanted.order,
        page_size=wanted.page_size or MAX_EXPORT_SIZE,
        page_token=wanted.page_token,
        camera=camera,
    )
    headers = {"Content-Disposition": f'inline; filename="{name}"'}
    if next_page_token is not None:
        headers["Link"] = _link(request, next_page_token)
    return StreamingResponse(gathered(write(found)), media_type=media_type, headers=headers)


def _link(request: Request, page_token: str) -> str:
    """Return where the next page is; source: RFC 8288."""
    asked = [pair for pair in request.query_params.multi_items() if pair[0] != "page_token"]
    query = urlencode([*asked, ("page_token", page_token)])
    return f'<{request.url.path}?{query}>; rel="next"'
