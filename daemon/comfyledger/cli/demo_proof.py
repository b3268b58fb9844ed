"""What the demo proves: exactly the expected files exist, each whole and under its own number.

Each image is requested with a colour of its own. The stand-in and ComfyUI's EmptyImage show it in the bottom left
corner, so a file shows for which image of which batch it was rendered, whatever its name is. The stand-in's videos name
their colour; those of a real ComfyUI are only proved to be whole.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from comfyledger import wire

WORKFLOW: Final = "empty-image"
VIDEO_WORKFLOW: Final[dict[str, Any]] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 512, "height": 512, "batch_size": 8, "color": 0}},
    "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}},
    "9": {
        "class_type": "SaveVideo",
        "inputs": {"video": ["2", 0], "filename_prefix": "comfyledger", "format": "auto", "codec": "auto"},
    },
}
PIXELS_MAX: Final = 1_000_000_000
_NAMED_COLOUR: Final = re.compile(rb"video picture \d+x\d+ #([0-9a-f]{6})")


class Asked(NamedTuple):
    """One batch of the demo. `colours`: of each image, as 0xRRGGBB."""

    client: str
    username: str
    premade: bool
    colours: tuple[int, ...]
    extension: str = "png"

    @property
    def what(self) -> str:
        """What it asked for, in words."""
        word = "video" if self.extension == "mp4" else "image"
        return f"{len(self.colours)} {word}{'s' * (len(self.colours) != 1)}"


CHARACTER = "Opal Fever"
BATCHES = (
    Asked("app-one", "Areg", True, (0xC0392B, 0x27AE60, 0x2980B9)),
    Asked("app-two", "Areg", True, (0xF39C12, 0x8E44AD, 0x16A085)),
    Asked("app-three", "CreatorName", False, (0xD35400, 0x2C3E50)),
    Asked("app-four", "Areg", True, (0x7F8C8D,), "mp4"),
)
FILES = frozenset(
    [f"Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_{number}.png" for number in range(1, 7)]
    + ["Areg/premade_characters/opal-fever/images/Areg_opal-fever_video_1.mp4"]
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
            check = fault_of_video if asked.extension == "mp4" else fault_of_picture
            fault = check(root / f"{image.public_id}.{asked.extension}", asked.colours[image.index - 1])
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


def fault_of_video(file: Path, colour: int) -> str:
    """Empty if the file is a whole video, and does not name another colour than that of its number."""
    from comfyledger.workers.media.broken_file import Broken
    from comfyledger.workers.media.media_file import pin

    try:
        with file.open("rb") as source, tempfile.TemporaryFile() as sink:
            pin(source, sink, strip=False, pixels_max=PIXELS_MAX)
        named = _NAMED_COLOUR.search(file.read_bytes())
    except (OSError, Broken) as error:
        return f"{file.name} cannot be read: {error}."
    seen = int(named[1], 16) if named else colour
    return "" if seen == colour else f"{file.name} is the video of another number: #{seen:06x}, not #{colour:06x}."
