"""What describes the interfaces: `/openapi.json`, `/asyncapi.json`, and `/docs`, a page that shows the first of them.

They need no token, because they contain nothing of the ledger. Host and Origin are checked as everywhere. The page
comes from files that are shipped with the daemon, and may load nothing from another host.
"""

from __future__ import annotations

import asyncio
import functools
import json
from pathlib import Path
from typing import Final

from aiohttp import web

from comfyledger.server.app_keys import CONTEXT
from comfyledger.wire.schema.asyncapi import asyncapi
from comfyledger.wire.schema.openapi import openapi

_PAGE: Final = Path(__file__).parent.with_name("api_page")
_SHIPPED: Final = {
    "": _PAGE / "index.html",
    "start.js": _PAGE / "start.js",
    **{name: _PAGE / "swagger-ui" / name for name in ("swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE")},
}
"""The files of the page by their names below /docs."""
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src data:",  # the icons in the style sheet
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def routes() -> list[web.RouteDef]:
    """The documents and the page. HEAD is answered like GET, without a body."""
    return [
        web.get("/openapi.json", _openapi),
        web.get("/asyncapi.json", _asyncapi),
        web.get("/docs", _page),
        web.get("/docs/{name}", _page),
    ]


async def _openapi(request: web.Request) -> web.Response:
    return _json(await asyncio.to_thread(_openapi_text, request.app[CONTEXT].version))


async def _asyncapi(request: web.Request) -> web.Response:
    return _json(await asyncio.to_thread(_asyncapi_text, request.app[CONTEXT].version, request.host))


@functools.cache
def _openapi_text(version: str) -> bytes:
    return json.dumps(openapi(version)).encode()


@functools.lru_cache(maxsize=8)
def _asyncapi_text(version: str, host: str) -> bytes:
    return json.dumps(asyncapi(version, host)).encode()


def _json(document: bytes) -> web.Response:
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return web.Response(body=document, content_type="application/json", headers=headers)


async def _page(request: web.Request) -> web.StreamResponse:
    path = _SHIPPED.get(request.match_info.get("name", ""))
    if path is None:
        raise web.HTTPNotFound
    return web.FileResponse(path, headers=_HEADERS)
