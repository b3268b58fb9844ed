"""Which addresses a client may add as a ComfyUI: those that `[backends] allowed` describes, in one spelling. Pure.

A URL is read by the rules here and is then written anew, so nobody calls another server than the one that was judged.
What could be read in two ways is refused: a user, percent encoding, a host that only resembles an IPv4 address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address
from typing import Final, NamedTuple

from comfyledger.settings.addresses import host_and_port

URL_CHARS_MAX: Final = 300
_PORTS: Final = {"http": 80, "https": 443}
_PLAIN: Final = re.compile(r"[A-Za-z0-9.:/_~*\[\]-]*")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]+")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
"""A last label like this makes resolvers read the whole host as an IPv4 address, however it is written."""
ANY: Final = "*"


class Place(NamedTuple):
    """The parts of an address. `path` has its segments; in an entry of `allowed`, `host` may contain `*`."""

    scheme: str
    host: str
    port: int
    path: tuple[str, ...]

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return "/".join((f"{self.scheme}://{host}{port}", *self.path))


def backend_url(text: str) -> str:
    """The address of a ComfyUI in its one spelling. Raises ValueError with what is wrong, without quoting it."""
    place = _place(text)
    if ANY in place.host:
        raise ValueError("it contains *")
    _check_number(place.host)
    return place.url


def described(entry: str) -> Place:
    """What an entry of `[backends] allowed` describes. Raises ValueError with what is wrong."""
    place = _place(entry)
    labels = place.host.split(".")
    if ANY not in place.host:
        _check_number(place.host)
    elif all(label == ANY or label.isdigit() for label in labels):
        if len(labels) != 4 or set(labels) == {ANY}:
            raise ValueError("an IPv4 address has four parts, and not all of them may be *")
    elif labels[-1].strip(ANY + "-") == "" or (ANY in labels[-1] and len(labels) > 1) or _NUMBER.fullmatch(labels[-1]):
        raise ValueError("the last part of a name may not vary")
    return place


def is_allowed(url: str, allowed: Iterable[str]) -> bool:
    """Whether an entry describes the address: scheme, host and port, and the first segments of the path. `*` stands for
    any characters within one part of a host. Raises ValueError for what is no address or no entry.
    """
    place = _place(backend_url(url))
    return any(_fits(place, described(entry)) for entry in allowed)


def _fits(place: Place, entry: Place) -> bool:
    return (
        (place.scheme, place.port) == (entry.scheme, entry.port)
        and place.path[: len(entry.path)] == entry.path
        and _host_fits(place.host, entry.host)
    )


def _host_fits(host: str, entry: str) -> bool:
    """An entry with numbers describes addresses only: `10.1.evil.example` has as many parts as `10.1.*.*`."""
    if ANY not in entry:
        return host == entry
    labels, wanted = host.split("."), entry.split(".")
    if len(labels) != len(wanted) or _is_ipv4(host) != all(label == ANY or label.isdigit() for label in wanted):
        return False
    return all(re.fullmatch(_pattern(want), label) for want, label in zip(wanted, labels, strict=True))


def _pattern(label: str) -> str:
    return "[a-z0-9_-]*".join(map(re.escape, label.split(ANY)))


def _place(text: str) -> Place:
    scheme, found, rest = text.partition("://")
    if scheme.lower() not in _PORTS or not found:
        raise ValueError("it does not begin with http:// or https://")
    if len(text) > URL_CHARS_MAX:
        raise ValueError(f"it has more than {URL_CHARS_MAX} characters")
    if "@" in rest:
        raise ValueError("it names a user")
    if not _PLAIN.fullmatch(rest):
        raise ValueError("it has a query, a fragment, percent encoding or another special character")
    authority, slash, path = rest.partition("/")
    host, port = host_and_port(authority.replace(ANY, "0"))
    if not host or (port and not int(port)) or (ANY in authority and ":" in host):
        raise ValueError("its host or port is not valid")
    if ANY in authority:
        host = authority.lower().removesuffix(f":{port}")
    return Place(scheme.lower(), host, int(port or _PORTS[scheme.lower()]), _segments(path) if slash else ())


def _segments(path: str) -> tuple[str, ...]:
    parts = path.removesuffix("/").split("/") if path else []
    if any(not _SEGMENT.fullmatch(part) or set(part) == {"."} for part in parts):
        raise ValueError("its path has an empty, relative or special part")
    return tuple(parts)


def _check_number(host: str) -> None:
    if ":" not in host and _NUMBER.fullmatch(host.rpartition(".")[2]) and not _is_ipv4(host):
        raise ValueError("its host resembles an IPv4 address and is none")


def _is_ipv4(host: str) -> bool:
    try:
        return str(IPv4Address(host)) == host
    except AddressValueError:
        return False
