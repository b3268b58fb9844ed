"""How the stand-in for Cloudinary receives a request: its fields and its file in any order, and what the file is.

The file is streamed to disk and its MD5 computed on the way. The parts of a chunked upload are joined here. The meaning
of the fields is in `upload`.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import BodyPartReader, web
from PIL import Image

from comfyledger.sim.cloudinary.answers import Refused
from comfyledger.sim.cloudinary.faults import Visit
from comfyledger.sim.cloudinary.ledger import without_secrets
from comfyledger.sim.cloudinary.names import clean_public_id

PIECE_BYTES: Final = 262_144
CHUNK_BYTES_MIN: Final = 5 * 1024 * 1024
_RANGE: Final = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")
_UPLOAD_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FORMATS: Final = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}
_HEAD_BYTES: Final = 4_096
_IMAGE_SIGNS: Final = {b"glTF": "glb", b"8BPS": "psd", b"%PDF-": "pdf"}
"""How image files begin that Pillow does not read and Cloudinary takes as images."""
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"mif1"})
_AUDIO_SIGNS: Final = {b"fLaC": "flac", b"ID3": "mp3", b"OggS": "ogg"}
_BRANDS: Final = {b"qt  ": "mov", b"M4A ": "m4a"}


class IncomingFile:
    """A file that is being received, with its size and its MD5."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.size = 0
        self._digest = hashlib.md5(usedforsecurity=False)
        self._file = path.open("wb")

    @property
    def md5(self) -> str:
        """Of all bytes so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> None:
        """Append bytes."""
        self.size += len(piece)
        self._digest.update(piece)
        self._file.write(piece)

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()

    def move(self, target: Path) -> None:
        """Move the file to its final path."""
        self.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(target)

    def drop(self) -> None:
        """Delete the file unless it was moved."""
        self.close()
        self.path.unlink(missing_ok=True)


class Form(msgspec.Struct):
    """The fields of a request, lists joined by `,`, and its file."""

    fields: dict[str, str]
    filename: str = ""
    file: IncomingFile | None = None


class Seen(msgspec.Struct, frozen=True):
    """Format and size of a file by its header, in pixels; 0 where it has none or none is read."""

    format: str
    width: int = 0
    height: int = 0


def read_picture(path: Path) -> Seen | None:
    """The header of an image file; None for anything else. A 3D model in one file (GLB) counts as an image."""
    with contextlib.suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError), Image.open(path) as image:
        name = image.format or ""
        return Seen(_FORMATS.get(name, name.lower()), image.width, image.height)
    head = _head_of(path)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        return Seen("heic")
    if b"<svg" in head.lower():
        return Seen("svg")
    return next((Seen(name) for sign, name in _IMAGE_SIGNS.items() if head.startswith(sign)), None)


def read_recording(path: Path) -> Seen | None:
    """The header of a video or audio file, or of an animated GIF; None for anything else, or one without an index."""
    head = _head_of(path)
    if head[4:8] == b"ftyp":
        return Seen(_BRANDS.get(head[8:12], "mp4")) if b"moov" in _boxes_of(path) else None
    if head.startswith(b"\x1aE\xdf\xa3"):
        return Seen("webm" if b"webm" in head[:64] else "mkv")
    if head.startswith(b"RIFF") and head[8:12] in {b"WAVE", b"AVI "}:
        return Seen("wav" if head[8:12] == b"WAVE" else "avi")
    if head.startswith((b"GIF87a", b"GIF89a")):
        return read_picture(path)
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06:
        return Seen("mp3")
    return next((Seen(name) for sign, name in _AUDIO_SIGNS.items() if head.startswith(sign)), None)


def _head_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _boxes_of(path: Path) -> set[bytes]:
    """The kinds of whole box at the top of an MP4 file, as far as it can be followed (ISO/IEC 14496-12, 4.2)."""
    found, left = set[bytes](), path.stat().st_size
    with path.open("rb") as file:
        while len(header := file.read(16)) >= 8:
            size, kind = int.from_bytes(header[:4], "big"), header[4:8]
            size = int.from_bytes(header[8:16], "big") if size == 1 else size
            left -= size
            if size < 8 or left < 0:
                break
            found.add(kind)
            file.seek(size - len(header), 1)
    return found


async def receive(visit: Visit, folder: Path) -> Form:
    """Read a whole request. Raises Cut if a fault strikes in the body, after deleting the file."""
    form = Form({})
    try:
        if visit.request.content_type.startswith("multipart/"):
            await _receive_parts(visit, form, folder)
        else:
            _add(form, {key: str(value) for key, value in (await visit.request.post()).items()})
        _learn(visit, form)
        visit.cut_early()
    except BaseException:
        if form.file:
            form.file.drop()
        raise
    return form


async def _receive_parts(visit: Visit, form: Form, folder: Path) -> None:
    async for part in await visit.request.multipart():
        if not isinstance(part, BodyPartReader):
            raise Refused(400, "Invalid multipart body")
        if part.name == "file" and part.filename is not None:
            _learn(visit, form)
            form.filename = part.filename
            form.file = IncomingFile(folder / str(visit.entry.number))
            await _receive_file(visit, part, form.file)
        else:
            _add(form, {part.name or "": await part.text()})


async def _receive_file(visit: Visit, part: BodyPartReader, incoming: IncomingFile) -> None:
    visit.cut_if("reset_before_body")
    half = (visit.request.content_length or 0) // 2
    while piece := await part.read_chunk(PIECE_BYTES):
        incoming.write(piece)
        visit.entry.received_bytes = incoming.size
        if incoming.size >= half:
            visit.cut_if("reset_mid_body")
    incoming.close()
    visit.entry.md5 = incoming.md5


def _add(form: Form, fields: dict[str, str]) -> None:
    for name, value in fields.items():
        key = name.removesuffix("[]")
        form.fields[key] = f"{form.fields[key]},{value}" if key != name and key in form.fields else value


def _learn(visit: Visit, form: Form) -> None:
    visit.entry.parameters = without_secrets(dict(form.fields))
    public_id = clean_public_id(form.fields.get("public_id", ""))
    if public_id and visit.entry.public_id is None:
        visit.learn(public_id)


class Chunks:
    """Uploads that arrive in several requests, by the id that their client chose.

    As Cloudinary demands it, the first chunk must come first and the last one after all others. A restart forgets them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ranges: dict[str, set[tuple[int, int, int]]] = {}

    def take(self, request: web.Request, form: Form) -> bool:
        """Write a chunk. True if the file is complete, as it is if it was sent in one piece.

        Then `form.file` is the whole file. Raises Refused for an impossible range.
        """
        upload_id = request.headers.get("X-Unique-Upload-Id", "")
        if not upload_id or form.file is None:
            return True
        first, last, total = _range(request.headers.get("Content-Range", ""))
        if not _UPLOAD_ID.fullmatch(upload_id) or last - first + 1 != form.file.size or last >= total:
            raise Refused(400, "Invalid Content-Range")
        if last + 1 < total and form.file.size < CHUNK_BYTES_MIN:
            raise Refused(400, "All parts except EOF-chunk must be larger than 5mb")
        ranges = self._ranges.get(upload_id, set()) | {(first, last, total)}
        is_whole = sum(end - start + 1 for start, end, _ in ranges) == total
        if len({each[2] for each in ranges}) > 1 or min(ranges)[0] or (last + 1 == total and not is_whole):
            raise Refused(400, "Invalid Content-Range")
        self._write(upload_id, first, form.file)
        self._ranges[upload_id] = ranges
        if not is_whole:
            return False
        del self._ranges[upload_id]
        form.file.drop()
        form.file = _whole(self._folder / upload_id, form.file.path)
        return True

    def _write(self, upload_id: str, first: int, incoming: IncomingFile) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / upload_id
        path.touch()
        with path.open("r+b") as file, incoming.path.open("rb") as chunk:
            file.seek(first)
            shutil.copyfileobj(chunk, file, PIECE_BYTES)


def _whole(gathered: Path, target: Path) -> IncomingFile:
    incoming = IncomingFile(target)
    with gathered.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            incoming.write(piece)
    incoming.close()
    gathered.unlink()
    return incoming


def _range(header: str) -> tuple[int, int, int]:
    found = _RANGE.fullmatch(header)
    if found is None:
        raise Refused(400, "Invalid Content-Range")
    first, last, total = (int(group) for group in found.groups())
    return first, last, total
