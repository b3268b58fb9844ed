"""Addresses of smaller pictures, from stores that serve them themselves."""

from __future__ import annotations

from collections.abc import Mapping

from comfyledger.core.rows import ImageRow
from comfyledger.plugins import OpenedStore
from comfyledger.wire import ImageInfo


def scaled_url(stores: Mapping[str, OpenedStore], image: ImageRow | ImageInfo, side_max: int) -> str:
    """The address that the first store gives which has the image; empty if none does."""
    for upload in image.uploads:
        opened = stores.get(upload.store)
        store = opened.guarded if opened is not None and upload.state == "stored" else None
        if store is not None and (address := store.thumbnail_url(upload.url, image.extension, side_max)):
            return address
    return ""
