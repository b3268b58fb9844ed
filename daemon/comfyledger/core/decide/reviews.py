"""What a review of images means: one event for each batch, about the images that it changes.

An image that has these values already is left as it is, whatever became of it. So a repeat changes nothing, also of an
image that was forgotten since.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfyledger.core.commands import ImagesOf, ReviewImages
from comfyledger.core.decide.commands import batch_or_refuse
from comfyledger.core.decide.recorder import Draft
from comfyledger.core.events import ImageReviewed
from comfyledger.core.evolve.reviews import as_reviewed
from comfyledger.core.results import Changed
from comfyledger.core.rows import ImageRow
from comfyledger.core.values import image_id
from comfyledger.errors import Refused


def review_images(draft: Draft, command: ReviewImages) -> Changed:
    """Raises Refused(unknown_batch, unknown_image), and no_file for an image without a picture to be judged by."""
    changing = {one.batch_id: tuple(_changing(draft, command, one)) for one in command.batches}
    for batch_id, images in changing.items():
        if images:
            draft.emit(ImageReviewed(batch_id, images, command.label, command.verdict, command.rating))
    return Changed(sum(map(len, changing.values())))


def _changing(draft: Draft, command: ReviewImages, of: ImagesOf) -> Iterator[int]:
    """The images of a batch that the command changes, by index."""
    batch_or_refuse(draft, of.batch_id)
    for index in dict.fromkeys(of.images):
        image = draft.state.image(of.batch_id, index)
        if image is None:
            raise Refused("unknown_image", f"There is no image {image_id(of.batch_id, index)}.", hint=_LIST)
        if as_reviewed(image, command.verdict, command.rating) == image:
            continue
        if not image.has_file:
            raise _without_file(image)
        yield index


_LIST: Final = "`comfyledger images` lists them."


def _without_file(image: ImageRow) -> Refused:
    text = f"The image {image.public_id} is {image.state} and has no file, so it cannot be reviewed."
    hint = "Leave it out. Images that are kept, stored or parked with a file can be reviewed."
    return Refused("no_file", text, hint=hint)
