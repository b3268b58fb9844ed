"""Thumbnails of videos: the first frame, upright and in its colours, where PyAV is installed."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from PIL import Image

from comfyledger.core.media import KINDS
from comfyledger.errors import Refused
from comfyledger.workers.thumbnails import sizes
from comfyledger.workers.thumbnails import thumbnails as module
from comfyledger.workers.thumbnails.draw import drawn
from comfyledger.workers.thumbnails.exchange import NotDrawn
from comfyledger.workers.thumbnails.sizes import VIDEOS

SIZE = (320, 160)


def test_videos_without_pyav_are_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(VIDEOS) == {extension for extension, kind in KINDS.items() if kind.medium == "video"}
    monkeypatch.setattr(sizes, "READS_VIDEOS", False)
    with pytest.raises(Refused, match="need PyAV") as refused:
        module.check_kind("mp4")
    assert (refused.value.code, "extra `video`" in refused.value.hint) == ("thumbnail_unsupported", True)
    monkeypatch.setattr(sizes, "READS_VIDEOS", True)
    module.check_kind("mp4")


class TestWithPyAV:
    @pytest.fixture(autouse=True)
    def _needs_pyav(self) -> None:
        pytest.importorskip("av")

    @pytest.mark.parametrize(
        ("extension", "codec"),
        [
            ("mp4", "libx264"),
            ("mov", "libx264"),
            ("mkv", "libx264"),
            ("webm", "libvpx-vp9"),
            ("avi", "mpeg4"),
            ("mpg", "mpeg2video"),
            ("flv", "flv1"),
            ("wmv", "wmv2"),
        ],
    )
    def test_the_first_frame_is_shown(self, extension: str, codec: str) -> None:
        kind = {"mkv": "matroska", "wmv": "asf", "mpg": "mpeg"}.get(extension, extension)
        shown = thumbnail(video(kind, codec), extension)
        assert shown.size == (256, 128)
        assert is_near(shown.getpixel((20, 64)), (255, 0, 0))
        assert is_near(shown.getpixel((236, 64)), (0, 0, 255))

    @pytest.mark.parametrize("colours", [None, 1, 5])
    def test_colours_are_those_that_the_video_says(self, colours: int | None) -> None:
        shown = thumbnail(video(colours=colours), "mp4")
        assert is_near(shown.getpixel((20, 64)), (255, 0, 0), by=6)

    def test_a_turned_video_is_shown_upright(self) -> None:
        """A quarter clockwise: what is at the left belongs at the top."""
        straight = struct.pack(">9i", 65_536, 0, 0, 0, 65_536, 0, 0, 0, 1 << 30)
        turned = struct.pack(">9i", 0, 65_536, 0, -65_536, 0, 0, 0, 0, 1 << 30)
        content = video()
        place = content.index(straight, content.index(b"tkhd"))
        shown = thumbnail(content[:place] + turned + content[place + len(turned) :], "mp4")
        assert shown.size == (128, 256)
        assert is_near(shown.getpixel((64, 20)), (255, 0, 0))

    def test_what_has_no_frame_is_told(self) -> None:
        whole = video()
        sound = video(codec="aac")
        playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
        for content in (b"", whole[:200], sound, playlist, b"ffconcat version 1.0\nfile '/etc/passwd'\n", bytes(5_000)):
            with pytest.raises(NotDrawn, match="broken"):
                drawn(io.BytesIO(content), "mp4", 256)


def video(kind: str = "mp4", codec: str = "libx264", colours: int | None = None) -> bytes:
    """Red at the left and blue at the right, and then green. A codec of sounds gives one without any frame."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=kind) as made:
        if codec == "aac":
            stream: Any = made.add_stream(codec, rate=8_000)
            frames: list[Any] = [av.AudioFrame(format="fltp", layout="mono", samples=1_024)]
            frames[0].sample_rate = 8_000
            frames[0].planes[0].update(bytes(frames[0].planes[0].buffer_size))
        else:
            stream = made.add_stream(codec, rate=25)
            stream.width, stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            stream.bit_rate = 4_000_000
            if colours is not None:
                stream.codec_context.colorspace = colours
            frames = [frame.reformat(format="yuv420p", dst_colorspace=colours) for frame in _frames(av)]
        for frame in (*frames, None):
            for packet in stream.encode(frame):
                made.mux(packet)
    return out.getvalue()


def _frames(av: Any) -> list[Any]:
    first = Image.new("RGB", SIZE, "red")
    first.paste("blue", (160, 0, 320, 160))
    return [av.VideoFrame.from_image(one) for one in (first, Image.new("RGB", SIZE, "lime"))]


def thumbnail(content: bytes, extension: str) -> Image.Image:
    shown = Image.open(io.BytesIO(drawn(io.BytesIO(content), extension, 256)))
    shown.load()
    return shown


def is_near(found: Any, colour: tuple[int, ...], by: int = 24) -> bool:
    return all(abs(one - wanted) <= by for one, wanted in zip(found, colour, strict=True))
