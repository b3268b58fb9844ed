"""What a stripped picture shows: its pixels, profile and orientation of before, and nothing that was written in it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin, features

from comfyledger.workers.media.media_file import pin
from support.hidden_texts import hides
from support.media_builders import PROMPT, SECRET

TEXT = PROMPT.decode()
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FRAMES = [Image.effect_noise((40, 24), 60 + place).convert("RGB") for place in range(3)]
HAS_AVIF = features.check("avif")


def exif() -> Image.Exif:
    """A picture on its side, with the prompt where savers of images write it."""
    made = Image.Exif()
    made[0x010E], made[0x0110], made[0x0112] = TEXT, f"prompt:{TEXT}", 6
    made.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + TEXT.encode("utf-16-le")
    return made


def tags() -> TiffImagePlugin.ImageFileDirectory_v2:
    made = TiffImagePlugin.ImageFileDirectory_v2()
    made[270], made[305], made[700], made[50839], made[274] = TEXT, SECRET.decode(), PROMPT, PROMPT, 6
    return made


def texts() -> PngImagePlugin.PngInfo:
    made = PngImagePlugin.PngInfo()
    made.add_text("prompt", TEXT)
    made.add_text("workflow", TEXT, zip=True)
    made.add_itxt("parameters", TEXT)
    made.add_itxt("more", TEXT, zip=True)
    return made


SAVED: dict[str, dict[str, Any]] = {
    "plain.png": {"pnginfo": texts(), "exif": exif(), "icc_profile": PROFILE},
    "animated.png": {"pnginfo": texts(), "save_all": True, "append_images": FRAMES[1:], "duration": 70},
    "plain.jpg": {"exif": exif(), "icc_profile": PROFILE, "comment": PROMPT},
    "plain.webp": {"exif": exif(), "icc_profile": PROFILE, "xmp": PROMPT, "lossless": True},
    "animated.webp": {"exif": exif(), "save_all": True, "append_images": FRAMES[1:], "duration": 70},
    "animated.gif": {"comment": PROMPT, "save_all": True, "append_images": FRAMES[1:], "duration": 70},
    "plain.tiff": {"tiffinfo": tags(), "icc_profile": PROFILE},
    "exif.tiff": {"exif": exif()},
    "lzw.tiff": {"tiffinfo": tags(), "icc_profile": PROFILE, "compression": "tiff_lzw"},
    "deflate.tiff": {"tiffinfo": tags(), "compression": "tiff_adobe_deflate"},
    "jpeg.tiff": {"tiffinfo": tags(), "compression": "jpeg"},
    "several.tiff": {"tiffinfo": tags(), "save_all": True, "append_images": FRAMES[1:]},
    **({"plain.avif": {"exif": exif(), "icc_profile": PROFILE, "xmp": PROMPT}} if HAS_AVIF else {}),
}


def shown(content: bytes) -> list[Any]:
    with Image.open(io.BytesIO(content)) as image:
        found = []
        for frame in range(getattr(image, "n_frames", 1)):
            image.seek(frame)
            known = (image.info.get("duration"), image.info.get("icc_profile"), image.getexif().get(274))
            found.append((image.size, image.mode, image.tobytes(), *known))
        return found


@pytest.mark.parametrize("name", SAVED)
def test_a_stripped_picture_looks_as_before_and_holds_no_secret(name: str) -> None:
    out = io.BytesIO()
    FRAMES[0].save(out, {"jpg": "jpeg"}.get(name.partition(".")[2], name.partition(".")[2]), **SAVED[name])
    sink = io.BytesIO()
    pin(io.BytesIO(out.getvalue()), sink, strip=True, pixels_max=10**6, named=name)
    assert hides(out.getvalue(), SECRET), "the search finds what Pillow has written"
    assert not hides(sink.getvalue(), SECRET)
    assert shown(sink.getvalue()) == shown(out.getvalue())
