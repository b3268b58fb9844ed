"""Which addresses a call may go to that a client has asked for, or a webhook names. So nobody has the daemon read what
only this machine and its network can.

The configuration names the servers. Its names may come to mean another address at any time (DNS rebinding), so what a
name means now is judged as well. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

LOCALHOST: Final = "localhost"
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")
"""Leads to IPv4 addresses of the own network (RFC 8215), mostly in the last 32 bits."""
_EMBEDDED: Final = (
    IPv6Network("64:ff9b::/96"),  # NAT64 (RFC 6052)
    _LOCAL_NAT64,
    IPv6Network("::/96"),  # IPv4-compatible (RFC 4291, 2.5.5.1)
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated (RFC 2765)
)
"""The last 32 bits are an IPv4 address."""
_INSIDE: Final = (_LOCAL_NAT64, IPv6Network("fec0::/10"), IPv4Network("192.0.0.0/24"))
"""Networks of no public server that not every version of `ipaddress` knows: site-local (RFC 3879), and addresses of
protocols (RFC 6890), where a cloud provider gives credentials.
"""

Address = IPv4Address | IPv6Address


def why_not(host: str, address: str) -> str:
    """Why a server that is written as `host` may not be reached at an address; empty if it may."""
    why = why_private(host, address)
    return f"{why}, and url_hosts names it by a name" if why.endswith(PRIVATE) else why


PRIVATE: Final = "is loopback or private"


def why_private(host: str, address: str) -> str:
    """Why a server that is written as a name may not be reached at an address: one of a public server may."""
    if why := why_never(address):
        return why
    found = ip_address(address)
    return "" if is_written(host) or all(map(_is_public, _meant(found))) else f"{found} {PRIVATE}"


def why_never(address: str) -> str:
    """Why no server that a client names may be at an address; empty if one may."""
    try:
        found = ip_address(address)
    except ValueError:
        return f"{address[:64]!r} is no address"
    for one in _meant(found):
        if one.is_link_local or one.is_multicast or one.is_unspecified or (one.is_reserved and one.version == 4):
            return f"{found} is link-local, multicast or unspecified"
    return ""


def is_written(host: str) -> bool:
    """Whether the configuration itself says which address it means.

    aiohttp resolves no host that looks like this, so no resolver judges what `127.1` means: `why_never` refuses it.
    """
    return host == LOCALHOST or ":" in host or host.replace(".", "").isdigit()


def _is_public(address: Address) -> bool:
    return address.is_global and not any(
        address in network for network in _INSIDE if network.version == address.version
    )


def _meant(address: Address) -> Iterator[Address]:
    """The address, or the IPv4 address that it stands for; and one that it leads to through a gateway."""
    if isinstance(address, IPv4Address):
        yield address
        return
    yield address.ipv4_mapped or address
    if address.sixtofour is not None:
        yield address.sixtofour
    yield from address.teredo or ()
    if int(address) > 1 and any(address in network for network in _EMBEDDED):  # `::` and `::1` are themselves
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
