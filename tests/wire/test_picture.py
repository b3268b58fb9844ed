"""Laws of taking a graph out of a picture: ComfyUI's own layouts, and files made to harm."""

from __future__ import annotations

import io
import json
import struct
import time
import tracemalloc
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comfyledger.errors import Refused
from comfyledger.sim.comfyui.media.stills import animated_png, animated_webp
from comfyledger.wire.picture import PNG, graph_in_picture
from support.graphs import ROOM, diffusion, refusal

GRAPH = json.dumps(diffusion()).encode()
UI = json.dumps({"nodes": [], "links": []})


def png(*texts: tuple[str, str], zipped: bool = False, international: bool = False) -> bytes:
    info, out = PngInfo(), io.BytesIO()
    for key, text in texts:
        (info.add_itxt if international else info.add_text)(key, text, zip=zipped)
    Image.new("RGB", (4, 4)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def taken(content: bytes, bytes_max: int = ROOM) -> bytes:
    return graph_in_picture(io.BytesIO(content), bytes_max)


def refused(content: bytes, bytes_max: int = ROOM) -> Refused:
    return refusal(taken, content, bytes_max)


@pytest.mark.parametrize("international", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_png_gives_its_graph_however_it_is_stored(zipped: bool, international: bool) -> None:
    text = GRAPH.decode().replace("portrait", "é")
    picture = png(("workflow", UI), ("prompt", text), zipped=zipped, international=international)
    assert taken(picture) == text.encode()


@pytest.mark.parametrize("made", [animated_png, animated_webp])
def test_an_animated_picture_gives_its_graph(made: Any) -> None:
    pictures = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    content = made(pictures, 8.0, {"prompt": diffusion(), "workflow": {"nodes": []}})
    assert json.loads(taken(content)) == diffusion()


def test_a_text_that_inflates_to_much_more_is_refused_before_it_does() -> None:
    bomb = PNG + chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(200 * 2**20), 1))
    tracemalloc.start()
    began = time.process_time()
    try:
        assert refused(bomb).code == "graph_too_large"
        assert time.process_time() - began < 1
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


def test_the_limit_holds_to_the_byte() -> None:
    for zipped in (True, False):
        picture = png(("prompt", GRAPH.decode()), zipped=zipped, international=True)
        assert taken(picture, len(GRAPH)) == GRAPH
    assert refused(png(("prompt", GRAPH.decode()), zipped=True), len(GRAPH) - 1).code == "graph_too_large"


def test_a_chunk_that_says_it_has_gigabytes_is_not_read() -> None:
    head = PNG + struct.pack(">I", 2**32 - 1)
    assert refused(head + b"tEXtprompt\0{}").code == "graph_too_large"
    assert refused(head + b"IDAT").code == "workflow_invalid"


def test_very_many_chunks_are_refused_at_once() -> None:
    began = time.process_time()
    assert "parts" in refused(PNG + chunk(b"abCd", b"") * 1_000_000).message
    assert time.process_time() - began < 3


@pytest.mark.parametrize("keyword", ["prompt", "workflow"])
def test_a_picture_with_two_workflows_is_refused(keyword: str) -> None:
    assert "two workflows" in refused(png((keyword, "{}"), (keyword, "{}"))).message


@pytest.mark.parametrize("zipped", [True, False])
def test_a_picture_without_a_graph_gives_its_document_in_the_ui_format(zipped: bool) -> None:
    assert taken(png(("Title", "x"), ("workflow", UI), zipped=zipped)) == UI.encode()
    animated = animated_webp([Image.new("RGB", (4, 4), color) for color in ("red", "blue")], 8.0, {"workflow": {}})
    assert taken(animated) == b"{}"


def test_a_document_beyond_the_limit_harms_nothing_beside_a_graph() -> None:
    assert taken(png(("workflow", "x" * 500), ("prompt", "{}")), 50) == b"{}"
    assert refused(png(("workflow", "x" * 500)), 50).code == "graph_too_large"


def test_a_picture_without_a_graph_is_refused_with_what_to_do() -> None:
    plain = refused(png(("Title", "x")))
    assert (plain.code, "Export (API)" in plain.hint) == ("workflow_invalid", True)
    assert refused(b"\xff\xd8\xff\xe0JFIF").code == "workflow_invalid"


def test_exif_that_points_to_nowhere_is_refused() -> None:
    entry = struct.pack("<HHII", 0x110, 2, 900, 2**31)
    for exif in (b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff" + entry, b"XX*\0" + bytes(20)):
        body = b"EXIF" + struct.pack("<I", len(exif)) + exif
        assert refused(b"RIFF" + struct.pack("<I", len(body)) + b"WEBP" + body).code == "workflow_invalid"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_broken_picture_gives_its_graph_or_is_refused(data: Any) -> None:
    whole = data.draw(st.sampled_from([png(("prompt", "{}"), zipped=True), png(("prompt", "{}"), international=True)]))
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = whole[:at] + data.draw(st.binary(max_size=12)) + whole[at + data.draw(st.integers(0, 12)) :]
    with suppress(Refused):
        assert isinstance(taken(broken), bytes)
