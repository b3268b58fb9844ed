"""Reads what the images of a batch depend on: lanes, texts, who takes turns, and the images that they are made from."""

from __future__ import annotations

from collections.abc import Iterable

from comfyledger.core.inputs import InputRow
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow
from comfyledger.core.values import ImageAt
from comfyledger.engine import EngineView
from comfyledger.ledger.ports import Reader
from comfyledger.queries import serialize
from comfyledger.queries.reasons import Situation
from comfyledger.queries.source_reasons import sources_of


async def situation_of(
    reader: Reader,
    batch: BatchRow,
    prompts: Iterable[PromptRow],
    images: Iterable[ImageRow],
    view: EngineView,
) -> Situation:
    """What these images of a batch depend on. `prompts`: theirs. `view` says which backends may render them."""
    lanes = await reader.lanes()
    gone = {row.name: row for row in view.boxes() if not row.present}
    digests = (batch.held_words, *(lane.words for lane in lanes), *serialize.digests_in(images))
    return Situation(
        batch,
        {lane.name: lane for lane in lanes},
        await serialize.texts_of(reader, digests),
        await reader.turns(batch.batch_id),
        await read_sources(reader, prompts),
        view.fit,
        view.move_after_ms,
        gone,
        await _inputs(reader, prompts) if gone else {},
    )


async def _inputs(reader: Reader, prompts: Iterable[PromptRow]) -> dict[str, InputRow]:
    """The inputs that prompts load which are not done."""
    waiting = (prompt for prompt in prompts if prompt.state == "queued")
    wanted = {load.sha256 for prompt in waiting for load in prompt.loads if load.source is None}
    return {row.sha256: row for row in await reader.these_inputs(sorted(wanted))} if wanted else {}


async def read_sources(reader: Reader, prompts: Iterable[PromptRow]) -> dict[ImageAt, ImageRow]:
    """The images that prompts are made from, as far as the reader shows them. One read for each of their batches."""
    by_batch: dict[str, list[int]] = {}
    for source in sources_of(prompts):
        by_batch.setdefault(source.batch_id, []).append(source.image)
    found = [await reader.these_images(batch_id, tuple(indexes)) for batch_id, indexes in by_batch.items()]
    return {ImageAt(image.batch_id, image.index): image for images in found for image in images}
