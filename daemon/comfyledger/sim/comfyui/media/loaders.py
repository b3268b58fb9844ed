"""The node classes of the stand-in that load files of the input folder. What is made from a file follows its bytes.

Names, inputs, marks and refusals are those of ComfyUI 0.29.0, as are the errors of files that are gone or broken when
they are loaded. As there, a PNG that lacks its end is loaded without complaint.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any, Final

from PIL import Image, UnidentifiedImageError

from comfyledger.sim.comfyui.nodes import FilesOf, Inputs, Loads, NodeClass, Surroundings
from comfyledger.sim.comfyui.pictures import Picture

_IMAGES: Final = FilesOf(("image",))
_IMAGE: Final = Loads("image", "Invalid image file", "sha256")
_INVALID_DATA: Final = 1_094_995_529
_UPLOADED: Final = {"image_upload": True}


class CannotLoad(Exception):
    """A file that is gone or is not what the loader takes. Text and `kind` are ComfyUI's."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(f"{text}\n")
        self.kind = kind

    @classmethod
    def for_reason(cls, number: int, path: Path) -> CannotLoad:
        """As the library that decodes for ComfyUI says it."""
        if number == _INVALID_DATA:
            text, kind = "Invalid data found when processing input", "InvalidDataError"
        else:
            text, kind = os.strerror(number), type(OSError(number, "")).__name__
        return cls(f"[Errno {number}] {text}: '{path}'", f"av.error.{kind}")


def _bytes_of(path: Path) -> str:
    """The sha256 of a file. Raises CannotLoad."""
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise CannotLoad.for_reason(_INVALID_DATA, path)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CannotLoad.for_reason(error.errno or errno.EIO, path) from error


def _picture(name: str, around: Surroundings) -> Picture:
    """A picture of the size of the file's, that no other file gives."""
    path = around.folders.annotated(name)
    sha256 = _bytes_of(path)
    try:
        with Image.open(path) as image:
            return Picture(image.width, image.height, seed=f"file {sha256}")
    except UnidentifiedImageError as error:
        raise CannotLoad(str(error), "PIL.UnidentifiedImageError") from error


def _mask(picture: Picture, channel: str) -> Picture:
    return Picture(picture.width, picture.height, seed=f"{channel} of {picture.seed}")


def _load_image(inputs: Inputs, around: Surroundings) -> tuple[Any, ...]:
    picture = _picture(inputs["image"], around)
    return (picture,), (_mask(picture, "alpha"),)


def _load_mask(inputs: Inputs, around: Surroundings) -> tuple[Any, ...]:
    return ((_mask(_picture(inputs["image"], around), inputs["channel"]),),)


CLASSES: Final = (
    NodeClass("LoadImage", {"image": [_IMAGES, _UPLOADED]}, ("IMAGE", "MASK"), _load_image, loads=_IMAGE),
    NodeClass(
        "LoadImageMask",
        {"image": [_IMAGES, _UPLOADED], "channel": [["alpha", "red", "green", "blue"]]},
        ("MASK",),
        _load_mask,
        loads=_IMAGE,
    ),
)
