"""What the demo proves: exactly the expected files exist, each whole and under its own number.

Each image is requested with a colour of its own. The stand-in and ComfyUI's EmptyImage show it in the bottom left
corner, so a file shows for which image of which batch it was rendered, whatever its name is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from comfyledger import wire


class Asked(NamedTuple):
    """One batch of the demo. `colours`: of each image, as 0xRRGGBB."""

    client: str
    username: str
    premade: bool
    colours: tuple[int, ...]


CHARACTER = "Opal Fever"
BATCHES = (
    Asked("app-one", "Areg", True, (0xC0392B, 0x27AE60, 0x2980B9)),
    Asked("app-two", "Areg", True, (0xF39C12, 0x8E44AD, 0x16A085)),
    Asked("app-three", "CreatorName", False, (0xD35400, 0x2C3E50)),
)
FILES = frozenset(
    [f"Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_{number}.png" for number in range(1, 7)]
    + [f"CreatorName/characters/opal-fever/images/CreatorName_opal-fever_image_{number}.png" for number in (1, 2)]
)

STORE_MARK = ".comfyledger"
"""The folder store's own file at its root."""


def faults(root: Path, given: Iterable[tuple[Asked, wire.BatchAccepted]]) -> list[str]:
    """A sentence for each broken promise; none if all hold."""
    given = list(given)
    found = faults_of_names([image.public_id for _, batch in given for image in batch.images])
    found += faults_of_files({str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()} - {STORE_MARK})
    for asked, batch in given:
        for image in batch.images:
            fault = fault_of_picture(root / f"{image.public_id}.png", asked.colours[image.index - 1])
            found += [fault] if fault else []
    return found


def faults_of_names(names: list[str]) -> list[str]:
    return [f"{name} was given {times} times." for name, times in Counter(names).items() if times > 1]


def faults_of_files(files: set[str]) -> list[str]:
    missing = [f"{name} is missing." for name in sorted(FILES - files)]
    return missing + [f"{name} should not be there." for name in sorted(files - FILES)]


def fault_of_picture(file: Path, colour: int) -> str:
    """Empty if the file can be decoded and has the colour that was requested for its number."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            whole = picture.convert("RGB")
    except (OSError, SyntaxError) as error:
        return f"{file.name} cannot be read: {error}."
    red, green, blue = whole.getpixel((0, whole.height - 1))  # type: ignore[misc]
    seen = red << 16 | green << 8 | blue
    return "" if seen == colour else f"{file.name} is the picture of another number: #{seen:06x}, not #{colour:06x}."
