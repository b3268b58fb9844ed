"""Fetching: copy the files of a finished prompt from ComfyUI into the spool, and report them together.

If an output gave more files than it has images, its files wait in the spool until a person chooses. A file that comes
slowly is asked for again, after the others.
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
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.messages import ViewFile
from comfyledger.comfyui.transfer import FileMissing, NotGiven, NotReached
from comfyledger.core.output_files import OutputFiles, by_output
from comfyledger.core.reports import FilesKept, FilesLaidBy, PromptReport
from comfyledger.core.results import Taken
from comfyledger.core.scheduling.effects import FetchPrompt
from comfyledger.core.values import WAITING_FIRST, OutputFile, Pinned, waiting_index, waiting_indexes
from comfyledger.workers.comfyui.outcomes import Count, Outcomes, report_of
from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.media.media_file import ProvedFile
from comfyledger.workers.reporting import Reporter, Secrets
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
SAME_AGAIN: Final = frozenset({"unknown_kind", "too_many_pixels", "too_large", "poison", "unstrippable"})
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


class Wish(msgspec.Struct, frozen=True):
    """A file to fetch, and the index under which the spool keeps it: that of its image, or one of its own.

    `place`: among all files of the run, from 1. `waited`: the file as it lies in the spool already, if a person chose
    it.
    """

    index: int
    place: int
    file: OutputFile
    waited: Pinned | None = None

    @property
    def is_surplus(self) -> bool:
        return self.index >= WAITING_FIRST


class Transfers(msgspec.Struct):
    """The transfers of one prompt's files. `fault` is the first fault of a file, `trouble` that of the lane."""

    wishes: list[Wish] = []
    outputs: list[OutputFiles] = []
    kept: dict[int, Pinned] = {}
    """By the index of the wish."""
    fault: Fault | None = None
    trouble: NotReached | None = None
    slow: int = 0
    tries: dict[int, int] = {}

    def blame(self, fault: Fault) -> None:
        self.fault = self.fault or fault

    def for_images(self) -> tuple[Pinned, ...]:
        """The kept files that belong to an image."""
        return tuple(file for index, file in self.kept.items() if index < WAITING_FIRST)

    def for_a_choice(self) -> list[Wish]:
        """The files that a person must choose from: of each output all of them, or none if one did not come."""
        surplus = [wish for wish in self.wishes if wish.is_surplus]
        lacking = {wish.file.output for wish in surplus if wish.index not in self.kept}
        return [wish for wish in surplus if wish.file.output not in lacking]

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
        secrets: Secrets,
        fetches_max: int,
    ) -> None:
        self._comfyui = comfyui
        self._row_cache = row_cache
        self._spool = spool
        self._outcomes = outcomes
        self._reporter = reporter
        self._bounds = bounds
        self._secrets = secrets
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
        await self._look_for_wishes(effect, transfers)
        left = deque(transfers.wishes)
        while left and transfers.slow < SLOW_MAX:
            wish = left.popleft()
            try:
                transfers.kept[wish.index] = await self._keep(effect, wish)
            except FileMissing as missing:
                transfers.blame(Fault("file_missing", str(missing)))
            except Broken as broken:
                final = broken.reason in SAME_AGAIN
                code = "poison" if broken.reason == "poison" else "broken"
                transfers.blame(Fault(code, f"{broken.reason}: {broken.sentence}", final))
            except NotGiven as trouble:
                await self._comfyui.system_stats()
                await self._reporter.works(effect.lane)
                if transfers.deserves_another(wish.index, trouble):
                    left.append(wish)

    async def _look_for_wishes(self, effect: FetchPrompt, transfers: Transfers) -> None:
        """The files of those outputs of which an image still waits."""
        rows = await self._row_cache.images(effect.batch_id, effect.images)
        waiting = {row.index for row in rows if row.state == "pending"}
        every = by_output(rows, effect.files)
        transfers.outputs = [one for one in every if not waiting.isdisjoint(one.images)]
        transfers.wishes = [wish for one in transfers.outputs for wish in _wishes(effect, one, waiting)]

    async def _report_all(self, effect: FetchPrompt, transfers: Transfers) -> bool:
        """Report the files that came, and then how the lane or the attempt ended. Whether the spool took any."""
        kept = transfers.for_images()
        waits = any(wish.is_surplus for wish in transfers.wishes)
        if kept or not (waits or transfers.fault or transfers.trouble):
            await self._took(effect, transfers, kept)
        is_laid_by = waits and await self._laid_by(effect, transfers)
        if transfers.trouble is not None:
            await self._reporter.stuck(effect.lane, transfers.trouble.code, transfers.trouble.text)
        elif transfers.fault is not None and not is_laid_by:
            fault = transfers.fault
            await self._outcomes.failed(effect, fault.code, fault.text, final=fault.final)
        else:
            await self._reporter.works(effect.lane)
            self._outcomes.forget_entry(effect)
        return bool(transfers.kept)

    async def _laid_by(self, effect: FetchPrompt, transfers: Transfers) -> bool:
        """Report surplus files, which wait until a person chooses. Of each output all of them are kept, or none.

        A file of another output that could not be kept is reported with them: the run is not repeated meanwhile.
        """
        if transfers.trouble is not None:
            return False
        wishes = transfers.for_a_choice()
        kept = {wish.index: msgspec.structs.replace(transfers.kept[wish.index], image=wish.place) for wish in wishes}
        taken = bool(kept) and await self._is_waiting(effect, transfers, tuple(kept.values()))
        unused = set(waiting_indexes(effect.prompt)).difference(kept if taken else ())
        await asyncio.to_thread(self._spool.remove_among, effect.batch_id, unused)
        return taken

    async def _is_waiting(self, effect: FetchPrompt, transfers: Transfers, files: tuple[Pinned, ...]) -> bool:
        """Report files to choose from. Whether an image waits for them."""
        places = {file.image for file in files}
        counts = [
            Count(one.output, len(one.places), len(one.images))
            for one in transfers.outputs
            if not places.isdisjoint(one.places) and one.is_surplus
        ]
        fault = transfers.fault
        report = report_of(
            FilesLaidBy,
            effect,
            files=files,
            words=await self._outcomes.miscounted(effect, counts),
            code=fault.code if fault else "",
            error=self._reporter.error_text(fault.text) if fault else None,
        )
        return bool(await self._logged(report))

    async def _logged(self, report: PromptReport) -> tuple[int, ...]:
        """Report files that are in the spool. Returns the images that took them."""
        crash_points.at("fetch.whole")
        taken = await self._reporter.report(report)
        crash_points.at("fetch.logged")
        return taken.images if isinstance(taken, Taken) else ()

    async def _remove_waiting(self, effect: FetchPrompt) -> None:
        indexes = waiting_indexes(effect.prompt)
        await asyncio.to_thread(self._spool.remove_among, effect.batch_id, indexes)

    async def _from_spool(self, effect: FetchPrompt, index: int, lying: Pinned) -> Pinned | None:
        """The chosen file that waited in the spool for this image; None if it is gone and must be fetched."""
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

    async def _keep(self, effect: FetchPrompt, wish: Wish) -> Pinned:
        if wish.waited is not None and (waited := await self._from_spool(effect, wish.index, wish.waited)) is not None:
            return waited
        file = wish.file
        if self._reporter.server_of(effect.batch_id, effect.prompt, effect.attempt) not in {"", self._comfyui.server}:
            raise FileMissing(f"{file.filename} is at a server that is not used any more, and not in the spool.")
        async with self._comfyui.view(ViewFile(file.filename, file.subfolder, file.type)) as pieces:
            crash_points.at("fetch.asked")
            pinned = await self._spool.keep(
                effect.batch_id,
                wish.index,
                effect.attempt,
                pieces,
                strip=self._bounds.strip_metadata,
                bytes_max=self._bounds.image_bytes_max,
                file_bytes_max=self._bounds.file_bytes_max,
                pixels_max=self._bounds.pixels_max,
                named=file.filename,
            )
        await self._check_no_secrets(effect, wish, pinned)
        return Pinned(
            wish.index,
            pinned.sha256,
            pinned.md5,
            pinned.size_bytes,
            pinned.width,
            pinned.height,
            pinned.extension,
            pinned.checked,
        )

    async def _check_no_secrets(self, effect: FetchPrompt, wish: Wish, kept: ProvedFile) -> None:
        """Raises Broken, with the file removed, if it may hold a secret of the workflow that cannot be taken out."""
        batch = await self._row_cache.batch(effect.batch_id) if kept.checked == "length" else None
        if not self._bounds.strip_metadata or batch is None or not batch.plan.get("secrets"):
            return
        path = self._spool.path_of(effect.batch_id, wish.index, kept.extension)
        if not await asyncio.to_thread(self._secrets.may_be_in, path):
            return
        await asyncio.to_thread(self._spool.remove, effect.batch_id, wish.index)
        text = f"A secret of the workflow {batch.workflow} may be in the .{kept.extension} file."
        raise Broken("unstrippable", f"{text} Have it save a kind of file from which metadata can be taken out.")

    async def _took(self, effect: FetchPrompt, transfers: Transfers, kept: tuple[Pinned, ...]) -> None:
        used = await self._logged(report_of(FilesKept, effect, files=kept))
        for file in kept:
            if file.image not in used:
                await asyncio.to_thread(self._spool.remove, effect.batch_id, file.image)
        if effect.waiting and not (transfers.fault or transfers.trouble):
            await self._remove_waiting(effect)


def _wishes(effect: FetchPrompt, output: OutputFiles, waiting: set[int]) -> list[Wish]:
    """What to fetch of one output. If it gave too many files, all of them, under indexes of their own."""
    if output.is_surplus:
        return [Wish(waiting_index(effect.prompt, place), place, effect.files[place - 1]) for place in output.places]
    lying = effect.waiting or (None,) * len(effect.files)
    pairs = ((index, place) for index, place in output.pairs if index in waiting)
    return [Wish(index, place, effect.files[place - 1], lying[place - 1]) for index, place in pairs]
