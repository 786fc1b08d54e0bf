"""Which URLs and addresses are contacted: tables, and properties over all of IPv4 and IPv6."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import UrlRefused
from service.outbound_addresses import (
    OutboundPolicy,
    WebAddress,
    check_address,
    check_url,
    is_allowed,
)

PUBLIC = OutboundPolicy()
CLOSED = OutboundPolicy(allow_private=True)

NEVER = [
    "0.0.0.0",  # noqa: S104 - to be refused
    "0.1.2.3",
    "169.254.169.254",
    "192.0.0.192",
    "168.63.129.16",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:93.184.215.14",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::5db8:d70e",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2002:5db8:d70e::1",
    "2001::1",
    "2001:0:7f00:1::1",
    "2001:db8::1",
    "3fff::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
    "5f00::1",
    "100::1",
]
PRIVATE = [
    "10.0.0.1",
    "127.0.0.1",
    "127.255.0.9",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "::1",
    "fd12:3456::1",
]
OPEN = ["93.184.215.14", "1.1.1.1", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450::200e"]


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_contacted(address):
    for policy in (PUBLIC, CLOSED):
        with pytest.raises(UrlRefused):
            check_address("name", address, policy)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_contacted_in_closed_networks_only(address):
    check_address("name", address, CLOSED)
    with pytest.raises(UrlRefused):
        check_address("name", address, PUBLIC)


@pytest.mark.parametrize("address", OPEN)
def test_public_addresses_are_contacted(address):
    check_address("name", address, PUBLIC)


@given(st.ip_addresses(v=4))
def test_nothing_that_the_library_calls_local_passes(address):
    if is_allowed(address, PUBLIC):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@given(st.ip_addresses(v=6))
def test_ipv6_passes_in_its_public_part_only(address):
    if is_allowed(address, PUBLIC):
        assert address in ipaddress.ip_network("2000::/3")
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None


@given(st.ip_addresses())
def test_a_closed_network_only_ever_allows_more(address):
    assert is_allowed(address, CLOSED) or not is_allowed(address, PUBLIC)


REFUSED = [
    "ftp://example.com/a.mp4",
    "file:///etc/passwd",
    "gopher://example.com/",
    "data:text/plain,x",
    "//example.com/a.mp4",
    "example.com/a.mp4",
    "",
    "http://",
    "http:///a.mp4",
    "http:example.com/a.mp4",
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com:22/",
    "https://example.com:0/",
    "https://example.com:99999/",
    "https://example.com:8080/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://a.localhost/",
    "http://redis/",
    "http://printer.local/",
    "http://metadata.google.internal/",
    "http://router.home.arpa/",
    "http://127.0.0.1/",
    "http://127.1/",
    "http://0/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://127.0.0.1./",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://%31%32%37.0.0.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[fe80::1%25eth0]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://exa mple.com/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com/\r\nHost: x",
    "http://exam\tple.com/",
    "http://exam\x00ple.com/",
    "http://example..com/",
    "http://-example.com/",
    "http://" + "a" * 64 + ".com/",
    "http://" + "a." * 130 + "com/",
    "https://example.com/" + "a" * 2048,
]


@pytest.mark.parametrize("url", REFUSED)
def test_urls_that_are_refused_at_once(url):
    with pytest.raises(UrlRefused) as caught:
        check_url(url, PUBLIC)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "authority"),
    [
        ("https://example.com/a.mp4", "example.com", 443, b"/a.mp4", "example.com"),
        ("HTTP://EXAMPLE.com", "example.com", 80, b"/", "example.com"),
        ("http://example.com:443/x?y=z#f", "example.com", 443, b"/x?y=z", "example.com:443"),
        ("https://example.com./", "example.com.", 443, b"/", "example.com."),
        ("https://bücher.de/ä", "xn--bcher-kva.de", 443, b"/%C3%A4", "xn--bcher-kva.de"),
        ("https://93.184.215.14/", "93.184.215.14", 443, b"/", "93.184.215.14"),
        ("https://[2606:4700::1]/", "2606:4700::1", 443, b"/", "[2606:4700::1]"),
    ],
)
def test_urls_that_pass(url, host, port, target, authority):
    address = check_url(url, PUBLIC)
    assert (address.host, address.port, address.target) == (host, port, target)
    assert address.authority == authority


def test_a_closed_network_allows_ports_and_names_but_not_everything():
    assert check_url("http://nas:8080/a.mp4", CLOSED).port == 8080
    assert check_url("http://127.0.0.1:5000/", CLOSED).host == "127.0.0.1"
    for url in ("http://169.254.169.254/", "ftp://nas/", "http://u:p@nas/", "http://127.1/"):
        with pytest.raises(UrlRefused):
            check_url(url, CLOSED)


def test_the_shown_address_hides_the_query():
    address = check_url("https://example.com/a.mp4?signature=secret", PUBLIC)
    assert address.shown == "https://example.com/a.mp4"


# Without a host, a location leads back to where it came from.
ELSEWHERE = [url for url in REFUSED if "://" in url and not url.endswith(("://", ":///a.mp4"))]


@pytest.mark.parametrize("location", ELSEWHERE)
def test_redirects_to_refused_urls_are_refused(location):
    with pytest.raises(UrlRefused):
        WebAddress("http", "example.com", 80, b"/").joined(location, PUBLIC)


def test_redirects_are_relative_to_where_they_came_from():
    here = WebAddress("https", "example.com", 443, b"/videos/a.mp4?x=1")
    assert here.joined("b.mp4", PUBLIC).target == b"/videos/b.mp4"
    assert here.joined("//other.org/c", PUBLIC).host == "other.org"
    with pytest.raises(UrlRefused, match="https to http"):
        here.joined("http://example.com/", PUBLIC)


@given(st.text(max_size=60))
def test_any_text_passes_or_is_refused(text):
    for url in (text, f"http://{text}", f"https://{text}/a", f"http://example.com{text}"):
        try:
            address = check_url(url, PUBLIC)
        except UrlRefused:
            continue
        assert address.host
        assert address.authority.isascii()
