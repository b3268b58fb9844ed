"""The copy of a received file that is proved and pinned, from the creation of the file to its sync.

What was received in memory is copied in memory, and written in one piece when it is proved. The file itself is there
from the start, empty: a start that finds it knows which check the process did not survive. What was received on disk is
copied on disk. All calls block, so they belong in a thread, and to one thread at a time.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from comfyledger.workers.media.broken_file import Walked
from comfyledger.workers.media.media_file import ProvedFile, proved
from comfyledger.workers.spool.files import Walking, new_file, opened, sync_file


class PinnedCopy:
    """A new file at `path` with what is pinned of `source`. Raises OSError; Broken from `walk` and `prove`."""

    def __init__(self, source: BytesIO | Path, path: Path) -> None:
        self._source, self._path = source, path
        self._file: BinaryIO | None = None
        self._content: BinaryIO = BytesIO()

    def walk(self, work: Walking) -> Walked:
        """Make the file, and walk the source. What was received in memory is given back."""
        if isinstance(self._source, Path):
            self._content = self._file = new_file(self._path)
        else:
            self._file = new_file(self._path, 0)  # A buffer asks the disk four times, for nothing.
        with opened(self._source) as taken:
            return work(taken, self._content)

    def prove(self, walked: Walked) -> ProvedFile:
        """Decode what was copied, as far as it is to be decoded, and measure it."""
        return proved(self._content, walked)

    def sync(self) -> None:
        """Put the bytes on stable storage, under the temporary name. Raises SpoolUnusable too."""
        assert self._file is not None  # noqa: S101 (walked before)
        if isinstance(self._content, BytesIO):
            with self._content.getbuffer() as content:
                _write_all(self._file.fileno(), content)
        sync_file(self._file)

    def close(self) -> None:
        """To be called whatever has happened, once no thread uses it."""
        if self._file is not None:
            self._file.close()


def _write_all(fd: int, content: memoryview) -> None:
    """A disk may take less of it at once."""
    while content:
        content = content[os.write(fd, content) :]
