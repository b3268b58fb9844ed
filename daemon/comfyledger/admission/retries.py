"""Completes a retry by what the ledger knows of chains: what was made from the images, and what they are made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from comfyledger.core.commands import FailedSources, MadeFrom, RetryBatch
from comfyledger.core.decide.sources import has_ended
from comfyledger.core.evolve.inputs import INPUT_FAILED
from comfyledger.core.rows import BatchRow, ImageRow
from comfyledger.core.values import ImageAt
from comfyledger.errors import Refused
from comfyledger.ledger.ports import ImageFilter, Reader
from comfyledger.queries.dependencies import Dependencies
from comfyledger.queries.source_reasons import how_it_ended, sources_of


class _Ends(NamedTuple):
    """How a retry of an image ends the wait for its sources: these are to be retried, or this one cannot be."""

    roots: frozenset[ImageAt] = frozenset()
    blocked: ImageAt | None = None


async def completed(context: Dependencies, command: RetryBatch) -> RetryBatch:
    """The retry with the failed images that its images are made from, and with all that may have failed because any of
    these did, whoever it belongs to.

    Raises Refused(input_failed) if all that would be retried is made from images that cannot be retried.
    """
    batch = await context.unlimited.batch(command.batch_id)
    if batch is None or not batch.failed or command.take is not None:
        return command
    failed = await _failed(context.unlimited, batch, command)
    ends = await _ends_of(context, failed)
    blocked = [end.blocked for end in ends if end.blocked is not None]
    if blocked and len(blocked) == len(failed) and not (batch.held or batch.parked or batch.kept):
        raise await _refusal(context, failed[0], blocked[0])
    roots = frozenset[ImageAt]().union(*(end.roots for end in ends if end.blocked is None))
    return replace(command, also=await _also(context.unlimited, failed, roots), sources=_by_batch(roots))


def _by_batch(places: Iterable[ImageAt]) -> tuple[FailedSources, ...]:
    found: dict[str, list[int]] = {}
    for place in sorted(places, key=lambda place: (place.batch_id, place.image)):
        found.setdefault(place.batch_id, []).append(place.image)
    return tuple(FailedSources(batch_id, tuple(images)) for batch_id, images in found.items())


async def _ends_of(context: Dependencies, images: list[ImageRow]) -> list[_Ends]:
    """Of each image that failed because one that it is made from did."""
    known: dict[ImageAt, _Ends] = {}
    return [await _through(context, image, known) for image in images]


async def _through(context: Dependencies, image: ImageRow, known: dict[ImageAt, _Ends]) -> _Ends:
    """What stops an image that failed, from its sources up to those that failed by themselves."""
    prompt = await context.unlimited.prompt(image.batch_id, image.prompt) if image.code == INPUT_FAILED else None
    roots: frozenset[ImageAt] = frozenset()
    for place in sources_of([prompt]) if prompt is not None else ():
        if place not in known:
            known[place] = await _above(context, place, known)
        if known[place].blocked is not None:
            return known[place]
        roots |= known[place].roots
    return _Ends(roots)


async def _above(context: Dependencies, place: ImageAt, known: dict[ImageAt, _Ends]) -> _Ends:
    """What is to be retried so that a source gets its bytes; nothing if it has them, or waits for them."""
    source = await context.unlimited.image(place.batch_id, place.image)
    if not has_ended(source):
        return _Ends()
    seen = await context.reader.image(place.batch_id, place.image)
    if source is None or seen is None or source.state != "failed":
        return _Ends(blocked=place)
    through = await _through(context, source, known)
    return through if through.roots or through.blocked is not None else _Ends(frozenset({place}))


async def _failed(reader: Reader, batch: BatchRow, command: RetryBatch) -> list[ImageRow]:
    found = await reader.images(ImageFilter(batch_id=batch.batch_id, state="failed", limit=batch.images))
    return [image for image in found if not command.images or image.index in command.images]


async def _also(reader: Reader, images: list[ImageRow], roots: Iterable[ImageAt]) -> tuple[MadeFrom, ...]:
    """Prompts that are made from images, through all levels, in batches where something may have failed."""
    places = {ImageAt(image.batch_id, image.index) for image in images}.union(roots)
    found: dict[str, set[int]] = {}
    for of_batch in _by_batch(places):
        for one in (await reader.dependents(of_batch.batch_id, list(of_batch.images))).found:
            found.setdefault(one.batch_id, set()).update(one.prompts)
    every = (MadeFrom(batch_id, tuple(sorted(prompts))) for batch_id, prompts in found.items())
    return tuple([one for one in every if await _may_have_failed(reader, one)])


async def _may_have_failed(reader: Reader, one: MadeFrom) -> bool:
    batch = await reader.batch(one.batch_id)
    return batch is not None and (batch.failed > 0 or not batch.settled)


async def _refusal(context: Dependencies, image: ImageRow, place: ImageAt) -> Refused:
    """Names the source only if it may be seen."""
    source = await context.reader.image(place.batch_id, place.image)
    if source is None:
        return Refused(INPUT_FAILED, f"Image {image.index} is made from an image that cannot be had.")
    text = f"{source.file}, which image {image.index} is made from, {how_it_ended(source)}."
    return Refused(INPUT_FAILED, text, hint="Request it again, made from another image.")
