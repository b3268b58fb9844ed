"""The HTTP pages beside the websocket: `/healthz`, `/readyz`, `/metrics`, `/images/...`, `/v1/images/.../file`.

`/healthz` and `/readyz` need no token. `/metrics` needs one unless the configuration says otherwise; `/images/...`
always does; a file needs one or a signature. A name in a URL is searched among the names given and never becomes a path
on a disk.
"""

from __future__ import annotations

import asyncio
from typing import BinaryIO, Final
from urllib.parse import quote

import structlog
from aiohttp import web

from comfyledger.core.media import BYTES, medium_of, mime_type_of
from comfyledger.core.rows import ImageRow
from comfyledger.core.values import USER_LANES, image_id
from comfyledger.errors import Refused
from comfyledger.metrics import CONTENT_TYPE
from comfyledger.queries import listings
from comfyledger.server import file_urls
from comfyledger.server.access import CALLER, caller_of, check_reads_all
from comfyledger.server.app_keys import CONNECTIONS, CONTEXT, WEBSOCKETS
from comfyledger.server.health import now_of, readiness
from comfyledger.server.v1.guard import expect
from comfyledger.server.v1.reading import check_url
from comfyledger.wire.routes import FILE

PIECE_BYTES: Final = 262_144
STALL_S: Final = 30.0
"""How long a client may take to receive one piece. Then the connection is aborted."""
SHOWN: Final = frozenset({"image", "video", "audio"})
"""Media of which a browser runs nothing. No kind of picture in `core.media` is a document (SVG is none of them)."""
SIGNED: Final = frozenset({"expires", "signature"})
OWN: Final = frozenset({"redirect"})
UNCACHED: Final = {"Cache-Control": "no-store"}

log = structlog.get_logger("comfyledger.door")


def routes() -> list[web.RouteDef]:
    """All pages. HEAD is answered like GET, without a body."""
    return [
        web.get("/healthz", _alive),
        web.get("/readyz", _ready),
        web.get("/metrics", _metrics),
        web.get("/images/{public_id:.+}", _image),
        web.get(FILE.replace("{image}", "{image:.+}"), _file, expect_handler=expect),
    ]


async def _alive(request: web.Request) -> web.Response:
    """A daemon that answers is alive. Paused lanes are named with their codes, because no token is needed here.

    Names of users need a token, so all their lanes are one here, `user`.
    """
    context = request.app[CONTEXT]
    paused = [lane for lane in await context.reader.lanes() if lane.code or lane.person]
    lanes = {_without_user(lane.name): lane.code or "person" for lane in paused}
    full = {"storage_full": True} if context.view.shortage is not None else {}
    locked = {context.view.lock_code: True} if context.view.is_locked else {}
    return web.json_response({"status": "alive", "version": context.version, "lanes": lanes, **full, **locked})


def _without_user(lane: str) -> str:
    return "user" if lane.startswith(USER_LANES) else lane


async def _ready(request: web.Request) -> web.Response:
    """200 if a new batch would get numbers and be rendered, else 503. Paused lanes do not count."""
    context = request.app[CONTEXT]
    caller = request.get(CALLER)
    reasons, parts = readiness(context, caller is not None and caller.read_all)
    body = {"ready": not reasons, "reasons": reasons, **parts}
    return web.json_response(body, status=503 if reasons else 200, headers=UNCACHED)


async def _metrics(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    if context.door.metrics_auth == "token":
        check_reads_all(caller_of(request))
    page = context.metrics.page(now_of(context, len(request.app[WEBSOCKETS].open)))
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE, **UNCACHED})


# ---- images


async def _image(request: web.Request) -> web.StreamResponse:
    context = request.app[CONTEXT].shown_to(caller_of(request))
    image = await context.reader.image_named(request.match_info["public_id"])
    if image is None:
        raise Refused("unknown_image", hint="Give the public id that `get_batch` returns, without extension.")
    check_bytes(image)
    headers = {**_headers(image), **_disposition(image)}
    if _has_it(request, image):
        return web.Response(status=304, headers=headers)
    async with context.file_source.open(image) as file:
        return await send_file(request, image.size_bytes, image.sha256, file, headers)


def check_bytes(image: ImageRow) -> None:
    if not image.sha256 or image.is_forgotten:
        hint = f"`comfyledger explain {image.batch_id}/{image.index}` says why."
        raise Refused("unknown_image", f"The image is {image.state} and has no bytes.", hint=hint)


async def _file(request: web.Request) -> web.StreamResponse:
    """The file of an image, for a token or a signature: from the spool, else from where a store has it.

    With `redirect=false` the daemon itself sends what only a store has.
    """
    redirects = _redirects(request)
    image = await allowed_image(request, file_urls.FILE if redirects else file_urls.FILE_HERE, OWN)
    check_bytes(image)
    headers = {**_headers(image), **_disposition(image)}
    if _has_it(request, image):
        return web.Response(status=304, headers=headers)
    source = request.app[CONTEXT].file_source
    address = await source.address(image) if redirects else ""
    if address:
        return web.Response(status=302, headers={"Location": address, "Cache-Control": "private, no-cache"})
    async with source.open(image) as file:
        return await send_file(request, image.size_bytes, image.sha256, file, headers)


