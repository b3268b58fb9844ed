"""Finds the image that a request names as a source, and says whether something can be made from it.

The image need not be made yet. What its caller may not see is answered as what does not exist.
"""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from comfyledger import wire
from comfyledger.comfyui.graph import read as graphs
from comfyledger.core.decide.sources import has_ended
from comfyledger.core.evolve.inputs import INPUT_FAILED
from comfyledger.core.naming.names import Templates, series_of
from comfyledger.core.rows import ImageRow
from comfyledger.core.values import ImageAt
from comfyledger.errors import Refused
from comfyledger.ledger.ports import Reader
from comfyledger.queries import listings
from comfyledger.queries.names_asked import Place, numbered, place_named, places_in_series

_ENDED: Final = {
    "failed": ("failed", "`comfyledger retry {}` renders it again."),
    "cancelled": ("was cancelled", "Name another image, or request this one again."),
    "forgetting": ("was forgotten", "Name another image."),
    "forgotten": ("was forgotten", "Name another image."),
}
"""What became of an image from which nothing can be made, and what to do."""
_SEVERAL: Final = "Give one of: {}."


async def image_asked(reader: Reader, label: str, image: str | wire.ImageWanted, templates: Templates) -> ImageRow:
    """Raises Refused: unknown_image, and invalid_field for a name that no image can have."""
    if isinstance(image, str):
        return await _named(reader, image)
    if image.request_id is UNSET or image.index is UNSET:
        return await _numbered(reader, image, templates)
    row = await reader.request(label, image.request_id)
    found = await reader.image(row.batch_id, image.index) if row is not None else None
    if found is None:
        text = f"There is no image {image.index} of the request {image.request_id[:128]!r}."
        raise _unknown(text, "Request ids belong to a client. Submit the source first.")
    return found


async def source(reader: Reader, image: ImageRow, depth_max: int) -> graphs.GivenFile:
    """An image as a file. Raises Refused: input_failed if it has come to an end without bytes, chain_too_deep."""
    if has_ended(image):
        became, hint = _ENDED[image.state]
        text = f"The image {image.public_id} {became}, so nothing can be made from it."
        raise Refused(INPUT_FAILED, text, hint=hint.format(image.batch_id))
    prompt = await reader.prompt(image.batch_id, image.prompt)
    depth = 1 + (prompt.depth if prompt is not None else 0)
    if depth > depth_max:
        text = f"{image.public_id} is made from {depth - 1} images in a row, so this would be made from {depth}."
        hint = f"At most {depth_max} are allowed: [limits] chain_depth_max. Add its file as an input instead."
        raise Refused("chain_too_deep", text, hint=hint)
    return graphs.GivenFile(
        extension=image.extension,
        medium=image.medium_kept,
        source=ImageAt(image.batch_id, image.index),
        depth=depth,
        called=image.file,
    )


async def _named(reader: Reader, name: str) -> ImageRow:
    found = await listings.find_image(reader, name)
    if found is not None:
        return found
    place = await place_named(reader, name)
    in_series = await numbered(reader, name) if place is None else None
    places = [place] if place is not None else []
    if in_series is not None:
        places = await places_in_series(reader, in_series.keys, in_series.number)
    if not places:
        raise listings.unknown_image(name)
    return await _only(reader, places, f"Several images are called {name[:200]!r}.", _SEVERAL)


async def _numbered(reader: Reader, image: wire.ImageWanted, templates: Templates) -> ImageRow:
    username, character, number = str(image.username), str(image.character), int(image.number or 0)
    medium = "image" if image.medium is UNSET else image.medium
    collections = (True, False) if image.premade is UNSET else (image.premade,)
    series = [series_of(templates, username, character, premade, medium) for premade in collections]
    places = await places_in_series(reader, dict.fromkeys(one.key for one in series), number)
    called = f"{number} of {username[:200]}, {character[:200]}"
    if not places:
        raise _unknown(f"There is no image {called}.", "`comfyledger images` lists the images with their numbers.")
    return await _only(reader, places, f"There are two images {called}.", "Say which one with `premade`.")


async def _only(reader: Reader, places: list[Place], several: str, hint: str) -> ImageRow:
    """The image at the only place. Raises Refused(unknown_image) with the ids if there are several."""
    if len(places) > 1:
        raise _unknown(several, hint.format(", ".join(f"{batch_id}/{index}" for batch_id, index in places)))
    found = await reader.image(*places[0])
    if found is None:
        raise _unknown("There is no such image.", "")
    return found


def _unknown(text: str, hint: str) -> Refused:
    return Refused("unknown_image", text, hint=hint)
