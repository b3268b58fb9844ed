"""Batches, images and paused lanes of a ledger, as replies of the wire.

They are read from a ledger alone, so that a running daemon and an old ledger give the same replies.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.naming.slugs import fold
from comfyledger.core.rows import ImageRow
from comfyledger.errors import Refused
from comfyledger.ledger.ports import BatchFilter, ImageFilter, Reader
from comfyledger.queries import serialize

_BATCH_ID: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
"""A ULID, as every batch has. (github.com/ulid/spec)"""


async def batches(reader: Reader, message: wire.ListBatches) -> wire.Batches:
    """Raises Refused(invalid_field) if `before` is not a batch id."""
    check_before(message.before)
    wanted = BatchFilter(
        username_key=_key(message.username),
        open_only=message.open_only,
        before=message.before,
        limit=message.limit + 1,
    )
    rows = await reader.batches(wanted)
    shown = rows[: message.limit]
    tagged = await serialize.tagged(reader, shown)
    infos = [serialize.batch_info(row, tagged.get(row.batch_id, serialize.Tagged())) for row in shown]
    more = len(rows) > message.limit
    return wire.Batches(infos, more=more, next_cursor=infos[-1].batch_id if more else "")


def check_before(batch_id: str | None) -> None:
    """Raises Refused(invalid_field) for what is no batch id, after which an empty page would look like the last one."""
    if batch_id is not None and not _BATCH_ID.fullmatch(batch_id):
        hint = "Give the batch id with which the page before ended, as its answer says."
        raise Refused("invalid_field", "`before` must be a batch id.", hint=hint, path="$.data.before")


def _key(name: str | None) -> str | None:
    return None if name is None else fold(name)


async def images(reader: Reader, message: wire.ListImages) -> wire.Images:
    """Raises Refused(invalid_field) if `before` is not an image id."""
    before = None
    if message.before is not None:
        batch_id, _, index = message.before.rpartition("/")
        if not _BATCH_ID.fullmatch(batch_id) or not index.isascii() or not index.isdigit() or len(index) > 6:
            hint = "Give the `image_id` with which the page before ended, as its answer says."
            text = "`before` must be an image id, <batch_id>/<index>."
            raise Refused("invalid_field", text, hint=hint, path="$.data.before")
        before = (batch_id, int(index))
    rows = await reader.images(replace(_filter(message), before=before, limit=message.limit + 1))
    infos, more = await shown(reader, rows[: message.limit]), len(rows) > message.limit
    return wire.Images(infos, more=more, next_cursor=infos[-1].image_id if more else "")


async def image_counts(reader: Reader, message: wire.CountImages) -> wire.ImageCounts:
    found = await reader.count_images(_filter(message), message.by, message.cursors_every)
    groups = [wire.ImageGroup(value, count) for value, count in found.groups]
    return wire.ImageCounts(found.count, groups, found.more_groups, list(found.cursors), found.every)


def _filter(message: wire.ListImages | wire.CountImages) -> ImageFilter:
    return ImageFilter(
        batch_id=message.batch_id,
        username_key=_key(message.username),
        character_key=_key(message.character),
        workflow=message.workflow,
        state=message.state,
        code=message.code,
        verdict=message.verdict,
        rating_min=message.rating_min,
        medium=message.medium,
        since_ms=message.since_ms,
        until_ms=message.until_ms,
    )


async def find_image(reader: Reader, name: str) -> ImageRow | None:
    """By `<batch_id>/<index>`, else by the public id in any case."""
    batch_id, _, index = name.rpartition("/")
    found = None
    if index.isascii() and index.isdigit() and len(index) <= 6:
        found = await reader.image(batch_id, int(index))
    return found or await reader.image_named(name)


def unknown_image(name: str, path: str = "$.data.image") -> Refused:
    hint = "Give the whole public id, folder included, or <batch_id>/<index>."
    return Refused("unknown_image", f"There is no image {name[:200]!r}.", hint=hint, path=path)


async def shown(reader: Reader, images: list[ImageRow]) -> list[wire.ImageInfo]:
    texts = await serialize.texts_of(reader, serialize.digests_in(images))
    return [serialize.image_info(image, texts) for image in images]


async def paused_lanes(reader: Reader) -> list[wire.LaneInfo]:
    lanes = await reader.lanes()
    texts = await serialize.texts_of(reader, (lane.words for lane in lanes))
    return [serialize.lane_info(lane, texts) for lane in lanes if lane.person or lane.code]
