"""Looking at a video for its own sake: its facts, and thumbnails for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from models.errors import InputError
from models.types import Progress, ProgressCallback
from service.jobs.store import new_id
from service.storage import BlobStore

if TYPE_CHECKING:
    from models.thumbnails import ThumbnailStrip
    from models.types import VideoFacts
    from workers.work import TaskInput

STAGE = "validating"
ANY_FPS = 25.0
"""No frame of the grid is read."""

_log = structlog.get_logger(__name__)


def look_at(
    work: TaskInput, on_progress: ProgressCallback
) -> tuple[VideoFacts, ThumbnailStrip | None]:
    """Return a video's facts, and its thumbnails if it has a picture that can be drawn.

    Raises:
        InputError: the file cannot be used.
        ResourceError: the decoder crashed or ran out of memory.
    """
    # Here, and not at the top: these load OpenCV, and only a worker's child may.
    from models.decode import VideoSource  # noqa: PLC0415
    from models.thumbnails import draw_thumbnails  # noqa: PLC0415

    task = work.task
    known: dict[str, Any] = task.payload["facts"] or {}
    on_progress(Progress(STAGE, 0.0))
    with VideoSource(
        work.path,
        fps=ANY_FPS,
        short_side_px=None,
        name=task.video_name,
        # Who looks first hashes what is really there, whatever was said when it was stored.
        sha256=known.get("sha256"),
    ) as source:
        on_progress(Progress(STAGE, 0.5))
        try:
            return source.facts, draw_thumbnails(source)
        except InputError as error:
            _log.warning("no_thumbnails", code=error.code, error=str(error))
            return source.facts, None


def store_thumbnails(blobs: BlobStore, video_id: str, jpeg: bytes) -> str:
    """Store a strip under a fresh key, so that no late worker overwrites another's.

    Returns:
        The key, to be handed to `TaskQueue.complete_probe`, or deleted when that is refused.
    """
    key = f"thumbnails/{video_id}/{new_id('strip')}.jpg"
    blobs.put_bytes(key, jpeg)
    return key
