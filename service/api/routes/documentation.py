"""/docs: the interface, for people; open to all, as /openapi.json is, since it names nobody."""

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from service.api.examples import recorded_answers
from service.api.reference import STYLE_ADDRESS, render_reference

STYLE = Path(__file__).parents[1] / "assets" / "reference.css"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
}

router = APIRouter(tags=["documentation"], include_in_schema=False)


@router.get("/docs")
async def get_documentation(request: Request) -> Response:
    """Show every address with its parameters and an example."""
    page = await run_in_threadpool(
        lambda: render_reference(request.app.openapi(), recorded_answers())
    )
    return Response(page, media_type="text/html", headers=HEADERS)


@router.get(STYLE_ADDRESS)
async def get_style() -> Response:
    """Return the page's style sheet."""
    return Response(await run_in_threadpool(STYLE.read_bytes), media_type="text/css")
