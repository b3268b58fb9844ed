"""Hosts and origins as a browser writes them, and what is wrong with entries that a browser could never send. Pure.

The server compares the Host and Origin headers with what `[door]` lists. An entry that no header can equal allows
nobody. So the configuration refuses it and says what to write (RFC 9110, 7.2; RFC 6454, 6.1).
"""

from __future__ import annotations

import functools
import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urlsplit

_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
PORT_MAX: Final = 65_535


@functools.lru_cache(maxsize=64)
def host_of(header: str) -> str:
    """The host that a Host header names: in lower case, an IPv6 address in its shortest form without brackets. Empty
    for an invalid header.
    """
    return host_and_port(header)[0]


def host_and_port(text: str) -> tuple[str, str]:
    """Host and port; both empty if the text is neither `host` nor `host:port`."""
    if text.startswith("["):
        inner, closed, rest = text[1:].partition("]")
        host = _ipv6(inner) if closed else ""
    else:
        inner, colon, rest = text.partition(":")
        host, rest = _name(inner), colon + rest
    if not host or not (rest == "" or _is_port(rest)):
        return "", ""
    return host, rest[1:]


def _is_port(rest: str) -> bool:
    return rest[0] == ":" and _PORT.fullmatch(rest[1:]) is not None and int(rest[1:]) <= PORT_MAX


def _name(text: str) -> str:
    """A name or an IPv4 address. A text that only resembles an address (`127.1`) keeps its spelling."""
    lower = text.lower()
    return lower if _NAME.fullmatch(lower) else ""


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return ""
    return "" if address.scope_id else str(address)


# ---- what is listed


def listed_host(entry: str) -> str:
    """An entry of `allowed_hosts` as `host_of` would return it; empty if no Host header can equal it."""
    bare = _ipv6(entry)
    if bare:
        return bare
    host, port = host_and_port(entry)
    return "" if port else host


def suggested_host(entry: str) -> str:
    """What an invalid entry probably means; empty if that is unknown."""
    text = entry.strip()
    text = text.partition("://")[2] or text
    text = re.split(r"[/?#]", text, maxsplit=1)[0].rpartition("@")[2]
    host = host_of(_in_ascii(text.rstrip(".")))
    return host if host and "*" not in text else ""


def origin_of(entry: str) -> str:
    """The origin that a browser would send for a page whose address begins so; empty if that is unknown. An entry of
    `allowed_origins` that differs from its own origin allows nobody.
    """
    text = entry.strip()
    if entry == "null":  # pages from files and sandboxes; a person may want them
        return entry
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    if not _SCHEME.fullmatch(scheme) or "*" in authority:
        return ""
    bare = _ipv6(authority)
    host, port = (bare, "") if bare else host_and_port(_in_ascii(authority.rstrip(".")))
    if not host:
        return ""
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" + (f":{int(port)}" if port and port != _DEFAULT_PORTS.get(scheme) else "")


def fetched_origin(entry: str) -> str:
    """The origin that an entry of `[inputs] url_hosts` allows: scheme, host and port, as `origin_of` writes them. A
    name alone means https. Empty if the entry names no server.
    """
    found = origin_of(entry if "://" in entry else f"https://{entry}")
    bare = entry.partition("://")[2] or entry
    return found if found.startswith(("http://", "https://")) and not re.search("[/?#@]", bare) else ""


def _in_ascii(host: str) -> str:
    """As browsers send a name with letters beyond ASCII (`xn--...`)."""
    if host.isascii():
        return host
    name, colon, port = host.partition(":")
    try:
        return name.encode("idna").decode("ascii") + colon + port
    except UnicodeError:
        return ""


def is_any(host: str) -> bool:
    """Whether the address means all addresses of the machine, so that no client can name it."""
    try:
        return IPv4Address(host) == IPv4Address(0)
    except AddressValueError:
        return _ipv6(host) == "::"


def authority_of(target: str) -> str | None:
    """The authority in a request target in absolute form, None for a path (RFC 9112, 3.2)."""
    if target.startswith("/") or target == "*":
        return None
    try:
        return urlsplit(target).netloc
    except ValueError:
        return ""
