"""What lies below a folder, page by page in the order of the paths: the part of the folder store that reads them.

Nothing is remembered between pages: the cursor is the path of the last file, so that a page may be asked for after a
restart as well. Memory stays flat: of a folder, however large, only a page of names is held at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from comfyledger.plugin_api import Held, Page

PAGE: Final = 500


def read_page(root: Path, prefix: str, cursor: str, skipped: str) -> Page:
    """The next files below `prefix`, but none whose name begins with `skipped`; symbolic links are not followed.

    The cursor counts below `prefix` and is percent-encoded, since a path may not be UTF-8. Raises OSError.
    """
    folder = root / prefix
    after = os.fsdecode(unquote_to_bytes(cursor)).split("/") if cursor else []
    found = list(islice((file for file in _files(folder, after) if not file.name.startswith(skipped)), PAGE))
    held = []
    for file in found:
        with suppress(FileNotFoundError):
            held.append(_held(root, file))
    last = os.path.relpath(found[-1].path, folder) if len(found) == PAGE else ""
    return Page(tuple(held), quote_from_bytes(os.fsencode(last)))


def _held(root: Path, file: os.DirEntry[str]) -> Held:
    """Names that are not UTF-8 are shown with replacement signs: none of them is ours."""
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
        least = some[-1].name + "\0"  # The very next name: none holds this sign.


def _name_of(entry: os.DirEntry[str]) -> str:
    return entry.name


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, in no order; nothing if there is no such folder."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        yield from found
