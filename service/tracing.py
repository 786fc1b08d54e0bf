"""Spans for OpenTelemetry: optional, and next to free of charge where nobody asked for them.

Spans are made only in processes that called `start_tracing` with an address, and where the
packages of the extra ``tracing`` are installed. The exporter has a thread, which would not survive
a fork: a worker's parent never calls it, its children do. Attributes carry ids, kinds and numbers:
no names that users gave, no addresses, no secrets.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import structlog

SERVICE_NAME = "kinetag"
PATH = "/v1/traces"
"""Source: OTLP specification 1.x, "OTLP/HTTP Request": the default path of traces."""

EXPORT_MS = 1000
"""How long finished spans wait for company; little is lost when a worker's child is ended."""

_log = structlog.get_logger(__name__)


class Attributes(Protocol):
    """Takes attributes that become known while a span is open."""

    def __call__(self, **attributes: str | float | bool) -> None:
        """Add them."""
        ...


def start_tracing(endpoint: str | None, role: str) -> Callable[[], None]:
    """Let this process export spans; does nothing without an address.

    Args:
        endpoint: of a collector that speaks OTLP over HTTP, without path.
        role: of the process: ``api``, ``worker`` or ``sweeper``.

    Returns:
        What sends the last spans and ends the exporter; to be called at the process's end.
    """
    if endpoint is None:
        return _nothing
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an optional package
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        _log.warning("tracing_unavailable", remedy="install kinetag[tracing]")
        return _nothing
    resource = Resource.create({"service.name": SERVICE_NAME, "kinetag.role": role})
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + PATH)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_MS))
    trace.set_tracer_provider(provider)
    return provider.shutdown


@contextmanager
def span(name: str, /, **attributes: str | float | bool) -> Iterator[Attributes]:
    """Record how long a block takes, below the span that is open around it.

    Args:
        name: ``request``, ``claim``, ``decode``, ``infer`` or ``commit``.
        attributes: known beforehand.
    """
    # Without `start_tracing` it is missing, or makes spans that go nowhere.
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        yield _ignore
        return
    tracer = api.get_tracer(SERVICE_NAME)
    with tracer.start_as_current_span(
        f"{SERVICE_NAME}.{name}", attributes=_named(attributes), record_exception=False
    ) as current:

        def add(**more: str | float | bool) -> None:
            current.set_attributes(_named(more))

        yield add


def _nothing() -> None:
    pass


def _ignore(**_attributes: str | float | bool) -> None:
    pass


def _named(attributes: dict[str, Any]) -> dict[str, Any]:
    return {f"{SERVICE_NAME}.{key}": value for key, value in attributes.items()}
