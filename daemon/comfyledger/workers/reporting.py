"""Where workers hand in what they saw: reports, lanes that are stuck or work again, and the words of foreign servers,
cut to their bound and salted before they go anywhere."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from comfyledger.core.reports import LaneStuck, LaneWorks, Report
from comfyledger.core.values import Blob, blob_of
from comfyledger.engine import Engine
from comfyledger.workers.comfyui.secret_values import NO_SECRETS, Secrets

log = structlog.get_logger("comfyledger.work")


class Reporter:
    """The workers' side of the engine. `salt` makes 16 random bytes; `secrets` must not be in what is written."""

    def __init__(self, engine: Engine, salt: Callable[[], bytes], text_max: int, secrets: Secrets = NO_SECRETS) -> None:
        self._engine = engine
        self._salt = salt
        self.text_max = text_max
        self._secrets = secrets
        self._telling: set[str] = set()

    async def report(self, report: Report) -> msgspec.Struct | None:
        """Hand in a report; returns when it is durable."""
        return await self._engine.report(report)

    def words(self, text: str) -> Blob:
        """A text of a foreign server as a blob, without secrets and cut to the bound."""
        return blob_of(self._secrets.masked(text)[: self.text_max].encode(errors="replace"), self._salt())

    async def stuck(self, lane: str, code: str, text: str, retry_after_s: float | None = None) -> None:
        """Say that a lane could not work. One line in the log for one trouble, not for each call that meets it."""
        if self._engine.in_trouble(lane) or lane in self._telling:
            await self._engine.report(LaneStuck(lane, code, self.words(text), retry_after_s))
            return
        log.warning("lane.stuck", lane=lane, code=code, error=self._secrets.masked(text)[:300])
        self._telling.add(lane)
        try:
            await self._engine.report(LaneStuck(lane, code, self.words(text), retry_after_s))
        finally:
            self._telling.discard(lane)

    def in_trouble(self, lane: str) -> bool:
        return self._engine.in_trouble(lane)

    async def works(self, lane: str) -> None:
        """Say that a lane has answered, if it was in trouble."""
        if self._engine.in_trouble(lane):
            log.info("lane.works", lane=lane)
            await self._engine.report(LaneWorks(lane))

    def probe_soon(self, lane: str) -> None:
        self._engine.probe_soon(lane)
