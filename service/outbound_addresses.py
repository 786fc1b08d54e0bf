"""Where the service may connect to on a stranger's word: URLs, and what their names resolve to.

Pure checks without a socket; `service.outbound` applies them. Everything not known to be public
is refused: for IPv6 by an allow-list, for IPv4 by what the standard library calls global, less
what it overlooks.
"""

import ipaddress
import re
from dataclasses import dataclass

import httpx2

from service.errors import UrlRefused
from service.settings import Settings

MAX_URL_LENGTH = 2048
MAX_HOST_LENGTH = 253
MAX_PORT = 65535
DEFAULT_PORTS = {"http": 80, "https": 443}

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# A name whose last label is a number is an IPv4 address to resolvers and browsers: 127.1,
# 2130706433, 0x7f.1, 0177.0.0.1. Source: WHATWG URL standard, "ends in a number".
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)")
# Source: RFC 6761 and RFC 6762 (localhost, local), ICANN 2024 (internal), RFC 8375 (home.arpa).
_LOCAL_SUFFIXES = ("localhost", "local", "internal", "home.arpa")

_NETWORK4 = ipaddress.IPv4Network
_NETWORK6 = ipaddress.IPv6Network
_NEVER4 = (
    _NETWORK4("0.0.0.0/8"),  # this host
    _NETWORK4("169.254.0.0/16"),  # link-local, and the metadata services of clouds
    _NETWORK4("192.0.0.0/24"),  # protocol assignments; metadata at one cloud
    _NETWORK4("192.88.99.0/24"),  # 6to4 relays
    _NETWORK4("168.63.129.16/32"),  # a public address that is another cloud's own host
    _NETWORK4("224.0.0.0/3"),  # multicast and reserved
)
_PRIVATE4 = (
    _NETWORK4("10.0.0.0/8"),
    _NETWORK4("100.64.0.0/10"),
    _NETWORK4("127.0.0.0/8"),
    _NETWORK4("172.16.0.0/12"),
    _NETWORK4("192.168.0.0/16"),
)
_PUBLIC6 = _NETWORK6("2000::/3")
_NEVER6 = (
    _NETWORK6("2001::/23"),  # Teredo, ORCHID, benchmarking and other protocols
    _NETWORK6("2001:db8::/32"),  # documentation
    _NETWORK6("2002::/16"),  # 6to4: an IPv4 address in disguise
    _NETWORK6("3fff::/20"),  # documentation
)
_PRIVATE6 = (_NETWORK6("::1/128"), _NETWORK6("fc00::/7"))
_CLOUD_METADATA6 = ipaddress.IPv6Address("fd00:ec2::254")


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """Whom the service may contact.

    Attributes:
        allow_private: private networks, this machine and any port too, for closed networks and
            tests. Metadata services, multicast and disguised addresses stay refused.
    """

    allow_private: bool = False

    @classmethod
    def of(cls, settings: Settings) -> "OutboundPolicy":
        """Return the policy of a deployment."""
        return cls(allow_private=settings.allow_private_urls)


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A URL that was checked as far as it can be without resolving its name.

    Attributes:
        scheme: ``http`` or ``https``.
        host: in ASCII and lower case, without brackets.
        port: the scheme's own where the URL names none.
        target: path and query as sent.
    """

    scheme: str
    host: str
    port: int
    target: bytes

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """For messages and logs: without the query, which may hold a secret."""
        path = self.target.partition(b"?")[0].decode("ascii", "replace")
        return f"{self.scheme}://{self.authority}{path}"

    def joined(self, location: str, policy: OutboundPolicy) -> "WebAddress":
        """Return where a redirect leads.

        Raises:
            UrlRefused: somewhere that may not be contacted, or from https to http.
        """
        base = httpx2.URL(f"{self.scheme}://{self.authority}").copy_with(raw_path=self.target)
        try:
            url = str(base.join(location))
        except (httpx2.InvalidURL, ValueError) as error:
            message = f"{self.authority} redirects to an address that cannot be understood."
            raise UrlRefused(message) from error
        following = check_url(url, policy)
        if self.scheme == "https" and following.scheme == "http":
            message = (
                f"{self.authority} redirects from https to http; give an address that does not."
            )
            raise UrlRefused(message)
        return following


def check_url(url: str, policy: OutboundPolicy) -> WebAddress:
    """Check a URL as far as it can be without asking anybody; quick enough for a request.

    Raises:
        UrlRefused: it is no http(s) URL, holds credentials, names a port other than 80 or 443, or
            an address that is not public.
    """
    parsed = _parse(url)
    if parsed.scheme not in DEFAULT_PORTS:
        message = "The URL must begin with https:// or http://."
        raise UrlRefused(message)
    if parsed.userinfo:
        message = "The URL holds a user name or password; use one that works without."
        raise UrlRefused(message)
    port = DEFAULT_PORTS[parsed.scheme] if parsed.port is None else parsed.port
    if not _may_use(port, policy):
        message = f"The URL names port {port}; only 80 and 443 are contacted."
        raise UrlRefused(message)
    host = parsed.raw_host.decode("ascii", "replace").lower()
    _check_host(host, policy)
    return WebAddress(parsed.scheme, host, port, parsed.raw_path)


def check_address(host: str, address: str, policy: OutboundPolicy) -> None:
    """Check what a name resolved to.

    Raises:
        UrlRefused: it is not public.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        allowed = False
    else:
        allowed = is_allowed(parsed, policy)
    if not allowed:
        # The address itself is not told: it would make the service a map of its own network.
        message = (
            f"{host} is at an address that is not public, and those are not contacted; "
            "give a public address, or upload the file."
        )
        raise UrlRefused(message)


