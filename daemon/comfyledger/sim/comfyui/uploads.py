"""`/upload/image` of the stand-in: files that clients put into its folders.

Measured with a real ComfyUI 0.29.0 (aiohttp 3.14): without `overwrite` ("true" or "1") a name that is there with other
bytes gets ` (1)`, ` (2)` and so on, and equal bytes are not written again. The answer repeats `subfolder` as it was
sent. A path that leaves the folder is refused with 400, and so is a form without a file; an unknown `type`, a file
without a name and a name that cannot be written are answered with 500; more than 100 MiB with 413. File names are taken
as they are sent: a client that quotes them (`%2F`) finds them quoted.
"""

from __future__ import annotations

import asyncio
import os
from itertools import chain, count
from pathlib import Path
from typing import IO, Final

import msgspec
from aiohttp import web
from multidict import MultiDictProxy

from comfyledger.sim.comfyui.faults import Faults, Ledger, Uploaded, UploadFault
from comfyledger.sim.comfyui.folders import CHUNK_BYTES, Folders, below, sha256_of

_CUTTING: Final = frozenset({"cut", "short"})
_TROUBLE: Final = "500 Internal Server Error\n\nServer got itself in trouble"


class Upload(msgspec.Struct, frozen=True):
    """One file that was sent, and where it goes."""

    folder: Path
    filename: str
    kind: str
    subfolder: str
    overwrite: bool
    content: IO[bytes]

    def path(self, filename: str) -> Path | None:
        """Where it lies under a name; None if that leaves the folder."""
        return below(self.folder, os.path.join(os.path.normpath(self.subfolder), filename))


class Stored(msgspec.Struct, frozen=True):
    """What became of an upload. `written` is False if these bytes were there."""

    name: str
    size_bytes: int
    sha256: str
    written: bool


class Uploads:
    """Takes uploads, one after the other: ComfyUI does nothing else while it writes one."""

    def __init__(self, folders: Folders, faults: Faults, ledger: Ledger) -> None:
        self._folders = folders
        self._faults = faults
        self._ledger = ledger
        self._writing = asyncio.Lock()

    async def post(self, request: web.Request) -> web.Response:
        """Store the file of a form, and say under which name."""
        upload = self._upload(await request.post())
        if isinstance(upload, web.Response):
            return upload
        if upload.path(upload.filename) is None:
            return web.Response(status=400)
        fault = self._faults.take_upload()
        async with self._writing:
            try:
                stored = await asyncio.to_thread(_store, upload, fault)
            except OSError:
                return web.Response(status=500, text=_TROUBLE)
            self._write_down(upload, stored, fault)
        if fault in {"cut", "answer_lost"} and request.transport:
            request.transport.abort()
        if fault == "unanswered":
            await asyncio.Event().wait()
        answer = {"name": stored.name, "subfolder": upload.subfolder, "type": upload.kind}
        return web.json_response(answer)

    def _upload(self, form: MultiDictProxy[str | bytes | bytearray | web.FileField]) -> Upload | web.Response:
        kind, image = str(form.get("type", "input")), form.get("image")
        folder = self._folders.of(kind)
        if folder is None:
            return web.Response(status=500, text=_TROUBLE)
        if not image:
            return web.Response(status=400)
        if not isinstance(image, web.FileField):
            return web.Response(status=500, text=_TROUBLE)
        overwrite = form.get("overwrite") in {"true", "1"}
        return Upload(folder, image.filename, kind, str(form.get("subfolder", "")), overwrite, image.file)

    def _write_down(self, upload: Upload, stored: Stored, fault: UploadFault | None) -> None:
        entry = Uploaded(
            self._ledger.next_order(),
            upload.filename,
            upload.subfolder,
            upload.kind,
            upload.overwrite,
            stored.name,
            stored.size_bytes,
            stored.sha256,
            stored.written,
            fault,
        )
        self._ledger.uploads.append(entry)


def _store(upload: Upload, fault: UploadFault | None) -> Stored:
    """Write the file in place. Raises OSError."""
    upload.content.seek(0)
    sha256 = sha256_of(upload.content)
    size_bytes = upload.content.tell()
    os.makedirs(upload.folder / os.path.normpath(upload.subfolder), exist_ok=True)
    filename, known = upload.filename, False
    if fault == "other_name":
        filename = _numbered(filename, 1)
    elif not upload.overwrite:
        filename, known = _free(upload, sha256)
    path = upload.path(filename)
    if path and not known:
        _write(upload.content, path, size_bytes // 2 if fault in _CUTTING else size_bytes)
    return Stored(filename, size_bytes, sha256, not known)


def _free(upload: Upload, sha256: str) -> tuple[str, bool]:
    """A name under which nothing lies, or these bytes, and whether they do."""
    names = chain([upload.filename], (_numbered(upload.filename, number) for number in count(1)))
    for name in names:
        path = upload.path(name)
        if path is None or not path.exists():
            break
        with path.open("rb") as file:
            if sha256_of(file) == sha256:
                return name, True
    return name, False


def _numbered(filename: str, number: int) -> str:
    stem, ending = os.path.splitext(filename)
    return f"{stem} ({number}){ending}"


def _write(content: IO[bytes], path: Path, size_bytes: int) -> None:
    content.seek(0)
    with path.open("wb") as file:
        while size_bytes and (chunk := content.read(min(size_bytes, CHUNK_BYTES))):
            file.write(chunk)
            size_bytes -= len(chunk)
