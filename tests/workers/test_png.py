"""Laws of the walk through a PNG: its pixels are exactly those that it says, and none of them is held."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from comfyledger.sim.comfyui.view import _bomb
from comfyledger.workers.media import inflating
from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.media.media_file import pin
from comfyledger.workers.media.pictures.png import PASSES, SAMPLES

HEAD = b"\x89PNG\r\n\x1a\n"
FORMS = [(colour, depth, lace) for colour, (_, depths) in SAMPLES.items() for depth in depths for lace in (0, 1)]
every_form = pytest.mark.parametrize(("colour", "depth", "lace"), FORMS)
MIB = 1_048_576


@pytest.fixture(autouse=True, params=["fastest", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed with the extra `speed`, and what is always there."""
    if request.param == "zlib":
        monkeypatch.setattr(inflating, "_fast", zlib)


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def rows(colour: int, depth: int, lace: int, width: int, height: int) -> list[bytes]:
    """The rows as the standard describes them, pixel by pixel: another way than that of the code."""
    bits = SAMPLES[colour][0] * depth
    grids = [(range(width), range(height))]
    if lace:
        grids = [(range(x, width, dx), range(y, height, dy)) for x, y, dx, dy in PASSES]
    sizes = [(len(down), len(across)) for across, down in grids if len(across) and len(down)]
    return [bytes([row % 5]) + bytes(-(-bits * across // 8)) for down, across in sizes for row in range(down)]


def png(pixels: bytes, form: tuple[int, int, int], size: tuple[int, int], *more: bytes, pieces: int = 1) -> bytes:
    colour, depth, lace = form
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, lace))
    palette = chunk(b"PLTE", bytes(3 * 2**depth)) if colour == 3 else b""
    packed = zlib.compress(pixels)
    step = -(-len(packed) // pieces)
    parts = [chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step)]
    return HEAD + ihdr + palette + b"".join(parts) + b"".join(more) + chunk(b"IEND")


def check(content: bytes, pixels_max: int = 10**9) -> bytes:
    sink = io.BytesIO()
    pin(io.BytesIO(content), sink, strip=True, pixels_max=pixels_max)
    return sink.getvalue()


def reason(content: bytes, pixels_max: int = 10**9) -> str:
    with pytest.raises(Broken) as refused:
        check(content, pixels_max)
    return refused.value.reason


@every_form
def test_pixels_are_as_long_as_ihdr_implies(
    colour: int, depth: int, lace: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in [(1, 1), (1, 9), (9, 1), (2, 3), (5, 5), (8, 8), (17, 13)]:
        as_long_as_implied((colour, depth, lace), size, monkeypatch)


def as_long_as_implied(form: tuple[int, int, int], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = b"".join(rows(*form, *size))
    whole = png(pixels, form, size, pieces=3)
    for buffer in (MIB, 1, 2, 7):
        monkeypatch.setattr("comfyledger.workers.media.pictures.png.INFLATED_BYTES", buffer)
        assert check(whole) == whole
        assert reason(png(pixels[:-1], form, size)) == "undecodable"
        assert reason(png(pixels + b"\0", form, size)) == "undecodable"
    with Image.open(io.BytesIO(whole)) as image:
        image.load()


@every_form
def test_every_row_begins_with_a_filter(colour: int, depth: int, lace: int, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (9, 7)
    lines = rows(colour, depth, lace, *size)
    for buffer in (MIB, 1, 3):
        monkeypatch.setattr("comfyledger.workers.media.pictures.png.INFLATED_BYTES", buffer)
        for place, line in enumerate(lines):
            wrong = [*lines[:place], b"\5" + line[1:], *lines[place + 1 :]]
            assert reason(png(b"".join(wrong), (colour, depth, lace), size)) == "undecodable"


GREY = (0, 8, 0)
WHOLE = b"".join(rows(*GREY, 4, 2))


@pytest.mark.parametrize(
    ("ihdr", "form"),
    [
        ((0, 2, 8, 0, 0, 0, 0), "no width"),
        ((2**31, 2, 8, 0, 0, 0, 0), "too wide"),
        ((4, 2, 16, 3, 0, 0, 0), "a palette of 16 bits"),
        ((4, 2, 4, 2, 0, 0, 0), "colours of 4 bits"),
        ((4, 2, 3, 0, 0, 0, 0), "three bits"),
        ((4, 2, 8, 5, 0, 0, 0), "no colour type"),
        ((4, 2, 8, 0, 1, 0, 0), "another compression"),
        ((4, 2, 8, 0, 0, 1, 0), "another filtering"),
        ((4, 2, 8, 0, 0, 0, 2), "another interlace"),
    ],
)
def test_an_ihdr_that_no_picture_has_is_broken(ihdr: tuple[int, ...], form: str) -> None:
    content = HEAD + chunk(b"IHDR", struct.pack(">IIBBBBB", *ihdr)) + chunk(b"IDAT", zlib.compress(WHOLE))
    assert reason(content + chunk(b"IEND"), 2**62) == "structure", form


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (png(WHOLE, GREY, (4, 2), chunk(b"tIME", bytes(7)), chunk(b"IDAT", b"x")), "structure"),
        (png(WHOLE, GREY, (4, 2), chunk(b"IDAT", b"x")), "structure"),
        (png(WHOLE, GREY, (4, 2), chunk(b"PLTE", bytes(3))), "structure"),
        (png(WHOLE, GREY, (4, 2), chunk(b"NeWs", b"x")), "structure"),
        (png(WHOLE, GREY, (4, 2)).replace(b"IEND", b"IeND"), "structure"),
        (png(b"", GREY, (4, 2)), "undecodable"),
        (png(WHOLE, (3, 8, 0), (4, 2)).replace(chunk(b"PLTE", bytes(768)), b""), "structure"),
    ],
)
def test_chunks_stand_where_they_may(content: bytes, why: str) -> None:
    assert reason(content) == why


def test_a_stream_of_pixels_without_its_checksum_is_broken() -> None:
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 2, 8, 0, 0, 0, 0))
    packed = zlib.compress(WHOLE)
    for cut in range(1, len(packed)):
        assert reason(HEAD + ihdr + chunk(b"IDAT", packed[:-cut]) + chunk(b"IEND")) == "undecodable"
    behind = chunk(b"IDAT", packed + b"a text that hides behind the pixels")
    assert reason(HEAD + ihdr + behind + chunk(b"IEND")) == "structure"


