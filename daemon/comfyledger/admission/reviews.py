"""Reviewing: images of any batches are approved, rejected or rated, all of them or none.

If rejected images are to be forgotten, the verdicts are durable first. A client that got no answer repeats the request:
the verdicts are there already, and what is forgotten already is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable

from comfyledger import crash_points, wire
from comfyledger.admission.forget import forget_images
from comfyledger.core.commands import ImagesOf, ReviewImages
from comfyledger.core.rows import ImageRow
from comfyledger.core.values import image_id
from comfyledger.errors import Refused
from comfyledger.queries import listings
from comfyledger.queries.dependencies import Dependencies


async def review(context: Dependencies, label: str, message: wire.Review) -> wire.Reviewed:
    """Raises Refused(invalid_field, unknown_image, no_file)."""
    _check(message)
    named = await _named(context, message.images)
    chosen = _by_batch(named)
    try:
        changed = await context.engine.command(ReviewImages(label, chosen, message.verdict, message.rating))
    except Refused as refusal:
        raise refusal.below("$.data.images") from refusal
    forgotten = None
    if message.forget:
        crash_points.at("review.recorded")
        forgotten = await forget_images(context, label, chosen, stores=message.stores)
    return wire.Reviewed(changed.images, await _as_they_are_now(context, named, chosen), forgotten)


def _check(message: wire.Review) -> None:
    if message.verdict is None and message.rating is None:
        hint = "Give `verdict`, `rating` or both; `none` and 0 take them back."
        raise Refused("invalid_field", "Neither a verdict nor a rating is given.", hint=hint, path="$.data.verdict")
    if message.forget and message.verdict != "rejected":
        hint = "Give the verdict `rejected`, or use `forget`."
        raise Refused("invalid_field", "Only rejected images are forgotten.", hint=hint, path="$.data.forget")
    if message.stores and not message.forget:
        text = "`stores` says what becomes of forgotten images, and none is to be forgotten."
        raise Refused("invalid_field", text, hint="Give `forget`, or omit `stores`.", path="$.data.stores")


async def _named(context: Dependencies, names: Iterable[str]) -> list[ImageRow]:
    """The images in the order of their names, each once. Raises Refused(unknown_image)."""
    found: dict[tuple[str, int], ImageRow] = {}
    for place, name in enumerate(names):
        image = await listings.find_image(context.reader, name)
        if image is None:
            raise listings.unknown_image(name, f"$.data.images[{place}]")
        found.setdefault((image.batch_id, image.index), image)
    return list(found.values())


def _by_batch(images: Iterable[ImageRow]) -> tuple[ImagesOf, ...]:
    indexes: dict[str, list[int]] = {}
    for image in images:
        indexes.setdefault(image.batch_id, []).append(image.index)
    return tuple(ImagesOf(batch_id, tuple(sorted(its))) for batch_id, its in indexes.items())


async def _as_they_are_now(
    context: Dependencies, named: Iterable[ImageRow], chosen: Iterable[ImagesOf]
) -> list[wire.ImageInfo]:
    rows = [row for one in chosen for row in await context.reader.these_images(one.batch_id, one.images)]
    infos = {info.image_id: info for info in await listings.shown(context.reader, rows)}
    return [infos[image_id(image.batch_id, image.index)] for image in named]
