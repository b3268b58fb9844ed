"""From rows of the ledger to data of the wire, with the texts that are not erased."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from comfyledger import wire
from comfyledger.core.results import Accepted
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow
from comfyledger.core.values import image_id
from comfyledger.ledger.ports import Reader
from comfyledger.queries.source_reasons import sources_of


class Tagged(msgspec.Struct, frozen=True):
    """Tags and metadata as stored by admission, and the text that says why the batch is held."""

    tags: list[str] = []
    metadata: dict[str, object] = {}
    held_text: str = ""


def accepted(answer: Accepted, epoch: str, found: str) -> wire.BatchAccepted:
    images = sorted(answer.images, key=lambda image: image.index)
    return wire.BatchAccepted(
        batch_id=answer.batch_id,
        epoch=epoch,
        position=answer.position,
        quantity=len(images),
        numbers=[image.number for image in images],
        names=[image.file for image in images],
        public_ids=[image.public_id for image in images],
        images=[
            wire.ImageGiven(
                image.index, image.number, image.file, image.public_id, answer.media[image.output - 1], image.output
            )
            for image in images
        ],
        repeated=answer.repeated,
        found=[found] if found else [],
    )


def image_info(row: ImageRow, texts: Mapping[str, str]) -> wire.ImageInfo:
    return wire.ImageInfo(
        image_id=image_id(row.batch_id, row.index),
        batch_id=row.batch_id,
        index=row.index,
        number=row.number,
        name=row.file,
        public_id=row.public_id,
        state=row.state,
        prompt=row.prompt,
        sha256=row.sha256,
        md5=row.md5,
        size_bytes=row.size_bytes,
        width=row.width,
        height=row.height,
        extension=row.extension,
        code=row.code,
        text=texts.get(row.words or "", ""),
        uploads=[
            wire.UploadInfo(
                upload.store, upload.state, upload.attempts, upload.url, upload.code, texts.get(upload.words or "", "")
            )
            for upload in row.uploads
        ],
        medium=row.medium,
        output=row.output,
        verdict=row.verdict,
        rating=row.rating,
    )


def with_run(info: wire.ImageInfo, batch: BatchRow, prompt: PromptRow) -> wire.ImageInfo:
    """An image with the essentials of its recipe, and what it waits for."""
    with_recipe = msgspec.structs.replace(info, workflow=batch.workflow, seed=prompt.seed, run=list(prompt.images))
    return with_waits(with_recipe, prompt)


def with_waits(info: wire.ImageInfo, prompt: PromptRow) -> wire.ImageInfo:
    """An image with those that it waits for, if it does."""
    if info.state != "pending" or not prompt.lacks_sources:
        return info
    waits_for = [image_id(source.batch_id, source.image) for source in sources_of([prompt])]
    return msgspec.structs.replace(info, waits_for=waits_for)


def batch_info(row: BatchRow, tagged: Tagged, images: Iterable[wire.ImageInfo] = ()) -> wire.BatchInfo:
    return wire.BatchInfo(
        batch_id=row.batch_id,
        status=row.status,
        held=row.held,
        held_text=tagged.held_text,
        username=row.username,
        character=row.character,
        premade=row.premade,
        workflow=row.workflow,
        priority=wire.PRIORITIES[row.priority],
        label=row.label,
        request_id=row.request_id,
        requested_at_ms=row.at_ms,
        position=row.position,
        quantity=row.images,
        pending=row.pending,
        kept=row.kept,
        stored=row.stored,
        parked=row.parked,
        failed=row.failed,
        cancelled=row.images_cancelled,
        forgotten=row.forgotten,
        tags=tagged.tags,
        metadata=tagged.metadata,
        images=(shown := list(images)),
        waiting=sum(bool(image.waits_for) for image in shown),
        outputs=[wire.OutputInfo(output.node, output.medium, output.series) for output in row.outputs],
        like=image_id(row.origin.batch_id, row.origin.image) if row.origin is not None else "",
    )


def lane_info(row: LaneRow, texts: Mapping[str, str]) -> wire.LaneInfo:
    return wire.LaneInfo(row.name, row.person, row.code, texts.get(row.words or "", ""), row.since_ms)


async def texts_of(reader: Reader, digests: Iterable[str | None]) -> dict[str, str]:
    """Texts by digest, each read once. Erased texts are missing."""
    wanted = sorted({digest for digest in digests if digest})
    if not wanted:
        return {}
    found = await reader.texts(wanted)
    return {digest: content.decode(errors="replace") for digest, content in found.items()}


async def tagged(reader: Reader, rows: Iterable[BatchRow]) -> dict[str, Tagged]:
    """The texts of batches by batch_id, of those that have one."""
    listed = [row for row in rows if row.metadata or row.held_words]
    texts = await texts_of(reader, (digest for row in listed for digest in (row.metadata, row.held_words)))
    return {row.batch_id: _tagged(row, texts) for row in listed}


def _tagged(row: BatchRow, texts: Mapping[str, str]) -> Tagged:
    asked = texts.get(row.metadata or "")
    known = Tagged() if asked is None else msgspec.json.decode(asked, type=Tagged)
    return msgspec.structs.replace(known, held_text=texts.get(row.held_words or "", ""))


def digests_in(rows: Iterable[ImageRow]) -> set[str | None]:
    return {digest for row in rows for digest in (row.words, *(upload.words for upload in row.uploads))}
