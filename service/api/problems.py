"""Errors as ``application/problem+json``: one renderer for all of them.

Source: RFC 9457. ``code`` is our stable addition; every code stands in docs/errors.md.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service.api.bodylimits import MESSAGE, TOO_SLOW
from service.errors import (
    InternalError,
    InvalidRequest,
    MethodRefused,
    NotFound,
    OutageError,
    ServiceError,
    UploadTimeout,
    UploadTooLarge,
)

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
METHOD_NOT_ALLOWED = 405
MAX_LISTED_ERRORS = 10

_log = structlog.get_logger(__name__)


def problem_response(
    error: ServiceError,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Render one error; retryable ones say when to come back."""
    document = {
        "type": f"urn:kinetag:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": str(error) or error.title,
        **(extra or {}),
    }
    all_headers = {**error.headers, **(headers or {})}
    if error.retryable:
        all_headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    # ASCII escapes, because a detail may quote text that UTF-8 cannot carry.
    return Response(
        json.dumps(document), error.status, media_type=PROBLEM_TYPE, headers=all_headers
    )


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of an application a problem document."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_bug)


async def _on_service_error(_request: Request, error: Exception) -> Response:
    found = error if isinstance(error, ServiceError) else InternalError()
    if isinstance(found, OutageError) and found.retryable:
        _log.error("outage", code=found.code, cause=repr(found.__cause__))
    return problem_response(found)


async def _on_validation_error(_request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    listed = [
        {"where": ".".join(map(str, one["loc"])), "message": str(one["msg"])}
        for one in found[:MAX_LISTED_ERRORS]
    ]
    parts = "; ".join(f"{one['where']}: {one['message']}" for one in listed)
    return problem_response(InvalidRequest(f"{parts}."), {"errors": listed})


async def _on_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 0
    if status == METHOD_NOT_ALLOWED:
        # Starlette names the methods of one route only; an address may have several.
        allowed = ", ".join(_allowed_methods(request.app, request.url.path))
        message = f"{request.method} is not offered here; use {allowed}."
        return problem_response(MethodRefused(message), headers={"Allow": allowed})
    if status == UploadTooLarge.status:
        return problem_response(UploadTooLarge(MESSAGE))
    if status == UploadTimeout.status:
        return problem_response(UploadTimeout(TOO_SLOW))
    if status == NotFound.status:
        message = "There is nothing at this address; /openapi.json lists what there is."
        return problem_response(NotFound(message))
    return problem_response(InvalidRequest("The request could not be read."))


def _allowed_methods(app: FastAPI, path: str) -> list[str]:
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    return sorted(
        method.upper()
        for template, operations in paths.items()
        if _pattern(template).fullmatch(path)
        for method in operations
    )


@lru_cache(maxsize=256)
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(map(re.escape, re.split(r"\{[^}]+\}", template))))


async def _on_disconnect(request: Request, _error: Exception) -> Response:
    # Nobody reads this answer; without it the server would log a traceback.
    _log.info("client_gone", path=request.url.path)
    return problem_response(InvalidRequest("The connection was closed before the request ended."))


async def _on_bug(request: Request, error: Exception) -> Response:
    _log.error("internal_error", path=request.url.path, exc_info=error)
    message = "Something went wrong inside the service; its log says what."
    return problem_response(InternalError(message))