def animated(frames: int = 3) -> bytes:
    out = io.BytesIO()
    more = [Image.new("RGB", (16, 16), (at, 9, 9)) for at in range(1, frames)]
    Image.new("RGB", (16, 16)).save(out, "PNG", save_all=True, append_images=more, duration=40)
    return out.getvalue()


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(HEAD)
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def joined(parts: list[tuple[bytes, bytes]]) -> bytes:
    return HEAD + b"".join(chunk(*part) for part in parts)


def test_frames_of_an_animation_are_proved_as_its_picture_is() -> None:
    whole = animated()
    assert check(whole) == whole
    parts = chunks(whole)
    last = max(at for at, (kind, _) in enumerate(parts) if kind == b"fdAT")
    number, pixels = parts[last][1][:4], parts[last][1][4:]
    for wrong in (number + pixels[:-1], number + zlib.compress(b"\0"), b"\0\0\0\x63" + pixels, b"abc"):
        assert reason(joined([*parts[:last], (b"fdAT", wrong), *parts[last + 1 :]])) in {"undecodable", "structure"}
    assert reason(joined(parts[:last] + parts[last + 1 :])) == "undecodable"
    assert reason(joined([part for part in parts if part[0] != b"fcTL"])) == "structure"


def test_what_belongs_to_no_animation_is_dropped_and_not_looked_at() -> None:
    parts = [part for part in chunks(animated()) if part[0] != b"acTL"]
    shown = [part for part in parts if part[0] not in {b"fcTL", b"fdAT"}]
    assert check(joined(parts)) == joined(shown)


def test_the_limit_counts_the_pixels_of_all_frames() -> None:
    whole = animated()
    sizes = [struct.unpack(">II", body[4:12]) for kind, body in chunks(whole) if kind == b"fcTL"]
    total = sum(width * height for width, height in sizes)
    check(whole, total)
    assert reason(whole, total - 1) == "too_many_pixels"


def test_a_file_of_empty_chunks_alone_does_not_hold_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfyledger.workers.media.broken_file.PARTS_MAX", 100)
    assert reason(png(WHOLE, GREY, (4, 2), *[chunk(b"teXt")] * 100)) == "structure"


BOMB = """
import io, sys, zlib
from comfyledger.workers.media.media_file import pin
from comfyledger.workers.media import inflating
from comfyledger.workers.media.broken_file import Broken
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
before = peak()
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "w+b") as sink:
    print(pin(source, sink, strip=True, pixels_max=2**28), peak() - before, sep="|")
"""


def pinned_alone(path: Path) -> tuple[str, int]:
    """The outcome and the memory of a check, in a process of its own."""
    command = [sys.executable, "-c", BOMB, str(path), str(path) + ".out"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    outcome, _, peak = said.rpartition("|")
    return outcome, int(peak)


def test_a_picture_of_a_gigabyte_passes_through_a_buffer(tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(_bomb())
    assert (tmp_path / "bomb").stat().st_size < MIB
    outcome, peak = pinned_alone(tmp_path / "bomb")
    assert "width=16384" in outcome
    assert "checked='whole'" in outcome
    assert peak < 16 * MIB


@pytest.mark.parametrize(
    ("kind", "how", "checked"),
    [
        ("JPEG", {}, "whole"),
        ("JPEG", {"progressive": True}, "structure"),
        ("WEBP", {"method": 0, "quality": 1}, "structure"),
    ],
)
def test_what_would_take_too_much_to_decode_is_checked_by_its_structure(
    tmp_path: Path, kind: str, how: dict[str, object], checked: str
) -> None:
    path = tmp_path / "bomb"
    Image.new("L", (6_000, 6_000), 77).save(path, kind, **how)
    outcome, peak = pinned_alone(path)
    assert f"checked='{checked}'" in outcome
    assert "width=6000" in outcome
    assert peak < 64 * MIB
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Broken), path.open("rb") as cut:
        pin(cut, io.BytesIO(), strip=True, pixels_max=10**9)


def test_no_limit_of_pillow_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_TEXT_CHUNK", "MAX_TEXT_MEMORY"):
        monkeypatch.setattr(PngImagePlugin, name, 1)
    check(png(WHOLE, GREY, (4, 2), chunk(b"zTXt", b"a\0\0" + zlib.compress(b"long" * 99))))
