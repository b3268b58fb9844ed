"""Fetching: copy the files of a finished prompt from ComfyUI into the spool, and report them together.

More files than images wait in the spool until a person chooses. A file that comes slowly is asked for again, after the
others.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from comfyledger import crash_points
from comfyledger.comfyui.client import ComfyUI, FileMissing, NotGiven, NotReached
from comfyledger.comfyui.messages import ViewFile
from comfyledger.core.reports import FilesKept, FilesLaidBy, PromptReport
from comfyledger.core.results import Taken
from comfyledger.core.scheduling.effects import FetchPrompt
from comfyledger.core.values import OutputFile, Pinned, waiting_index, waiting_indexes
from comfyledger.workers.comfyui.outcomes import Outcomes, report_of
from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.media.media_file import ProvedFile
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.spool.files import NoPlace
from comfyledger.workers.spool.spool import Spool

TRANSFERS_MAX: Final = 3
"""How often one file is asked for, while ComfyUI answers other calls, before it counts as broken."""
SLOW_MAX: Final = 2
"""How often files of one prompt may come too slowly: each takes `request_timeout_s` at least."""
FETCHES_MAX: Final = 4
SLOW_AFTER_S: Final = 3.0
"""After this time a transfer no longer counts among those that run at once."""
SLOW_TIMES: Final = 4
"""At most this many times `fetches_max` transfers run in all, slow ones included."""
SAME_AGAIN: Final = frozenset({"unknown_kind", "too_many_pixels", "too_large", "poison"})
"""Faults of a file that another run of the same graph would produce again."""


class Bounds(msgspec.Struct, frozen=True):
    """What a fetched file may be, and whether its metadata is stripped."""

    image_bytes_max: int
    pixels_max: int
    strip_metadata: bool
    file_bytes_max: int = 0
    """Of a file that is no picture; 0: the same."""


class Fault(msgspec.Struct, frozen=True):
    """Why fetching fails a prompt. `final`: another attempt would end the same way."""

    code: str
    text: str
    final: bool = False


class Transfers(msgspec.Struct):
    """The transfers of one prompt's files. `fault` is the first fault of a file, `trouble` that of the lane."""

    kept: list[Pinned] = []
    fault: Fault | None = None
    trouble: NotReached | None = None
    slow: int = 0
    tries: dict[int, int] = {}

    def blame(self, fault: Fault) -> None:
        self.fault = self.fault or fault

    def deserves_another(self, index: int, trouble: NotGiven) -> bool:
        """Whether to ask again for a file that did not come while ComfyUI answers other calls."""
        self.tries[index] = self.tries.get(index, 0) + 1
        self.slow += trouble.code == "too_slow"
        if not trouble.final and self.tries[index] < TRANSFERS_MAX and self.slow < SLOW_MAX:
            return True
        code = trouble.code if trouble.code in {"too_slow", "redirected"} else "broken"
        reason = "truncated" if trouble.code == "cut_short" else trouble.code
        text = trouble.text if code == trouble.code else f"{reason}: {trouble.text}"
        self.blame(Fault(code, text, trouble.final or trouble.code == "web_page"))
        return False


