"""The contact sheet of a batch: a page of its items as self-contained HTML, sent as it is made."""

from collections.abc import Iterator
from dataclasses import replace

from models.errors import ContractViolation
from models.plots.posters import moments_of
from models.plots.scene import Scene, scene_of
from models.plots.sheet import LISTED_FAILURES, Card, Failure, Sheet, Totals, render_sheet
from models.plots.sheet_style import SHEET_POLICY
from service.api.deps import ApiContext
from service.api.pictures import stored_strip
from service.batches import views
from service.batches.sheets import SheetRow, sheet_rows
from service.batches.states import ItemStatus
from service.cards import list_models

SERVED_POLICY = f"{SHEET_POLICY}; frame-ancestors 'none'"
JOB_PAGE = "/#/jobs/"


def batch_sheet(
    context: ApiContext, batch_id: str, page_size: int, page_token: str | None
) -> Iterator[str]:
    """Return the parts of a page of a batch's contact sheet.

    Thumbnails that were drawn already are shown; none is asked for. Failures stand on the first
    page.

    Raises:
        BatchNotFound: there is no such batch.
        InvalidRequest: the page token is none of ours.
    """
    core = context.core
    view = views.get_batch(core, batch_id)
    page = views.list_items(core, batch_id, status=None, page_size=page_size, page_token=page_token)
    rows = sheet_rows(core, page.items)
    batch, counts = view.batch, view.progress.counts
    done, failed = counts[ItemStatus.SUCCEEDED], counts[ItemStatus.FAILED]
    partial = page_token is not None or page.next_page_token is not None
    totals = Totals(num_failed=failed, num_waiting=batch.num_items - done - failed, partial=partial)
    for row in rows:
        labels = [one["label"] for one in row.native["segments"]]
        totals.add(row.native["video"]["duration"], labels)
    # Of the page so far; of files alone the whole batch is known.
    totals.num_done = done
    here = f"/v1/batches/{batch_id}/sheet?page_size={page_size}"
    pages = {} if page_token is None else {"First page": here}
    if page.next_page_token is not None:
        pages["Next page"] = f"{here}&page_token={page.next_page_token}"
    sheet = Sheet(
        title=batch.name or f"Batch {batch_id}",
        about=f"{batch.model} · {batch.created_at:%Y-%m-%d %H:%M} UTC",
        totals=totals,
        failures=_failures(context, batch_id) if failed and page_token is None else (),
        classes=_classes(context, batch.model),
        pages=pages,
        note=f"{batch_id}, {batch.num_items:,} items",
    )
    return render_sheet(sheet, _cards(context, rows))


def _classes(context: ApiContext, model: str) -> tuple[str, ...]:
    """Return the classes of NAME@VERSION[:SPEED]; none if it is not installed any more."""
    identity = model.partition(":")[0]
    for known in list_models(context.settings.model_folders):
        if known.identity == identity:
            return known.classes
    return ()


def _failures(context: ApiContext, batch_id: str) -> list[Failure]:
    page = views.list_items(
        context.core,
        batch_id,
        status=ItemStatus.FAILED,
        page_size=LISTED_FAILURES,
        page_token=None,
    )
    return [
        Failure(
            item.name,
            item.error_code or "unknown",
            item.error_message or "",
            None if item.job_id is None else JOB_PAGE + item.job_id,
        )
        for item in page.items
    ]


def _cards(context: ApiContext, rows: list[SheetRow]) -> Iterator[Card]:
    for row in rows:
        scene = _scene(context, row)
        if scene is not None:
            yield Card(row.name, scene, JOB_PAGE + row.job_id)


def _scene(context: ApiContext, row: SheetRow) -> Scene | None:
    try:
        scene = scene_of(row.native)
    except ContractViolation:
        return None  # a result of an earlier release without a duration
    strip = stored_strip(context, row.video)
    if strip is None:
        return scene
    try:
        return replace(scene, thumbnails=moments_of(strip))
    except OSError:
        return scene
