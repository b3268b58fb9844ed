"""Laws of stripping: what changes how a picture is shown stays, and nothing else that was written beside it."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from comfyledger.workers.media.media_file import pin

SECRET = b"sk-typed-into-a-node"
PLACE = 0x8825
"""The directory of Exif that holds where a picture was taken."""
KINDS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}


def exif(orientation: int, *, big: bool = False) -> bytes:
    tags = Image.Exif()
    tags.endian = ">" if big else "<"
    tags[0x010E] = SECRET.decode() * 50
    tags[0x0112] = orientation
    tags.get_ifd(PLACE)[29] = SECRET.decode()
    return tags.tobytes()


def xmp(orientation: int) -> bytes:
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="{orientation}">{SECRET.decode()}</a></x:xmpmeta>'
    ).encode()


def picture() -> Image.Image:
    return Image.frombytes("RGB", (24, 16), bytes(index * index % 251 for index in range(24 * 16 * 3)))


def saved(kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    if kind == "png" and "xmp" in how:
        how["pnginfo"] = texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", how.pop("xmp").decode(), zip=how.pop("zip", False))
    how.pop("zip", None)
    picture().save(out, KINDS[kind], **how)
    return out.getvalue()


def stripped(folder: Path, content: bytes) -> bytes:
    with (folder / "out").open("w+b") as sink:
        pin(io.BytesIO(content), sink, strip=True, pixels_max=1_000_000)
    return (folder / "out").read_bytes()


def shown(content: bytes) -> tuple[tuple[int, int], bytes, bytes | None]:
    with Image.open(io.BytesIO(content)) as image:
        turned = ImageOps.exif_transpose(image)
        return turned.size, turned.convert("RGB").tobytes(), image.info.get("icc_profile")


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_a_turned_picture_stays_turned_and_tells_nothing_else(
    tmp_path: Path, kind: str, orientation: int, big: bool
) -> None:
    content = saved(kind, exif=exif(orientation, big=big), lossless=True)
    result = stripped(tmp_path, content)
    assert shown(result) == shown(content)
    assert SECRET not in result
    with Image.open(io.BytesIO(result)) as image:
        assert dict(image.getexif()) == ({} if orientation == 1 else {0x0112: orientation})
        assert not image.getexif().get_ifd(PLACE)
    assert stripped(tmp_path, result) == result


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_xmp_turns_stays_turned(tmp_path: Path, kind: str, orientation: int, compressed: bool) -> None:
    content = saved(kind, xmp=xmp(orientation), lossless=True, zip=compressed)
    result = stripped(tmp_path, content)
    assert shown(result) == shown(content)
    assert SECRET not in result
    assert stripped(tmp_path, result) == result


@pytest.mark.parametrize("kind", KINDS)
def test_a_profile_of_any_size_stays_to_the_byte(tmp_path: Path, kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = saved(kind, icc_profile=profile, exif=exif(6), lossless=True)
    assert shown(stripped(tmp_path, content)) == shown(content)
    large = bytes(range(256)) * 8_000
    result = stripped(tmp_path, saved(kind, icc_profile=large))
    if kind == "png":
        start = result.index(b"iCCP") + 4
        body = result[start : start + int.from_bytes(result[start - 8 : start - 4], "big")]
        assert zlib.decompress(body[body.index(b"\0") + 2 :]) == large
    else:
        with Image.open(io.BytesIO(result)) as image:
            assert image.info["icc_profile"] == large


def test_a_text_of_any_size_is_no_fault_of_a_png(tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add_text("prompt", SECRET.decode() * 100_000)
    texts.add_text("workflow", SECRET.decode() * 400_000, zip=True)
    content = saved("png", pnginfo=texts)
    result = stripped(tmp_path, content)
    assert SECRET not in result
    with (tmp_path / "same").open("w+b") as sink:
        pin(io.BytesIO(content), sink, strip=False, pixels_max=1_000_000)
    assert (tmp_path / "same").read_bytes() == content


@pytest.mark.parametrize(
    "block",
    [b"", b"II*\0", b"rubbish" * 9, b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"MM\0*\0\0\0\x09\0\1"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_exif_that_cannot_be_read_says_nothing(tmp_path: Path, kind: str, block: bytes) -> None:
    result = stripped(tmp_path, saved(kind, exif=b"Exif\0\0" + block))
    assert b"rubbish" not in result
    with Image.open(io.BytesIO(result)) as image:
        assert not dict(image.getexif())


@pytest.mark.parametrize(
    ("segment", "kept"),
    [
        (b"\xff\xe0\0\x14JFXX\0" + SECRET[:13], False),
        (b"\xff\xec\0\x0eDucky" + SECRET[:7], False),
        (b"\xff\xee\0\x10Other" + SECRET[:9], False),
        (b"\xff\xfe\0\x09" + SECRET[:7], False),
        (b"\xff\xe2\0\x0dMPF\0" + SECRET[:7], False),
        (b"\xff\xee\0\x13Adobe\0\x64\0\0\0\0\0" + SECRET[:5], True),
    ],
)
def test_no_segment_of_a_jpeg_hides_a_text(tmp_path: Path, segment: bytes, kept: bool) -> None:
    content = saved("jpg")
    result = stripped(tmp_path, content[:2] + segment + content[2:])
    assert SECRET[:5] not in result
    assert (segment[:2] + b"\0\x0eAdobe" in result) == kept


def test_the_thumbnail_of_a_jpeg_goes_and_its_density_stays(tmp_path: Path) -> None:
    content = saved("jpg", dpi=(123, 45))
    length = int.from_bytes(content[4:6], "big")
    hidden = content[2:4] + (length + 12).to_bytes(2, "big") + content[6 : 2 + length] + b"\2\2" + SECRET[:12]
    result = stripped(tmp_path, content[:2] + hidden + content[4 + length :])
    assert result == stripped(tmp_path, content)
    with Image.open(io.BytesIO(result)) as image:
        assert image.info["jfif_density"] == (123, 45)


def test_no_chunk_within_a_frame_hides_a_text(tmp_path: Path) -> None:
    out = io.BytesIO()
    more = [picture().rotate(90), picture().rotate(180)]
    picture().save(out, "WEBP", save_all=True, append_images=more, lossless=True, duration=40)
    content = out.getvalue()
    at = content.index(b"ANMF")
    length = int.from_bytes(content[at + 4 : at + 8], "little")
    inner = b"note" + len(SECRET).to_bytes(4, "little") + SECRET
    body = content[at + 8 : at + 8 + length] + inner
    hidden = bytearray(content[:at] + b"ANMF" + len(body).to_bytes(4, "little") + body + content[at + 8 + length :])
    hidden[4:8] = (len(hidden) - 8).to_bytes(4, "little")
    assert stripped(tmp_path, bytes(hidden)) == stripped(tmp_path, content) == content
