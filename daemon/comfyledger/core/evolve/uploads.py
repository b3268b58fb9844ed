"""What becomes of one image and its stores: kept, uploaded, parked, given up by a store.

An image is stored once every store that was not given up has it, and parked once the last open one gave up.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from comfyledger.core.events import (
    ImageKept,
    ImageParked,
    ImageTakenOver,
    ImageUploaded,
    StoreDropped,
    UploadStarted,
)
from comfyledger.core.evolve.forgetting import without_deletion
from comfyledger.core.evolve.transitions import moved, waits
from comfyledger.core.rows import ImageRow, Row, Slice, Upload, UploadState

_OPEN: Final[frozenset[UploadState]] = frozenset(("owed", "uploading"))
"""States of an upload that the image waits for."""


def image_kept(state: Slice, event: ImageKept) -> tuple[Row, ...]:
    batch_id, index = event.batch_id, event.image
    batch, image = state.the_batch(batch_id), state.the_image(batch_id, index)
    prompt = state.the_prompt(batch_id, event.prompt)
    after = _kept(image, event)
    counted = moved(batch, (image,), after.state)
    for other in reversed(prompt.images):  # from the end, because the first files are kept first
        if other != index and waits(state.image(batch_id, other)):
            return (after, counted)
    return (after, replace(prompt, state="done", waiting=()), counted)


def upload_started(state: Slice, event: UploadStarted) -> tuple[Row, ...]:
    """An image that waits for a store stays as it is otherwise."""
    image = state.the_image(event.batch_id, event.image)
    return (replace(image, uploads=_with(image.uploads, Upload(event.store, "uploading", event.attempt))),)


def image_taken_over(state: Slice, event: ImageTakenOver) -> tuple[Row, ...]:
    """An upload that the other box had begun is the same attempt here."""
    return (replace(state.the_image(event.batch_id, event.image), box=event.box),)


def image_uploaded(state: Slice, event: ImageUploaded) -> tuple[Row, ...]:
    """What becomes of a kept image that waits for this store alone is written out, because most events are of such."""
    image = state.the_image(event.batch_id, event.image)
    uploads = image.uploads
    if image.state == "kept" and len(uploads) == 1 and uploads[0].store == event.store:
        only = Upload(event.store, "stored", uploads[0].attempts, event.url)
        after = replace(image, state="stored", uploads=(only,), code="", words=None)
        return (after, moved(state.the_batch(event.batch_id), (image,), "stored"))
    return _answered(state, image, Upload(event.store, "stored", _attempts(image, event.store), event.url))


def image_parked(state: Slice, event: ImageParked) -> tuple[Row, ...]:
    image = state.the_image(event.batch_id, event.image)
    tries = _attempts(image, event.store)
    return _answered(state, image, Upload(event.store, "parked", tries, code=event.code, words=event.words))


def _answered(state: Slice, image: ImageRow, new: Upload) -> tuple[Row, ...]:
    after = _with_upload(image, new)
    if after.state == image.state:
        return (after,)
    return (after, moved(state.the_batch(image.batch_id), (image,), after.state))


def _kept(image: ImageRow, event: ImageKept) -> ImageRow:
    kept = replace(
        image,
        state="kept",
        sha256=event.sha256,
        md5=event.md5,
        size_bytes=event.size_bytes,
        width=event.width,
        height=event.height,
        extension=event.extension,
        attempt=event.attempt,
        box=event.box,
        code="",
        words=None,
    )
    return _settled(kept, kept.uploads)


def _attempts(image: ImageRow, store: str) -> int:
    for upload in image.uploads:
        if upload.store == store:
            return upload.attempts
    return 0


def _with_upload(image: ImageRow, new: Upload) -> ImageRow:
    """The image after one store's answer: stored when all stores have it, parked when the last open one gave up."""
    uploads = _with(image.uploads, new)
    return replace(image, uploads=uploads) if image.is_forgotten else _settled(image, uploads)


def _with(uploads: tuple[Upload, ...], new: Upload) -> tuple[Upload, ...]:
    if len(uploads) == 1 and uploads[0].store == new.store:
        return (new,)
    return tuple([new if upload.store == new.store else upload for upload in uploads])


def _settled(image: ImageRow, uploads: tuple[Upload, ...]) -> ImageRow:
    """A kept image with its uploads. Once no store is open: stored if all that were not given up have it, else
    parked.
    """
    parked = None
    left = False
    for upload in uploads:
        state = upload.state
        if state in _OPEN:
            return image if uploads is image.uploads else replace(image, uploads=uploads)
        left = left or state != "dropped"
        if parked is None and state == "parked":
            parked = upload
    if parked is not None:
        return replace(image, state="parked", uploads=uploads, code=parked.code, words=parked.words)
    if uploads and not left:
        return replace(image, state="parked", uploads=uploads, code="store_dropped", words=None)
    return replace(image, state="stored", uploads=uploads, code="", words=None)


def store_dropped(state: Slice, event: StoreDropped) -> tuple[Row, ...]:
    batch = state.the_batch(event.batch_id)
    after = []
    for index in event.images:
        image = state.the_image(event.batch_id, index)
        dropped = _given_up(image, event.store)
        batch = moved(batch, [image], dropped.state)
        after.append(dropped)
    return (batch, *after)


def _given_up(image: ImageRow, store: str) -> ImageRow:
    """An image that is not rendered yet keeps its state; only the other stores will get it."""
    if image.is_forgotten:
        return without_deletion(image, store, Upload(store, "dropped"))
    uploads = tuple(
        Upload(store, "dropped", upload.attempts) if upload.store == store else upload for upload in image.uploads
    )
    if image.state in {"kept", "parked"} and not image.awaits_choice:
        return _settled(image, uploads)
    return replace(image, uploads=uploads)
