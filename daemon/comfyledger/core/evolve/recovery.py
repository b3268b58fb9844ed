"""What the events of recovery make of the state: images that are owed again, lost, or called by another number.

Part of `evolve`, which adds the counts of the batch. As there, nothing is refused and nothing is looked up.
"""

from __future__ import annotations

from msgspec.structs import replace

from comfyledger.core.events import ImageAdded, ImageLost, ImageRenumbered, ImageReviewed, StoreOwed
from comfyledger.core.evolve.transitions import renewed
from comfyledger.core.keys import BatchKey, ImageKey, Key, SeriesKey, whole_prompt
from comfyledger.core.rows import BatchRow, ImageRow, Row, SeriesRow, Slice, Upload

RecoveryEvent = StoreOwed | ImageLost | ImageRenumbered
Changes = tuple[BatchRow, tuple[ImageRow, ...], tuple[Row, ...]]
"""The batch without its counts, the images as they are now, other rows."""


def touched_by(event: RecoveryEvent | ImageAdded | ImageReviewed) -> tuple[Key, ...]:
    """The keys of the rows that the event needs."""
    batch = BatchKey(event.batch_id)
    match event:
        case StoreOwed(batch_id=batch_id, images=images) | ImageReviewed(batch_id=batch_id, images=images):
            return (batch, *(ImageKey(batch_id, index) for index in images))
        case ImageLost(batch_id=batch_id, prompts=prompts):
            return (batch, *(key for prompt in prompts for key in whole_prompt(batch_id, prompt)))
        case ImageRenumbered(batch_id=batch_id, series=series, image=image):
            return (batch, SeriesKey(series), ImageKey(batch_id, image))
        case ImageAdded(batch_id=batch_id, series=series, prompt=prompt):
            return (batch, SeriesKey(series), *whole_prompt(batch_id, prompt))


def recovered(state: Slice, event: RecoveryEvent) -> Changes:
    """The rows that are different after the event."""
    batch = replace(state.the_batch(event.batch_id), settled=False)
    match event:
        case StoreOwed(store=store, images=indexes):
            known = any(ref.name == store.name for ref in batch.stores)
            batch = batch if known else replace(batch, stores=(*batch.stores, store))
            return batch, tuple(_owed(state.the_image(batch.batch_id, index), store.name) for index in indexes), ()
        case ImageLost(images=indexes, prompts=prompts):
            images = tuple(_lost(state.the_image(batch.batch_id, index)) for index in indexes)
            return batch, images, tuple(renewed(state.the_prompt(batch.batch_id, index)) for index in prompts)
        case ImageRenumbered():
            image = _renumbered(state.the_image(batch.batch_id, event.image), event)
            return batch, (image,), (series_renumbered(state, event),)


def series_renumbered(state: Slice, event: ImageRenumbered | ImageAdded) -> SeriesRow:
    """The series that gave the new number."""
    return replace(state.the_series(event.series), next=event.number + 1)


def _owed(image: ImageRow, store: str) -> ImageRow:
    """Attempts continue to count. Images that wait to be rendered continue to wait."""
    before = image.upload(store)
    if before is None:
        uploads = (*image.uploads, Upload(store))
    else:
        owed = Upload(store, attempts=before.attempts)
        uploads = tuple(owed if upload.store == store else upload for upload in image.uploads)
    to = image if image.state == "pending" else replace(image, state="kept", code="", words=None)
    return replace(to, uploads=uploads)


def _lost(image: ImageRow) -> ImageRow:
    """The image as it was before it was kept. A store that was given up stays given up. What a person thought of the
    lost file is not said of the next one.
    """
    uploads = tuple(
        upload if upload.state == "dropped" else Upload(upload.store, attempts=upload.attempts)
        for upload in image.uploads
    )
    unkept = replace(image, sha256="", md5="", size_bytes=0, width=0, height=0, extension="", attempt=0, box="")
    return replace(unkept, state="pending", uploads=uploads, code="", words=None, verdict="", rating=0)


def _renumbered(image: ImageRow, event: ImageRenumbered) -> ImageRow:
    uploads = tuple(_after_renumbering(upload, event.before) for upload in image.uploads)
    named = replace(image, number=event.number, folder=event.folder, file=event.file)
    return replace(named, state="kept", uploads=uploads, code="", words=None)


def _after_renumbering(upload: Upload, before: str) -> Upload:
    """Uploads that collided are owed under the new name. Stored copies stay under the old one."""
    if upload.state == "stored":
        return replace(upload, name=upload.name or before)
    return Upload(upload.store, attempts=upload.attempts) if has_collided(upload) else upload


def has_collided(upload: Upload) -> bool:
    """Whether the store holds something else under the image's name."""
    return upload.state == "parked" and upload.code == "collision"