def is_allowed(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, policy: OutboundPolicy
) -> bool:
    """Return whether an address may be connected to.

    Source: IANA special-purpose address registries (IPv4 and IPv6).
    """
    if isinstance(address, ipaddress.IPv4Address):
        if any(address in network for network in _NEVER4):
            return False
        return address.is_global or (
            policy.allow_private and any(address in network for network in _PRIVATE4)
        )
    if address.scope_id is not None or address == _CLOUD_METADATA6:
        return False
    if address in _PUBLIC6:
        return address.is_global and not any(address in network for network in _NEVER6)
    return policy.allow_private and any(address in network for network in _PRIVATE6)


def _may_use(port: int, policy: OutboundPolicy) -> bool:
    if policy.allow_private:
        return 0 < port <= MAX_PORT
    return port in DEFAULT_PORTS.values()


def _parse(url: str) -> httpx2.URL:
    # Backslashes, spaces and control characters mean different things to different parsers.
    if len(url) > MAX_URL_LENGTH or "\\" in url or " " in url or not url.isprintable():
        message = (
            f"The URL is longer than {MAX_URL_LENGTH} characters, or holds blanks, backslashes or "
            "control characters."
        )
        raise UrlRefused(message)
    try:
        return httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        message = "The URL cannot be understood; check its spelling."
        raise UrlRefused(message) from error


def _check_host(host: str, policy: OutboundPolicy) -> None:
    if ":" in host or _NUMERIC_END.fullmatch(host.rstrip(".")):
        # Only the plain notation is an address here; 127.1 and its kin are not.
        check_address("The URL", host, policy)
        return
    name = host.removesuffix(".")
    if len(name) > MAX_HOST_LENGTH or not _NAME.fullmatch(name):
        message = "The URL's host name cannot be understood; check its spelling."
        raise UrlRefused(message)
    if policy.allow_private:
        return
    if "." not in name or any(name == end or name.endswith(f".{end}") for end in _LOCAL_SUFFIXES):
        message = (
            f"{name} is a name inside a private network, and those are not contacted; give a "
            "public address, or upload the file."
        )
        raise UrlRefused(message)
