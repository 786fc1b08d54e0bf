"""The description of the interface as it really is: problems, keys, streams.

FastAPI describes what routes return. What every address has in common is put in here: errors are
problem documents, a key may be needed, and an event stream is no JSON string.
"""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI

from service.api.problems import PROBLEM_TYPE

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch")
EVENT_STREAM = "text/event-stream"
FASTAPI_OWN_ERROR = "422"
FASTAPI_OWN_SCHEMAS = ("HTTPValidationError", "ValidationError")

# Whatever an answer names by id can be asked for: path parameter -> where answers name it.
NAMED_BY = {
    "job_id": (
        ("post", "/v1/jobs", "$response.body#/id"),
        ("get", "/v1/jobs", "$response.body#/jobs/0/id"),
    ),
    "video_id": (
        ("post", "/v1/videos", "$response.body#/id"),
        ("get", "/v1/videos", "$response.body#/videos/0/id"),
    ),
    "batch_id": (
        ("post", "/v1/batches", "$response.body#/id"),
        ("get", "/v1/batches", "$response.body#/batches/0/id"),
    ),
    "webhook_id": (
        ("post", "/v1/webhooks", "$response.body#/id"),
        ("get", "/v1/webhooks", "$response.body#/webhooks/0/id"),
    ),
    "delivery_id": (("post", "/v1/webhooks/{webhook_id}/test", "$response.body#/id"),),
    "key_id": (
        ("post", "/v1/keys", "$response.body#/id"),
        ("get", "/v1/keys", "$response.body#/keys/0/id"),
    ),
}
SUCCESSES = ("200", "201", "202")

Document = dict[str, Any]


def describe(app: FastAPI, *, keys_required: bool) -> None:
    """Make an application describe itself completely; `FastAPI.openapi` gives it afterwards."""
    plain = app.openapi
    ready: list[Document] = []

    def openapi() -> Document:
        if not ready:
            ready.append(_completed(plain(), keys_required=keys_required))
        return ready[0]

    app.openapi = openapi  # type: ignore[method-assign]  # the documented way to extend it


def _completed(document: Document, *, keys_required: bool) -> Document:
    for operation in _operations(document):
        responses: Document = operation["responses"]
        if FASTAPI_OWN_ERROR in responses and _is_fastapis(responses[FASTAPI_OWN_ERROR]):
            del responses[FASTAPI_OWN_ERROR]
        for status, response in responses.items():
            if status.startswith(("4", "5")):
                _make_problem(response)
            stream = response.get("content", {}).get(EVENT_STREAM)
            if stream is not None:
                # A schema would be held against each event, which is no JSON document.
                stream.pop("schema", None)
        if not keys_required and operation.get("security"):
            operation["security"] = [*operation["security"], {}]
    _link(document["paths"])
    schemas: Document = document.get("components", {}).get("schemas", {})
    for name in FASTAPI_OWN_SCHEMAS:
        schemas.pop(name, None)
    return document


def _operations(document: Document) -> Iterator[Document]:
    for operations in document["paths"].values():
        for method, operation in operations.items():
            if method in METHODS:
                yield operation


def _link(paths: Document) -> None:
    """Say which addresses take the ids that answers hold."""
    for parameter, sources in NAMED_BY.items():
        targets = {
            operation["operationId"]
            for path, operations in paths.items()
            if f"{{{parameter}}}" in path and path.count("{") == 1
            for method, operation in operations.items()
            if method in METHODS
        }
        for method, path, expression in sources:
            responses: Document = paths[path][method]["responses"]
            for status in SUCCESSES:
                if status in responses:
                    links = responses[status].setdefault("links", {})
                    for target in sorted(targets):
                        links[target] = {
                            "operationId": target,
                            "parameters": {parameter: expression},
                        }


def _is_fastapis(response: Document) -> bool:
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).endswith(f"/{FASTAPI_OWN_SCHEMAS[0]}")


def _make_problem(response: Document) -> None:
    content: Document = response.get("content", {})
    described = content.get("application/json", {}).get("schema", {})
    if str(described.get("$ref", "")).endswith("/ProblemBody"):
        response["content"] = {PROBLEM_TYPE: {"schema": described}}
