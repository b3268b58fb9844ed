"""Forgetting: a batch, images of it, or page by page all batches of a user.

Each batch is a command of its own, so that no command is large. After an interruption the client repeats the request;
what is forgotten already is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from comfyledger import wire
from comfyledger.core.commands import Forget, ImagesOf
from comfyledger.core.decide.forget import summed_up, to_forget
from comfyledger.core.evolve.forgetting import as_forgotten
from comfyledger.core.naming.slugs import fold
from comfyledger.core.results import Forgotten
from comfyledger.core.rows import BatchRow
from comfyledger.errors import Refused
from comfyledger.ledger.ports import BatchFilter, ImageFilter
from comfyledger.queries.dependencies import Dependencies
from comfyledger.queries.listings import check_before

BATCHES_PAGE: Final = 20


async def forget(context: Dependencies, label: str, message: wire.Forget) -> wire.Forgotten:
    """Raises Refused(unknown_batch, unknown_image, invalid_field)."""
    _check(message)
    if message.batch_id is not None:
        done = [await _one(context, label, message, message.batch_id)]
        return _together(done, "", message.dry_run)
    wanted = BatchFilter(username_key=fold(message.username or ""), before=message.before, limit=BATCHES_PAGE + 1)
    found = await context.reader.batches(wanted)
    page = found[:BATCHES_PAGE]
    done = [await _one(context, label, message, batch.batch_id) for batch in page]
    return _together(done, page[-1].batch_id if len(found) > len(page) else "", message.dry_run)


def _check(message: wire.Forget) -> None:
    if (message.batch_id is None) == (message.username is None):
        hint = "Give `batch_id`, and `images` to forget only some images. Or give `username` for all batches of a user."
        raise Refused("invalid_field", "Give either a batch or a user.", hint=hint, path="$.data.batch_id")
    if message.username is not None and message.images:
        hint = "Give `batch_id` instead of `username`, or omit `images`."
        raise Refused("invalid_field", "`images` are indexes within a batch.", hint=hint, path="$.data.images")
    check_before(message.before)


async def forget_images(
    context: Dependencies, label: str, chosen: Iterable[ImagesOf], *, stores: bool
) -> wire.Forgotten:
    """Forget images of several batches, batch by batch. Raises Refused(unknown_batch, unknown_image)."""
    done = []
    for one in chosen:
        asked = wire.Forget(one.batch_id, list(one.images), stores=stores)
        done.append(await _one(context, label, asked, one.batch_id))
    return _together(done, "", dry_run=False)


async def _one(context: Dependencies, label: str, message: wire.Forget, batch_id: str) -> Forgotten:
    if message.dry_run:
        return await _planned(context, message, batch_id)
    command = Forget(label, batch_id, tuple(message.images), message.stores)
    try:
        await context.check_shown(batch_id)
        forgotten = await context.engine.command(command)
    except Refused as refusal:
        field = "images" if refusal.code == "unknown_image" else "batch_id"
        raise refusal.below(f"$.data.{field}") from refusal
    await context.thumbnails.forget(batch_id, tuple(message.images))
    return forgotten


async def _planned(context: Dependencies, message: wire.Forget, batch_id: str) -> Forgotten:
    """What the command would do, by the rows as they are now."""
    batch = await context.reader.batch(batch_id)
    if batch is None:
        hint = "See `comfyledger batches`."
        raise Refused("unknown_batch", f"There is no batch {batch_id[:64]!r}.", hint=hint, path="$.data.batch_id")
    images = await context.reader.images(ImageFilter(batch_id=batch_id, limit=batch.images))
    _check_indexes(batch, message.images)
    chosen = [image for image in images if not message.images or image.index in message.images]
    going = to_forget(chosen, stores=message.stores)
    return summed_up([as_forgotten(image, stores=message.stores) for image in going])


def _check_indexes(batch: BatchRow, indexes: list[int]) -> None:
    unknown = [index for index in indexes if index > batch.images]
    if unknown:
        text = f"The batch has no image {min(unknown)}; its images are 1 to {batch.images}."
        hint = f"`comfyledger images --batch {batch.batch_id}` lists them."
        raise Refused("unknown_image", text, hint=hint, path="$.data.images")


def _together(done: list[Forgotten], before: str, dry_run: bool) -> wire.Forgotten:
    left: dict[str, int] = {}
    for one in done:
        for store, count in one.left.items():
            left[store] = left.get(store, 0) + count
    return wire.Forgotten(
        batches=sum(one.images > 0 for one in done),
        images=sum(one.images for one in done),
        texts=sum(one.texts for one in done),
        deletions=sum(one.deletions for one in done),
        left=left,
        before=before,
        dry_run=dry_run,
        inputs=sum(one.inputs for one in done),
    )
