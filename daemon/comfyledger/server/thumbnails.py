"""The page of a thumbnail: `/v1/images/{image}/thumbnail`, for a token or a signature, as for the file itself."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from aiohttp import web

from comfyledger.core.rows import ImageRow
from comfyledger.errors import Refused
from comfyledger.server.app_keys import CONTEXT
from comfyledger.server.file_urls import THUMBNAILS
from comfyledger.server.files import allowed_image, check_bytes
from comfyledger.server.v1.guard import expect
from comfyledger.wire.routes import THUMBNAIL
from comfyledger.workers.thumbnails.sizes import SIDES, Size
from comfyledger.workers.thumbnails.thumbnails import check_kind

DEFAULT: Final = "small"
OWN: Final = frozenset({"size"})


def routes() -> list[web.RouteDef]:
    """HEAD is answered like GET, without a body."""
    return [web.get(THUMBNAIL.replace("{image}", "{image:.+}"), _thumbnail, expect_handler=expect)]


async def _thumbnail(request: web.Request) -> web.Response:
    size = _size_in(request)
    image = await allowed_image(request, THUMBNAILS[size], OWN)
    check_bytes(image)
    check_kind(image.extension)
    headers = _headers(image, size)
    if any(tag.value in {"*", _tag(image, size)} for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    webp = await request.app[CONTEXT].thumbnails.thumbnail(image, size)
    return web.Response(body=webp, headers=headers)


def _size_in(request: web.Request) -> Size:
    """Raises Refused(invalid_field)."""
    size = request.query.get("size", DEFAULT)
    if size not in SIDES:
        hint = f"Give one of: {', '.join(SIDES)}."
        raise Refused("invalid_field", f"There is no size {size[:64]!r}.", hint=hint, path="query.size")
    return size


def _tag(image: ImageRow, size: Size) -> str:
    """Of the file that it is made from, so that who has a thumbnail is answered without it."""
    return f"{image.sha256}-{size}"


def _headers(image: ImageRow, size: Size) -> dict[str, str]:
    """Caches must ask each time, as for the file. The tag is weak: another release may draw other bytes."""
    name = quote(f"{image.file}-{size}.webp", safe="")
    return {
        "ETag": f'W/"{_tag(image, size)}"',
        "Cache-Control": "private, no-cache",
        "Content-Type": "image/webp",
        "Content-Disposition": f"inline; filename*=UTF-8''{name}",
        "X-Content-Type-Options": "nosniff",
    }
