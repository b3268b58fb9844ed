"""Which names an event gives, folded as the tables of names given have them."""

from __future__ import annotations

from comfyledger.core.events import BatchRequested, Event, ImageAdded, ImageRenumbered
from comfyledger.core.naming.slugs import fold


def names_given(event: Event) -> list[tuple[str, str, int]]:
    """The names that an event gives, folded: each with the batch and the index of its image."""
    match event:
        case BatchRequested(batch_id=batch_id, images=images):
            return [(fold(image.public_id), batch_id, image.index) for image in images]
        case ImageRenumbered() | ImageAdded():
            batch_id, index, folder, file = event.batch_id, event.image, event.folder, event.file
            return [(fold(f"{folder}/{file}"), batch_id, index)]
        case _:
            return []
