"""URLs that a person configured, without what must not be shown: userinfo, query and fragment may hold secrets."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

MASK: Final = "***"
"""What stands where a secret would be."""
_USERINFO: Final = re.compile(r"(?<=://)[^\s\"'<>/?#]*@")


class Reached(NamedTuple):
    """A URL to call, without userinfo, and who to be there: `user` and `password` are decoded, empty for nobody."""

    url: str
    user: str
    password: str


def reached(url: str) -> Reached:
    """Raises ValueError for what cannot be called: another scheme than http and https, no host, a bad port."""
    if not url.isprintable() or " " in url:
        raise ValueError("it contains a space or a control character")
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # whose words may quote a password
        is_whole = False
    if not is_whole:
        raise ValueError("it is not http:// or https:// with a host and perhaps a port")
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return Reached(place, unquote(parts.username or ""), unquote(parts.password or ""))


def place_of(url: str) -> tuple[str, int, str]:
    """Host, port and path of a URL as far as they tell two servers apart. Raises ValueError as `reached` does."""
    parts = urlsplit(reached(url).url)
    host = (parts.hostname or "").rstrip(".")
    return _LOOPBACK.get(host, host), parts.port or _PORTS[parts.scheme], parts.path.rstrip("/")


def server_of(url: str) -> str:
    """The identity of the server behind a URL: `HOST:PORT` and perhaps a path. Raises ValueError as `reached` does."""
    host, port, path = place_of(url)
    return f"[{host}]:{port}{path}" if ":" in host else f"{host}:{port}{path}"


_LOOPBACK: Final = {"localhost": "127.0.0.1", "::1": "127.0.0.1"}
"""Names of this machine under which one server answers mostly."""
_PORTS: Final = {"http": 80, "https": 443}


def shown_url(text: str) -> str:
    """A URL with a mask in place of userinfo, query and fragment; also a text that is meant to be a URL and is none."""
    scheme, found, rest = text.partition("://")
    if not found:
        return text if "@" not in text else MASK + text[text.rindex("@") :]
    if "@" in rest:  # a password may hold any character, also those that end an authority
        rest = f"{MASK}@{rest.rpartition('@')[2]}"
    rest, fragment, _ = rest.partition("#")
    place, query, _ = rest.partition("?")
    return f"{scheme}://{place}" + (f"?{MASK}" if query else "") + (f"#{MASK}" if fragment else "")


def without_userinfo(text: str) -> str:
    """A text of any kind, with the userinfo of each URL in it masked."""
    return _USERINFO.sub(f"{MASK}@", text) if "://" in text and "@" in text else text
