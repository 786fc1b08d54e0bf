"""What a key can be allowed to do."""

from collections.abc import Iterable
from enum import StrEnum

from service.errors import InvalidRequest


class Scope(StrEnum):
    """One kind of permission; the values are public."""

    JOBS_READ = "jobs:read"
    """Jobs, batches, results, events, models, usage."""
    JOBS_WRITE = "jobs:write"
    """Make, cancel, retry and delete jobs and batches."""
    VIDEOS_READ = "videos:read"
    """Videos, their bytes and thumbnails."""
    VIDEOS_WRITE = "videos:write"
    """Upload and delete videos."""
    WEBHOOKS = "webhooks:manage"
    """Webhooks and their deliveries."""
    EMBED_MINT = "embed:mint"
    """Make embed tokens, with which web pages show single jobs or cameras of the tenant."""
    METRICS = "metrics:read"
    """/metrics, which knows no tenants."""
    ADMIN = "admin"
    """The tenant's keys; includes every other scope but metrics:read."""


ALL_SCOPES = frozenset(Scope)
DEFAULT_SCOPES = ALL_SCOPES - {Scope.ADMIN, Scope.METRICS}
"""Of a key that is made without saying which: everything a tenant does with his own videos."""


def parse_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """Return the scopes of these names.

    Raises:
        InvalidRequest: one of them is no scope.
    """
    found = set()
    for word in words:
        try:
            found.add(Scope(word))
        except ValueError as error:
            message = f"There is no scope {word!r}; there are {', '.join(sorted(ALL_SCOPES))}."
            raise InvalidRequest(message) from error
    return frozenset(found)


def allows(scopes: frozenset[Scope], scope: Scope) -> bool:
    """Say whether a key with these scopes may do what needs that one.

    An administrator of a tenant may do everything with it, but the whole deployment's figures are
    none of the tenant's business.
    """
    return scope in scopes or (Scope.ADMIN in scopes and scope is not Scope.METRICS)
