"""`PUT /v1/inputs`: the bytes of an input file, streamed to the disk as they come.

Whatever can be refused before the body is: a client that sends `Expect: 100-continue` then sends none of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import ClientError, multipart, web
from aiohttp.http_exceptions import HttpProcessingError

from comfyledger import crash_points, wire
from comfyledger.admission import inputs
from comfyledger.errors import Refused
from comfyledger.server.access import NEEDED, caller_of, check_right
from comfyledger.server.app_keys import CONTEXT, UPLOADS
from comfyledger.server.v1.guard import expect, send_continue
from comfyledger.server.v1.handlers import json_response
from comfyledger.server.v1.held import hold
from comfyledger.server.v1.reading import check_url, header_of, label_of
from comfyledger.wire.routes import INPUTS
from comfyledger.workers.inputs.paced import TooSlow, paced

UPLOADS_MAX: Final = 64
"""Files that come at the same time. Others wait, and their bodies are not read."""
TURN_S: Final = 60.0
NAME_CHARS_MAX: Final = 255
CONTINUES: Final = web.RequestKey("continues", bool)
"""Whether a client waits for `100 Continue` before it sends the body."""


def routes() -> list[web.RouteDef]:
    return [web.put(INPUTS, _put, expect_handler=_expect)]


async def _expect(request: web.Request) -> web.Response | None:
    """Unlike `guard.expect`, ask for no body yet: it may be refused first."""
    if request.headers["Expect"].lower() != "100-continue":
        return await expect(request)
    request[CONTINUES] = True
    return None


async def _put(request: web.Request) -> web.StreamResponse:
    check_url(request)
    caller = caller_of(request)
    context = request.app[CONTEXT].shown_to(caller)
    context.access.check_still(caller)
    check_right(caller, NEEDED[wire.AddInput])
    label, named = label_of(request, caller), _name(request)
    _check_body(request)
    await inputs.check_room(context, request.content_length or 0)
    added: list[wire.InputInfo] = []

    async def work() -> None:
        async with _turn(request.app[UPLOADS]):
            if request.get(CONTINUES):
                await send_continue(request)
            added.append(await inputs.add(context, label, _pieces(request), named))

    await hold(request, caller, work())
    if not added:
        context.access.check_still(caller)
        raise Refused("not_running", "The daemon is stopping.", hint="Send the file again once it is back.")
    crash_points.at("reply.sending")
    return json_response(added[0], 201 if added[0].new else 200)


@asynccontextmanager
async def _turn(uploads: asyncio.Semaphore) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TURN_S):
            await uploads.acquire()
    except TimeoutError:
        text = f"{UPLOADS_MAX} files are coming already."
        raise Refused("busy", text, hint="Send the file again in a moment.", retry_after_s=1.0) from None
    try:
        yield
    finally:
        uploads.release()


def _check_body(request: web.Request) -> None:
    """Raises Refused(content_type) for a body that is not the file itself."""
    coding = request.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity":
        text = f"The body is compressed: {coding[:100]!r}."
        raise Refused("content_type", text, hint="Send the file as it is.", path="header.Content-Encoding")
    if request.content_type.startswith("multipart/"):
        text = "The body is a form; it must be the file itself."
        raise Refused("content_type", text, hint="With curl, use -T FILE instead of -F.", path="header.Content-Type")


def _name(request: web.Request) -> str:
    """The client's name of the file; empty without one. Raises Refused(unknown_field, invalid_field)."""
    for name in request.query:
        if name != "name":
            text = f"There is no parameter {name[:64]!r}."
            raise Refused("unknown_field", text, hint="Known: name.", path=f"query.{name[:64]}")
    given = request.query.getall("name", [])
    if len(given) > 1 or (given and not 1 <= len(given[0]) <= NAME_CHARS_MAX):
        hint = f"Give the name of the file once, with at most {NAME_CHARS_MAX} characters."
        raise Refused("invalid_field", "The parameter 'name' cannot be used.", hint=hint, path="query.name")
    return given[0] if given else _filename(header_of(request, "Content-Disposition"))


def _filename(disposition: str | None) -> str:
    _, parameters = multipart.parse_content_disposition(disposition)
    return (multipart.content_disposition_filename(parameters) or "")[-NAME_CHARS_MAX:]


async def _pieces(request: web.Request) -> AsyncGenerator[bytes, None]:
    """The body. Raises Refused(timeout, invalid_field); ConnectionError if the client has left."""
    try:
        async for piece in paced(request.content.readany):
            yield piece
    except TooSlow as slow:
        raise Refused("timeout", str(slow), hint="Send the file again, faster.") from slow
    except (ClientError, HttpProcessingError) as error:
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError from error
        text = "The body is not what its headers say."
        raise Refused("invalid_field", text, hint="Send the file again.", path="header.Transfer-Encoding") from error
