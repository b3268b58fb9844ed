"""What `/view` of the stand-in gives: a file as it is, or with the fault that a test asked for.

A path comes in that is known to be a file; an answer goes out. Which fault is on is said by the caller.
"""

from __future__ import annotations

import asyncio
import mimetypes
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from aiohttp import web

from comfyledger.sim.comfyui.faults import ViewFault
from comfyledger.sim.comfyui.folders import Folders, below

_ACTIVE: Final = frozenset({"text/html", "application/xhtml+xml", "text/javascript", "text/css", "message/rfc822"})
_PAGE: Final = b"<!DOCTYPE html><html><body><h1>Sign in to go on</h1></body></html>"
_BOMB_SIDE: Final = 16_384
_RUBBISH: Final = b"\0rubbish"
_LACKING_BYTES: Final[dict[str, int]] = {"cut_1": 1, "cut_4": 4, "cut_20": 20, "cut_1000": 1_000}


def find(query: Mapping[str, str], folders: Folders) -> Path | int:
    """The file that a query names, or the status of the refusal, in the order of ComfyUI's own checks."""
    filename = query.get("filename")
    if filename is None:
        return 404
    folder = folders.of(query.get("type", "output"))
    if not filename or filename.startswith("/") or ".." in filename or folder is None:
        return 400
    wanted = below(folder, query.get("subfolder", ""))
    if wanted is None:
        return 403
    path = wanted / Path(filename).name
    return path if path.is_file() else 404


async def view(request: web.Request, path: Path, fault: ViewFault | None) -> web.StreamResponse:
    """The file, or what stands in its place."""
    headers = _headers(path)
    if fault is None:
        return web.FileResponse(path, headers=headers)
    whole = await asyncio.to_thread(path.read_bytes)
    if fault in _INSTEAD:
        return await _INSTEAD[fault](request, whole)
    body = await asyncio.to_thread(_body, fault, whole)
    return web.Response(body=body, headers=headers)


def _headers(path: Path) -> dict[str, str]:
    """As ComfyUI gives them: what a browser might run is not shown but kept."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    shown = f'filename="{path.name.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"'
    if kind in _ACTIVE or kind.endswith(("+xml", "/xml")):
        kind, shown = "application/octet-stream", f"attachment; {shown}"
    return {"X-Content-Type-Options": "nosniff", "Content-Disposition": shown, "Content-Type": kind}


def _body(fault: ViewFault, whole: bytes) -> bytes:
    match fault:
        case "trailing":
            return whole + _RUBBISH
        case "empty":
            return b""
        case "bomb":
            return _bomb()
        case "cut_half":
            return whole[: len(whole) // 2]
        case "cut_head":
            return whole[:16]
        case _:
            return whole[: -_LACKING_BYTES[fault]]


async def _missing(_: web.Request, __: bytes) -> web.StreamResponse:
    return web.Response(status=404)


async def _page(_: web.Request, __: bytes) -> web.StreamResponse:
    return web.Response(body=_PAGE, content_type="text/html")


async def _hanging(_: web.Request, __: bytes) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def _redirected(request: web.Request, _: bytes) -> web.StreamResponse:
    """To itself, for ever."""
    return web.Response(status=302, headers={"Location": str(request.rel_url)})


async def _broken_off(request: web.Request, whole: bytes) -> web.StreamResponse:
    """Announce the whole file, give half of it and end the connection."""
    response = web.StreamResponse(headers={"Content-Length": str(len(whole)), "Content-Type": "image/png"})
    await response.prepare(request)
    await response.write(whole[: len(whole) // 2])
    if request.transport:
        request.transport.close()
    return response


async def _dripping(request: web.Request, whole: bytes) -> web.StreamResponse:
    """The whole file, a byte a second."""
    response = web.StreamResponse(headers={"Content-Length": str(len(whole)), "Content-Type": "image/png"})
    await response.prepare(request)
    for place in range(len(whole)):
        await response.write(whole[place : place + 1])
        await asyncio.sleep(1)
    return response


async def _endless(request: web.Request, _: bytes) -> web.StreamResponse:
    """A file without an announced length that goes on until nobody takes it any more."""
    response = web.StreamResponse(headers={"Content-Type": "image/png"})
    await response.prepare(request)
    while True:
        await response.write(bytes(65_536))


async def _reset(request: web.Request, _: bytes) -> web.StreamResponse:
    """End the connection before anything was said."""
    if request.transport:
        request.transport.abort()
    return web.Response()


@cache
def _bomb() -> bytes:
    """A whole PNG of one colour, 16,384 pixels wide and high.

    Its pixels would take seconds to compress. A part of them does it once, and is repeated: it ends at a full flush,
    so it refers to nothing before it.
    """
    part, row = zlib.compressobj(9, wbits=-zlib.MAX_WBITS), bytes(1 + 3 * _BOMB_SIDE)
    packed = (part.compress(row * 64) + part.flush(zlib.Z_FULL_FLUSH)) * (_BOMB_SIDE // 64)
    adler = (len(row) * _BOMB_SIDE % 65_521) << 16 | 1  # of zeros (RFC 1950)
    stream = b"\x78\xda" + packed + b"\x03\x00" + struct.pack(">I", adler)
    header = struct.pack(">IIBBBBB", _BOMB_SIDE, _BOMB_SIDE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", stream), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


_INSTEAD: Final[dict[ViewFault, Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]]] = {
    "missing": _missing,
    "html": _page,
    "short_transfer": _broken_off,
    "hang": _hanging,
    "drip": _dripping,
    "reset": _reset,
    "redirect": _redirected,
    "endless": _endless,
}
"""Answers of their own; the others are a file with another body."""
