"""Addresses of the outside as settings name them, taken apart once; secrets stay in them.

Errors never repeat what was given: it may hold a password.
"""

import re
import string
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
"""Source: IANA service names "mqtt" and "secure-mqtt"."""

MAX_PREFIX_BYTES = 128
MAX_PORT = 65535

_DISCOVERY_PREFIX = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """A broker, and who we are to it.

    Attributes:
        tls: whether the connection is encrypted and the broker has to prove who it is.
    """

    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str) -> "MqttAddress":
        """Take ``mqtt[s]://user:password@host:port`` apart; ``%40`` in a password is ``@``.

        Raises:
            ValueError: it is not of this form.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError(_ADDRESS) from None
        beyond = parts.path not in {"", "/"} or parts.query or parts.fragment
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or beyond or port == 0:
            raise ValueError(_ADDRESS)
        user = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        return cls(
            parts.hostname, port or DEFAULT_PORTS[parts.scheme], parts.scheme == "mqtts", user,
            password,
        )  # fmt: skip

    @property
    def shown(self) -> str:
        """For logs: without the login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def checked_prefix(text: str) -> str:
    """Return an MQTT prefix that topics can begin with.

    Raises:
        ValueError: it is none.
    """
    usable = all(one.isprintable() and one not in "+#" for one in text)
    if not usable or not text or text[0] in "/$" or text[-1] == "/" or "//" in text:
        message = "an MQTT prefix is a name such as kinetag or home/kinetag, without + and #"
        raise ValueError(message)
    if len(text.encode()) > MAX_PREFIX_BYTES:
        message = f"an MQTT prefix has at most {MAX_PREFIX_BYTES} bytes"
        raise ValueError(message)
    return text


def checked_discovery_prefix(text: str) -> str:
    """Return a prefix of Home Assistant's discovery, or nothing.

    Raises:
        ValueError: it is none that Home Assistant can have.
    """
    if text and not _DISCOVERY_PREFIX.fullmatch(text):
        message = "a discovery prefix has letters, digits, - and _, as homeassistant has"
        raise ValueError(message)
    return text


def checked_base(url: str) -> str:
    """Return the address of a web application, without a slash at its end.

    Raises:
        ValueError: it is no http(s) address, or holds a login.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(_BASE) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(_BASE)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(_BASE)
    return url.rstrip("/")


def camera_names(words: tuple[str, ...]) -> dict[str, str]:
    """Return our name -> theirs, of words such as ``dock=front_dock``.

    Raises:
        ValueError: a word has no ``=``, or a name is missing.
    """
    names = {}
    for word in words:
        ours, equals, theirs = word.partition("=")
        if not equals or not ours.strip(string.whitespace) or not theirs.strip():
            message = "cameras are named OURS=THEIRS, with commas between them"
            raise ValueError(message)
        names[ours.strip()] = theirs.strip()
    return names


_ADDRESS = (
    "the address of the broker is mqtt://user:password@host:port, or mqtts:// for TLS; special "
    "characters of a password are written as %40 for @"
)
_BASE = "the address is http:// or https:// and a host, without a login"
