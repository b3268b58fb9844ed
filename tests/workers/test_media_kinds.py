"""Files of every medium: whole ones pass as they are, no cut one does, and no metadata is left where it is stripped."""

from __future__ import annotations

import io
import json
import random
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyledger.core.media import PROVED
from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.media.media_file import ProvedFile, pin
from support.hidden_texts import hides
from support.media_builders import (
    PROMPT,
    SECRET,
    WHOLE,
    box,
    crc,
    element,
    flac,
    glb,
    matroska,
    mp3,
    ogg,
    ogg_page,
    wav,
)
from support.picture_builders import PICTURES, attribute, exr_file, exr_header, exr_rows

FILES = {name: build() for name, build in {**WHOLE, **PICTURES}.items()}
SIZES = {
    **dict.fromkeys(("png", "gif"), (24, 16)),
    **dict.fromkeys(("mp4", "m4a", "mov", "webm", "mkv", "avi", "ogv", "avif", "heic"), (64, 48)),
    "exr": (8, 5),
    "tiff": (12, 8),
}
PIXELS_PROVED = {"png", "gif"}
BY_NAME = {"svg", "latent", "safetensors"}
"""Kinds that only a name tells from others."""


def extension_of(name: str) -> str:
    return name.partition(",")[0]


def file_name(name: str) -> str:
    """The name that the file has at ComfyUI; empty where its bytes say enough."""
    return f"x_00001_.{extension_of(name)}" if extension_of(name) in BY_NAME else ""


def taken(content: bytes, *, strip: bool, name: str = "") -> tuple[ProvedFile, bytes]:
    sink = io.BytesIO()
    found = pin(io.BytesIO(content), sink, strip=strip, pixels_max=10**6, named=file_name(name))
    return found, sink.getvalue()


def reason(content: bytes, name: str = "") -> str:
    with pytest.raises(Broken) as broken:
        taken(content, strip=True, name=name)
    return broken.value.reason


def test_every_kind_is_built_here() -> None:
    assert {extension_of(name) for name in FILES} == set(PROVED) - {"jpg", "webp"} | {"jxl"}


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_is_kept_byte_for_byte(name: str) -> None:
    found, kept = taken(FILES[name], strip=False, name=name)
    extension = extension_of(name)
    assert (found.extension, found.size_bytes) == (extension, len(FILES[name]))
    assert (found.width, found.height) == SIZES.get(extension, (0, 0))
    assert found.checked == ("whole" if extension in PIXELS_PROVED else "structure")
    assert kept == FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_no_secret_is_left_and_nothing_else_is_touched(name: str) -> None:
    assert SECRET in FILES[name]
    _, kept = taken(FILES[name], strip=True, name=name)
    assert not hides(kept, SECRET)
    assert b"api_key" not in kept
    assert taken(kept, strip=True, name=name)[1] == kept, "a stripped file is whole, and stays as it is"
    assert name == "png" or len(kept) == len(FILES[name]), "no offset moves"


UNSEEN = {
    "mp3": [FILES["mp3"].rindex(b"TAG")],
    "mp4, in fragments": [FILES["mp4, in fragments"].rindex(b"moof") - 4],
    "avi": [FILES["avi"].rindex(b"RIFF")],
}
"""Where a cut cannot be told: before the last tag of an MP3, and between parts that nothing counts."""


@pytest.mark.parametrize("name", FILES)
def test_no_cut_file_passes(name: str) -> None:
    whole = FILES[name]
    for length in set(range(len(whole))) - set(UNSEEN.get(name, ())):
        found = reason(whole[:length], name)
        assert found in {"truncated", "structure", "empty", "unknown_kind", "undecodable"}, length


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("tiff")])
def test_nothing_may_follow_a_whole_file(name: str) -> None:
    assert reason(FILES[name] + b"\x01more", name) in {"trailing", "truncated", "structure"}


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_whole_or_broken_and_nothing_else(name: str) -> None:
    random_bytes = random.Random(name)
    for _ in range(300):
        changed = bytearray(FILES[name])
        for _ in range(random_bytes.randint(1, 4)):
            changed[random_bytes.randrange(len(changed))] = random_bytes.randrange(256)
        with suppress(Broken):
            taken(bytes(changed), strip=True, name=name)


