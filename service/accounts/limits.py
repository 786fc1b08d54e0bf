"""What a tenant may use at most, as values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from service.errors import InvalidRequest
from service.settings import Settings

MAX_COUNT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Quotas:
    """Upper limits of one tenant; None where there is none.

    Attributes:
        stored_bytes: of all its uploads, the same bytes counted once; files that stay where they
            are (videos by path) do not count.
        queued_jobs: jobs that have not ended, waiting or under way.
        requests_per_second: on average over a few seconds, per API process.
        uploads: request bodies that are being received, per API process.
    """

    stored_bytes: int | None = None
    queued_jobs: int | None = None
    requests_per_second: float | None = None
    uploads: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Quotas":
        """Return the deployment's: of every tenant that has none of its own."""
        return cls(
            stored_bytes=settings.quota_bytes,
            queued_jobs=settings.quota_queued_jobs,
            requests_per_second=settings.quota_requests_per_second,
            uploads=settings.quota_uploads,
        )

    def changed_by(self, document: Mapping[str, Any] | None) -> "Quotas":
        """Return these with a tenant's own in their place.

        Args:
            document: as in `TenantRecord.quotas`: names of fields above; null for no limit.
        """
        return replace(self, **dict(document or {}))

    def document(self) -> dict[str, Any]:
        """Return all of them as JSON."""
        return asdict(self)


QUOTA_NAMES = tuple(field.name for field in fields(Quotas))


def checked_quotas(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tenant's own quotas once they are known to be usable.

    Raises:
        InvalidRequest: there is no such quota, or it is no number above zero.
    """
    for name, value in document.items():
        if name not in QUOTA_NAMES:
            message = f"There is no quota {name!r}; there are {', '.join(QUOTA_NAMES)}."
            raise InvalidRequest(message)
        kinds = int | float if name == "requests_per_second" else int
        usable = isinstance(value, kinds) and not isinstance(value, bool)
        if value is not None and not (usable and 0 < value <= MAX_COUNT):
            message = f"The quota {name} must be a number above 0, or null for no limit."
            raise InvalidRequest(message)
    return dict(document)
