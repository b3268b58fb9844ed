"""The first frame of a video. It needs PyAV, which the extra `video` installs.

FFmpeg gets the open file and the one format that its extension names, so that no playlist has it open other files. It
decodes in one thread, because each thread has memory of its own.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import av
from PIL import Image

from comfyledger.workers.thumbnails.exchange import NotDrawn
from comfyledger.workers.thumbnails.sizes import PIXELS_MAX, VIDEOS


def first_frame(file: BinaryIO, extension: str) -> Image.Image:
    """Upright, as RGB. `extension`: a key of `VIDEOS`. Raises NotDrawn, and what FFmpeg raises for a broken file."""
    with av.open(file, "r", format=VIDEOS[extension], metadata_errors="ignore") as opened:
        return _first(opened)


def _first(video: Any) -> Image.Image:
    if not video.streams.video:
        raise NotDrawn("broken")
    stream = video.streams.video[0]
    stream.codec_context.thread_count = 1
    _check_pixels(stream.codec_context.width, stream.codec_context.height)
    for frame in video.decode(stream):
        _check_pixels(frame.width, frame.height)
        picture: Image.Image = frame.to_image()
        return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture
    raise NotDrawn("broken")


def _check_pixels(width: int, height: int) -> None:
    if width * height > PIXELS_MAX:
        raise NotDrawn("pixels")
