"""What a thumbnail looks like: upright, in sRGB, with its alpha, and of the first frame."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, ImageCms, features

from comfyledger.workers.thumbnails.draw import FORMATS, NotDrawn, drawn
from comfyledger.workers.thumbnails.sizes import DRAWN, PIXELS_MAX

WIDE = (600, 300)


def encoded(picture: Image.Image, kind: str, **more: Any) -> io.BytesIO:
    out = io.BytesIO()
    picture.save(out, kind, **more)
    out.seek(0)
    return out


def thumbnail(picture: Image.Image, extension: str = "png", side: int = 256, **more: Any) -> Image.Image:
    webp = drawn(encoded(picture, FORMATS[extension], **more), extension, side)
    shown = Image.open(io.BytesIO(webp))
    shown.load()
    assert shown.format == "WEBP"
    return shown


def two_colours() -> Image.Image:
    """Red at the left, blue at the right."""
    picture = Image.new("RGB", WIDE, "red")
    picture.paste("blue", (300, 0, 600, 300))
    return picture


def is_near(found: Any, colour: tuple[int, ...], by: int = 12) -> bool:
    return all(abs(one - wanted) <= by for one, wanted in zip(found, colour, strict=True))


def reason(content: bytes, extension: str) -> str:
    with pytest.raises(NotDrawn) as refused:
        drawn(io.BytesIO(content), extension, 256)
    return str(refused.value)


def test_every_kind_that_has_thumbnails_is_drawn() -> None:
    assert set(FORMATS) == DRAWN
    for extension in FORMATS:
        shown = thumbnail(two_colours(), extension)
        assert shown.size == (256, 128)
        assert is_near(shown.getpixel((20, 64)), (255, 0, 0)), extension
        assert is_near(shown.getpixel((236, 64)), (0, 0, 255)), extension


@pytest.mark.parametrize(
    ("size", "wanted"), [((600, 300), (256, 128)), ((30, 40), (30, 40)), ((9_000, 1), (256, 1)), ((1, 1), (1, 1))]
)
def test_the_longer_side_fits_and_nothing_is_enlarged(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert thumbnail(Image.new("RGB", size)).size == wanted


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK", "LAB", "YCbCr"])
def test_grey_stays_grey_in_every_mode(mode: str) -> None:
    grey = Image.new("L", WIDE, 255 if mode == "1" else 128)
    match mode:
        case "I;16" | "I":
            picture = grey.convert("I").point(lambda value: value * 257).convert(mode)
        case "F":
            picture = grey.convert("F").point(lambda value: value * (1 / 255) + 0)
        case "LAB" | "YCbCr":
            picture = grey.convert("RGB").convert(mode)
        case _:
            picture = grey.convert(mode)
    shown = thumbnail(picture, "tiff" if mode not in {"P", "LA"} else "png")
    assert is_near(shown.convert("RGB").getpixel((128, 64)), (grey.getpixel((0, 0)),) * 3, by=4)


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tiff", "avif"])
def test_the_orientation_is_honoured(extension: str) -> None:
    """6: what is at the left belongs at the top."""
    turned = Image.Exif()
    turned[274] = 6
    more = {"tiffinfo": {274: 6}} if extension == "tiff" else {"exif": turned}
    shown = thumbnail(two_colours(), extension, **more)
    assert shown.size == (128, 256)
    assert is_near(shown.getpixel((64, 20)), (255, 0, 0))
    assert is_near(shown.getpixel((64, 236)), (0, 0, 255))


def test_alpha_stays_and_hidden_colours_do_not_bleed() -> None:
    half = Image.new("L", WIDE, 0)
    half.paste(255, (300, 0, 600, 300))
    shown = thumbnail(Image.merge("RGBA", (*two_colours().split(), half)))
    assert shown.getpixel((20, 64))[3] == 0
    assert is_near(shown.getpixel((236, 64)), (0, 0, 255, 255))
    for transparent in (thumbnail(two_colours(), transparency=(255, 0, 0)), thumbnail(palette(), transparency=0)):
        assert transparent.getpixel((20, 64))[3] == 0
        assert transparent.getpixel((236, 64))[3] == 255


def palette() -> Image.Image:
    picture = Image.new("P", WIDE, 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(1, (300, 0, 600, 300))
    return picture


def test_colours_are_converted_to_srgb() -> None:
    """The profile has red and green exchanged, as no real one has, so the difference cannot be missed."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.find(b"rXYZ"), profile.find(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    shown = thumbnail(Image.new("RGB", WIDE, "red"), icc_profile=bytes(profile))
    assert is_near(shown.getpixel((128, 64)), (0, 255, 0))
    with_alpha = thumbnail(Image.new("RGBA", WIDE, (255, 0, 0, 128)), icc_profile=bytes(profile))
    assert is_near(with_alpha.getpixel((128, 64)), (0, 255, 0, 128))


