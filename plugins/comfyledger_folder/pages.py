"""What lies below a folder, page by page in the order of the paths: the part of the folder store that reads them.

Nothing is remembered between pages: the cursor is the path of the last file, so that a page may be asked for after a
restart as well. Memory stays flat: of a folder, however large, only a page of names is held at a time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from comfyledger.plugin_api import Held, Page

PAGE: Final = 500
IS_UTF8: Final = sys.getfilesystemencoding().lower() in {"utf-8", "utf8"}


def on_disk(text: str) -> str:
    """The string for which Python writes the name as UTF-8 on the disk, whatever the locale."""
    return text if IS_UTF8 else os.fsdecode(text.encode(errors="surrogateescape"))


def as_text(name: str) -> str:
    """The text of a name as `os` returns it: the inverse of `on_disk`."""
    return name if IS_UTF8 else os.fsencode(name).decode(errors="surrogateescape")


def read_page(root: Path, folders: Sequence[Path], prefix: str, cursor: str, skipped: str) -> Page:
    """The next files below some folders, but none whose name begins with `skipped`; links are not followed.

    The cursor is the path of the last file, percent-encoded, since it may not be UTF-8: below the root if it begins
    with a slash; below `prefix`, as earlier releases wrote it, if not. Raises OSError.
    """
    last = os.fsdecode(unquote_to_bytes(cursor))
    after = last[1:] if last[:1] == "/" else f"{prefix.strip('/')}/{last}".lstrip("/") if last else ""
    files = _all_files(root, folders, after.split("/") if after else [])
    found = list(islice((file for file in files if not file.name.startswith(skipped)), PAGE))
    held = []
    for file in found:
        with suppress(FileNotFoundError):
            held.append(_held(root, file))
    ended = f"/{os.path.relpath(found[-1].path, root)}" if len(found) == PAGE else ""
    return Page(tuple(held), quote_from_bytes(os.fsencode(ended)))


def _all_files(root: Path, folders: Sequence[Path], after: Sequence[str]) -> Iterator[os.DirEntry[str]]:
    """The files below these folders, none of which lies in another, in the order of their paths."""
    for parts, folder in sorted((folder.relative_to(root).parts, folder) for folder in folders):
        if tuple(after[: len(parts)]) == parts:
            yield from _files(folder, after[len(parts) :])
        elif parts > tuple(after):
            yield from _files(folder, [])


def _held(root: Path, file: os.DirEntry[str]) -> Held:
    """Names that are not UTF-8 are shown with replacement characters; none of them is ours."""
    path = os.fsencode(os.path.relpath(file.path, root)).decode(errors="replace")
    public_id, extension = os.path.splitext(path)
    return Held(public_id, extension[1:], file.stat(follow_symlinks=False).st_size)


def _files(folder: Path, after: Sequence[str]) -> Iterator[os.DirEntry[str]]:
    """The files below a folder, from the first one after the path `after`, in parts."""
    waiting = [(_in_order(folder, "".join(after[:1])), after)]
    while waiting:
        some, passed = waiting[-1]
        entry = next(some, None)
        if entry is None:
            waiting.pop()
        elif entry.is_dir(follow_symlinks=False):
            rest = passed[1:] if passed[:1] == [entry.name] else []
            waiting.append((_in_order(Path(entry.path), "".join(rest[:1])), rest))
        elif entry.is_file(follow_symlinks=False) and passed != [entry.name]:
            yield entry


def _in_order(folder: Path, least: str) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder by name, from `least` on; the folder is read again for each page of them."""
    while some := nsmallest(PAGE, (entry for entry in entries(folder) if entry.name >= least), key=_name_of):
        yield from some
        least = some[-1].name + "\0"  # The very next name: no name holds this character.


def _name_of(entry: os.DirEntry[str]) -> str:
    return entry.name


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder, in no order; none if there is no such folder. Raises OSError if it cannot be read."""
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        yield from found
