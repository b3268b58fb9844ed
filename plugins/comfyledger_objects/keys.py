"""Which key an object has in the bucket, and which file a key is. PURE.

A key is the store's prefix, the public id, a dot and the extension. Keys are compared exactly by every server, so a
series is looked for in its folder as it is written; within this folder, names are compared as the rule of series says:
after NFC and casefold.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

from comfyledger.plugin_api import Series

KEY_BYTES_MAX: Final = 1_024
"""The longest key of S3 and Google; of Azure it is as many characters."""
PROBE_FOLDER: Final = ".comfyledger-probe"
"""Below the prefix: objects that are written and deleted to try whether the server refuses to overwrite."""


ASIDE_FOLDER: Final = ".comfyledger-aside"
"""Below the prefix: large files on the way to their key, at servers that have a condition for copies alone."""


def joined(prefix: str, rest: str) -> str:
    return f"{prefix}/{rest}" if prefix and rest else prefix or rest


def is_fit(path: str) -> bool:
    """Whether obstore can ask for a key or folder: no empty part, no part `.` or `..`, no ASCII control character."""
    parts = path.split("/")
    return not {"", ".", ".."} & set(parts) and not re.search("[\x00-\x1f\x7f]", path)


def unfit(path: str) -> str:
    """What is wrong with a path that is not fit."""
    return f"{path!r} cannot be asked for: it has an empty part, a part `.` or `..`, or a control character."


def key_of(prefix: str, public_id: str, extension: str) -> str:
    """The key of a file of ours."""
    return joined(prefix, f"{public_id}.{extension}" if extension else public_id)


def aside_key(prefix: str, key: str, attributes: Mapping[str, str]) -> str:
    """Where a file is on its way to a key: the same at each attempt, and of no other file or key."""
    told = json.dumps([key, sorted(attributes.items())])
    return joined(prefix, f"{ASIDE_FOLDER}/{hashlib.sha256(told.encode()).hexdigest()}")


def name_of(prefix: str, key: str) -> tuple[str, str] | None:
    """Public id and extension of the file with this key; None if it is not below the prefix, or is a probe or
    on its way.

    `key_of` makes the same key of them again.
    """
    if prefix:
        if not key.startswith(f"{prefix}/"):
            return None
        key = key[len(prefix) + 1 :]
    if key.startswith((f"{PROBE_FOLDER}/", f"{ASIDE_FOLDER}/")):
        return None
    folder, slash, leaf = key.rpartition("/")
    stem, _, extension = leaf.rpartition(".")
    return (f"{folder}{slash}{stem}", extension) if stem and extension else (key, "")


def is_place(folder: str, key: str, size_bytes: int) -> bool:
    """Whether an object that is listed below a folder only marks a folder, as some programs write them.

    Their keys end in a slash, which obstore takes away: that of the listed folder is then the folder itself. Of others
    it is believed if they have no bytes and no extension, which no file of ours lacks.
    """
    return key == folder or (not size_bytes and "." not in key.rpartition("/")[2][1:])


def number_in(series: Series) -> Callable[[str], int | None]:
    """Reads the number of a series out of a path below the prefix, which may have an extension."""
    before = f"{series.folder}/{series.stem}" if series.folder else series.stem
    pattern = re.compile(rf"{_folded(before)}([0-9]{{1,15}}){_folded(series.suffix)}(?:\.[^/]*)?")

    def read(path: str) -> int | None:
        found = pattern.fullmatch(unicodedata.normalize("NFC", path).casefold())
        return int(found[1]) if found else None

    return read


def _folded(text: str) -> str:
    return re.escape(unicodedata.normalize("NFC", text).casefold())
