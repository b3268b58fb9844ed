"""The kinds of file that comfyledger keeps: one table of media, extensions and MIME types.

Two tables stay apart on purpose. `comfyui.messages` has the MIME types of ComfyUI's previews, which are part of its
protocol and are shared with the stand-ins. The stand-ins import nothing of the core.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Medium = Literal["image", "video", "audio", "model", "file"]


class Kind(NamedTuple):
    """A kind of file. `others`: lower-case extensions under which somebody else may have stored the same kind."""

    medium: Medium
    mime_type: str
    others: tuple[str, ...] = ()


KINDS: Final[dict[str, Kind]] = {
    "png": Kind("image", "image/png"),
    "jpg": Kind("image", "image/jpeg", ("jpeg",)),
    "webp": Kind("image", "image/webp"),
    "gif": Kind("image", "image/gif"),
    "mp4": Kind("video", "video/mp4", ("m4v",)),
    "mov": Kind("video", "video/quicktime"),
    "webm": Kind("video", "video/webm"),
    "mkv": Kind("video", "video/x-matroska"),
    "flac": Kind("audio", "audio/flac"),
    "wav": Kind("audio", "audio/wav"),
    "mp3": Kind("audio", "audio/mpeg"),
    "ogg": Kind("audio", "audio/ogg", ("oga", "opus")),
    "glb": Kind("model", "model/gltf-binary"),
}
"""By the extension that a kept file gets, without a dot."""
EXTENSIONS: Final = tuple(KINDS)
MIME_TYPES: Final = {extension: kind.mime_type for extension, kind in KINDS.items()}
IMAGE_EXTENSIONS: Final = frozenset(
    word for extension, kind in KINDS.items() if kind.medium == "image" for word in (extension, *kind.others)
)
"""Lower-case extensions of all kinds of picture, the spellings of others included."""
