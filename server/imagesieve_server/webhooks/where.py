"""Where webhooks may go: which URLs an endpoint may have, which addresses a name may lead to.

The file of endpoints is the operator's, and a receiver in the same private network is the usual
case; so private addresses are allowed. Never allowed is what no receiver has: link-local
addresses (behind one of which clouds tell a machine's credentials), multicast, and this machine
under a name that does not say so.
"""

from __future__ import annotations

import ipaddress
import urllib.parse
from dataclasses import dataclass

from imagesieve_server.addresses import is_loopback

URL_MAX = 2048
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "fd00:ec2::254",  # Amazon's
            "100.100.100.200",  # Alibaba's
            "168.63.129.16",  # Azure's, which hands out certificates and settings
        ),
    )
)
# Outside the link-local range, and all the same where clouds tell a machine's credentials.

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A checked URL."""

    url: str
    local: bool  # it names this machine

    @property
    def origin(self) -> str:
        """Scheme, host and port: a path may hold a secret and is not for logs."""
        parts = urllib.parse.urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def where_of(url: object, *, allow_http: bool) -> Where:
    """The URL, checked. Raises ValueError in words that do not repeat it."""
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("must be a URL in ASCII, a host's name in its xn-- form")
    if len(url) > URL_MAX:
        raise ValueError(f"must not be longer than {URL_MAX} characters")
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or a password")
    if parts.fragment or not parts.hostname:
        raise ValueError("must have a host, and no fragment")
    try:
        parts.hostname.encode("idna")  # as resolving it will
    except UnicodeError:
        raise ValueError("must have a host whose parts have 1 to 63 characters") from None
    try:
        port_is_good = parts.port != 0
    except ValueError:
        port_is_good = False
    if not port_is_good:
        raise ValueError("must have a port from 1 to 65535, or none")
    local = is_loopback(parts.hostname)
    if parts.scheme == "http" and not (local or allow_http):
        raise ValueError(
            "must begin with https://; allow_http = true is for a network that encrypts by itself"
        )
    problem = _problem_of_literal(parts.hostname, local=local)
    if problem:
        raise ValueError(problem)
    return Where(url=url, local=local)


def problem_of(address: Address, *, local: bool) -> str:
    """Why nothing is sent to this address; "" where it may be. ``local``: the URL names this
    machine."""
    inner = _embedded(address)
    if inner is not None:
        return problem_of(inner, local=local)
    if address.is_loopback:
        return "" if local else "leads to this machine and does not say so"
    if address.is_link_local or address in _METADATA:
        return "is link-local, or where a cloud tells a machine's credentials"
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return "is no address of one machine"
    return ""


def _problem_of_literal(host: str, *, local: bool) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    problem = problem_of(address, local=local)
    return f"the host {problem}" if problem else ""


def _embedded(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
