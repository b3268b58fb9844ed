"""The sizes of thumbnails, and which files have one."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, Literal

Size = Literal["small", "large"]
SIDES: Final[dict[Size, int]] = {"small": 256, "large": 1024}
"""The longer side, in pixels. A picture that is smaller is not enlarged."""
PIXELS_MAX: Final = 67_108_864
"""Of a picture, or of a frame: 8192 x 8192. Decoding more would take gigabytes."""
DRAWN: Final = frozenset({"png", "jpg", "webp", "gif", "avif", "tiff", "bmp", "tga"})
"""The extensions of pictures that are drawn."""
VIDEOS: Final = {
    "mp4": "mp4",
    "mov": "mov",
    "webm": "matroska",
    "mkv": "matroska",
    "avi": "avi",
    "ogv": "ogg",
    "mpg": "mpeg",
    "flv": "flv",
    "wmv": "asf",
}
"""The extensions of videos whose first frame is drawn where PyAV is installed, and what FFmpeg calls their format."""
READS_VIDEOS: Final = find_spec("av") is not None


def is_drawn(extension: str) -> bool:
    """Whether this installation draws thumbnails of files with this extension."""
    return extension in DRAWN or (READS_VIDEOS and extension in VIDEOS)
