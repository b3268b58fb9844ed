"""Where workers report what they saw: reports, and lanes that are stuck or work again.

Error texts of other servers are cut to a bound and salted before they are kept. ComfyUI quotes inputs in its errors, so
every secret in them is masked first. Secrets are held in memory alone.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from comfyledger.core.reports import LaneStuck, LaneWorks, Report
from comfyledger.core.rows import BatchRow
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.values import Blob, backend_lane, blob_of
from comfyledger.engine import Engine
from comfyledger.plugin_api import LaneFault
from comfyledger.settings import MASK

PIECE_BYTES: Final = 1_048_576
REASON_CHARS_MAX: Final = 600
"""Of what a backend says against a graph. It is kept in memory while a batch with the graph is open."""
SECRET_CHARS_MIN: Final = 4
"""A shorter secret is not masked: it would take common letters out of every text."""

log = structlog.get_logger("comfyledger.work")


class Secrets:
    """What is filled in just before a graph is sent, and is kept out of everything that is written.

    `inputs`: by workflow and address. `others`: what else must not be written, like the keys of paid nodes.
    """

    def __init__(self, inputs: Mapping[str, Mapping[str, str]], others: Iterable[str] = ()) -> None:
        self._inputs = {name: {at: str(value) for at, value in one.items()} for name, one in inputs.items()}
        self._words: list[str] = []
        self.hide(value for one in self._inputs.values() for value in one.values())
        self.hide(others)

    def hide(self, values: Iterable[str]) -> None:
        """Keep these out of texts as well. Earlier ones stay hidden: something may still quote them."""
        plain = set(map(str, values))
        spelled = plain | {msgspec.json.encode(value).decode()[1:-1] for value in plain}
        words = {*self._words, *(word for word in spelled if len(word) >= SECRET_CHARS_MIN)}
        self._words[:] = sorted(words, key=len, reverse=True)

    def of(self, workflow: str) -> Mapping[str, str]:
        """The secrets of a workflow, by address."""
        return self._inputs.get(workflow, {})

    def masking_only(self) -> Secrets:
        """The same, but nothing is filled in. What is hidden later is hidden here as well."""
        masking = Secrets({})
        masking._words = self._words
        return masking

    def masked(self, text: str) -> str:
        """The text without any secret, nor the beginning of one at its end, where a bound may have cut it."""
        for word in self._words:
            text = text.replace(word, MASK)
        for word in self._words:
            for length in range(min(len(word), len(text)), SECRET_CHARS_MIN - 1, -1):
                if text.endswith(word[:length]):
                    return text[:-length] + MASK
        return text

    def may_be_in(self, file: Path) -> bool:
        """Whether a file may hold a secret: it does, or it is no text, so that nobody can tell. Reads it in pieces."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        longest = max(map(len, self._words), default=0)
        text = ""
        with file.open("rb") as source:
            while piece := source.read(PIECE_BYTES):
                try:
                    text = text[max(0, len(text) - longest) :] + decoder.decode(piece)
                except UnicodeDecodeError:
                    return True
                if "\0" in text or any(word in text for word in self._words):
                    return True
        return bool(decoder.getstate()[0])


NO_SECRETS: Final = Secrets({})


class Reporter:
    """Hands the workers' reports to the engine. `salt` makes 16 random bytes; `secrets` are masked in every text."""

    def __init__(self, engine: Engine, salt: Callable[[], bytes], text_max: int, secrets: Secrets = NO_SECRETS) -> None:
        self._engine, self._view = engine, engine.view
        self._salt = salt
        self.text_max = text_max
        self._secrets = secrets
        self._reporting: set[str] = set()

    async def report(self, report: Report) -> msgspec.Struct | None:
        """Hand a report to the engine. Returns when it is durable."""
        return await self._engine.report(report)

    def error_text(self, text: str) -> Blob:
        """An error text of another server as a blob, without secrets and cut to the bound."""
        return blob_of(self._secrets.masked(text)[: self.text_max].encode(errors="replace"), self._salt())

    async def stuck(self, lane: str, code: str, text: str, retry_after_s: float | None = None) -> None:
        """Report that a lane could not work. Logs one line for each trouble, not one for each call that meets it."""
        if self._view.in_trouble(lane) or lane in self._reporting:
            await self._engine.report(LaneStuck(self._view.lane_here(lane), code, self.error_text(text), retry_after_s))
            return
        log.warning("lane.stuck", lane=lane, code=code, error=self._secrets.masked(text)[:300])
        self._reporting.add(lane)
        try:
            await self._engine.report(LaneStuck(self._view.lane_here(lane), code, self.error_text(text), retry_after_s))
        finally:
            self._reporting.discard(lane)

    async def store_fault(self, lane: str, fault: LaneFault) -> None:
        """Report that a store's lane could not work, and why."""
        await self.stuck(lane, fault.code, fault.text, fault.retry_after_s)

    def in_trouble(self, lane: str) -> bool:
        return self._view.in_trouble(lane)

    def backends_in_trouble(self) -> list[str]:
        """The names of the ComfyUIs whose lanes are in trouble, those that were removed among them."""
        lanes = (lane.partition("/") for lane in self._view.open_work().troubles)
        return [name for kind, _, name in lanes if backend_lane(name) == f"{kind}/{name}"]

    def has_work(self, backend: str) -> bool:
        """Whether a ComfyUI has prompts or files of ours, or inputs that are to be removed there."""
        work = self._view.open_work()
        return any(backend in counts for counts in (work.at_backends, work.fetching, work.strays, work.removals))

    def server_of(self, batch_id: str, prompt: int, attempt: int) -> str:
        """Which server an attempt was sent to; empty if that is not known."""
        row = self._view.prompt(batch_id, prompt)
        return row.as_attempt(attempt).server if row is not None else ""

    async def works(self, lane: str) -> None:
        """Report that a lane has answered, if it was in trouble."""
        if self._view.in_trouble(lane):
            log.info("lane.works", lane=lane)
            await self._engine.report(LaneWorks(self._view.lane_here(lane)))

    def refuse(self, backend: str, batch: BatchRow, inputs: str, why: str) -> None:
        """Say that a backend does not take the graph of a batch: see `Fit.refuse`."""
        said = self._secrets.masked(why)[:REASON_CHARS_MAX]
        log.info("prompt.unfit", backend=backend, batch_id=batch.batch_id, error=said[:300])
        self._engine.refuse(backend, batch.template, inputs, said)

    def learned(self, backend: str) -> None:
        """Say that a backend has something else than before."""
        self._engine.learned(backend)

    @property
    def fit(self) -> Fit:
        """Which backends may run what."""
        return self._view.fit

    def probe_soon(self, lane: str) -> None:
        self._engine.probe_soon(lane)
