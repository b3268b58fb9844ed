"""Delivery by the stand-in for Cloudinary: `/{cloud}/image/upload/[v123/]path.ext` gives the stored bytes.

There are no transformations. As on Cloudinary, an address without a version whose first folder looks like one is taken
for a transformation, and the asset is not found.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from comfyledger.sim.cloudinary.assets import Asset
from comfyledger.sim.cloudinary.faults import Visit
from comfyledger.sim.cloudinary.upload import Room

_VERSION: Final = re.compile(r"v\d+/")
_TRANSFORMATION: Final = re.compile(r"[a-z]{1,3}_[^/]*/")


def deliver(visit: Visit, room: Room) -> web.Response:
    """The bytes of an asset; 404 for one that is not there, is not public, or was seeded without bytes."""
    asset = _find(visit.request, room)
    if asset is None:
        visit.entry.answer, visit.entry.status = "not found", 404
        return web.Response(status=404, headers={"X-Cld-Error": "Resource not found"})
    visit.entry.public_id, visit.entry.answer, visit.entry.status = asset.public_id, "ok", 200
    kind = f"image/{asset.format.replace('jpg', 'jpeg')}" if asset.resource_type == "image" else None
    return web.Response(
        body=(room.assets.files / asset.file).read_bytes(),
        content_type=kind or "application/octet-stream",
        headers={"ETag": f'"{asset.etag}"'},
    )


def _find(request: web.Request, room: Room) -> Asset | None:
    info = request.match_info
    path = info["path"]
    version = _VERSION.match(path)
    if info["cloud"] != room.account.cloud or info["type"] != "upload":
        return None
    if version is None and _TRANSFORMATION.match(path):
        return None
    public_id = path[version.end() :] if version else path
    wanted_format = ""
    if info["resource_type"] == "image":
        public_id, _, wanted_format = public_id.rpartition(".")
    asset = room.assets.find((public_id, info["resource_type"], "upload"))
    is_there = asset is not None and bool(asset.file) and wanted_format in ("", asset.format)
    return asset if is_there else None
