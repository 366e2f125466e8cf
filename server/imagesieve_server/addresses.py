"""Network addresses: which of them only this machine can reach. No names are resolved."""

from __future__ import annotations

import ipaddress

from imagesieve_server.core.errors import ConfigError


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def parse_address(address: str, *, setting: str) -> tuple[str, int]:
    """Split host:port; IPv6 hosts stand in brackets. Raises ConfigError."""
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{setting}: {address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)
