"""Files that only another box of the fleet has, copied from its door.

A box gives what is in its own spool, or in its own folder of inputs, and asks nobody else for it: so no request goes
round in a circle. Whoever gets a copy compares it with the digest in the log before anybody sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp

from comfyledger.core.rows import ImageRow
from comfyledger.workers.fleet.heard import Heard, HeardBox
from comfyledger.workers.fleet.peer_key import IMAGES, INPUTS, PeerKey

CONNECT_S: Final = 3.0
STALL_S: Final = 15.0
"""So long a box may send nothing."""
PIECE_BYTES: Final = 262_144


class PeerAway(Exception):
    """A box cannot be asked now. The text says which, and why."""


class Peers:
    """The other boxes, as far as they were heard."""

    def __init__(self, heard: Heard, session: aiohttp.ClientSession, key: PeerKey) -> None:
        self._heard, self._session, self._key = heard, session, key

    def keeps(self, image: ImageRow) -> bool:
        """Whether another box has the file of an image in its spool."""
        return image.is_elsewhere(self._heard.own)

    async def copy_image(self, image: ImageRow, to: Path) -> bool:
        """Copy the file of an image that another box keeps. False if that box does not have it. Raises PeerAway."""
        box = self._reachable(image.box)
        async with self._asked(box, f"{IMAGES}/{image.batch_id}/{image.index}") as pieces:
            if pieces is None:
                return False
            await _write(to, pieces, image.size_bytes)
        return True

    @asynccontextmanager
    async def input(self, box: str, sha256: str) -> AsyncIterator[AsyncIterator[bytes] | None]:
        """The bytes of an input that a box has, in pieces; None if it does not have them. Raises PeerAway, also while
        they are read.
        """
        async with self._asked(self._reachable(box), f"{INPUTS}/{sha256}") as pieces:
            yield pieces

    def _reachable(self, name: str) -> HeardBox:
        box = self._heard.box(name)
        if box is None:
            raise PeerAway(f"The box {name} was not heard yet.")
        if not box.url:
            raise PeerAway(f"The box {name} names no address: it has no [box] url.")
        if box.is_silent:
            raise PeerAway(f"The box {name} was last heard {box.age_s:.0f} s ago.")
        return box

    @asynccontextmanager
    async def _asked(self, box: HeardBox, path: str) -> AsyncIterator[AsyncIterator[bytes] | None]:
        waits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=STALL_S)
        url = box.url.rstrip("/") + self._key.signed(path, box.clock_s)
        try:
            async with self._session.get(url, timeout=waits, allow_redirects=False) as answer:
                if answer.status not in {200, 404}:
                    raise PeerAway(f"The box {box.name} answers with status {answer.status}.")
                yield answer.content.iter_chunked(PIECE_BYTES) if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            raise PeerAway(f"The box {box.name} cannot be reached at {box.url}: {why[:200]}.") from error


async def _write(to: Path, pieces: AsyncIterator[bytes], size_bytes: int) -> None:
    """Raises PeerAway for more bytes than the image has, OSError."""
    written = 0
    with to.open("wb") as file:
        async for piece in pieces:
            written += len(piece)
            if written > size_bytes:
                raise PeerAway("The box sends more bytes than the image has.")
            await asyncio.to_thread(file.write, piece)
