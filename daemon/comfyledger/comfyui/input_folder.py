"""What goes into ComfyUI's input folder and how it is asked for again: the form of an upload, and what answers mean.

Nothing here connects. Measured with ComfyUI 0.29.0: `/upload/image` takes a file of any medium, as long as it is not
larger than `--max-upload-size`, and writes it in place. The ETag of `/view` is made from the time and the size of the
file, so it tells a later change unless the file system's clock has not moved on between the two.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import BinaryIO, Final, NamedTuple

from comfyledger.comfyui.fields import BadFrame, json_object, read_text
from comfyledger.comfyui.transfer import NotReached

UPLOAD_PIECE_BYTES: Final = 1_048_576
SETTLED_S: Final = 3.0
"""So long after its last change the ETag of a file tells the next one. Some file systems count in steps of two seconds,
and `Last-Modified` in steps of one."""
_CONTROL: Final = 1_024
"""Characters of an answer's name that are read."""
_LANE: Final = frozenset({401, 403, 407, 408, 429, 502, 503, 504})
"""Statuses of proxies and logins: every other call would be answered alike."""
_TOO_LARGE: Final = 413


class NotTaken(Exception):
    """ComfyUI did not take a file. `final`: it would not take it the next time either."""

    def __init__(self, code: str, text: str, *, final: bool = False) -> None:
        self.code = code
        self.text = text
        self.final = final
        super().__init__(f"{code}: {text}")


class NotRead(Exception):
    """The file that was to be sent could not be read to its end."""


class InputFile(NamedTuple):
    """A file of the input folder, as it comes."""

    pieces: AsyncIterator[bytes]
    etag: str
    """Tells any later change; empty if none does."""


def parts_of(name: str) -> tuple[str, str]:
    """The subfolder of a name, and the file's own name."""
    subfolder, _, filename = name.rpartition("/")
    return subfolder, filename


class UploadForm:
    """The multipart body of one upload (RFC 7578), of a length that is known before. `name` is plain ASCII, without a
    quote.
    """

    def __init__(self, name: str, size_bytes: int) -> None:
        boundary = secrets.token_hex(16)
        subfolder, filename = parts_of(name)
        fields = {"type": "input", "subfolder": subfolder, "overwrite": "true"}
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        )
        head += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._head, self._tail = head.encode(), f"\r\n--{boundary}--\r\n".encode()
        self._size_bytes = size_bytes
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + size_bytes + len(self._tail)),
        }
        self.broken: NotRead | None = None
        """Why the body could not be made to its end."""

    async def body(self, file: BinaryIO, sent: Callable[[int], None]) -> AsyncIterator[bytes]:
        """The body in pieces. `sent` is told how many bytes of the file have been taken. Raises NotRead, and keeps it
        in `broken`, because the connection reports an error of its own.
        """
        yield self._head
        left = self._size_bytes
        while left:
            piece = await self._read(file, min(left, UPLOAD_PIECE_BYTES))
            yield piece
            left -= len(piece)
            sent(self._size_bytes - left)
        yield self._tail

    async def _read(self, file: BinaryIO, most: int) -> bytes:
        try:
            if piece := await asyncio.to_thread(file.read, most):
                return piece
            self.broken = NotRead("The file is shorter than it was.")
        except OSError as error:
            self.broken = NotRead(error.strerror or "The file cannot be read.")
        raise self.broken


def check_taken(name: str, size_bytes: int, status: int, answer: bytes) -> None:
    """Raises NotTaken unless ComfyUI wrote the file under its name, and NotReached if a proxy answered instead."""
    if status == _TOO_LARGE:
        text = f"ComfyUI takes no file of {size_bytes:,} bytes. Start it with a larger --max-upload-size."
        raise NotTaken("input_too_large", text, final=True)
    if status in _LANE:
        raise NotReached(f"http_{status}", f"ComfyUI answered with HTTP {status} to an upload.", sent=True)
    if status != 200:
        text = f"ComfyUI answered with HTTP {status} to the upload of {name}."
        raise NotTaken(f"http_{status}", text, final=400 <= status < 500)
    said = _written(answer)
    if said != (*parts_of(name), "input"):
        where = "/".join(filter(None, said[:2])) or "nothing"
        raise NotTaken("renamed", f"ComfyUI was to write {name} into its input folder and wrote {where}.", final=True)


def _written(answer: bytes) -> tuple[str, str, str]:
    """Subfolder, name and folder of an answer. Raises NotReached for what is no answer of ComfyUI."""
    try:
        said = json_object(answer)
    except BadFrame as error:
        raise NotReached("unknown_answer", f"/upload/image: {str(error)[:400]}", sent=True) from error
    # On Windows a subfolder may come back with the separators of its paths.
    subfolder = read_text(said, "subfolder", _CONTROL).replace("\\", "/")
    return subfolder, read_text(said, "name", _CONTROL), read_text(said, "type", _CONTROL)


def telling_etag(headers: Mapping[str, str]) -> str:
    """The ETag of an answer, if it tells any later change of the file; else empty."""
    answered, changed = _time(headers.get("Date", "")), _time(headers.get("Last-Modified", ""))
    if answered is None or changed is None or answered - changed < SETTLED_S:
        return ""
    return headers.get("ETag", "")


def _time(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
