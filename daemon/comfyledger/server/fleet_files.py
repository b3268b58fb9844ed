"""What other boxes of the fleet ask for: files of this box's own spool, and of its own folder of inputs.

They need no token: the path is signed with a key that only boxes of the fleet have (`peer_key`).
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from aiohttp import web

from comfyledger.errors import Refused
from comfyledger.server.app_keys import CONNECTIONS, CONTEXT, Context
from comfyledger.server.files import send_file
from comfyledger.workers.fleet.peer_key import IMAGES, INPUTS

_INDEX: Final = re.compile(r"[1-9][0-9]{0,9}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def routes() -> list[web.RouteDef]:
    """Without a fleet they are as if they were not there."""
    return [web.get(f"{IMAGES}/{{batch}}/{{index}}", _image), web.get(f"{INPUTS}/{{sha256}}", _input)]


async def _image(request: web.Request) -> web.StreamResponse:
    context, index = _allowed(request), request.match_info["index"]
    found = _INDEX.fullmatch(index) and await context.reader.image(request.match_info["batch"], int(index))
    if not found or not found.has_file:
        raise Refused("unknown_image")
    async with context.file_source.own(found) as file:
        if file is None:
            raise Refused("unknown_image", "The file is not in the spool of this box.")
        return await send_file(request, found.size_bytes, found.sha256, file, {})


async def _input(request: web.Request) -> web.StreamResponse:
    context, sha256 = _allowed(request), request.match_info["sha256"]
    row = await context.reader.input(sha256) if _SHA256.fullmatch(sha256) else None
    size_bytes = context.inputs.sizes.get(sha256) if row is not None else None
    if row is None or size_bytes is None:
        raise Refused("unknown_image", "The input is not at this box.")
    file = await asyncio.to_thread(context.inputs.open, sha256, row.extension)
    if file is None:
        raise Refused("unknown_image", "The bytes of the input are not at this box.")
    try:
        return await send_file(request, size_bytes, sha256, file, {})
    finally:
        file.close()


def _allowed(request: web.Request) -> Context:
    """Raises Refused(unknown_path) without a fleet, and (signature_invalid)."""
    context = request.app[CONTEXT]
    if context.peer_key is None:
        raise Refused("unknown_path")
    expires, signature = request.query.get("expires", ""), request.query.get("signature", "")
    if not context.peer_key.allows(request.path, expires, signature):
        raise Refused("signature_invalid", hint="Only boxes of the fleet use this address.")
    request.app[CONNECTIONS].authenticate(request.protocol)
    return context
