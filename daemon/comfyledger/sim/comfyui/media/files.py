"""How the stand-in reads a file that a graph loads: its digest, from which follows what is made, or ComfyUI's error."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

from comfyledger.sim.comfyui.folders import sha256_of
from comfyledger.sim.comfyui.pictures import Picture

_INVALID_DATA: Final = 1_094_995_529
_HEAD_BYTES: Final = 12
_VIDEOS: Final = (b"ftyp", b"\x1a\x45\xdf\xa3", b"RIFF", b"OggS", b"GIF8", b"\0\0\x01\xba", b"FLV\x01")
_SOUNDS: Final = (*_VIDEOS, b"fLaC", b"ID3", b"FORM", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1")


class CannotLoad(Exception):
    """A file that is gone or is not what the loader takes. Text and `kind` are ComfyUI's."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(f"{text}\n")
        self.kind = kind

    @classmethod
    def invalid(cls, path: Path) -> CannotLoad:
        """As PyAV, with which ComfyUI decodes, says of what it cannot decode."""
        text = f"[Errno {_INVALID_DATA}] Invalid data found when processing input: '{path}'"
        return cls(text, "av.error.InvalidDataError")

    @classmethod
    def unreadable(cls, error: OSError, path: Path) -> CannotLoad:
        """As PyAV says of what it cannot open."""
        number = error.errno or errno.EIO
        return cls(f"[Errno {number}] {os.strerror(number)}: '{path}'", f"av.error.{type(error).__name__}")


def picture_file(path: Path) -> tuple[Picture, ...]:
    """Pictures of the file's size, as many as it has, that no other bytes give. Raises CannotLoad.

    A PNG that lacks its end is loaded without complaint, as by ComfyUI.
    """
    head, sha256 = _read(path)
    if not head:
        raise CannotLoad.invalid(path)
    try:
        with Image.open(path) as image:
            count = getattr(image, "n_frames", 1)
            return tuple(Picture(image.width, image.height, seed=f"file {sha256}/{k}") for k in range(count))
    except UnidentifiedImageError as error:
        raise CannotLoad(str(error), "PIL.UnidentifiedImageError") from error


def video_file(path: Path) -> str:
    """What tells a video from others. Raises CannotLoad."""
    head, sha256 = _read(path)
    if not _begins(head, _VIDEOS):
        raise CannotLoad.invalid(path)
    return f"file {sha256}"


def sound_file(path: Path) -> str:
    """What tells a sound from others. Raises CannotLoad."""
    head, sha256 = _read(path)
    if not _begins(head, _SOUNDS):
        raise CannotLoad("No audio frames decoded.", "ValueError")
    return f"file {sha256}"


def copied(path: Path) -> bytes:
    """A file as it is. Raises CannotLoad."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotLoad(str(error), type(error).__name__) from error


def _read(path: Path) -> tuple[bytes, str]:
    """The first bytes and the sha256 of a file. Raises CannotLoad."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            file.seek(0)
            sha256 = sha256_of(file)
    except OSError as error:
        raise CannotLoad.unreadable(error, path) from error
    return head, sha256


def _begins(head: bytes, known: tuple[bytes, ...]) -> bool:
    """Whether a file begins as one of these does; the first box of an MP4 follows its length."""
    return head.startswith(known) or head[4:8] == b"ftyp"
