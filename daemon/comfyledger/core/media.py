"""The kinds of file that comfyledger keeps: one table of media, extensions and MIME types.

What no table knows is kept as well, as a file of the medium "file" with the extension of its name. Two tables stay
apart on purpose. `comfyui.messages` has the MIME types of ComfyUI's previews, which are part of its protocol and are
shared with the stand-ins. The stand-ins import nothing of the core.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

Medium = Literal["image", "video", "audio", "model", "file"]


class Kind(NamedTuple):
    """A kind of file. `others`: lower-case extensions under which somebody else may have stored the same kind.

    `proved`: its bytes always say whether it is whole. Of any other kind only the length may be known: a JPEG XL says
    more in boxes than as a bare codestream.
    """

    medium: Medium
    mime_type: str
    others: tuple[str, ...] = ()
    proved: bool = False


KINDS: Final[dict[str, Kind]] = {
    "png": Kind("image", "image/png", proved=True),
    "jpg": Kind("image", "image/jpeg", ("jpeg",), proved=True),
    "webp": Kind("image", "image/webp", proved=True),
    "gif": Kind("image", "image/gif", proved=True),
    "avif": Kind("image", "image/avif", proved=True),
    "heic": Kind("image", "image/heic", ("heif", "hif"), proved=True),
    "tiff": Kind("image", "image/tiff", ("tif",), proved=True),
    "exr": Kind("image", "image/x-exr", proved=True),
    "jxl": Kind("image", "image/jxl"),
    "bmp": Kind("image", "image/bmp"),
    "tga": Kind("image", "image/x-tga"),
    "hdr": Kind("image", "image/vnd.radiance"),
    "dds": Kind("image", "image/vnd-ms.dds"),
    "psd": Kind("image", "image/vnd.adobe.photoshop"),
    "mp4": Kind("video", "video/mp4", ("m4v",), proved=True),
    "mov": Kind("video", "video/quicktime", proved=True),
    "webm": Kind("video", "video/webm", proved=True),
    "mkv": Kind("video", "video/x-matroska", proved=True),
    "avi": Kind("video", "video/x-msvideo", proved=True),
    "ogv": Kind("video", "video/ogg", proved=True),
    "mpg": Kind("video", "video/mpeg", ("mpeg",)),
    "flv": Kind("video", "video/x-flv"),
    "wmv": Kind("video", "video/x-ms-wmv"),
    "flac": Kind("audio", "audio/flac", proved=True),
    "wav": Kind("audio", "audio/wav", ("wave",), proved=True),
    "mp3": Kind("audio", "audio/mpeg", proved=True),
    "ogg": Kind("audio", "audio/ogg", ("oga", "opus"), proved=True),
    "m4a": Kind("audio", "audio/mp4", proved=True),
    "aac": Kind("audio", "audio/aac"),
    "aiff": Kind("audio", "audio/aiff", ("aif",)),
    "glb": Kind("model", "model/gltf-binary", proved=True),
    "gltf": Kind("model", "model/gltf+json"),
    "obj": Kind("model", "model/obj"),
    "mtl": Kind("model", "model/mtl"),
    "stl": Kind("model", "model/stl"),
    "ply": Kind("model", "model/ply"),
    "fbx": Kind("model", "model/vnd.fbx"),
    "usdz": Kind("model", "model/vnd.usdz+zip"),
    "3mf": Kind("model", "model/3mf"),
    "splat": Kind("model", "model/splat"),
    "ksplat": Kind("model", "model/ksplat"),
    "spz": Kind("model", "model/spz"),
    "bvh": Kind("model", "model/bvh"),
    "svg": Kind("file", "image/svg+xml", proved=True),
    "latent": Kind("file", "application/octet-stream", proved=True),
    "safetensors": Kind("file", "application/octet-stream", proved=True),
    "json": Kind("file", "application/json"),
    "txt": Kind("file", "text/plain"),
    "md": Kind("file", "text/markdown"),
    "csv": Kind("file", "text/csv"),
    "srt": Kind("file", "application/x-subrip"),
    "html": Kind("file", "text/html", ("htm",)),
    "xml": Kind("file", "application/xml"),
    "pdf": Kind("file", "application/pdf"),
    "zip": Kind("file", "application/zip"),
}
"""By the extension that a kept file gets, without a dot. What is not here is a file whose bytes mean nothing to us."""
UNNAMED: Final = "bin"
"""The extension of a file whose name has none that could be kept."""
EXTENSION: Final = "(?:[a-z0-9]{1,8}|safetensors)"
"""A pattern: every extension that a kept file may have."""
BYTES: Final = "application/octet-stream"

_CANONICAL: Final = {other: extension for extension, kind in KINDS.items() for other in kind.others}
_KEEPABLE: Final = re.compile(EXTENSION)
PROVED: Final = tuple(extension for extension, kind in KINDS.items() if kind.proved)
"""The extensions of files whose bytes say whether they are whole."""
IMAGE_EXTENSIONS: Final = frozenset(
    word for extension, kind in KINDS.items() if kind.medium == "image" for word in (extension, *kind.others)
)
"""Lower-case extensions of all kinds of picture, the spellings of others included."""


def extension_of(name: str) -> str:
    """The extension that a file of this name is kept under: lower case, one spelling for each kind, else `bin`."""
    word = name.rpartition(".")[2].lower() if "." in name else ""
    return _CANONICAL.get(word, word) if is_extension(word) else UNNAMED


def is_extension(word: str) -> bool:
    """Whether a kept file may have this extension."""
    return _KEEPABLE.fullmatch(word) is not None


def medium_of(extension: str) -> Medium:
    """The medium of files with this extension: "file" for what no table knows."""
    kind = KINDS.get(_CANONICAL.get(extension, extension))
    return kind.medium if kind is not None else "file"


def mime_type_of(extension: str) -> str:
    """The MIME type of files with this extension."""
    kind = KINDS.get(_CANONICAL.get(extension, extension))
    return kind.mime_type if kind is not None else BYTES
