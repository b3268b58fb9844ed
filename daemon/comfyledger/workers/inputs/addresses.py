"""Which addresses a fetch may go to, so that nobody has the daemon read what only this machine and its network can.

The configuration names the servers. Its names may come to mean another address at any time (DNS rebinding), so what a
name means now is judged as well. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

LOCALHOST: Final = "localhost"
NAT64: Final = IPv6Network("64:ff9b::/96")
"""The last 32 bits are an IPv4 address (RFC 6052)."""

Address = IPv4Address | IPv6Address


def why_not(host: str, address: str) -> str:
    """Why a server that is written as `host` may not be reached at an address; empty if it may."""
    try:
        found = ip_address(address)
    except ValueError:
        return f"{address[:64]!r} is no address"
    for one in _meant(found):
        if one.is_link_local or one.is_multicast or one.is_unspecified or (one.is_reserved and one.version == 4):
            return f"{found} is link-local, multicast or unspecified"
        if not one.is_global and not is_written(host):
            return f"{found} is loopback or private, and url_hosts names it by a name"
    return ""


def is_written(host: str) -> bool:
    """Whether the configuration itself says which address it means."""
    try:
        ip_address(host)
    except ValueError:
        return host == LOCALHOST
    return True


def _meant(address: Address) -> Iterator[Address]:
    """The address, or the IPv4 address that it stands for; and one that it leads to through a gateway."""
    if isinstance(address, IPv4Address):
        yield address
        return
    yield address.ipv4_mapped or address
    if address.sixtofour is not None:
        yield address.sixtofour
    if address in NAT64:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
