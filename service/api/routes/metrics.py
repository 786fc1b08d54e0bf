"""/metrics: figures for Prometheus."""

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from service.api.deps import Metrics, SecuredRoute
from service.api.schemas import PROBLEMS
from service.metrics.collecting import ServiceCollector
from service.metrics.requests import RequestMetrics

router = APIRouter(tags=["metrics"], responses=PROBLEMS, route_class=SecuredRoute)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(context: Metrics, request: Request) -> Response:
    """Return figures of the whole service, as Prometheus reads them.

    Those about requests are of the process that answers; all others come from the database.
    """
    registry = CollectorRegistry()
    unbound = request.app.state.context.core
    registry.register(ServiceCollector(unbound, context.settings))
    requests: RequestMetrics = request.app.state.request_metrics
    registry.register(requests)
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": media_type})
