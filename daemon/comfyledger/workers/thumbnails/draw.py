"""Draws the thumbnail of a file as a WebP: upright, in sRGB, with its alpha. Of several frames it draws the first one.

A thumbnail has no metadata. Call this in a limited process only: decoders are made to crash, and take gigabytes.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from io import BytesIO
from typing import BinaryIO, Final

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError, features

from comfyledger.workers.thumbnails.exchange import NotDrawn
from comfyledger.workers.thumbnails.sizes import PIXELS_MAX, VIDEOS

FORMATS: Final = {
    "png": "PNG",
    "jpg": "JPEG",
    "webp": "WEBP",
    "gif": "GIF",
    "avif": "AVIF",
    "tiff": "TIFF",
    "bmp": "BMP",
    "tga": "TGA",
}
"""Pillow's name of the one format that a file with this extension is read as."""
QUALITY: Final = 80
"""Of the WebP: a small one of a photograph has some 10 kB."""
TO_EIGHT_BITS: Final = {"I;16": 1 / 256, "I;16L": 1 / 256, "I;16B": 1 / 256, "I;16N": 1 / 256, "I": 1 / 256, "F": 255.0}
"""What values of more than eight bits are multiplied with, by mode. Whole numbers have 16 bits; others are 0 to 1."""


def drawn(file: BinaryIO, extension: str, side: int) -> bytes:
    """The WebP, at most `side` pixels wide and high. `extension`: one of `FORMATS` or `VIDEOS`.

    Raises NotDrawn, MemoryError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # Pillow's limit is above ours
        try:
            return _webp(_small(_opened(file, extension), side))
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise NotDrawn("pixels") from None
        except (MemoryError, NotDrawn):
            raise
        except Exception as error:
            raise NotDrawn("broken") from error


def _opened(file: BinaryIO, extension: str) -> Image.Image:
    """A picture whose pixels are not decoded yet, or the first frame of a video."""
    if extension in VIDEOS:
        from comfyledger.workers.thumbnails.video import first_frame

        return first_frame(file, extension)
    if extension == "avif" and not ("avif" in features.modules and features.check("avif")):
        raise NotDrawn("codec")
    try:
        picture: Image.Image = Image.open(file, formats=(FORMATS[extension],))
    except UnidentifiedImageError:
        raise NotDrawn("broken") from None
    if picture.width * picture.height > PIXELS_MAX:
        raise NotDrawn("pixels")
    return picture


def _small(picture: Image.Image, side: int) -> Image.Image:
    profile = picture.info.get("icc_profile")
    picture.draft("RGB", (2 * side, 2 * side))  # a JPEG is decoded at a half, a quarter or an eighth
    picture = _in_colours(picture)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    picture = ImageOps.exif_transpose(picture)
    return _in_srgb(picture, profile)


def _in_colours(picture: Image.Image) -> Image.Image:
    """With eight bits for each colour, and no palette: only such pictures can be scaled well."""
    if picture.mode in TO_EIGHT_BITS:
        factor = TO_EIGHT_BITS[picture.mode]
        return picture.point(lambda value: value * factor + 0).convert("L")
    if picture.has_transparency_data and picture.mode != "RGBA":
        return picture.convert("RGBA")
    if picture.mode in {"L", "RGB", "RGBA", "CMYK"}:
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _in_srgb(picture: Image.Image, profile: object) -> Image.Image:
    """The picture in sRGB. A profile that cannot be used is ignored, as browsers do."""
    if isinstance(profile, bytes) and profile:
        with suppress(ImageCms.PyCMSError, OSError, ValueError):
            source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
            mode = "RGBA" if picture.mode == "RGBA" else "RGB"
            converted = ImageCms.profileToProfile(picture, source, target, outputMode=mode)
            return converted if converted is not None else picture
    return picture if picture.mode in {"RGB", "RGBA"} else picture.convert("RGB")


def _webp(picture: Image.Image) -> bytes:
    made = BytesIO()
    picture.save(made, "WEBP", quality=QUALITY, method=4)
    return made.getvalue()
