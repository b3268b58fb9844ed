"""Laws of pinning: what is not whole is refused, what is stripped looks the same, and nothing else is changed."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageSequence
from PIL.PngImagePlugin import PngInfo

from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.media.media_file import ProvedFile, pin

SECRET = b"sk-typed-into-a-node"
PIXELS_MAX = 1_000_000
SIZE = (48, 32)


def picture(mode: str = "RGB", step: int = 7) -> Image.Image:
    noise = bytes((index * index * step) % 251 for index in range(SIZE[0] * SIZE[1] * len(mode)))
    return Image.frombytes(mode, SIZE, noise)


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x010E] = SECRET.decode()
    return tags


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def png(mode: str = "RGB", **how: Any) -> bytes:
    texts = PngInfo()
    texts.add_text("prompt", SECRET.decode())
    texts.add_text("workflow", SECRET.decode() * 9, zip=True)
    texts.add_itxt("parameters", SECRET.decode())
    texts.add(b"comf", b"prompt\0" + SECRET)
    return saved(picture(mode), "PNG", pnginfo=texts, exif=exif(), icc_profile=profile(), dpi=(72, 72), **how)


def jpeg(**how: Any) -> bytes:
    return saved(picture(), "JPEG", exif=exif(), comment=SECRET, icc_profile=profile(), xmp=b"<x>" + SECRET, **how)


def webp(**how: Any) -> bytes:
    return saved(picture("RGBA"), "WEBP", exif=exif(), xmp=SECRET, icc_profile=profile(), **how)


def frames() -> dict[str, Any]:
    return {"save_all": True, "append_images": [picture("RGBA", 11), picture("RGBA", 13)], "duration": 40}


WHOLE = {
    "png": png(),
    "png-palette": saved(picture().quantize(16), "PNG", transparency=3),
    "png-grey": saved(picture("L"), "PNG"),
    "png-alpha": png("RGBA"),
    "png-animated": png("RGBA", **frames()),
    "jpg": jpeg(),
    "jpg-progressive": jpeg(progressive=True),
    "jpg-restarts": jpeg(restart_marker_blocks=2),
    "jpg-cmyk": saved(picture("CMYK"), "JPEG", exif=exif()),
    "webp": webp(),
    "webp-lossless": webp(lossless=True),
    "webp-simple": saved(picture(), "WEBP"),
    "webp-animated": webp(lossless=True, **frames()),
}
every_kind = pytest.mark.parametrize("name", WHOLE)


def pinned(folder: Path, content: bytes, *, strip: bool = True, pixels_max: int = PIXELS_MAX) -> ProvedFile:
    with (folder / "out").open("w+b") as sink:
        return pin(io.BytesIO(content), sink, strip=strip, pixels_max=pixels_max)


def reason_of(folder: Path, content: bytes, **limits: Any) -> str:
    with pytest.raises(Broken) as refusal:
        pinned(folder, content, **limits)
    assert str(refusal.value).endswith((".", str(refusal.value.__cause__)[:200]))
    return refusal.value.reason


def decoded(content: bytes) -> list[bytes]:
    with Image.open(io.BytesIO(content)) as image:
        return [frame.convert("RGBA").tobytes() for frame in ImageSequence.Iterator(image)]


@every_kind
def test_stripping_changes_no_pixel_and_leaves_no_metadata(tmp_path: Path, name: str) -> None:
    pinned(tmp_path, WHOLE[name])
    result = (tmp_path / "out").read_bytes()
    assert decoded(result) == decoded(WHOLE[name])
    assert SECRET not in result
    with Image.open(io.BytesIO(result)) as image:
        assert not image.getexif()
        assert not {"prompt", "workflow", "parameters", "exif", "xmp", "comment"} & set(image.info)


@every_kind
def test_what_makes_the_colours_is_kept(tmp_path: Path, name: str) -> None:
    pinned(tmp_path, WHOLE[name])
    with Image.open(tmp_path / "out") as after, Image.open(io.BytesIO(WHOLE[name])) as before:
        # The density of a JPEG is asked for as such: `dpi` may come from the Exif that is dropped.
        density = "dpi" if before.format == "PNG" else "jfif_density"
        for key in ("icc_profile", density, "transparency", "duration", "adobe_transform", "jfif"):
            assert after.info.get(key) == before.info.get(key)


@every_kind
def test_without_stripping_no_byte_is_changed(tmp_path: Path, name: str) -> None:
    pinned(tmp_path, WHOLE[name], strip=False)
    assert (tmp_path / "out").read_bytes() == WHOLE[name]


@every_kind
def test_what_is_pinned_is_what_was_written(tmp_path: Path, name: str) -> None:
    result = pinned(tmp_path, WHOLE[name])
    content = (tmp_path / "out").read_bytes()
    assert result == ProvedFile(
        sha256=hashlib.sha256(content).hexdigest(),
        md5=hashlib.md5(content).hexdigest(),
        size_bytes=len(content),
        width=48,
        height=32,
        extension=name.partition("-")[0],
    )


@every_kind
def test_stripping_twice_is_stripping_once(tmp_path: Path, name: str) -> None:
    once = pinned(tmp_path, WHOLE[name])
    assert pinned(tmp_path, (tmp_path / "out").read_bytes()) == once


@every_kind
@pytest.mark.parametrize("cut", [1, 4, 20, 1000])
@pytest.mark.parametrize("strip", [True, False])
def test_a_cut_file_is_broken(tmp_path: Path, name: str, cut: int, strip: bool) -> None:
    assert reason_of(tmp_path, WHOLE[name][:-cut], strip=strip) in {"truncated", "empty"}


@every_kind
def test_no_beginning_of_a_file_passes_for_the_whole(tmp_path: Path, name: str) -> None:
    for length in range(0, len(WHOLE[name]), 97):
        reason_of(tmp_path, WHOLE[name][:length])


@every_kind
@pytest.mark.parametrize("rubbish", [b"\0", b"\n", b"<html>"])
def test_nothing_may_follow_the_image(tmp_path: Path, name: str, rubbish: bytes) -> None:
    assert reason_of(tmp_path, WHOLE[name] + rubbish) == "trailing"


@pytest.mark.parametrize("content", [b"<html><body>502 Bad Gateway</body></html>", b"BM" + bytes(99), b"\x89PNG"])
def test_the_kind_is_known_by_content(tmp_path: Path, content: bytes) -> None:
    assert reason_of(tmp_path, content) == "unknown_kind"


def test_an_empty_file_is_broken(tmp_path: Path) -> None:
    assert reason_of(tmp_path, b"") == "empty"


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


HEAD = b"\x89PNG\r\n\x1a\n"
IHDR = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 2, 8, 0, 0, 0, 0))
IDAT = chunk(b"IDAT", zlib.compress(b"\0abcd" * 2))
IEND = chunk(b"IEND")


def test_a_png_of_three_chunks_is_whole(tmp_path: Path) -> None:
    assert pinned(tmp_path, HEAD + IHDR + IDAT + IEND).size_bytes == 8 + 25 + len(IDAT) + 12


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        (IDAT + IEND, "structure"),
        (IHDR + IEND, "structure"),
        (IHDR + IHDR + IDAT + IEND, "structure"),
        (chunk(b"tEXt", b"a\0b") + IHDR + IDAT + IEND, "structure"),
        (IHDR + chunk(b"I\0AT") + IDAT + IEND, "structure"),
        (IHDR + IDAT + chunk(b"IEND", b"x"), "structure"),
        (IHDR + b"\xff\xff\xff\xffIDAT" + IEND, "structure"),
        (IHDR + IDAT[:-4] + b"\0\0\0\0" + IEND, "checksum"),
        (IHDR + chunk(b"tEXt", b"a\0b")[:-1] + b"\0" + IDAT + IEND, "checksum"),
        (IHDR + chunk(b"IDAT", zlib.compress(b"\0ab")) + IEND, "undecodable"),
        (IHDR + chunk(b"IDAT", b"no zlib stream") + IEND, "undecodable"),
        (IHDR + IDAT + IEND + IEND, "trailing"),
    ],
)
def test_a_png_that_is_built_wrongly_is_broken(tmp_path: Path, chunks: bytes, reason: str) -> None:
    assert reason_of(tmp_path, HEAD + chunks) == reason


@pytest.mark.parametrize("name", ["png", "png-palette", "png-animated"])
def test_any_changed_byte_of_a_png_is_found(tmp_path: Path, name: str) -> None:
    for place in range(8, len(WHOLE[name]), 61):
        changed = bytearray(WHOLE[name])
        changed[place] ^= 0x20
        reason_of(tmp_path, bytes(changed))


def test_fill_bytes_before_a_jpeg_marker_are_lawful(tmp_path: Path) -> None:
    content = WHOLE["jpg"][:2] + b"\xff\xff" + WHOLE["jpg"][2:-2] + b"\xff\xff\xd9"
    pinned(tmp_path, content, strip=False)
    assert (tmp_path / "out").read_bytes() == content


def test_a_marker_on_the_border_of_two_pieces_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 2, 3, 64):
        monkeypatch.setattr("comfyledger.workers.media.pictures.jpeg.PIECE_BYTES", size)
        pinned(tmp_path, WHOLE["jpg-restarts"], strip=False)
        assert (tmp_path / "out").read_bytes() == WHOLE["jpg-restarts"]


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xda\0\2\xff\xd9", b"\xff\xc0\0\2\xff\xd9", b"\xff\xe1\0\0\xff\xd9", b"rubbish"]
)
def test_a_jpeg_without_a_picture_is_broken(tmp_path: Path, body: bytes) -> None:
    assert reason_of(tmp_path, b"\xff\xd8\xff\xe0\0\4ab" + body) in {"structure", "truncated"}


@pytest.mark.parametrize("name", ["webp", "webp-lossless", "webp-animated"])
def test_a_stripped_webp_does_not_announce_what_was_dropped(tmp_path: Path, name: str) -> None:
    pinned(tmp_path, WHOLE[name])
    before, after = WHOLE[name][:21], (tmp_path / "out").read_bytes()[:21]
    assert before[12:16] == after[12:16] == b"VP8X"
    assert (before[20] & 0x0C, after[20]) == (0x0C, before[20] & ~0x0C)


def test_a_webp_without_a_picture_is_broken(tmp_path: Path) -> None:
    assert reason_of(tmp_path, b"RIFF\x10\0\0\0WEBPEXIF\4\0\0\0abcd") == "structure"


def test_a_webp_whose_last_chunk_leads_beyond_its_end_is_broken(tmp_path: Path) -> None:
    content = bytearray(WHOLE["webp-simple"])
    content[16] = (content[16] + 2) % 256
    assert reason_of(tmp_path, bytes(content)) == "truncated"


@pytest.mark.parametrize(("name", "pixels"), [("png", 48 * 32), ("jpg", 48 * 32), ("webp-animated", 3 * 48 * 32)])
def test_the_limit_of_pixels_counts_all_frames(tmp_path: Path, name: str, pixels: int) -> None:
    pinned(tmp_path, WHOLE[name], pixels_max=pixels)
    (tmp_path / "out").unlink()
    assert reason_of(tmp_path, WHOLE[name], pixels_max=pixels - 1) == "too_many_pixels"


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**20, 2**20, 8, 6, 0, 0, 0))
    assert reason_of(tmp_path, HEAD + ihdr + IDAT + IEND) == "too_many_pixels"


def test_a_limit_above_the_one_of_pillow_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert pinned(tmp_path, WHOLE["png"]).width == 48


def test_trouble_with_the_disk_is_not_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(image: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", fails)
    with pytest.raises(OSError, match="Input/output"):
        pinned(tmp_path, WHOLE["jpg"])