@given(st.sampled_from(sorted(FILES)), st.integers(0, 40), st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_after_a_beginning_are_whole_or_broken(name: str, length: int, rest: bytes) -> None:
    with suppress(Broken):
        taken(FILES[name][:length] + rest, strip=True, name=name)


# ---- what no table knows


def kept_as(content: bytes, named: str) -> tuple[str, str]:
    sink = io.BytesIO()
    found = pin(io.BytesIO(content), sink, strip=True, pixels_max=10**6, named=named)
    if found.checked == "length":
        assert (sink.getvalue(), found.width, found.height) == (content, 0, 0)
    return found.extension, found.checked


@pytest.mark.parametrize(
    ("named", "extension"),
    [
        ("x_00001_.abc", "abc"),
        ("x.STL", "stl"),
        ("x.dng", "dng"),
        ("x", "bin"),
        ("x.extension", "bin"),
        ("../.", "bin"),
    ],
)
def test_a_file_that_no_table_knows_is_kept_as_it_is(named: str, extension: str) -> None:
    assert kept_as(b"anything \0 at all", named) == (extension, "length")


@pytest.mark.parametrize("name", sorted(set(FILES) - BY_NAME))
def test_bytes_of_a_known_kind_are_proved_whatever_the_name(name: str) -> None:
    extension = extension_of(name)
    assert kept_as(FILES[name], "x.png") == (extension, "whole" if extension in PIXELS_PROVED else "structure")


@pytest.mark.parametrize("extension", PROVED)
def test_a_file_with_the_name_of_a_kind_must_be_of_one(extension: str) -> None:
    with pytest.raises(Broken) as broken:
        kept_as(bytes(100), f"x_00001_.{extension}")
    assert broken.value.reason == ("structure" if extension == "svg" else "unknown_kind")


@pytest.mark.parametrize("text", ["The free world", "One skip", "Far wide", "\ufeffin UTF-16"])
def test_a_text_is_not_taken_for_a_movie_or_a_song(text: str) -> None:
    content = text.encode("utf-16-le" if text[0] == "\ufeff" else "ascii")
    assert kept_as(content, "x.txt") == ("txt", "length")


def test_a_bare_codestream_of_jpeg_xl_is_known_by_its_length_alone() -> None:
    assert kept_as(b"\xff\x0a and more", "x.jxl") == ("jxl", "length")


def test_without_a_name_only_known_kinds_are_kept() -> None:
    with pytest.raises(Broken) as broken:
        kept_as(b"anything at all", "")
    assert broken.value.reason == "unknown_kind"


# ---- one format each


def test_what_nothing_in_a_tiff_leads_to_is_zeroed() -> None:
    """Writers leave remains behind the last directory, so they are no sign of a broken file."""
    whole = FILES["tiff"]
    for more in (b"x", SECRET, bytes(7)):
        assert taken(whole + more, strip=True)[1] == taken(whole, strip=True)[1] + bytes(len(more))


def test_a_tiff_that_was_not_finished_is_cut() -> None:
    for tag in (273, 279):
        changed = bytearray(FILES["tiff, big"])
        at = changed.index(struct.pack("<HHQ", tag, 4, 2)) + 12
        changed[at : at + 4] = bytes(4)
        assert reason(bytes(changed)) == "truncated"


@pytest.mark.parametrize("number", range(7))
def test_an_exr_with_a_chunk_that_was_not_written_is_cut(number: int) -> None:
    """OpenEXR fills its table in at the end. The table of this file has seven chunks."""
    changed = bytearray(FILES["exr, of tiles"])
    at = changed.index(struct.pack("<5i", 0, 0, 0, 0, 16)) - 8 * (7 - number)
    changed[at : at + 8] = bytes(8)
    assert reason(bytes(changed)) == "truncated"


def test_the_attributes_of_an_exr_keep_their_form() -> None:
    texts = struct.pack("<I", 4) + b"abcd" + struct.pack("<I", len(SECRET)) + SECRET
    whole = exr_file(0, exr_header(attribute(b"tags", b"stringvector", texts)), exr_rows())
    _, kept = taken(whole, strip=True)
    assert struct.pack("<I", 4) + b"    " + struct.pack("<I", len(SECRET)) + b" " * len(SECRET) in kept
    assert b"preview\0preview\0" + struct.pack("<3I", 8 + len(SECRET), 1, 5) + bytes(len(SECRET)) in kept
    cut = attribute(b"tags", b"stringvector", texts[:-1])
    assert reason(exr_file(0, exr_header(cut), exr_rows())) == "structure"


def test_a_packet_without_a_head_ends_the_texts_of_flac_in_ogg() -> None:
    first, *_ = FILES["ogg, of flac"].split(b"OggS")[1:]
    for packet in (b"", b"\4", b"\4\0\0"):
        taken(b"OggS" + first + ogg_page(packet, 1, 0) + ogg_page(b"", 2, 4), strip=True)


def test_pieces_of_a_picture_that_take_no_bytes_are_bounded() -> None:
    table = b"\1\0\0\0" + bytes(2) + struct.pack(">H", 40) + struct.pack(">4H", 1, 0, 0, 65_535) * 40
    infos = box(b"iinf", bytes(4), b"\0\1", box(b"infe", b"\2\0\0\0", struct.pack(">2H4s", 1, 0, b"av01"), b"\0"))
    content = box(b"ftyp", b"avif", bytes(4)) + box(b"meta", bytes(4), infos, box(b"iloc", table))
    with pytest.raises(Broken, match="more than 65536 pieces"):
        taken(content, strip=True)


def test_a_tag_of_ape_is_emptied_and_is_no_sound() -> None:
    item = struct.pack("<2I", len(PROMPT), 0) + b"prompt\0" + PROMPT
    ends = [b"APETAGEX" + struct.pack("<4I8x", 2_000, len(item) + 32, 1, flags) for flags in (0xA0000000, 0x80000000)]
    sound, id3 = FILES["mp3"][:-128], FILES["mp3"][-128:]
    for tag in (ends[0] + item + ends[1], item + ends[1].replace(struct.pack("<I", 0x80000000), bytes(4))):
        for content in (sound + tag, sound + tag + id3, sound + id3 + tag):
            _, kept = taken(content, strip=True)
            assert not hides(kept, SECRET)
            assert taken(kept, strip=True)[1] == kept
        assert reason(sound + b"no sound" + tag) in {"structure", "truncated"}


def test_a_movie_whose_index_leads_out_of_its_content_is_cut() -> None:
    whole = FILES["mp4, index first"]
    assert reason(whole.replace(b"stco\0\0\0\0\0\0\0\x02\0\0", b"stco\0\0\0\0\0\0\0\x02\x01\0")) == "truncated"


def test_a_movie_with_less_content_than_samples_is_cut() -> None:
    assert reason(FILES["mp4"].replace(b"\0\0\0\x19\0\0\0\x19", b"\0\0\0\x19\0\0\x19\x19")) == "truncated"


def test_a_matroska_file_that_was_not_closed_is_cut() -> None:
    assert reason(matroska(closed=False)) == "truncated"


def test_a_checksum_beside_a_masked_title_is_masked_as_well() -> None:
    _, kept = taken(FILES["webm"], strip=True)
    assert element(0xBF, bytes(4)) in FILES["webm"]
    assert b"\xbf" not in kept[: kept.index(b"\x16\x54\xae\x6b")]


def test_elements_that_are_nested_without_end_are_refused() -> None:
    nested = b""
    for _ in range(50):
        nested = element(0x1549A966, nested)
    whole = matroska()
    content = whole[whole.index(b"\x18\x53\x80\x67") + 12 :] + nested
    head = whole[: whole.index(b"\x18\x53\x80\x67")]
    assert reason(head + b"\x18\x53\x80\x67" + (1 << 56 | len(content)).to_bytes(8, "big") + content) == "structure"


def test_a_flac_without_its_last_frame_is_cut() -> None:
    last = flac().rindex(b"\xff\xf8")
    assert reason(flac()[:last]) == "truncated"


def test_a_flac_with_a_changed_last_frame_is_cut() -> None:
    changed = bytearray(flac())
    changed[-3] ^= 1
    assert reason(bytes(changed)) == "truncated"


def test_an_mp3_with_fewer_frames_than_it_says_is_cut() -> None:
    frame = b"\xff\xfb\x90\xc0" + bytes(413)
    assert reason(mp3().replace(frame, b"", 1)) == "truncated"


def test_a_wav_keeps_its_sound_and_format() -> None:
    _, kept = taken(wav(), strip=True)
    assert kept[kept.index(b"fmt ") :] == wav()[wav().index(b"fmt ") :]
    assert b"JUNK" in kept


def test_an_ogg_keeps_its_streams_and_right_checksums() -> None:
    _, kept = taken(ogg(), strip=True)
    pages = [b"OggS" + page for page in kept.split(b"OggS")[1:]]
    for page in pages:
        assert crc(page[:22] + bytes(4) + page[26:], 0x04C11DB7, 32)[::-1] == page[22:26]
    assert b" " * len(PROMPT) in kept


def test_an_ogg_without_one_of_its_pages_is_broken() -> None:
    pages = [b"OggS" + page for page in ogg().split(b"OggS")[1:]]
    assert reason(pages[0] + pages[1] + pages[3]) == "structure"
    assert reason(b"".join(pages[:3])) == "truncated"
    assert reason(b"".join(pages) + ogg_page(b"", 4, 0)[:-1]) == "truncated"


def test_a_glb_is_described_as_before_but_for_its_extras() -> None:
    _, kept = taken(glb(), strip=True)
    length = int.from_bytes(kept[12:16], "little")
    described = json.loads(kept[20 : 20 + length])
    assert described == {
        "asset": {"version": "2.0", "extras": {}},
        "meshes": [{"name": "extras", "extras": {}}, {"extras": 0}],
    }
    assert kept[20 + length :] == glb()[20 + length :]


def test_a_gif_keeps_its_pictures_and_its_loop() -> None:
    _, kept = taken(FILES["gif"], strip=True)
    assert b"NETSCAPE2.0" in kept
    assert kept[:13] == FILES["gif"][:13]
