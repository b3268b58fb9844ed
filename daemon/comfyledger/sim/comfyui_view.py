"""What `/view` of the stand-in gives: a file as it is, or with the fault that a test asked for.

A path comes in that is known to be a file; an answer goes out. Which fault is on is said by the caller.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from aiohttp import web

from comfyledger.sim.comfyui_faults import ViewFault

_PAGE: Final = b"<!DOCTYPE html><html><body><h1>Sign in to go on</h1></body></html>"
_RUBBISH: Final = b"\0rubbish"
_LACKING_BYTES: Final[dict[str, int]] = {"cut_1": 1, "cut_4": 4, "cut_20": 20, "cut_1000": 1_000}


async def view(request: web.Request, path: Path, fault: ViewFault | None) -> web.StreamResponse:
    """The file, or what stands in its place."""
    headers = {"X-Content-Type-Options": "nosniff", "Content-Disposition": f'filename="{path.name}"'}
    if fault is None:
        return web.FileResponse(path, headers=headers)
    whole = await asyncio.to_thread(path.read_bytes)
    match fault:
        case "missing":
            return web.Response(status=404)
        case "html":
            return web.Response(body=_PAGE, content_type="text/html")
        case "short_transfer":
            return await _broken_off(request, whole)
        case "trailing":
            body = whole + _RUBBISH
        case "empty":
            body = b""
        case _:
            body = whole[: -_LACKING_BYTES[fault]]
    return web.Response(body=body, headers=headers, content_type="image/png")


async def _broken_off(request: web.Request, whole: bytes) -> web.StreamResponse:
    """Announce the whole file, give half of it and end the connection."""
    response = web.StreamResponse(headers={"Content-Length": str(len(whole)), "Content-Type": "image/png"})
    await response.prepare(request)
    await response.write(whole[: len(whole) // 2])
    if request.transport:
        request.transport.close()
    return response