@pytest.mark.parametrize("profile", [b"no profile" * 50, b"\0" * 128])
def test_a_profile_that_cannot_be_used_is_ignored(profile: bytes) -> None:
    assert is_near(thumbnail(Image.new("RGB", WIDE, "red"), icc_profile=profile).getpixel((9, 9)), (255, 0, 0))


@pytest.mark.parametrize("extension", ["gif", "png", "webp", "tiff", "avif"])
def test_of_several_frames_the_first_one_is_shown(extension: str) -> None:
    frames = [Image.new("RGB", WIDE, colour) for colour in ("red", "lime", "blue")]
    shown = thumbnail(frames[0], extension, save_all=True, append_images=frames[1:])
    assert is_near(shown.getpixel((128, 64)), (255, 0, 0))
    assert getattr(shown, "n_frames", 1) == 1


def test_nothing_of_the_file_is_in_it_but_its_pixels() -> None:
    from PIL.PngImagePlugin import PngInfo

    exif, texts = Image.Exif(), PngInfo()
    exif[270] = "a secret prompt"
    texts.add_text("prompt", "a secret prompt")
    more = {"exif": exif, "icc_profile": b"a secret prompt" * 20, "xmp": b"<x>a secret prompt</x>"}
    for extension in ("png", "jpg", "webp", "avif", "tiff"):
        others = (
            {"pnginfo": texts} if extension == "png" else {"comment": "a secret prompt"} if extension == "jpg" else {}
        )
        content = encoded(two_colours(), FORMATS[extension], **more, **others)
        assert b"secret" in content.getvalue()
        assert b"secret" not in drawn(content, extension, 256), extension


def png_of(width: int, height: int) -> bytes:
    """Of a grey that says it is so large; its pixels end after the first row."""
    chunks = (
        (b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(width + 1))),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def test_a_picture_of_too_many_pixels_is_not_decoded() -> None:
    side = int(PIXELS_MAX**0.5)
    assert reason(png_of(side + 1, side), "png") == "pixels"
    assert reason(png_of(16_384, 16_384), "png") == "pixels"
    assert reason(png_of(60_000, 60_000), "png") == "pixels"


def test_what_this_pillow_cannot_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow before 11.3 reads no AVIF, and later ones may be built without it."""
    monkeypatch.setattr(features, "check", lambda feature: False)
    assert reason(b"any bytes", "avif") == "codec"
    monkeypatch.setattr(features, "modules", {})
    assert reason(b"any bytes", "avif") == "codec"


@pytest.mark.parametrize("extension", sorted(DRAWN))
def test_what_is_no_whole_picture_of_its_kind_is_told(extension: str) -> None:
    whole = encoded(Image.effect_noise(WIDE, 90).convert("RGB"), FORMATS[extension]).getvalue()
    drawing = b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"
    for content in (b"", whole[:9], whole[: len(whole) // 2], drawing, b"\0" * 1_000):
        assert reason(content, extension) == "broken"
    other = encoded(two_colours(), "PPM").getvalue()
    assert reason(other, extension) == "broken", "only the format that the extension names is tried"
