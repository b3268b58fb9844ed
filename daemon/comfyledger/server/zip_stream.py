"""A zip of many files as a stream: stored without compression, with 64-bit sizes where a file needs them.

Each file is read in pieces, and a piece goes out before the next is read. So the size of the zip needs no memory, and
neither does a file of it. What is left in memory is the directory at the end of the zip, some 200 bytes a file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import BinaryIO, Final

PIECE_BYTES: Final = 262_144
MISSING: Final = "MISSING.txt"


class _Sink:
    """What `zipfile` writes to: it cannot seek in it, so it puts the sizes behind each file."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole


class ZipStream:
    """A zip that grows file by file. Every method blocks while it reads, and returns what is to be sent."""

    def __init__(self, at: tuple[int, int, int, int, int, int]) -> None:
        """`at`: the time of all files, from the year to the second."""
        self._at = at
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w")  # type: ignore[call-overload]
        self._missing: list[str] = []

    def add(self, name: str, file: BinaryIO, size_bytes: int) -> Iterator[bytes]:
        """The pieces of one more file. Raises OSError; then the file is in the zip as far as it was read."""
        info = self._info(name)
        info.file_size = size_bytes
        with self._zip.open(info, "w") as entry:
            while piece := file.read(PIECE_BYTES):
                entry.write(piece)
                yield self._sink.taken()
        yield self._sink.taken()

    def lacks(self, name: str, why: str) -> None:
        """Have a file that the zip does not have named in it."""
        self._missing.append(f"{name}: {why}\n")

    def end(self) -> bytes:
        """The list of what is missing, if anything is, and the directory."""
        if self._missing:
            self._zip.writestr(self._info(MISSING), "".join(self._missing))
        self._zip.close()
        return self._sink.taken()

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, self._at)
        info.external_attr = 0o644 << 16
        return info