class Turns:
    """A limited number of turns at once. A turn that takes longer than `long_s` no longer counts.

    A slow file would hold its place for half a minute and more, and four of them would delay all others.
    """

    def __init__(self, turns_max: int, long_s: float) -> None:
        self._free = asyncio.Semaphore(turns_max)
        self._long_s = long_s

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, in the order of asking."""
        await self._free.acquire()
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            if not given_back:
                given_back = True
                self._free.release()

        timer = asyncio.get_running_loop().call_later(self._long_s, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()


class Fetcher:
    """Fetches files from one backend into the spool."""

    def __init__(
        self,
        comfyui: ComfyUI,
        row_cache: RowCache,
        spool: Spool,
        outcomes: Outcomes,
        reporter: Reporter,
        bounds: Bounds,
        fetches_max: int,
    ) -> None:
        self._comfyui = comfyui
        self._row_cache = row_cache
        self._spool = spool
        self._outcomes = outcomes
        self._reporter = reporter
        self._bounds = bounds
        self._turns = Turns(fetches_max, SLOW_AFTER_S)

    async def fetch(self, effect: FetchPrompt) -> bool:
        """Fetch the files of those images that still wait for one, and report them together.

        Returns whether the spool has taken any. Raises NoPlace.
        """
        transfers = Transfers()
        async with self._turns.turn():
            try:
                await self._probe(effect)
                await self._fetch_all(effect, transfers)
            except NotReached as trouble:
                transfers.trouble = trouble
        return await self._report_all(effect, transfers)

    async def _probe(self, effect: FetchPrompt) -> None:
        """A lane in trouble is probed by one call at a time. A file that never comes must not be that call."""
        if self._reporter.in_trouble(effect.lane):
            await self._comfyui.system_stats()
            await self._reporter.works(effect.lane)

    async def _fetch_all(self, effect: FetchPrompt, transfers: Transfers) -> None:
        """A file that does not come is asked for again after the others, so that it does not delay them."""
        left = deque(await self._to_fetch(effect))
        while left and transfers.slow < SLOW_MAX:
            index, file = left.popleft()
            try:
                transfers.kept.append(await self._keep(effect, index, file))
            except FileMissing as missing:
                transfers.blame(Fault("file_missing", str(missing)))
            except Broken as broken:
                final = broken.reason in SAME_AGAIN
                code = "poison" if broken.reason == "poison" else "broken"
                transfers.blame(Fault(code, f"{broken.reason}: {broken.sentence}", final))
            except NotGiven as trouble:
                await self._comfyui.system_stats()
                await self._reporter.works(effect.lane)
                if transfers.deserves_another(index, trouble):
                    left.append((index, file))

    async def _to_fetch(self, effect: FetchPrompt) -> list[tuple[int, OutputFile]]:
        """The files with the index of their image. If there are too many, all get indexes of their own."""
        if _is_more(effect):
            return [(waiting_index(effect.prompt, place), file) for place, file in enumerate(effect.files, 1)]
        rows = await self._row_cache.images(effect.batch_id, effect.images)
        waiting = {row.index for row in rows if row.state == "pending"}
        pairs = zip(effect.images, effect.files, strict=True)
        return [(index, file) for index, file in pairs if index in waiting]

    async def _report_all(self, effect: FetchPrompt, transfers: Transfers) -> bool:
        """Report the files that came, and then how the lane or the attempt ended. Whether the spool took any."""
        if _is_more(effect):
            kept = await self._laid_by(effect, transfers)
        else:
            kept = bool(transfers.kept)
            if kept or not (transfers.fault or transfers.trouble):
                await self._took(effect, transfers.kept)
        if transfers.trouble is not None:
            await self._reporter.stuck(effect.lane, transfers.trouble.code, transfers.trouble.text)
        elif transfers.fault is not None:
            fault = transfers.fault
            await self._outcomes.failed(effect, fault.code, fault.text, final=fault.final)
        else:
            await self._reporter.works(effect.lane)
            await self._outcomes.forget_entry(effect)
        return kept

    async def _laid_by(self, effect: FetchPrompt, transfers: Transfers) -> bool:
        """Report surplus files, which wait until a person chooses. All of them are kept, or none."""
        if transfers.trouble is not None:
            return False
        if transfers.fault is not None:
            await self._remove_waiting(effect)
            return False
        ordered = sorted(transfers.kept, key=lambda file: file.image)
        files = tuple(msgspec.structs.replace(file, image=place) for place, file in enumerate(ordered, 1))
        words = await self._outcomes.miscounted(effect, len(files), len(effect.images))
        if not await self._logged(report_of(FilesLaidBy, effect, files=files, words=words)):
            await self._remove_waiting(effect)
        return True

    async def _logged(self, report: PromptReport) -> tuple[int, ...]:
        """Report files that are in the spool. Returns the images that took them."""
        crash_points.at("fetch.whole")
        taken = await self._reporter.report(report)
        crash_points.at("fetch.logged")
        return taken.images if isinstance(taken, Taken) else ()

    async def _remove_waiting(self, effect: FetchPrompt) -> None:
        indexes = waiting_indexes(effect.prompt)
        await asyncio.to_thread(self._spool.remove_among, effect.batch_id, indexes)

    async def _from_spool(self, effect: FetchPrompt, index: int) -> Pinned | None:
        """The chosen file that waited in the spool for this image; None if it is gone and must be fetched."""
        lying = effect.waiting[effect.images.index(index)]
        source = self._spool.path_of(effect.batch_id, waiting_index(effect.prompt, lying.image), lying.extension)
        pinned = ProvedFile(lying.sha256, lying.md5, lying.size_bytes, lying.width, lying.height, lying.extension)

        async def copied(to: Path) -> None:
            await asyncio.to_thread(shutil.copyfile, source, to)

        try:
            is_there = await self._spool.take_back(effect.batch_id, index, effect.attempt, pinned, copied)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NoPlace(error) from error
        return msgspec.structs.replace(lying, image=index) if is_there else None

    async def _keep(self, effect: FetchPrompt, index: int, file: OutputFile) -> Pinned:
        if effect.waiting and (waited := await self._from_spool(effect, index)) is not None:
            return waited
        async with self._comfyui.view(ViewFile(file.filename, file.subfolder, file.type)) as pieces:
            crash_points.at("fetch.asked")
            pinned = await self._spool.keep(
                effect.batch_id,
                index,
                effect.attempt,
                _checked(pieces),
                strip=self._bounds.strip_metadata,
                bytes_max=self._bounds.image_bytes_max,
                file_bytes_max=self._bounds.file_bytes_max,
                pixels_max=self._bounds.pixels_max,
            )
        return Pinned(
            index,
            pinned.sha256,
            pinned.md5,
            pinned.size_bytes,
            pinned.width,
            pinned.height,
            pinned.extension,
            pinned.checked,
        )

    async def _took(self, effect: FetchPrompt, kept: list[Pinned]) -> None:
        used = await self._logged(report_of(FilesKept, effect, files=tuple(kept)))
        for file in kept:
            if file.image not in used:
                await asyncio.to_thread(self._spool.remove, effect.batch_id, file.image)
        if effect.waiting:
            await self._remove_waiting(effect)


async def _checked(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces of a file as they come. Raises NotGiven if a web page or a message comes instead."""
    is_first = True
    async for piece in pieces:
        if is_first and piece.lstrip()[:1] in {b"<", b"{"}:
            raise NotGiven("web_page", "ComfyUI's address sent a web page or a message instead of the file.")
        is_first = False
        yield piece


def _is_more(effect: FetchPrompt) -> bool:
    return len(effect.files) > len(effect.images)
