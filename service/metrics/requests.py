"""What one API process counts of its own requests; gone when it ends, as counters may be."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"
"""Stands for every address that there is not, so that strangers cannot make up labels."""


class RequestMetrics(Collector):
    """Counts requests by method, by the address as documented, and by status."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "kinetag_http_request_seconds",
            "Time from a request's arrival to the end of its answer.",
            ("method", "route", "status"),
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
        self._received = Counter(
            "kinetag_http_received_bytes",
            "Bytes of request bodies: uploads, above all.",
            ("route",),
            registry=self.registry,
        )
        self._open = Gauge(
            "kinetag_http_requests_open",
            "Requests that are being answered, waiting and streaming ones included.",
            registry=self.registry,
        )

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, as a collector of a larger registry."""
        yield from self.registry.collect()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Count a request as being answered until the block ends."""
        self._open.inc()
        try:
            yield
        finally:
            self._open.dec()

    def answered(
        self, method: str, route: str | None, status: int, seconds: float, received_bytes: int
    ) -> None:
        """Count a request that was answered.

        Args:
            method: of the request; unusual ones are counted together.
            route: the address with its parameters' names; None where there is nothing.
            status: of the answer; 0 where none was sent.
            seconds: that it took.
            received_bytes: of its body.
        """
        route = route or UNMATCHED
        method = method if method in METHODS else "other"
        self._seconds.labels(method, route, str(status)).observe(seconds)
        if received_bytes:
            self._received.labels(route).inc(received_bytes)
