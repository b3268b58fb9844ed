"""Takes the workflow out of a picture that ComfyUI made. It reads from an open file and knows nothing else.

It stands beside the wire because clients use it as well: a picture is too large for a request, its graph is not.

ComfyUI writes the graph as JSON: into a text chunk of a PNG (`tEXt`, or `comf` in an animated one) with the keyword
`prompt`, and into Exif of a WebP as a text that begins with `prompt:`. The document of its page goes the same way, with
the keyword `workflow`. (`nodes.py` and `nodes_images.py` of ComfyUI; PNG 1.2, section 4.2.3; WebP container; TIFF 6.0,
section 2)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from comfyledger.errors import Refused

EXPORT_HINT: Final = "Export it in ComfyUI: Workflow > Export (API)."
PNG: Final = b"\x89PNG\r\n\x1a\n"
HEAD_BYTES: Final = 12
"""So much of a file tells whether it is a picture."""
CHUNKS_MAX: Final = 100_000
"""More than the largest picture of ComfyUI has, whose chunks are of 64 KiB."""
KEYWORD_BYTES_MAX: Final = 80
EXIF_ROOM_BYTES: Final = 65_536
"""What an Exif block may have besides the graph and the UI format, which is mostly larger than the graph."""
GRAPH: Final = b"prompt"
DOCUMENT: Final = b"workflow"
ASCII: Final = 2
"""The type of a text in TIFF."""
_TEXTS: Final = frozenset({b"tEXt", b"zTXt", b"iTXt", b"comf"})
_HINT: Final = f"Use the PNG or WebP as ComfyUI saved it: many programs remove what is not shown. Or: {EXPORT_HINT}"


def is_picture(head: bytes) -> bool:
    """Whether a file that begins so may hold a graph. `head`: the first `HEAD_BYTES`."""
    return head.startswith(PNG) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP")


def graph_in_picture(file: BinaryIO, bytes_max: int) -> bytes:
    """The JSON of the graph in a picture, or of its document in the UI format if that is all it holds.

    Pixels are passed over, and no text is inflated beyond `bytes_max`.

    Raises Refused: graph_too_large; workflow_invalid if there is neither, if there are two, or if the file is no
    picture.
    """
    head = file.read(HEAD_BYTES)
    if not is_picture(head):
        raise _invalid("The file is no PNG and no WebP.")
    read = _texts_of_png if head.startswith(PNG) else _texts_of_webp
    try:
        for keyword in (GRAPH, DOCUMENT):
            file.seek(len(PNG) if head.startswith(PNG) else HEAD_BYTES)
            if (text := _only(read(file, keyword, bytes_max))) is not None:
                return text
    except (struct.error, zlib.error, ValueError, LookupError) as fault:
        raise _invalid("The texts in the picture cannot be read.") from fault
    raise _invalid("There is no workflow in the picture.")


def _only(texts: Iterator[bytes]) -> bytes | None:
    found = next(texts, None)
    if next(texts, None) is not None:
        raise _invalid("There are two workflows in the picture.")
    return found


def _invalid(message: str) -> Refused:
    return Refused("workflow_invalid", message, hint=_HINT)


def _check_size(size_bytes: int, bytes_max: int) -> None:
    if size_bytes > bytes_max:
        text = f"The workflow in the picture has more than {bytes_max:,} bytes."
        hint = "Remove nodes that are not needed, or raise [limits] graph_bytes_max."
        raise Refused("graph_too_large", text, hint=hint)


def _chunks(file: BinaryIO, layout: str, after_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each chunk, with the file at its content. A file that was cut off ends there."""
    for _ in range(CHUNKS_MAX):
        head = file.read(8)
        if len(head) < 8:
            return
        first, second = struct.unpack(layout, head)
        kind, length = (second, first) if isinstance(second, bytes) else (first, second)
        begins = file.tell()
        yield kind, length
        file.seek(begins + length + after_bytes + (length % 2 if not after_bytes else 0))
    raise _invalid(f"The picture has more than {CHUNKS_MAX:,} parts.")


# ---- PNG


def _texts_of_png(file: BinaryIO, wanted: bytes, bytes_max: int) -> Iterator[bytes]:
    """The texts under a keyword. Of the others the keyword is enough."""
    for kind, length in _chunks(file, ">I4s", after_bytes=4):
        if kind == b"IEND":
            return
        if kind not in _TEXTS:
            continue
        begins = file.tell()
        keyword = file.read(min(length, KEYWORD_BYTES_MAX)).partition(b"\0")[0]
        if keyword == wanted:
            file.seek(begins + len(keyword) + 1)
            yield _png_text(kind, file, length - len(keyword) - 1, bytes_max)


def _png_text(kind: bytes, file: BinaryIO, length: int, bytes_max: int) -> bytes:
    """The UTF-8 text of a chunk behind its keyword."""
    _check_size(length, bytes_max + KEYWORD_BYTES_MAX)
    body = file.read(max(length, 0))
    if kind == b"zTXt":
        return _inflated(body[1:], bytes_max).decode("latin-1").encode()
    if kind == b"iTXt":
        _, _, text = body[2:].split(b"\0", 2)
        return _inflated(text, bytes_max) if body[0] else text
    return body.decode("latin-1").encode() if kind == b"tEXt" else body


def _inflated(packed: bytes, bytes_max: int) -> bytes:
    text = zlib.decompressobj().decompress(packed, bytes_max + 1)
    _check_size(len(text), bytes_max)
    return text


# ---- WebP


def _texts_of_webp(file: BinaryIO, wanted: bytes, bytes_max: int) -> Iterator[bytes]:
    for kind, length in _chunks(file, "<4sI", after_bytes=0):
        if kind == b"EXIF":
            _check_size(length, 8 * bytes_max + EXIF_ROOM_BYTES)
            yield from _texts_of_exif(file.read(length).removeprefix(b"Exif\0\0"), wanted, bytes_max)


def _texts_of_exif(block: bytes, wanted: bytes, bytes_max: int) -> Iterator[bytes]:
    """The text of each `wanted:text` in the first directory."""
    order = {b"II*\0": "<", b"MM\0*": ">"}[block[:4]]
    (at,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, at)
    for place in range(count):
        _, kind, length, begins = struct.unpack_from(f"{order}HHII", block, at + 2 + 12 * place)
        if kind != ASCII or length <= 4:
            continue
        keyword = block[begins : begins + min(length, KEYWORD_BYTES_MAX)].partition(b":")[0]
        if keyword == wanted:
            _check_size(length, bytes_max + KEYWORD_BYTES_MAX)
            yield block[begins + len(keyword) + 1 : begins + length].rstrip(b"\0")
