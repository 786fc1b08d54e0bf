"""How much more may be stored: free disk space above the floor, less what is reserved already."""

from service.ingest.uploads import reserved_bytes
from service.jobs.commands import JobCore
from service.jobs.store import reading
from service.settings import Settings
from service.storage import free_bytes, free_floor_bytes


def free_above_floor_bytes(settings: Settings) -> int:
    """Return the free space above the floor; below 0 where the floor is passed."""
    return free_bytes(settings.data_dir) - free_floor_bytes(settings)


def promised_bytes(core: JobCore) -> int:
    """Return the space that resumable uploads under way have reserved."""
    with reading(core.engine) as session:
        return reserved_bytes(session, core.clock.now(session))
