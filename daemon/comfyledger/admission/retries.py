"""Completes a retry by what the ledger knows of chains: what was made from the images, and what they are made from."""

from __future__ import annotations

from msgspec.structs import replace

from comfyledger.core.commands import MadeFrom, RetryBatch
from comfyledger.core.decide.sources import has_ended
from comfyledger.core.evolve.inputs import INPUT_FAILED
from comfyledger.core.rows import BatchRow, ImageRow
from comfyledger.core.values import ImageAt
from comfyledger.errors import Refused
from comfyledger.ledger.ports import ImageFilter, Reader
from comfyledger.queries.dependencies import Dependencies
from comfyledger.queries.situation import read_sources
from comfyledger.queries.source_reasons import how_it_ended, sources_of


async def completed(context: Dependencies, command: RetryBatch) -> RetryBatch:
    """The retry with all that may have failed because its images did, whoever it belongs to.

    Raises Refused(input_failed) if all that would be retried is made from images that have ended.
    """
    batch = await context.unlimited.batch(command.batch_id)
    if batch is None or not batch.failed or command.take is not None:
        return command
    failed = await _failed(context.unlimited, batch, command)
    if not (batch.held or batch.parked or batch.kept):
        await _check_sources(context, failed)
    return replace(command, also=await _also(context.unlimited, failed))


async def _failed(reader: Reader, batch: BatchRow, command: RetryBatch) -> list[ImageRow]:
    found = await reader.images(ImageFilter(batch_id=batch.batch_id, state="failed", limit=batch.images))
    return [image for image in found if not command.images or image.index in command.images]


async def _also(reader: Reader, images: list[ImageRow]) -> tuple[MadeFrom, ...]:
    """Prompts that are made from images of a batch, through all levels, in batches where something may have failed."""
    if not images:
        return ()
    found = (await reader.dependents(images[0].batch_id, [image.index for image in images])).found
    return tuple([one for one in found if await _may_have_failed(reader, one)])


async def _may_have_failed(reader: Reader, one: MadeFrom) -> bool:
    batch = await reader.batch(one.batch_id)
    return batch is not None and (batch.failed > 0 or not batch.settled)


async def _check_sources(context: Dependencies, images: list[ImageRow]) -> None:
    """Raises Refused(input_failed) if each of the images lacks a source that has ended."""
    if not images or any(image.code != INPUT_FAILED for image in images):
        return
    prompts = {prompt.index: prompt for prompt in await context.unlimited.prompts(images[0].batch_id)}
    needed = [prompts[image.prompt] for image in images]
    rows = await read_sources(context.unlimited, needed)
    ended = [next((one for one in sources_of([prompt]) if has_ended(rows.get(one))), None) for prompt in needed]
    if ended[0] is not None and None not in ended:
        raise await _refusal(context.reader, images[0], ended[0], rows.get(ended[0]))


async def _refusal(reader: Reader, image: ImageRow, place: ImageAt, source: ImageRow | None) -> Refused:
    """`reader`: shows what may be named."""
    seen = await reader.image(place.batch_id, place.image)
    if source is None or seen is None:
        return Refused(INPUT_FAILED, f"Image {image.index} is made from an image that cannot be had.")
    text = f"{source.file}, which image {image.index} is made from, {how_it_ended(source)}."
    return Refused(INPUT_FAILED, text, hint=_hint(source))


def _hint(source: ImageRow) -> str:
    if source.state == "failed":
        retry = f"`comfyledger retry {source.batch_id} --image {source.index}`"
        return f"{retry} tries it again, and with it what is made from it."
    return "Request it again, made from another image."
