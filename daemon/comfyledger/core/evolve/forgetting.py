"""How forgetting changes the rows: the number of an image stays used; its texts, files and copies are erased.

An image is `forgetting` while a store is still to be asked to delete it, and `forgotten` after. This module only
records what a store holds. The command decides which texts are erased, and the event `blob_erased` names them.
"""

from __future__ import annotations

from msgspec.structs import replace

from comfyledger.core.events import BlobErased, ImageDeleted, ImageForgotten, ImageLeft
from comfyledger.core.evolve.transitions import left_alone, moved, waits
from comfyledger.core.rows import ImageRow, PromptRow, Row, Slice, Upload
from comfyledger.core.values import Pinned


def forgetting(state: Slice, event: ImageForgotten | BlobErased | ImageDeleted | ImageLeft) -> tuple[Row, ...]:
    """The rows that are different after an event of forgetting."""
    match event:
        case ImageForgotten():
            return _images_forgotten(state, event)
        case BlobErased():
            return _texts_erased(state, event)
        case _:
            return _store_answered(state, event)


def _images_forgotten(state: Slice, event: ImageForgotten) -> tuple[Row, ...]:
    chosen = frozenset(event.images)
    before = [image for image in state.images(event.batch_id) if image.index in chosen]
    after = [as_forgotten(image, stores=event.stores) for image in before]
    prompts = {row.index: row for row in left_alone(state, event.batch_id, [one for one in before if waits(one)])}
    for index in event.prompts:
        row = prompts.get(index) or state.the_prompt(event.batch_id, index)
        waiting = _still_wanted(state, row, chosen)
        if waiting != row.waiting:
            prompts[index] = replace(row, waiting=waiting)
    return (*after, *prompts.values(), moved(state.the_batch(event.batch_id), before, "forgotten"))


def _still_wanted(state: Slice, prompt: PromptRow, going: frozenset[int]) -> tuple[Pinned, ...]:
    """The prompt's files that wait and that an image of their output may still take. Those that were chosen stay
    together: they are being taken.
    """
    rows = (state.image(prompt.batch_id, index) for index in prompt.images if index not in going)
    outputs = {row.output for row in rows if row is not None and (row.awaits_choice or waits(row))}
    if prompt.state == "finished" or not outputs:
        return prompt.waiting if outputs else ()
    return tuple(file for file in prompt.waiting if prompt.files[file.image - 1].output in outputs)


def as_forgotten(image: ImageRow, *, stores: bool) -> ImageRow:
    """The image once it is forgotten. `stores`: they are asked to delete it."""
    uploads = tuple(_without(image, upload, stores=stores) for upload in image.uploads)
    return _if_all_answered(replace(image, uploads=uploads, code="", words=None))


def _without(image: ImageRow, upload: Upload, *, stores: bool) -> Upload:
    """The new state of one store's part. If no upload was begun, the store has no copy. Otherwise it may have one,
    whatever it answered.
    """
    if upload.state in {"deleting", "deleted", "dropped"} or (upload.state == "foreign" and not _moved(upload)):
        return upload
    if not image.sha256 or (upload.state == "owed" and not upload.attempts):
        return replace(upload, state="dropped", words=None)
    if stores:
        return replace(upload, state="deleting", code="", words=None)
    return replace(upload, words=None)


def _moved(upload: Upload) -> bool:
    """Whether the store's name meant another place when it was asked, so that it may be asked again."""
    return upload.code == "identity_changed"


def _if_all_answered(image: ImageRow) -> ImageRow:
    owed = any(upload.state == "deleting" for upload in image.uploads)
    return replace(image, state="forgetting" if owed else "forgotten")


def _store_answered(state: Slice, event: ImageDeleted | ImageLeft) -> tuple[Row, ...]:
    """One store has deleted its copy, or holds something that is not ours."""
    image = state.the_image(event.batch_id, event.image)
    match event:
        case ImageDeleted():
            return (without_deletion(image, event.store, Upload(event.store, "deleted")),)
        case ImageLeft(code=code):
            return (without_deletion(image, event.store, Upload(event.store, "foreign", code=code)),)


def without_deletion(image: ImageRow, store: str, new: Upload) -> ImageRow:
    uploads = tuple(
        replace(new, attempts=upload.attempts, name=upload.name) if upload.store == store else upload
        for upload in image.uploads
    )
    return _if_all_answered(replace(image, uploads=uploads))


def _texts_erased(state: Slice, event: BlobErased) -> tuple[Row, ...]:
    """Rows keep the digests of erased texts. A digest without a text shows that the text was erased."""
    batch = state.the_batch(event.batch_id)
    return (replace(batch, metadata=None),) if batch.metadata in event.digests else ()
