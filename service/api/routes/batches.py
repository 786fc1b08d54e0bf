"""/v1/batches: many videos at once."""

import re
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from service.api.batch_submission import BATCH_DOCUMENTATION, submit_batch
from service.api.batchbodies import (
    BatchBody,
    BatchItemBody,
    BatchItemList,
    BatchList,
    BatchRetried,
)
from service.api.deps import ID_BODY, JobsRead, JobsWrite, SecuredRoute
from service.api.schemas import PROBLEMS
from service.api.sheets import SERVED_POLICY, batch_sheet
from service.batches import commands, views
from service.batches.combining import COMBINED, CombinedFormat, Naming, video_ids
from service.batches.states import BATCH_ENDED, ItemStatus
from service.errors import BatchNotFound

MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50
MAX_ITEM_PAGE_SIZE = 1000
MAX_SHEET_PAGE_SIZE = 100
DEFAULT_ITEM_PAGE_SIZE = 100
POLL_HINT_SECONDS = 5
SEND_BYTES = 64 * 1024
"""Gathered before it is sent: results of many videos are many short lines."""

BATCH_ID = re.compile("batch" + ID_BODY)
ENDINGS = {
    CombinedFormat.ACTIVITYNET: "activitynet.json",
    CombinedFormat.CSV: "csv",
    CombinedFormat.JSONL: "jsonl",
    CombinedFormat.NATIVE: "native.jsonl",
}

router = APIRouter(
    prefix="/v1/batches", tags=["batches"], responses=PROBLEMS, route_class=SecuredRoute
)


def known_batch_id(batch_id: Annotated[str, Path(description="As given in `id`.")]) -> str:
    """Return a batch id that can exist.

    Raises:
        BatchNotFound: no batch can have it.
    """
    if not BATCH_ID.fullmatch(batch_id):
        message = "There is no batch of this id; ids look like batch_01J9…, as POST said."
        raise BatchNotFound(message)
    return batch_id


BatchId = Annotated[str, Depends(known_batch_id)]
RESULT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The results of all items that have succeeded by now.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/csv": {"schema": {"type": "string"}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    }
}

SHEET: dict[int | str, dict[str, Any]] = {
    200: {"description": "The page.", "content": {"text/html": {"schema": {"type": "string"}}}}
}


@router.post("", status_code=202, response_model=BatchBody, openapi_extra=BATCH_DOCUMENTATION)
async def post_batch(
    request: Request,
    response: Response,
    context: JobsWrite,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> BatchBody:
    """Queue many videos at once: listed, in a folder of the server, or in a ZIP archive.

    Accepted means: in the database, the archive on disk. Jobs are made bit by bit.
    """
    batch_id, _ = await submit_batch(context, request, idempotency_key)
    response.headers["Location"] = f"/v1/batches/{batch_id}"
    response.headers["Retry-After"] = str(POLL_HINT_SECONDS)
    return BatchBody.of(await run_in_threadpool(views.get_batch, context.core, batch_id))


@router.get("")
def get_batches(
    context: JobsRead,
    page_size: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)] = DEFAULT_PAGE_SIZE,
    page_token: Annotated[str | None, Query(max_length=200)] = None,
) -> BatchList:
    """List batches, newest first; a page token stays valid."""
    page = views.list_batches(context.core, page_size=page_size, page_token=page_token)
    return BatchList(
        batches=[BatchBody.of(view) for view in page.views],
        next_page_token=page.next_page_token,
    )


@router.get("/{batch_id}")
def get_batch(response: Response, context: JobsRead, batch_id: BatchId) -> BatchBody:
    """Look at a batch: how many of its items are where, and how long the rest takes."""
    view = views.get_batch(context.core, batch_id)
    if view.batch.status not in BATCH_ENDED:
        response.headers["Retry-After"] = str(POLL_HINT_SECONDS)
    return BatchBody.of(view)


@router.delete("/{batch_id}", status_code=202, response_class=Response)
def delete_batch(context: JobsWrite, batch_id: BatchId) -> Response:
    """Delete a batch with the jobs it made, their results, and videos that nothing else needs.

    All of it is out of sight at once; bytes and rows follow within minutes.
    """
    commands.delete_batch(context.core, batch_id)
    return Response(status_code=202)


@router.get("/{batch_id}/items")
def get_items(
    context: JobsRead,
    batch_id: BatchId,
    status: Annotated[
        ItemStatus | None, Query(description="Only items in this state; failed: what and why.")
    ] = None,
    page_size: Annotated[int, Query(ge=1, le=MAX_ITEM_PAGE_SIZE)] = DEFAULT_ITEM_PAGE_SIZE,
    page_token: Annotated[str | None, Query(max_length=200)] = None,
) -> BatchItemList:
    """List the items of a batch in their order."""
    page = views.list_items(
        context.core, batch_id, status=status, page_size=page_size, page_token=page_token
    )
    items = [BatchItemBody.of(item) for item in page.items]
    return BatchItemList(items=items, next_page_token=page.next_page_token)


@router.post("/{batch_id}/cancel", status_code=202)
def cancel_batch(context: JobsWrite, batch_id: BatchId) -> BatchBody:
    """Stop a batch; items that have ended keep their results."""
    commands.cancel_batch(context.core, batch_id)
    return BatchBody.of(views.get_batch(context.core, batch_id))


@router.post("/{batch_id}/retry", status_code=202)
def retry_batch(context: JobsWrite, batch_id: BatchId) -> BatchRetried:
    """Try again every item that failed or was canceled."""
    count = commands.retry_batch(context.core, batch_id)
    return BatchRetried(retried=count, batch=BatchBody.of(views.get_batch(context.core, batch_id)))


@router.get("/{batch_id}/result", response_class=Response, responses=RESULT)
def get_result(
    context: JobsRead,
    batch_id: BatchId,
    result_format: Annotated[
        CombinedFormat, Query(alias="format", description="native: one JSON object per video.")
    ] = CombinedFormat.ACTIVITYNET,
) -> Response:
    """Fetch the results of all items that have succeeded by now, as one streamed file."""
    names, timed = views.names_with_results(context.core, batch_id)
    media_type, render = COMBINED[result_format]
    parts = render(views.batch_results(context.core, batch_id), Naming(video_ids(names), timed))
    name = f"{batch_id}.{ENDINGS[result_format]}"
    return StreamingResponse(
        _gathered(parts),
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get("/{batch_id}/sheet", response_class=Response, responses=SHEET)
def get_sheet(
    context: JobsRead,
    batch_id: BatchId,
    page_size: Annotated[int, Query(ge=1, le=MAX_SHEET_PAGE_SIZE)] = DEFAULT_PAGE_SIZE,
    page_token: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Fetch a contact sheet: one self-contained HTML page with a timeline per item.

    Of a large batch it holds a page of items, and links to the next one.
    """
    return StreamingResponse(
        _gathered(batch_sheet(context, batch_id, page_size, page_token)),
        media_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": SERVED_POLICY},
    )


def _gathered(parts: Iterator[str]) -> Iterator[bytes]:
    """Yield text in pieces worth sending."""
    waiting: list[bytes] = []
    size_bytes = 0
    for part in parts:
        waiting.append(part.encode())
        size_bytes += len(waiting[-1])
        if size_bytes >= SEND_BYTES:
            yield b"".join(waiting)
            waiting, size_bytes = [], 0
    yield b"".join(waiting)
