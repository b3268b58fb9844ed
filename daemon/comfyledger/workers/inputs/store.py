"""The folder of inputs: files that clients gave for ComfyUI, each under the digest of its bytes.

`<root>/ab/<sha256>.<extension>`, where `ab` is how the digest begins. Nothing that a user typed is in a path but the
extension. A file under such a name is proved and on stable storage, and has exactly the bytes that came: nothing is
stripped. Whose it is and whether it is still wanted is not known here: the ledger says so. While a file comes in or is
checked it lies beside the others under a name that begins with a dot.

All that is done with the same bytes is done in turn. So fifty clients with the same file end with one file, and a file
is not removed between its arrival and its event.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar

import structlog

from comfyledger import crash_points
from comfyledger.core.media import extension_of
from comfyledger.errors import Refused, SpoolUnusable
from comfyledger.workers.inputs import folder
from comfyledger.workers.inputs.known import Known
from comfyledger.workers.inputs.room import Bounds, Room
from comfyledger.workers.media.broken_file import Broken, Walked
from comfyledger.workers.media.media_file import ProvedFile, proved, walk_alone
from comfyledger.workers.spool.checks import Checks, Strikes
from comfyledger.workers.spool.files import discard, received, sync_file, sync_folder, to_end
from comfyledger.workers.spool.folder_lock import make_folder

HELD_BYTES: Final = 1_048_576
"""Of each file that comes in, so much is held in memory."""

log = structlog.get_logger("comfyledger.inputs")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Adding(Protocol[T_co]):
    """Whoever adds a file."""

    async def knows(self, sha256: str) -> bool:
        """Whether it has this input already, so that adding it again takes no room."""

    async def record(self, file: ProvedFile) -> T_co:
        """Make it durable in the ledger that the file is here. It is not cancelled."""


class Removing(Protocol):
    """Whoever removes a file."""

    async def is_unwanted(self) -> bool:
        """Whether the ledger still says that nothing needs the file."""

    async def record(self, *, found: bool) -> None:
        """Make it durable in the ledger that the file is not here any more. `found`: it was."""


class Turn:
    """Who is busy with the same bytes, and how many of them add. `proved`: what the turn before found, while nobody has
    removed it.
    """

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        self.adders = 0
        self.proved: ProvedFile | None = None


class InputStore:
    """A folder of inputs. Only one process uses it; its calls may overlap.

    `strikes_max`: how often the process may die while it checks a file, before such a file is refused.
    """

    def __init__(self, root: Path, bounds: Bounds, checks: Checks, known: Known, strikes_max: int) -> None:
        """Make the folder for its owner only, if it is missing. Its name is on stable storage then.

        Raises SpoolUnusable.
        """
        self._root = root
        self._pixels_max = bounds.pixels_max
        self._room = Room(root, bounds)
        self._checks = checks
        self._known = known
        self._strikes = Strikes(root)
        self._strikes_max = strikes_max
        self._serial = count(1)
        self._sizes: dict[str, int] = {}
        """By digest. A file that is being checked has its room already."""
        self._rooted: set[str] = set()
        """Folders whose names in the root are on stable storage."""
        self._turns: dict[str, Turn] = {}
        self.back: dict[str, str] = {}
        """Digests and extensions of files that the ledger took for lost, and that a sweep has found."""
        self.make_room: Callable[[int], Awaitable[None]] | None = None
        """Called before a file of so many bytes is kept, to remove others that nothing needs."""
        self._failure: SpoolUnusable | None = None
        self._failed = asyncio.Event()
        try:
            make_folder(root)
        except OSError as error:
            text = f"The folder of inputs cannot be made: {root} ({error.strerror})."
            raise SpoolUnusable(text, hint="Check folder, permissions and disk of [inputs] path.") from error

    @property
    def sizes(self) -> dict[str, int]:
        """How many bytes each file has, by its digest."""
        return dict(self._sizes)

    def has(self, sha256: str) -> bool:
        """Whether there is a file of these bytes, or room is kept for one that comes."""
        return sha256 in self._sizes

    @property
    def files(self) -> int:
        return len(self._sizes)

    @property
    def used_bytes(self) -> int:
        return sum(self._sizes.values())

    @property
    def quota_bytes(self) -> int:
        """What all files may take."""
        return self._room.quota_bytes

    def path_of(self, sha256: str, extension: str) -> Path:
        """Raises ValueError."""
        return folder.path_of(self._root, sha256, extension)

    async def watch(self) -> None:
        """Wait until an fsync fails, and raise SpoolUnusable then: the process must end."""
        await self._failed.wait()
        assert self._failure is not None  # noqa: S101 (set before the event)
        raise self._failure

    # ---- in

    async def check_room(self, size_bytes: int) -> None:
        """To be asked before a file of so many bytes is sent; 0 if that is not known. Raises Broken, NoRoom."""
        await self._room.check(size_bytes)

    async def add(self, chunks: AsyncIterator[bytes], named: str, adding: Adding[T]) -> T:
        """Take a file in, record it, and return what `record` returned. Its bytes are on stable storage before that.

        `named`: the client's name of the file, or empty. Bytes that are of no kind we can prove are kept under its
        extension, and are refused without one. The file stays under the extension that the bytes got first; what is
        recorded has that of `named`.

        Raises Broken, NoRoom, NoPlace, SpoolUnusable, or whatever `chunks` and `adding` raise. A file that is not in
        the ledger then is not here either. A cancellation waits for the disk and for `record`.
        """
        raw, digest = self._root / f".{next(self._serial)}.raw", hashlib.sha256()
        try:
            watched = self._room.watched(chunks, digest)
            source = await received(raw, watched, self._room.bytes_max, HELD_BYTES)
            crash_points.at("input.received")
            async with self._turn(digest.hexdigest(), adders=1) as turn:
                return await self._keep(turn, digest.hexdigest(), source, named, adding)
        except SpoolUnusable as failure:
            self._failure = failure
            self._failed.set()
            raise
        finally:
            discard(raw)

    async def _keep(self, turn: Turn, sha256: str, source: BytesIO | Path, named: str, adding: Adding[T]) -> T:
        """Prove and place the file, unless the turn before has done so, and record it."""
        file = turn.proved
        if file is None or (file.checked == "length" and file.extension != extension_of(named)):
            try:
                file = await self._placed(sha256, source, named, adding)
            except BaseException:
                await _uncancelled(self._undo(sha256))
                raise
        recorded = await _uncancelled(self._recorded(adding, file))
        turn.proved = file
        return recorded

    async def _recorded(self, adding: Adding[T], file: ProvedFile) -> T:
        """After an `internal` fault it is not known whether the ledger has it: the next start finds out."""
        try:
            return await adding.record(file)
        except Refused as refusal:
            if refusal.code != "internal":
                await self._undo(file.sha256)
            raise

    async def _placed(self, sha256: str, source: BytesIO | Path, named: str, adding: Adding[T]) -> ProvedFile:
        key = folder.key_of(sha256)
        strikes = self._strikes.of(key)
        if strikes >= self._strikes_max:
            raise Broken("poison", f"The daemon died {strikes} times while it checked this file.")
        size_bytes = await to_end(partial(folder.size_of, source))
        if not await adding.knows(sha256):
            if self.make_room is not None:
                await self.make_room(size_bytes)
            self._room.check_quota(self.used_bytes, size_bytes)
        self._sizes.setdefault(sha256, size_bytes)
        extension = (await self._known((sha256,))).get(sha256, "")
        pinned = self._root / key[0] / f".{sha256}-{next(self._serial)}.pinned"
        try:
            await to_end(partial(folder.lay_out, source, pinned))
            walking = partial(_walked, pinned, self._pixels_max, named)
            place = partial(self._place, pinned, sha256, extension)
            return await self._checks.run(pinned, walking, place, is_suspect=strikes > 0)
        finally:
            discard(pinned)
            self._strikes.acquit(key)

    def _place(self, pinned: Path, sha256: str, extension: str, walked: Walked) -> ProvedFile:
        """Prove, sync, rename, sync the folders. `extension`: the one that it has already, or empty."""
        with pinned.open("r+b") as file:
            result = proved(file, walked)
            sync_file(file)
        if result.sha256 != sha256:
            raise OSError(errno.EIO, "the disk has other bytes than were written to it")
        crash_points.at("input.pinned")
        place = self.path_of(sha256, extension or result.extension)
        pinned.replace(place)
        sync_folder(place.parent)
        if place.parent.name not in self._rooted:
            sync_folder(self._root)
            self._rooted.add(place.parent.name)
        crash_points.at("input.kept")
        return result

    async def _undo(self, sha256: str) -> None:
        """Remove a file that did not get into the ledger. If that fails, the next start does it."""
        try:
            extension = (await self._known((sha256,))).get(sha256)
            if extension is None or not await asyncio.to_thread(self.path_of(sha256, extension).exists):
                self._sizes.pop(sha256, None)
                await asyncio.to_thread(folder.discard_each, self._root, sha256)
        except Exception as error:
            log.warning("input.left", sha256=sha256, error=str(error))

    # ---- out

    def open(self, sha256: str, extension: str) -> BinaryIO | None:
        """The file, from its start; None if it is not here with all its bytes, of which each is read.

        It may be here under another extension. To be called in a thread. The caller closes it.
        """
        with suppress(OSError):
            path = self.path_of(sha256, extension)
            if not path.exists():
                path = next((one for one in path.parent.iterdir() if one.name.startswith(f"{sha256}.")), path)
            file = path.open("rb")
            with suppress(OSError):
                if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                    file.seek(0)
                    return file
            file.close()
        return None

    async def remove(self, sha256: str, removing: Removing) -> None:
        """Delete a file durably and record it, if it is still unwanted when nobody adds the same bytes.

        Raises NoPlace, SpoolUnusable, and whatever `removing` raises.
        """
        async with self._turn(sha256) as turn:
            if await removing.is_unwanted():
                turn.proved = None
                found = await to_end(partial(self._discard, sha256))
                self._sizes.pop(sha256, None)
                await removing.record(found=found)

    def is_adding(self, sha256: str) -> bool:
        """Whether somebody adds these bytes, who may wait for room."""
        return sha256 in self._turns and self._turns[sha256].adders > 0

    async def if_missing(self, sha256: str, report: Callable[[], Awaitable[T]]) -> T | None:
        """What `report` returns, if there is no such file and nobody adds it meanwhile; else None."""
        async with self._turn(sha256):
            return await report() if sha256 not in self._sizes else None

    def _discard(self, sha256: str) -> bool:
        crash_points.at("input.deleting")
        gone = folder.discard_each(self._root, sha256)
        if gone:
            sync_folder(gone[0].parent)
        return bool(gone)

    async def sweep(self, lost: Known | None = None) -> int:
        """Delete temporaries, and files that the ledger does not know; count strikes, and learn what is here. What the
        ledger took for `lost` stays and is in `back`: its disk may not have been mounted for a while.

        Call it at the start, before anything is added. Returns how many files it deleted. Files that are not named
        like ours stay. Raises OSError.
        """
        names = await asyncio.to_thread(folder.names_in, self._root)
        gone = await asyncio.to_thread(self._sweep_temporaries, self._root)
        for shard in filter(folder.SHARD.fullmatch, names):
            gone += await self._sweep_shard(self._root / shard, lost)
        if gone:
            log.info("inputs.swept", files=gone)
        return gone

    async def _sweep_shard(self, shard: Path, lost: Known | None) -> int:
        gone = await asyncio.to_thread(self._sweep_temporaries, shard)
        found = await asyncio.to_thread(folder.found_in, shard)
        names = [one.sha256 for one in found]
        known, back = await self._known(names), await lost(names) if lost is not None else {}
        self.back |= {one.sha256: one.extension for one in found if back.get(one.sha256) == one.extension}
        wanted = {one for one in found if {**back, **known}.get(one.sha256) == one.extension}
        self._sizes |= {one.sha256: one.size_bytes for one in wanted}
        unwanted = [self.path_of(one.sha256, one.extension) for one in found if one not in wanted]
        return gone + await asyncio.to_thread(folder.discard_all, unwanted)

    def _sweep_temporaries(self, where: Path) -> int:
        paths = [where / name for name in folder.names_in(where)]
        for path in paths:
            self._strikes.found(path)
        return folder.discard_all([path for path in paths if folder.TEMPORARY.fullmatch(path.name)])

    @asynccontextmanager
    async def _turn(self, sha256: str, adders: int = 0) -> AsyncIterator[Turn]:
        """Wait until nobody else is busy with the same bytes."""
        turn = self._turns.setdefault(sha256, Turn())
        turn.users += 1
        turn.adders += adders
        try:
            async with turn.lock:
                yield turn
        finally:
            turn.users -= 1
            turn.adders -= adders
            if not turn.users:
                del self._turns[sha256]


async def _uncancelled(work: Awaitable[T]) -> T:
    """Wait for the end of what must not stop halfway, also when cancelled: a command may be recorded after all."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise


def _walked(pinned: Path, pixels_max: int, named: str) -> Walked:
    with pinned.open("rb") as file:
        return walk_alone(file, pixels_max=pixels_max, named=named)
