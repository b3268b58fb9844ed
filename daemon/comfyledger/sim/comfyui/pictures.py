"""The images of the stand-in: the description that nodes pass on, its pixels, and its file.

A picture is a short description until it is saved, so a graph costs little and the cache stays small. Drawing is
deterministic: the same description and label give the same pixels. Files are counted and named as SaveImage
of ComfyUI 0.33.0 does, by listing the folder, and are written in place.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

Colour = tuple[int, int, int]

LABEL_PX_MIN: Final = 64
SMOOTH_PX_MIN: Final = 12
PREVIEW_PX: Final = 128
_NUMBERED: Final = re.compile(r"^(\d+)-a\d+_(\d+)_")


class Picture(msgspec.Struct, frozen=True):
    """One picture of a batch: of one colour, or of coloured noise when it has a seed text."""

    width: int
    height: int
    colour: int = 0
    seed: str = ""

    @property
    def mark(self) -> str:
        """What tells it from other pictures, for files that do not show it."""
        return f"picture {self.width}x{self.height} #{self.colour:06x} {self.seed}"


class OutsideTheFolder(Exception):
    """A prefix that leaves the output folder. The text is ComfyUI's, which raises a plain Exception."""

    kind = "Exception"

    def __init__(self, folder: Path, output: Path) -> None:
        super().__init__(
            "**** ERROR: Saving image outside the output folder is not allowed.\n"
            f" full_output_folder: {folder}\n         output_dir: {output}\n"
        )


class SavePlan(msgspec.Struct, frozen=True):
    """Where the files of one save go: `{leaf}_{counter:05}_.png` in `folder`, or with another `ending` than `_.png`."""

    folder: Path
    subfolder: str
    leaf: str
    counter: int
    ending: str = "_.png"

    def filename(self, index: int) -> str:
        """The name of the file for the picture at `index` of the batch."""
        return f"{self.leaf.replace('%batch_num%', str(index))}_{self.counter + index:05}{self.ending}"


def plan_save(output: Path, prefix: str, first: Picture, now: datetime, ending: str = "_.png") -> SavePlan:
    """Where the files of a batch go. Creates the folder. Raises OutsideTheFolder."""
    expanded = Path(os.path.normpath(expand(prefix, first, now)))
    folder = Path(os.path.abspath(output / expanded.parent))
    if not folder.is_relative_to(output):
        raise OutsideTheFolder(folder, output)
    folder.mkdir(parents=True, exist_ok=True)
    subfolder = "" if str(expanded.parent) == "." else str(expanded.parent)
    return SavePlan(folder, subfolder, expanded.name, next_counter(os.listdir(folder), expanded.name), ending)


def expand(prefix: str, first: Picture, now: datetime) -> str:
    """`%width%`, `%height%` and the parts of the date filled in."""
    parts: dict[str, object] = {"width": first.width, "height": first.height, "year": now.year}
    for part in ("month", "day", "hour", "minute", "second"):
        parts[part] = f"{getattr(now, part):02}"
    return re.sub(r"%(\w+)%", lambda found: str(parts.get(found[1], found[0])), prefix)


def next_counter(names: list[str], leaf: str) -> int:
    """One more than the highest counter among the files of this prefix."""
    start = f"{leaf}_"
    digits = [name[len(start) :].split(".")[0].split("_")[0] for name in names if name.startswith(start)]
    return max((int(d) for d in digits if d.isdecimal()), default=0) + 1


def save(picture: Picture, path: Path, metadata: dict[str, Any]) -> None:
    """Write one PNG in place, labelled with its own name; `metadata` goes into text chunks."""
    chunks = PngInfo()
    for key, value in metadata.items():
        chunks.add_text(key, msgspec.json.encode(value).decode())
    draw(picture, path.name).save(path, "PNG", pnginfo=chunks, compress_level=1)


def draw(picture: Picture, filename: str) -> Image.Image:
    """The pixels. The outermost pixels and the bottom left corner keep the picture's own colour."""
    image = _ground(picture)
    if picture.width >= LABEL_PX_MIN and picture.height >= LABEL_PX_MIN:
        _label(image, filename)
    return image


def image_number(filename: str) -> int | None:
    """The number of the image in `{first number}-a{attempt}_{counter}_`; None for other names."""
    found = _NUMBERED.match(filename)
    return int(found[1]) + int(found[2]) - 1 if found else None


def preview_jpeg(seed: str, step: int) -> bytes:
    """A noisy JPEG of about 25 KB: previews of a sampler are large."""
    noise = Random(f"{seed}/{step}").randbytes(PREVIEW_PX * PREVIEW_PX * 3)  # noqa: S311 - a picture
    image = Image.frombytes("RGB", (PREVIEW_PX, PREVIEW_PX), noise)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def _ground(picture: Picture) -> Image.Image:
    size = (picture.width, picture.height)
    if not picture.seed:
        return Image.new("RGB", size, _rgb(picture.colour))
    tones = Random(hashlib.sha256(picture.seed.encode()).digest()).randbytes(6 * 6 * 3)  # noqa: S311 - a picture
    return Image.frombytes("RGB", (6, 6), tones).resize(size, Image.Resampling.BILINEAR)


def _rgb(colour: int) -> Colour:
    return (colour >> 16) & 255, (colour >> 8) & 255, colour & 255


def _label(image: Image.Image, filename: str) -> None:
    ink = _contrast(image)
    small = max(8, min(image.height // 10, 17 * image.width // (10 * len(filename))))
    # A box of its own for the text, so that nothing of it reaches the border or the lower left corner.
    box = (4, 3, image.width - 3, image.height - small)
    inside = image.crop(box)
    pen = ImageDraw.Draw(inside)
    # The bitmap font takes a tenth of the time, which counts where pictures are small and many.
    pen.text((0, 0), filename, fill=ink, font=_font(small) if small >= SMOOTH_PX_MIN else _bitmap_font())
    number = image_number(filename)
    if number is not None:
        big = max(8, min(inside.height // 2, 3 * inside.width // (2 * len(str(number)))))
        pen.text((inside.width / 2, inside.height * 0.6), str(number), fill=ink, font=_font(big), anchor="mm")
    image.paste(inside, box)


def _contrast(image: Image.Image) -> Colour:
    pixel = image.resize((1, 1)).getpixel((0, 0))
    red, green, blue = pixel if isinstance(pixel, tuple) else (0, 0, 0)
    return (0, 0, 0) if 299 * red + 587 * green + 114 * blue > 128_000 else (255, 255, 255)


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


@lru_cache(maxsize=1)
def _bitmap_font() -> ImageFont.ImageFont:
    return ImageFont.load_default_imagefont()
