"""The web page: `/`, and its script and style below `/page`.

The page is a client like any other: it signs in, and then uses the websocket and `/v1`. Its files need no token,
because they contain nothing of the ledger. Host and Origin are checked as everywhere. `clients/page` has the sources;
its build writes the files of `page_files`, except `index.html`.

The page may load nothing from another host, runs no script that is not in its own file, and no other page may frame it.
A program that does not ask for HTML, such as curl, gets a sentence instead of the page.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web
from aiohttp.hdrs import ACCEPT, ACCEPT_ENCODING

_FILES: Final = Path(__file__).with_name("page_files")
_INDEX: Final = "index.html"
_KINDS: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".txt": "text/plain"}
_NAMES: Final = frozenset({"page.js", "page.css", "LICENSES.txt"})
"""What is served below `/page`."""
_SENTENCE: Final = "comfyledger is running. Apps connect to /ws with the token; `comfyledger status` shows its state.\n"
_FEATURES: Final = ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "serial", "usb")
_FIXED: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _FEATURES),
    "Cache-Control": "no-cache",
}


class _Body(NamedTuple):
    """A file as it is sent, plain and compressed. `tag`: what changes with its content."""

    plain: bytes
    zipped: bytes
    tag: str


_read: Final[dict[tuple[Path, int, int], _Body]] = {}
"""Files that were read, by path, time of change (ns) and size."""


def routes() -> list[web.RouteDef]:
    """The page and its files. HEAD is answered like GET, without a body."""
    return [web.get("/", _page), web.get("/page/{name}", _file)]


async def _page(request: web.Request) -> web.Response:
    if "text/html" not in request.headers.get(ACCEPT, ""):
        return web.Response(text=_SENTENCE, headers={**_FIXED, "Vary": ACCEPT})
    return await _answer(request, _INDEX)


async def _file(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in _NAMES:
        raise web.HTTPNotFound
    return await _answer(request, name)


async def _answer(request: web.Request, name: str) -> web.Response:
    try:
        body = await asyncio.to_thread(_body, _FILES / name)
    except FileNotFoundError:
        raise web.HTTPNotFound from None
    headers = {
        **_FIXED,
        "Content-Security-Policy": policy(request.headers.get("Host", "")),
        "ETag": f'W/"{body.tag}"',
        "Vary": f"{ACCEPT}, {ACCEPT_ENCODING}",
    }
    if any(tag.value in {"*", body.tag} for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = f"{_KINDS[Path(name).suffix]}; charset=utf-8"
    if "gzip" not in request.headers.get(ACCEPT_ENCODING, ""):
        return web.Response(body=body.plain, headers=headers)
    return web.Response(body=body.zipped, headers={**headers, "Content-Encoding": "gzip"})


def policy(host: str) -> str:
    """What the page may load. `host`: a Host header that was checked.

    Older browsers do not count a websocket of the same host as `'self'`. (CSP 3, 6.7.2.8)
    """
    sockets = f" ws://{host} wss://{host}" if host else ""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            f"connect-src 'self'{sockets}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _body(path: Path) -> _Body:
    """Raises FileNotFoundError. A file that was not changed since is neither read nor compressed again."""
    status = path.stat()
    key = (path, status.st_mtime_ns, status.st_size)
    found = _read.get(key)
    if found is None:
        plain = path.read_bytes()
        found = _Body(plain, gzip.compress(plain, mtime=0), hashlib.sha256(plain).hexdigest()[:32])
        for old in [other for other in _read if other[0] == path]:
            _read.pop(old, None)
        _read[key] = found
    return found
