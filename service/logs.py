"""Logging of a process: structlog, as JSON lines or plain text, on standard error.

A line is a constant event name plus fields. Foreign libraries' records take the same way out, on
which control characters are escaped, so that no value can forge a line, and secrets are blotted
out: keys, signatures' secrets, passwords and queries in URLs. This is the second wall: nobody is
to log them in the first place.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog

BLOT = "***"

SECRETS = (
    # API keys (`service.accounts.secrets`) and webhooks' secrets (Standard Webhooks).
    (re.compile(r"\bkinetag_[0-9A-Z]{26}_[0-9a-f]{8,}"), BLOT),
    # Embed tokens and tickets (`service.embedding.signing`).
    (re.compile(r"\bkt[a-z]_[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+"), BLOT),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+"), BLOT),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}"), rf"\1 {BLOT}"),
    # In URLs: user and password, query and fragment.
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@\"']+@"), rf"\1{BLOT}@"),
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s?#\"'<>]*)[?#][^\s\"'<>]*"), rf"\1?{BLOT}"),
)

SECRET_NAMES = frozenset({"authorization", "password", "secret", "api_key", "cookie"})

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What terminals and log readers take for more than text, line breaks above all."""


def configure_logs(log_format: str, level: str) -> None:
    """Set up logging of this process; called once by each command's start.

    Args:
        log_format: ``json`` or ``plain``.
        level: lowest level shown: debug, info, warning or error.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: Any
    if log_format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                escape_values,
                blotted(renderer),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def escape_values(
    _logger: object, _method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Escape control characters in every field; a processor of structlog.

    A traceback keeps its lines: only plain text has it in a field of its own.
    """
    for name, value in fields.items():
        if name in SECRET_NAMES:
            fields[name] = BLOT
        elif name not in {"exception", "exc_info", "stack"}:
            fields[name] = _escaped(value)
    return fields


def blotted(renderer: Callable[..., Any]) -> Callable[..., str]:
    """Return a renderer whose lines carry no secrets, whatever they came from."""

    def render(logger: object, method: str, fields: Mapping[str, Any]) -> str:
        line = str(renderer(logger, method, fields))
        for pattern, replacement in SECRETS:
            line = pattern.sub(replacement, line)
        return line

    return render


def _escaped(value: Any) -> Any:  # noqa: ANN401 - any value that was logged
    if isinstance(value, str):
        return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), value)
    if isinstance(value, Mapping):
        return {_escaped(name): _escaped(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_escaped(item) for item in value]
    return value
