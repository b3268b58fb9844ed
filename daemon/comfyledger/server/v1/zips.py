"""`/v1/zips`: the files of many images as one zip, made while it is sent.

A request with a token names the images and gets an address, which a browser can open without one. The list of images
is kept in memory for ten minutes; it does not survive a restart, after which a page asks again. The address is signed
with the key of all file addresses, so that it ends with that key, and with the token that asked for it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from typing import BinaryIO, Final

import msgspec
import structlog
from aiohttp import web

from comfyledger import wire
from comfyledger.core.rows import ImageRow
from comfyledger.errors import Refused
from comfyledger.ledger.ports import Reader
from comfyledger.queries import listings
from comfyledger.server.access import caller_of, check_right
from comfyledger.server.app_keys import CONNECTIONS, CONTEXT, Context
from comfyledger.server.files import STALL_S, UNCACHED, signature_in
from comfyledger.server.tokens import Caller
from comfyledger.server.v1.guard import expect
from comfyledger.server.v1.handlers import json_response
from comfyledger.server.v1.reading import check_url, read_json
from comfyledger.server.zip_stream import ZipStream
from comfyledger.wire.zips import ZIP, ZIPS, ZipAsked, ZipReady
from comfyledger.workers.file_source import FileSource

BODY_BYTES_MAX: Final = 4_194_304
LASTS_S: Final = 600
LISTS_MAX: Final = 64
"""How many lists of images are kept. One token has at most a quarter of them: its oldest makes room."""
SENDING_MAX: Final = 8
"""Zips that are sent at the same time. Each reads one file at a time. One token has at most half of them."""
BUSY_TRIES: Final = 20
BUSY_S: Final = 0.5
"""How often, and how far apart, a file is tried again while too many others are being read."""
_ASK_AGAIN: Final = f"Ask for the zip again, with `POST {ZIPS}`."

log = structlog.get_logger("comfyledger.door")


class Wanted(msgspec.Struct, frozen=True):
    """The images of one zip, each as batch and index, and who asked for it."""

    caller: Caller
    places: tuple[tuple[str, int], ...]
    expires_s: int


class Zips:
    """The lists of images whose addresses have not ended, and how many of them are being sent."""

    def __init__(self) -> None:
        self._wanted: dict[str, Wanted] = {}
        self.sending: Counter[bytes] = Counter()
        """By the digest of the token."""

    def add(self, wanted: Wanted, now_s: float) -> str:
        """The id of a list. Raises Refused(busy)."""
        self._wanted = {name: one for name, one in self._wanted.items() if one.expires_s > now_s}
        own = [name for name, one in self._wanted.items() if one.caller.digest == wanted.caller.digest]
        if len(own) >= LISTS_MAX // 4:
            del self._wanted[own[0]]
        if len(self._wanted) >= LISTS_MAX:
            text = f"{LISTS_MAX} zips were asked for already."
            raise Refused("busy", text, hint="Repeat the request in a few minutes.", retry_after_s=60.0)
        name = secrets.token_urlsafe(18)
        self._wanted[name] = wanted
        return name

    def find(self, name: str) -> Wanted | None:
        return self._wanted.get(name)


KEPT: Final = web.AppKey("zips", Zips)


def routes() -> list[web.RouteDef]:
    """HEAD is answered like GET, without a body."""
    return [web.post(ZIPS, _ask, expect_handler=expect), web.get(ZIP, _read, expect_handler=expect)]


# ---- asking


async def _ask(request: web.Request) -> web.Response:
    check_url(request)
    caller = caller_of(request)
    context = request.app[CONTEXT].shown_to(caller)
    context.access.check_still(caller)
    check_right(caller, "read")
    asked = wire.read_strict(await read_json(request, BODY_BYTES_MAX), ZipAsked)
    places = await _places(context.reader, asked.images)
    base = context.file_urls.base_of(request)
    if not base:
        raise Refused("page_unreachable", hint="Set [door] port: without one no browser can open an address.")
    expires_s = context.file_urls.now_s + LASTS_S
    name = request.app[KEPT].add(Wanted(caller, places, expires_s), context.file_urls.now_s)
    query = context.file_urls.signed(_subject(name), "zip", expires_s)
    return json_response(ZipReady(f"{base}{ZIP.format(zip=name)}?{query}", expires_s * 1_000), 201)


async def _places(reader: Reader, names: list[str]) -> tuple[tuple[str, int], ...]:
    """The images of names, each once. Raises Refused(unknown_image)."""
    found: dict[tuple[str, int], None] = {}
    for number, name in enumerate(names):
        image = await listings.find_image(reader, name)
        if image is None:
            raise listings.unknown_image(name, f"$.data.images[{number}]")
        found[image.batch_id, image.index] = None
    return tuple(found)


def _subject(name: str) -> str:
    return f"zip/{name}"


# ---- sending


async def _read(request: web.Request) -> web.StreamResponse:
    check_url(request)
    wanted = _allowed(request)
    sending, whose = request.app[KEPT].sending, wanted.caller.digest
    if sending.total() >= SENDING_MAX or sending[whose] >= SENDING_MAX // 2:
        text = f"{sending.total()} zips are being sent already, {sending[whose]} of them for this token."
        raise Refused("busy", text, hint="Repeat the request in a moment.", retry_after_s=5.0)
    sending[whose] += 1
    try:
        return await _sent(request, wanted)
    finally:
        sending.subtract((whose,))
        if not sending[whose]:
            del sending[whose]


def _allowed(request: web.Request) -> Wanted:
    """Raises Refused(unknown_field, invalid_field, signature_invalid, signature_expired, unauthorized)."""
    context, name = request.app[CONTEXT], request.match_info["zip"]
    wanted = request.app[KEPT].find(name)
    expires, signature = signature_in(request) or ("", "")
    try:
        context.file_urls.check(_subject(name) if wanted is not None else "", expires, signature, "zip")
    except Refused as refusal:
        raise Refused(refusal.code, hint=_ASK_AGAIN, path=refusal.path) from None
    assert wanted is not None  # noqa: S101 (refused by the check)
    context.access.check_still(wanted.caller)
    request.app[CONNECTIONS].authenticate(request.protocol)
    return wanted


async def _sent(request: web.Request, wanted: Wanted) -> web.StreamResponse:
    """A zip may take hours. It is cut off when the token is revoked, or when the client reads nothing."""
    headers = {
        "Content-Type": "application/zip",
        "Content-Disposition": 'attachment; filename="images.zip"',
        "X-Content-Type-Options": "nosniff",
        **UNCACHED,
    }
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    context = request.app[CONTEXT].shown_to(wanted.caller)
    try:
        async with aclosing(_pieces(context, wanted)) as pieces:
            async for piece in pieces:
                context.access.check_still(wanted.caller)
                async with asyncio.timeout(STALL_S):
                    await response.write(piece)
        await response.write_eof()
    except (ConnectionError, TimeoutError, Refused) as error:
        log.debug("door.reader_left", remote=request.remote, error=str(error))
        if request.transport is not None:
            request.transport.abort()
    return response


async def _pieces(context: Context, wanted: Wanted) -> AsyncGenerator[bytes, None]:
    """The zip, in pieces that are never empty."""
    at = datetime.fromtimestamp(wanted.expires_s - LASTS_S, UTC)
    stream = ZipStream((max(at.year, 1980), at.month, at.day, at.hour, at.minute, at.second))
    for batch_id, index in wanted.places:
        image = await context.reader.image(batch_id, index)
        if image is None or image.is_forgotten:
            continue
        async with aclosing(_file(context.file_source, stream, image)) as pieces:
            async for piece in pieces:
                yield piece
    yield await asyncio.to_thread(stream.end)


async def _file(source: FileSource, stream: ZipStream, image: ImageRow) -> AsyncGenerator[bytes, None]:
    """The pieces of one file, none if it cannot be had. Other files go on."""
    name = f"{image.public_id}.{image.extension}" if image.extension else image.public_id
    if not image.has_file:
        stream.lacks(name, f"The image is {image.state}" + (f" ({image.code})." if image.code else "."))
        return
    async with AsyncExitStack() as stack:
        try:
            file = await _opened(stack, source, image)
            pieces = stream.add(name, file, image.size_bytes)
            while piece := await asyncio.to_thread(next, pieces, b""):
                yield piece
        except Refused as refusal:
            stream.lacks(name, refusal.message)
        except OSError as error:
            stream.lacks(name, f"The file could not be read to its end: {error.strerror}.")


async def _opened(stack: AsyncExitStack, source: FileSource, image: ImageRow) -> BinaryIO:
    """The file of an image, tried again while too many others are being read. Raises Refused."""
    tries = 0
    while True:
        try:
            return await stack.enter_async_context(source.open(image))
        except Refused as refusal:
            tries += 1
            if refusal.code != "busy" or tries == BUSY_TRIES:
                raise
        await asyncio.sleep(BUSY_S)
