"""The HTTP application and its server: routes, guards and error rendering put together."""

import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware

from service.api import tus_requests
from service.api.access import AdmissionWatch, Gate
from service.api.deps import ApiContext, shown_routes
from service.api.guards import CallerGuard, SafeHeaders
from service.api.observing import Observed
from service.api.openapi import describe
from service.api.problems import install_error_handlers
from service.api.protocol import BoundedProtocol
from service.api.routes import (
    batches,
    documentation,
    embeds,
    events,
    health,
    jobs,
    keys,
    metrics,
    models,
    pages,
    pictures,
    results,
    searches,
    segments,
    uploads,
    videos,
    webhooks,
)
from service.errors import ConfigurationError
from service.jobs.commands import open_core
from service.metrics.requests import RequestMetrics
from service.settings import Settings, keys_required, settled_for_host
from service.tracing import start_tracing

TITLE = "Kinetag"
DESCRIPTION = "Raw video in, timed action segments out."
API_VERSION = "1"
ROUTES = (
    uploads,
    videos,
    jobs,
    events,
    results,
    pictures,
    segments,
    searches,
    batches,
    webhooks,
    models,
    keys,
    health,
    metrics,
    embeds,
    documentation,
    pages,
)
NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""FastAPI's own spans carry queries and messages of errors; ours (service.tracing) do not."""

CORS_METHODS = ("GET", "POST", "DELETE")
CORS_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "X-API-Key",
)
CORS_EXPOSED_HEADERS = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
)
BACKLOG = 128
GRACE_SECONDS = 5
"""For answers under way when the process is to end."""


def create_app(settings: Settings, stopping: threading.Event | None = None) -> FastAPI:
    """Build the application; database and storage are opened when it starts.

    Args:
        settings: of the deployment.
        stopping: set by whoever ends the process, so that waiting requests are answered.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        end_tracing = start_tracing(settings.otlp_endpoint, "api")
        core = await run_in_threadpool(open_core, settings)
        app.state.context = ApiContext(settings, core, stopping or threading.Event())
        app.state.gate = Gate(settings, core)
        try:
            yield
        finally:
            core.engine.dispose()
            await run_in_threadpool(end_tracing)

    # The interactive pages would load scripts from elsewhere; /openapi.json is served.
    app = FastAPI(
        title=TITLE,
        description=DESCRIPTION,
        version=API_VERSION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        telemetry=NO_TELEMETRY,
    )
    install_error_handlers(app)
    for module in ROUTES:
        app.include_router(module.router)
    describe(app, keys_required=keys_required(settings))
    # Added from the inside out.
    app.add_middleware(AdmissionWatch)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.allowed_origins),
            allow_methods=[*CORS_METHODS, *tus_requests.CORS_METHODS],
            allow_headers=[*CORS_REQUEST_HEADERS, *tus_requests.CORS_REQUEST_HEADERS],
            expose_headers=[*CORS_EXPOSED_HEADERS, *tus_requests.CORS_EXPOSED_HEADERS],
        )
    app.add_middleware(
        CallerGuard,
        allowed_hosts=settings.allowed_hosts,
        allowed_origins=settings.allowed_origins,
        shown=shown_routes(route for module in ROUTES for route in module.router.routes),
    )
    app.add_middleware(SafeHeaders)
    app.state.request_metrics = RequestMetrics()
    app.add_middleware(Observed, metrics=app.state.request_metrics)
    return app


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen instead of host and port: a Unix socket's path, or an open descriptor."""

    unix_path: Path | None = None
    descriptor: int | None = None


class ApiServer(uvicorn.Server):
    """uvicorn's server, which answers waiting requests before it ends, and ends with status 0."""

    def __init__(self, config: uvicorn.Config, stopping: threading.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End after the requests that are being answered."""
        self._stopping.set()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take TERM and INT for a wish to end; unlike uvicorn, do not die of them afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(settings: Settings, listen: Listen, announce: Callable[[str], None]) -> None:
    """Serve until TERM or INT; announce the address once the socket listens.

    Raises:
        ConfigurationError: the address cannot be listened on, or is public without permission.
        DatabaseUnavailable: the database did not answer at the start.
    """
    listener = _listener(settings, listen)
    with listener:
        if listener.family != socket.AF_UNIX:
            settings = settled_for_host(settings, listener.getsockname()[0])
        # Opened here once, so that a database that is away is one sentence and not a traceback.
        open_core(settings).engine.dispose()
        stopping = threading.Event()
        config = uvicorn.Config(
            create_app(settings, stopping),
            http=BoundedProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        announce(f"Kinetag API: {_address(listener)}")
        ApiServer(config, stopping).run(sockets=[listener])
    if listen.unix_path is not None:
        listen.unix_path.unlink(missing_ok=True)


def _listener(settings: Settings, listen: Listen) -> socket.socket:
    if listen.unix_path is not None:
        return _unix_listener(listen.unix_path)
    if listen.descriptor is not None:
        try:
            listener = socket.socket(fileno=listen.descriptor)
        except OSError as error:
            message = f"The descriptor {listen.descriptor} is no open socket."
            raise ConfigurationError(message) from error
        return listener
    settled_for_host(settings, settings.host)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        message = (
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose another "
            "port with --port, or 0 for any free one."
        )
        raise ConfigurationError(message) from error
    return listener


def _unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        message = f"Cannot listen on the Unix socket {path} ({error.strerror})."
        raise ConfigurationError(message) from error
    return listener


def _address(listener: socket.socket) -> str:
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
