"""Where batches and their items stand, in the words users see."""

from enum import StrEnum


class BatchStatus(StrEnum):
    """Where a batch stands."""

    PREPARING = "preparing"
    """Its folder or archive is being looked through."""
    PROCESSING = "processing"
    """Its items are known, and not all have ended."""
    FINISHED = "finished"
    """All items have ended; some may have failed."""
    FAILED = "failed"
    """It could not be prepared; it has an error code and message, and no items."""
    CANCELED = "canceled"
    """A user stopped it; items that had ended keep their results."""


class ItemStatus(StrEnum):
    """Where an item stands."""

    WAITING = "waiting"
    """No job was made for it yet."""
    TAKEN = "taken"
    """It is being unpacked."""
    OPEN = "open"
    """It has a job that has not ended."""
    SUCCEEDED = "succeeded"
    """Its job has a result."""
    FAILED = "failed"
    """It has an error code and message."""
    CANCELED = "canceled"


class ItemKind(StrEnum):
    """What an item is given as."""

    URL = "url"
    PATH = "path"
    VIDEO = "video"
    MEMBER = "member"
    """A file in the batch's archive."""


class BatchSource(StrEnum):
    """Where a batch's items come from."""

    ITEMS = "items"
    FOLDER = "folder"
    ARCHIVE = "archive"


BATCH_ENDED = frozenset({BatchStatus.FINISHED, BatchStatus.FAILED, BatchStatus.CANCELED})
ITEM_ENDED = frozenset({ItemStatus.SUCCEEDED, ItemStatus.FAILED, ItemStatus.CANCELED})
UNFINISHED_ITEMS = (ItemStatus.WAITING, ItemStatus.TAKEN, ItemStatus.OPEN)
