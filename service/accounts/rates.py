"""How fast and how much at once each tenant may ask; counted in this process's memory.

Several API processes each grant the whole rate. A token bucket of our own: what libraries keep in
memory is tidied up by timer threads, which cost more than the polls they are to protect from.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

BURST_SECONDS = 2
"""A tenant that was quiet may ask for so many seconds' worth at once."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What asking once more came to.

    Attributes:
        limit: most requests at once.
        remaining: how many more would pass now.
        wait_seconds: until the next one passes; 0 if one does now.
    """

    granted: bool
    limit: int
    remaining: int
    wait_seconds: float

    def headers(self) -> dict[str, str]:
        """Return the fields that tell the client.

        Source: draft-ietf-httpapi-ratelimit-headers-09, RateLimit-Policy and RateLimit.
        """
        return {
            "RateLimit-Policy": f'"requests";q={self.limit};w={BURST_SECONDS}',
            "RateLimit": f'"requests";r={self.remaining};t={math.ceil(self.wait_seconds)}',
        }


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class RequestRates:
    """One token bucket per tenant; used by one thread, that of the event loop.

    Args:
        monotonic: clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._buckets: dict[str, _Bucket] = {}

    def spend(self, tenant_id: str, per_second: float) -> Allowance:
        """Count one request of a tenant who may make ``per_second`` of them, > 0."""
        now = self._monotonic()
        limit = max(1, math.floor(per_second * BURST_SECONDS))
        bucket = self._buckets.get(tenant_id)
        if bucket is None:
            bucket = self._buckets[tenant_id] = _Bucket(limit, now)
        gained = (now - bucket.filled_at) * per_second
        bucket.tokens = min(limit, bucket.tokens + gained)
        bucket.filled_at = now
        granted = bucket.tokens >= 1
        if granted:
            bucket.tokens -= 1
        missing = max(0.0, 1 - bucket.tokens)
        return Allowance(granted, limit, math.floor(bucket.tokens), missing / per_second)


class UploadSlots:
    """How many uploads of each tenant are under way; used by the event loop's thread alone."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def take(self, tenant_id: str, allowed: int) -> bool:
        """Take a slot; False if all are taken."""
        taken = self._taken.get(tenant_id, 0)
        if taken >= allowed:
            return False
        self._taken[tenant_id] = taken + 1
        return True

    def give_back(self, tenant_id: str) -> None:
        """Give a slot back that was taken."""
        left = self._taken[tenant_id] - 1
        if left:
            self._taken[tenant_id] = left
        else:
            del self._taken[tenant_id]
