"""What the tests of a store know of the place behind it, and the files that they give it."""

from __future__ import annotations

import hashlib
import struct
import zlib
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from comfyledger.plugin_api import Deposit, Held, Series, Store

FOLDER: Final = "Areg/characters/opal-fever/images"
STEM: Final = "Areg_opal-fever_image_"
SERIES: Final = Series(FOLDER, STEM)
NAME: Final = f"{FOLDER}/{STEM}1"
HOSTILE: Final = (
    "Zoë/characters/opal-fever/images/Zoë_opal-fever_image_1",
    "日本/characters/夜/images/日本_夜_image_1",
    "a b/characters/c d/images/a b_c d_image_1",
    "a.b/characters/c.png/images/a.b_c.png_image_1",
    f"{'x' * 60}/characters/{'y' * 40}/images/{'x' * 60}_{'y' * 40}_image_123456789012345",
)
"""Names that comfyledger gives: its alphabet, in forms that paths, URLs and queries treat in special ways."""
UNFIT: Final = ("v1/characters/con/images/v1_con_image_1", "_/characters/-/images/___-_image_1")
"""Names that comfyledger gives as well, and that some places cannot hold."""


class Place(Protocol):
    """What an author tells the tests about the place behind the store."""

    can_be_unreachable: bool
    can_be_cut: bool
    can_be_throttled: bool

    def opened(self) -> Store:
        """A store opened anew in the same place, as after a restart of the daemon. The place itself closes it."""

    async def contents(self) -> dict[str, bytes]:
        """All files, without the store's help: by public id, "." and extension."""

    async def put_foreign(self, public_id: str, extension: str, content: bytes) -> None:
        """Another program stores a file under a name. A name that the place cannot hold is left out."""

    def unreachable(self) -> AbstractAsyncContextManager[None]:
        """As long as it is entered, the place cannot be reached. Asked only if `can_be_unreachable`."""

    async def cut_next(self, *, stored: bool) -> None:
        """The next `put` loses its connection: before the place has the file, or, if `stored`, afterwards.

        Asked only if `can_be_cut`.
        """

    async def throttle_next(self, retry_after_s: int) -> None:
        """The next `put` is told to try again after these seconds. Asked only if `can_be_throttled`."""


def picture(number: int) -> bytes:
    """A whole PNG of 8 x 8 pixels, another one for each number from 0 to 2^24 - 1."""
    row = b"\0" + number.to_bytes(3, "big") * 8
    header = struct.pack(">2I5B", 8, 8, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * 8)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


EXTENSIONS: Final = ("png", "mp4", "wav", "glb", "txt", "x1234567")
"""One of each medium, and one that no table knows."""


def sample(extension: str, number: int = 1) -> bytes:
    """A small file of one of `EXTENSIONS`, another one for each number. The MP4 has an index without any track."""
    told = number.to_bytes(4, "big") * 2
    match extension:
        case "png":
            return picture(number)
        case "mp4":
            kind = struct.pack(">I", 20) + b"ftypisom" + bytes(4) + b"isom"
            return kind + struct.pack(">I", 8) + b"moov" + struct.pack(">I", 16) + b"free" + told
        case "wav":
            sound = b"fmt " + struct.pack("<I2H2I2H", 16, 1, 1, 8_000, 8_000, 1, 8) + b"data" + struct.pack("<I", 8)
            return b"RIFF" + struct.pack("<I", 4 + len(sound) + len(told)) + b"WAVE" + sound + told
        case "glb":
            text = f'{{"asset":{{"version":"2.0","copyright":"{number:08}"}}}}'.encode()
            text += b" " * (-len(text) % 4)
            return b"glTF" + struct.pack("<3I", 2, 20 + len(text), len(text)) + b"JSON" + text
        case _:
            return f"file {number}\n".encode()


def deposit(spool: Path, content: bytes, public_id: str = NAME, image_id: str = "B1/1", **other: Any) -> Deposit:
    """A file in the spool, with true facts about it. `other` replaces some of them."""
    digest = hashlib.sha256(content).hexdigest()
    path = spool / f"{digest}.{other.get('extension', 'png')}"
    path.write_bytes(content)
    facts: dict[str, Any] = {
        "image_id": image_id,
        "public_id": public_id,
        "extension": "png",
        "path": path,
        "sha256": digest,
        "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        "size_bytes": len(content),
        "first_attempt": True,
    }
    return Deposit(**{**facts, **other})


def held(given: Deposit) -> Held:
    """What the daemon says of a file that it wants deleted."""
    return Held(given.public_id, given.extension, given.size_bytes, given.md5, given.sha256, given.image_id)
