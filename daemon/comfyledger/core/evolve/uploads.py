"""What becomes of one image and its stores: kept, uploaded, parked, given up by a store.

An image is stored once every store that was not given up has it, and parked once the last open one gave up.
"""

from __future__ import annotations

from msgspec.structs import replace

from comfyledger.core.events import ImageKept, ImageParked, ImageUploaded, StoreDropped, UploadStarted
from comfyledger.core.evolve.forgetting import without_deletion
from comfyledger.core.evolve.transitions import moved, waits
from comfyledger.core.rows import ImageRow, Row, Slice, Upload


def image_kept(state: Slice, event: ImageKept) -> tuple[Row, ...]:
    batch_id, index = event.batch_id, event.image
    batch, image = state.the_batch(batch_id), state.the_image(batch_id, index)
    prompt = state.the_prompt(batch_id, event.prompt)
    after = _kept(image, event)
    for other in prompt.images:
        if other != index and waits(state.image(batch_id, other)):
            break
    else:
        prompt = replace(prompt, state="done", waiting=())
    return (after, prompt, moved(batch, (image,), after.state))


def upload_started(state: Slice, event: UploadStarted) -> tuple[Row, ...]:
    image = state.the_image(event.batch_id, event.image)
    return _answered(state, image, Upload(event.store, "uploading", event.attempt))


def image_uploaded(state: Slice, event: ImageUploaded) -> tuple[Row, ...]:
    image = state.the_image(event.batch_id, event.image)
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
        code="",
        words=None,
    )
    return _settled(kept)


def _attempts(image: ImageRow, store: str) -> int:
    upload = image.upload(store)
    return upload.attempts if upload else 0


def _with_upload(image: ImageRow, new: Upload) -> ImageRow:
    """The image after one store's answer: stored when all stores have it, parked when the last open one gave up."""
    uploads = tuple([new if upload.store == new.store else upload for upload in image.uploads])
    after = replace(image, uploads=uploads)
    return after if image.is_forgotten else _settled(after)


def _settled(image: ImageRow) -> ImageRow:
    """A kept image once no store is open: stored if all that were not given up have it, else parked."""
    parked = None
    left = False
    for upload in image.uploads:
        if upload.state in {"owed", "uploading"}:
            return image
        left = left or upload.state != "dropped"
        if parked is None and upload.state == "parked":
            parked = upload
    if parked is not None:
        return replace(image, state="parked", code=parked.code, words=parked.words)
    if image.uploads and not left:
        return replace(image, state="parked", code="store_dropped", words=None)
    return replace(image, state="stored", code="", words=None)


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
    after = replace(image, uploads=uploads)
    return _settled(after) if image.state in {"kept", "parked"} and not image.awaits_choice else after
