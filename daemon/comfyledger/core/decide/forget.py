"""What `forget` means, and what stores answer when they are asked to delete.

A number stays used and a name stays given: they prove that they are not given a second time. All other text
of an image that a person may have typed is erased. This module finds those texts, in the transaction that forgets.
"""

from __future__ import annotations

from msgspec.structs import replace

from comfyledger.core.commands import Forget
from comfyledger.core.decide.commands import batch_or_refuse, chosen_images
from comfyledger.core.decide.inputs import forget_inputs
from comfyledger.core.decide.recorder import Draft
from comfyledger.core.events import BlobErased, ImageDeleted, ImageForgotten, ImageLeft
from comfyledger.core.evolve.forgetting import as_forgotten
from comfyledger.core.reports import DeletionDone, DeletionRefused, DeletionReport
from comfyledger.core.results import Forgotten
from comfyledger.core.rows import ImageRow, TextRow


def forget(draft: Draft, command: Forget) -> Forgotten:
    """Forget a batch, or images of it. What is forgotten already is skipped, so that the command may be repeated.

    Raises Refused(unknown_batch, unknown_image).
    """
    batch = batch_or_refuse(draft, command.batch_id)
    going = to_forget(chosen_images(draft, batch, command.images), stores=command.stores)
    if not going:
        return Forgotten(0)
    indexes = tuple(image.index for image in going)
    prompts = tuple(sorted({image.prompt for image in going}))
    draft.emit(ImageForgotten(batch.batch_id, indexes, prompts, command.stores, by=command.label))
    digests = tuple(text.digest for text in draft.state.texts(batch.batch_id) if _is_over(draft, text))
    if digests:
        draft.emit(BlobErased(batch.batch_id, digests, by=command.label))
    draft.settle(batch.batch_id)
    inputs = forget_inputs(draft, batch, going, command.label)
    after = [draft.state.the_image(batch.batch_id, index) for index in indexes]
    return replace(summed_up(after, len(digests)), inputs=inputs)


def to_forget(images: list[ImageRow], *, stores: bool) -> list[ImageRow]:
    """Those of the images that a command would change."""
    return [image for image in images if not image.is_forgotten or as_forgotten(image, stores=stores) != image]


def summed_up(after: list[ImageRow], texts: int = 0) -> Forgotten:
    """The answer to a forget: how many deletions the stores will be asked for, and how many images stay in each."""
    uploads = [upload for image in after for upload in image.uploads]
    left: dict[str, int] = {}
    for upload in uploads:
        if upload.state in {"stored", "uploading"}:
            left[upload.store] = left.get(upload.store, 0) + 1
    return Forgotten(len(after), texts, sum(upload.state == "deleting" for upload in uploads), left)


def _is_over(draft: Draft, text: TextRow) -> bool:
    """Whether a text is no longer needed: all that it is about is forgotten, and no other batch uses it."""
    images = draft.state.images(text.batch_id)
    if text.whole:
        return not text.elsewhere and all(image.is_forgotten for image in images)
    about = [image for image in images if image.index in text.images or image.prompt in text.prompts]
    return all(image.is_forgotten for image in about)


def deletion_report(draft: Draft, report: DeletionReport) -> None:
    """A store's answer, if the image still waits for it."""
    image = draft.state.image(report.batch_id, report.image)
    upload = image.upload(report.store) if image is not None else None
    if image is None or upload is None or upload.state != "deleting":
        return
    about = (report.batch_id, report.image, upload.name or image.public_id, report.store)
    match report:
        case DeletionDone(found=found):
            draft.emit(ImageDeleted(*about, found=found))
        case DeletionRefused(code=code):
            draft.emit(ImageLeft(*about, code=code))
