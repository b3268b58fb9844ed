"""What Cloudinary does with names: it cleans them silently, refuses some, and reads context and tags out of text.

Pure functions over text. No document lists every character that Cloudinary replaces silently. The set here is a
sample of them, enough to test a client that compares the answer with what it sent.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

NAME_CHARACTERS_MAX: Final = 255
_FORBIDDEN: Final = re.compile(r"[?&#\\%<>+]")
_REPLACED: Final = re.compile(r'[\x00-\x1f\x7f"*|^]')
_VERSION_FOLDER: Final = re.compile(r"v\d+")
_TRUE: Final = frozenset({"1", "true"})


def clean_public_id(asked: str) -> str:
    """Spaces and slashes at both ends dropped, other characters replaced by `_`."""
    return _REPLACED.sub("_", asked.strip(" /"))


def clean_file_stem(stem: str) -> str:
    """A file's name as a public id: characters that an id must not contain become `_`."""
    return _FORBIDDEN.sub("_", clean_public_id(stem)).replace(" ", "_")


def refuse_public_id(public_id: str) -> str | None:
    """The error text for a cleaned name that Cloudinary refuses, else None."""
    folders = public_id.split("/")[:-1]
    is_bad = (
        not 1 <= len(public_id) <= NAME_CHARACTERS_MAX
        or _FORBIDDEN.search(public_id)
        or any(_VERSION_FOLDER.fullmatch(folder) for folder in folders)
    )
    return f"public_id ({public_id}) is invalid" if is_bad else None


def is_true(value: str | None, default: bool = False) -> bool:
    """A boolean in either spelling: the official package sends `1` and `0`, others `true` and `false`."""
    return default if value is None or value == "" else value.lower() in _TRUE


def parse_context(text: str) -> dict[str, str]:
    r"""`a=1|b=2` as pairs; `\=` and `\|` are literal."""
    pairs = (re.split(r"(?<!\\)=", pair, maxsplit=1) for pair in re.split(r"(?<!\\)\|", text) if pair)
    return {_unescape(pair[0]): _unescape(pair[1]) for pair in pairs if len(pair) == 2}


def parse_tags(text: str) -> list[str]:
    """`a,b` as a list, each tag once."""
    return list(dict.fromkeys(tag.strip() for tag in text.split(",") if tag.strip()))


def stem_of(filename: str) -> str:
    """The file's name without its folders and its extension."""
    return PurePosixPath(filename.replace("\\", "/")).stem


def extension_of(filename: str) -> str:
    """The file's extension in lower case, without the dot."""
    return PurePosixPath(filename.replace("\\", "/")).suffix.lstrip(".").lower()


def folder_of(public_id: str) -> str:
    """Everything before the last slash; empty for a name in the root."""
    return public_id.rpartition("/")[0]


def leaf_of(public_id: str) -> str:
    """Everything after the last slash."""
    return public_id.rpartition("/")[2]


def _unescape(text: str) -> str:
    return re.sub(r"\\([=|])", r"\1", text)
