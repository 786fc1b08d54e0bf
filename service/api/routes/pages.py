"""The page at / and the files of all pages; open to all, since they know nothing of anybody."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from service.api.webfiles import PAGE_POLICY, WebFile, read_web_files
from service.errors import NotFound

INDEX = "page/index.html"
ELEMENT_FOLDER = "timeline/"
FOREIGN_PAGES = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
"""Pages of other origins load the element from here; it is the same for everybody."""

PAGE_HEADERS = {"Content-Security-Policy": PAGE_POLICY + "'none'"}


@asynccontextmanager
async def _files_of(app: FastAPI) -> AsyncIterator[None]:
    app.state.web_files = await run_in_threadpool(read_web_files)
    yield


router = APIRouter(tags=["pages"], include_in_schema=False, lifespan=_files_of)


def web_file(request: Request, path: str) -> WebFile:
    """Return a file of the pages.

    Raises:
        NotFound: there is none of this path.
    """
    files: dict[str, WebFile] = request.app.state.web_files
    if path not in files:
        message = "There is no such file; the page is at /."
        raise NotFound(message)
    return files[path]


@router.get("/")
async def get_page(request: Request) -> Response:
    """Return the page: videos, jobs, timelines, search."""
    return web_file(request, INDEX).response(request.headers, PAGE_HEADERS)


@router.get("/web/{path:path}")
async def get_web_file(request: Request, path: str) -> Response:
    """Return one of the files that pages load."""
    found = web_file(request, path)
    if found.media_type == "text/html":
        # Pages have addresses, and policies, of their own.
        message = "There is no such file; the page is at /."
        raise NotFound(message)
    headers = FOREIGN_PAGES if path.startswith(ELEMENT_FOLDER) else {}
    return found.response(request.headers, headers)
