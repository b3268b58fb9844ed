"""Which resource type of Cloudinary a file has, and under which public id the account keeps it. PURE.

Public ids are separate for each type: image, video (audio too) and raw. Raw assets carry their extension in the public
id; the others have it as their format. So each type is asked on its own, and raw names are parted here.

GLB files could be images too. But then an account delivers them only if its owner allows PDF and ZIP files, so models
are raw. Pictures and recordings whose formats Cloudinary does not list for upload are raw as well.
"""

from __future__ import annotations

from typing import Final, Literal

from comfyledger.plugin_api import extension_of, medium_of

Kind = Literal["image", "video", "raw"]
KINDS: Final[tuple[Kind, ...]] = ("image", "video", "raw")
PLURALS: Final[dict[Kind, str]] = {"image": "images", "video": "videos and sounds", "raw": "other files"}

_IMAGES: Final = frozenset(
    ("png", "jpg", "jpeg", "webp", "gif", "avif", "bmp", "tif", "tiff", "tga", "psd", "heic", "heif", "jxl")
)
_RECORDINGS: Final = frozenset(
    (
        *("mp4", "m4v", "mov", "webm", "mkv", "avi", "flv", "wmv", "mpeg", "ogv", "3gp", "mxf"),
        *("mp3", "wav", "flac", "ogg", "opus", "m4a", "aac", "aiff", "amr"),
    )
)
"""Cloudinary's documentation, "Formats supported for transformations": what may be uploaded as image and as video."""


def kind_of(extension: str) -> Kind:
    """The resource type for files with this extension, without a dot, in any case."""
    extension = extension.lower()
    match medium_of(extension):
        case "image" if extension in _IMAGES:
            return "image"
        case "video" | "audio" if extension in _RECORDINGS:
            return "video"
        case _:
            return "raw"


def name_in_account(public_id: str, extension: str) -> str:
    """The public id that the account has for a file of ours."""
    return f"{public_id}.{extension}" if kind_of(extension) == "raw" and extension else public_id


def own_name(kind: str, name: str, format_: str) -> tuple[str, str]:
    """The public id and the extension of a file, from what the account calls it. The inverse of `name_in_account`."""
    if kind != "raw":
        return name, extension_of(f".{format_}") if format_ else ""
    folder, slash, leaf = name.rpartition("/")
    stem, dot, extension = leaf.rpartition(".")
    return (f"{folder}{slash}{stem}", extension) if dot and stem else (name, "")


def turned(cursor: str) -> tuple[Kind, str]:
    """The resource type of a page and the account's own cursor in it. Cursors of earlier releases are of images."""
    kind, colon, rest = cursor.partition(":")
    return next(((one, rest) for one in KINDS if colon and one == kind), ("image", cursor))


def cursor_after(kind: Kind, following: str) -> str:
    """The cursor of the next page: in the same type, or at the beginning of the next one; empty after the last page."""
    if following:
        return following if kind == "image" else f"{kind}:{following}"
    rest = KINDS[KINDS.index(kind) + 1 :]
    return f"{rest[0]}:" if rest else ""
