"""Names of files below the folder of inputs, and what lies under them. Nothing here is asynchronous."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

from comfyledger.core.media import EXTENSION
from comfyledger.workers.spool.checks import Key
from comfyledger.workers.spool.files import discard, new_file

KEPT: Final = re.compile(rf"([0-9a-f]{{64}})\.({EXTENSION})")
SHARD: Final = re.compile(r"[0-9a-f]{2}")
TEMPORARY: Final = re.compile(r"\.(?:[0-9a-f]{64}-)?[0-9]+\.(?:raw|pinned)")


class Found(NamedTuple):
    """A file that has its own name."""

    sha256: str
    extension: str
    size_bytes: int


def key_of(sha256: str) -> Key:
    """The folder of a file, and what its temporary files are called there."""
    return sha256[:2], sha256


def path_of(root: Path, sha256: str, extension: str) -> Path:
    """Raises ValueError."""
    name = f"{sha256}.{extension}"
    if not KEPT.fullmatch(name):
        raise ValueError(f"no file of the inputs: {name!r}")
    return root / key_of(sha256)[0] / name


def names_in(folder: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return os.listdir(folder)
    return []


def found_in(folder: Path) -> list[Found]:
    """The files of one shard."""
    with os.scandir(folder) as entries:
        named = [(kept, entry) for entry in entries if (kept := KEPT.fullmatch(entry.name))]
        return [
            Found(kept[1], kept[2], entry.stat().st_size)
            for kept, entry in named
            if kept[1].startswith(folder.name) and entry.is_file(follow_symlinks=False)
        ]


def discard_all(paths: Sequence[Path]) -> int:
    """How many of them were there."""
    return sum(discard(path) for path in paths)


def discard_each(root: Path, sha256: str) -> list[Path]:
    """Delete a file under whatever extension it is here. Returns what was deleted."""
    folder = root / key_of(sha256)[0]
    paths = [folder / name for name in names_in(folder) if name.startswith(f"{sha256}.") and KEPT.fullmatch(name)]
    return [path for path in paths if discard(path)]


def lay_out(source: BytesIO | Path, pinned: Path) -> None:
    """Put what was received under the name that says which file is being checked."""
    with new_file(pinned) as file:
        if isinstance(source, BytesIO):
            file.write(source.getbuffer())
    if isinstance(source, Path):
        source.replace(pinned)


def size_of(source: BytesIO | Path) -> int:
    return source.stat().st_size if isinstance(source, Path) else source.getbuffer().nbytes
