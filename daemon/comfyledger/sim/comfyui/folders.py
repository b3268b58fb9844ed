"""The folders of the stand-in, and how names that clients send lead into them, as `folder_paths.py` of ComfyUI does.

Names are texts of strangers: nothing here leads out of a folder. What is in the input folder is looked up each time,
since people and tests put files there and take them away.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final, Literal

import msgspec

FolderKind = Literal["output", "temp", "input"]
Medium = Literal["image", "video", "audio", "model"]

CHUNK_BYTES: Final = 1 << 20
_KINDS: Final[tuple[FolderKind, ...]] = ("output", "temp", "input")
_MODELS: Final = "3d"
_MODEL_ENDINGS: Final = frozenset({".gltf", ".glb", ".obj", ".fbx", ".stl", ".spz", ".splat", ".ply", ".ksplat"})


class InvalidPath(ValueError):
    """A name that leads out of its folder. The text is ComfyUI's."""

    kind = "ValueError"

    def __init__(self, name: str) -> None:
        super().__init__(f"Invalid file path: {name!r}")


class Folders(msgspec.Struct, frozen=True):
    """Where files of each kind lie. All paths are absolute."""

    output: Path
    temp: Path
    input: Path

    def of(self, kind: str) -> Path | None:
        """The folder that a request calls `kind`; None for another word."""
        return next((getattr(self, known) for known in _KINDS if known == kind), None)

    def annotated(self, name: str) -> Path:
        """Where the file is that a loader calls `name`: a path below the input folder, or below another one whose
        name follows in brackets. Raises InvalidPath.
        """
        kind = next((known for known in _KINDS if name.endswith(f"[{known}]")), None)
        folder = getattr(self, kind or "input")
        inside = name[: -len(f" [{kind}]")] if kind else name
        path = below(folder, inside)
        if path is None or not path.resolve().is_relative_to(folder.resolve()):
            raise InvalidPath(inside)
        return path

    def exists(self, name: str) -> bool:
        """Whether a loader finds `name`. Nothing is the folder itself, and that exists."""
        try:
            return self.annotated(name).exists()
        except ValueError:
            return False


def below(folder: Path, name: str) -> Path | None:
    """The path of `name` in a folder, or the folder; None if it leads out of it."""
    wanted = Path(os.path.abspath(folder / name))
    return wanted if wanted.is_relative_to(folder) else None


def listed(folder: Path, media: Iterable[Medium]) -> list[str]:
    """The names that `/object_info` offers: the top level of the input folder, by what their endings say."""
    wanted = tuple(media)
    if "model" in wanted:
        found = (folder / _MODELS).rglob("*")
        return sorted(path.relative_to(folder).as_posix() for path in found if path.suffix.lower() in _MODEL_ENDINGS)
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if _medium(entry.name) in wanted and entry.is_file())


def sha256_of(file: IO[bytes]) -> str:
    """The sha256 of what is read from here to the end."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _medium(name: str) -> str:
    return (mimetypes.guess_type(name, strict=False)[0] or "").partition("/")[0]
