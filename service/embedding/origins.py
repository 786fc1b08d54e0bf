"""Origins of web pages as browsers write them: scheme, host, port; nothing that stands for several.

They are compared with the header Origin letter by letter, and stand in ``frame-ancestors``, where a
blank or a semicolon would end them: only harmless letters pass.
"""

import ipaddress
import re
from collections.abc import Iterable

from service.errors import InvalidRequest

MAX_ORIGINS = 20
MAX_CHARACTERS = 2000
"""Of all origins together: a token travels in a header, and proxies bound those to 8 kB."""

DEFAULT_PORTS = {"http": "80", "https": "443"}
MAX_PORT = 65535
LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
ORIGIN = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{LABEL}(?:\.{LABEL})*)(?::(?P<port>[1-9][0-9]{{0,4}}))?"
)
MAX_HOST_CHARACTERS = 253
NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that makes browsers read the host as an IPv4 address (Source: WHATWG URL, 3.5)."""


def checked_origins(texts: Iterable[str]) -> tuple[str, ...]:
    """Return origins as browsers send them, each once, in the order given.

    Raises:
        InvalidRequest: one is none, or there are none or too many.
    """
    found = tuple(dict.fromkeys(checked_origin(text) for text in texts))
    if not 0 < len(found) <= MAX_ORIGINS:
        message = f"Name 1 to {MAX_ORIGINS} origins of pages that may show it."
        raise InvalidRequest(message)
    if sum(map(len, found)) > MAX_CHARACTERS:
        message = f"The origins are longer than {MAX_CHARACTERS} characters together; name fewer."
        raise InvalidRequest(message)
    return found


def checked_origin(text: str) -> str:
    """Return one origin as browsers send it: lower case, without the scheme's own port.

    Raises:
        InvalidRequest: it is none.
    """
    match = ORIGIN.fullmatch(text.lower()) if text.isascii() else None
    if match is None or len(match["host"]) > MAX_HOST_CHARACTERS or not _is_host(match["host"]):
        message = (
            f"{text[:100]!r} is no origin; write scheme, host and port alone, like "
            "https://dash.example or http://192.168.1.20:3000, international names as xn--."
        )
        raise InvalidRequest(message)
    port = match["port"]
    if port is not None and int(port) > MAX_PORT:
        message = f"The origin {text[:100]!r} has a port above {MAX_PORT}."
        raise InvalidRequest(message)
    shown = "" if port in {None, DEFAULT_PORTS[match["scheme"]]} else f":{port}"
    return f"{match['scheme']}://{match['host']}{shown}"


def _is_host(host: str) -> bool:
    if NUMERIC.fullmatch(host.rpartition(".")[2]) is None:
        return True
    try:
        return str(ipaddress.IPv4Address(host)) == host
    except ValueError:
        return False