def _redirects(request: web.Request) -> bool:
    """Raises Refused(invalid_field)."""
    text = request.query.get("redirect", "true")
    if text not in {"true", "false"}:
        hint = "Give `true` or `false`."
        raise Refused("invalid_field", f"`redirect` is {text[:64]!r}.", hint=hint, path="query.redirect")
    return text == "true"


async def allowed_image(
    request: web.Request, variant: str = file_urls.FILE, others: frozenset[str] = frozenset()
) -> ImageRow:
    """The image of a request that has a token, or a signature of this variant. `others`: further parameters.

    Raises Refused(unknown_field, invalid_field, signature_invalid, signature_expired, unauthorized, unknown_image).
    With a signature, a name that nothing has is refused like a wrong signature.
    """
    context, name = request.app[CONTEXT], request.match_info["image"]
    check_url(request)
    signed = signature_in(request, others)
    if signed is None:
        reader = context.shown_to(caller_of(request)).reader
        image = await listings.find_image(reader, name)
        if image is None:
            raise listings.unknown_image(name, "path.image")
        return image
    image = await listings.find_image(context.reader, name)
    expires, signature = signed
    known = image_id(image.batch_id, image.index) if image is not None else ""
    context.file_urls.check(known, expires, signature, variant)
    assert image is not None  # noqa: S101 (refused by the check)
    request.app[CONNECTIONS].authenticate(request.protocol)
    return image


def signature_in(request: web.Request, others: frozenset[str] = frozenset()) -> tuple[str, str] | None:
    """Expiry and signature of an address; None if it has neither. Raises Refused(unknown_field, invalid_field)."""
    for name in request.query:
        if name not in SIGNED | others:
            hint = "Use an address as it was given, or send the token in the header."
            text = f"This address takes no parameter {name[:64]!r}."
            raise Refused("unknown_field", text, hint=hint, path=f"query.{name[:64]}")
        if len(request.query.getall(name)) > 1:
            text = f"The parameter {name!r} occurs twice."
            raise Refused("invalid_field", text, hint="Give the parameter once.", path=f"query.{name}")
    if SIGNED.isdisjoint(request.query):
        return None
    return request.query.get("expires", ""), request.query.get("signature", "")


def _disposition(image: ImageRow) -> dict[str, str]:
    """Pictures, videos and sounds are shown. Everything else might run script, so it is only saved, in a sandbox."""
    shown = medium_of(image.extension) in SHOWN
    name = quote(f"{image.file}.{image.extension}", safe="")
    said = {"Content-Disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{name}"}
    return said if shown else {**said, "Content-Security-Policy": "sandbox; default-src 'none'"}


def _headers(image: ImageRow) -> dict[str, str]:
    """Caches must ask each time: a lost image is rendered again under its name, and an image may be forgotten."""
    return {
        "ETag": f'"{image.sha256}"',
        "Cache-Control": "private, no-cache",
        "Accept-Ranges": "bytes",
        "Content-Type": _content_type(image.extension),
        "X-Content-Type-Options": "nosniff",
    }


def _content_type(extension: str) -> str:
    """That of a document is not said: a browser could take it for a page, or show a drawing in one."""
    return mime_type_of(extension) if medium_of(extension) != "file" else BYTES


def _has_it(request: web.Request, image: ImageRow) -> bool:
    return any(tag.value in {"*", image.sha256} for tag in request.if_none_match or ())


async def send_file(
    request: web.Request, size: int, sha256: str, file: BinaryIO, headers: dict[str, str]
) -> web.StreamResponse:
    """Send the bytes of an open file, or the part of it that is asked for."""
    part = _part_asked(request, size, sha256)
    if part is not None and not part:
        headers |= {"Content-Range": f"bytes */{size}"}
        return web.Response(status=416, headers={**headers, "Content-Type": "text/plain"})
    if part is not None:
        headers |= {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{size}"}
    response = web.StreamResponse(status=200 if part is None else 206, headers=headers)
    wanted = range(size) if part is None else part
    response.content_length = len(wanted)
    await response.prepare(request)
    if request.method != "HEAD":
        try:
            await _copy(file, wanted, response)
        except (ConnectionError, TimeoutError):
            log.debug("door.reader_left", remote=request.remote)
            if request.transport is not None:
                request.transport.abort()
    return response


def _part_asked(request: web.Request, size: int, sha256: str) -> range | None:
    """The requested bytes; an empty range if the file has no such bytes; None for the whole file.

    A range that cannot be read or has several parts is ignored, as RFC 9110 (section 14.2) allows. So is a range of an
    image that has changed since.
    """
    if request.headers.get("If-Range", f'"{sha256}"') != f'"{sha256}"':
        return None
    try:
        asked = request.http_range
    except ValueError:
        return None
    if asked.start is None and asked.stop is None:
        return None
    if request.headers["Range"].partition("=")[2].startswith("-") and not asked.start:
        return range(0)  # the last 0 bytes, which no file has (RFC 9110, 14.1.2)
    return range(*asked.indices(size))


async def _copy(file: BinaryIO, wanted: range, response: web.StreamResponse) -> None:
    """One piece in memory at a time. The next one is read after the client has received it."""
    await asyncio.to_thread(file.seek, wanted.start)
    left = len(wanted)
    while left and (piece := await asyncio.to_thread(file.read, min(PIECE_BYTES, left))):
        async with asyncio.timeout(STALL_S):
            await response.write(piece)
        left -= len(piece)
    await response.write_eof()
