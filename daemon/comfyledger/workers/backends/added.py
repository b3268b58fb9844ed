"""Has the ComfyUIs run that clients added, as the ledger says: from the start, after each commit, until they end.

    commit ──rows──▶ AddedBackends ──add, remove──▶ RunningBackends
                          └──time ended, not allowed any more──report──▶ engine ──▶ commit

Nothing that a client sent is lost between its event and the call, because the calls follow from the rows. The times to
live are in memory: a start counts them anew, and a renewal is no event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import structlog

from comfyledger import crash_points
from comfyledger.core.backends import BackendRow, box_of
from comfyledger.core.events.backends import Ended
from comfyledger.core.reports import BackendEnded
from comfyledger.core.urls import place_of
from comfyledger.errors import Refused
from comfyledger.ledger.observers import Committed
from comfyledger.ledger.ports import Reader
from comfyledger.settings.backend_urls import is_allowed
from comfyledger.workers.backends.guard import why_never_at
from comfyledger.workers.backends.running import RunningBackends
from comfyledger.workers.reporting import Reporter

log = structlog.get_logger("comfyledger.backends")


class AddedBackends:
    """`allowed`: the addresses that may be added, as `[backends] allowed` describes them. `box`: whose they are, in a
    fleet; those of other boxes are known, and run there.
    """

    def __init__(
        self, running: RunningBackends, reader: Reader, reporter: Reporter, allowed: Collection[str], box: str = ""
    ) -> None:
        self._running, self._reader, self._reporter = running, reader, reporter
        self._allowed, self._box = tuple(allowed), box
        self._rows: dict[str, BackendRow] = {}
        """Those that are present, as the log says, whether they are used or not."""
        self._changed: dict[str, BackendRow] = {}
        self._ending: dict[str, Ended] = {}
        self._ends_at: dict[str, float] = {}
        self._news = asyncio.Event()

    # ---- in

    async def start(self) -> None:
        """Add those that are present. To be called once, before the engine gives out work. Raises Refused(busy)."""
        for row in await self._reader.backends():
            self._take(row)
        await self._apply()

    def committed(self, committed: Committed) -> None:
        """An observer of commits."""
        for row in committed.rows.values():
            if isinstance(row, BackendRow):
                self._take(row)

    def _take(self, row: BackendRow) -> None:
        if box_of(row.name) != self._box:
            self._note(row)
            return
        self._changed[row.name] = row
        self._ends_at.pop(row.name, None)
        self._ending.pop(row.name, None)
        self._note(row)
        if row.present:
            self._count(row)
        self._news.set()

    def _note(self, row: BackendRow) -> None:
        if row.present:
            self._rows[row.name] = row
        else:
            self._rows.pop(row.name, None)

    def _count(self, row: BackendRow) -> None:
        if row.ttl_s:
            self._ends_at[row.name] = asyncio.get_running_loop().time() + row.ttl_s
            self._news.set()

    def renew(self, row: BackendRow) -> None:
        """Count the time to live of a backend anew, if it is present with these values.

        To be called before the ledger is asked whether they are new. If its time has just ended and that is reported
        already, they are new, and it is added again.
        """
        waits = self._ending.get(row.name) == "expired"
        if self._rows.get(row.name) == row and (waits or row.name in self._ends_at):
            self._ending.pop(row.name, None)
            self._count(row)

    def reread(self, allowed: Collection[str]) -> None:
        """Take in another configuration. What it does not allow any more ends."""
        self._allowed = tuple(allowed)
        own = {name: row for name, row in self._rows.items() if box_of(name) == self._box}
        self._changed = own | self._changed
        self._news.set()

    def is_present(self, name: str) -> bool:
        """Whether a client added it and nobody removed it."""
        return name in self._rows

    # ---- what may be added

    def check(self, name: str, url: str) -> None:
        """Raises Refused(backend_exists, backend_not_allowed) for what the configuration rules out."""
        configured = self._running.configured
        if name in configured:
            hint = "Choose another name, or change its section of the configuration."
            raise Refused("backend_exists", f"The configuration has [comfyui.{name}].", hint=hint, path="name")
        place = place_of(url)
        for other, its_url in configured.items():
            if place_of(its_url) == place:
                hint = f"It is used already, as {other}."
                raise Refused("backend_exists", f"[comfyui.{other}] has this address.", hint=hint, path="url")
        if why := why_never_at(url):
            hint = "Use another address of the server."
            raise Refused("backend_not_allowed", f"{why}.", hint=hint, path="url")
        if not is_allowed(url, self._allowed):
            hint = "The operator lists addresses in [backends] allowed: scheme, host, port and path must fit an entry."
            raise Refused("backend_not_allowed", f"{url} is not an address that may be added.", hint=hint, path="url")

    def _why_ends(self, row: BackendRow) -> Ended | None:
        try:
            self.check(row.name, row.url)
        except Refused as refusal:
            return "configured" if refusal.code == "backend_exists" else "not_allowed"
        return None

    # ---- out

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            self._news.clear()
            await self._apply()
            await self._report_ends()
            await self._wait()

    async def _apply(self) -> None:
        """Have run what the rows say, one after the other. A backend that fails does not stop the others."""
        while self._changed:
            row = self._changed.pop(next(iter(self._changed)))
            crash_points.at("backend.changing")
            try:
                if not row.present:
                    await self._running.remove(row.name)
                elif reason := self._why_ends(row):
                    self._ending[row.name] = reason
                else:
                    await self._running.add(row)
            except Exception:
                log.exception("backend.died", backend=row.name)

    async def _report_ends(self) -> None:
        """What is reported is forgotten here at once, so that it is reported once."""
        now = asyncio.get_running_loop().time()
        for name in [name for name, at in self._ends_at.items() if at <= now]:
            del self._ends_at[name]
            self._ending[name] = "expired"
        while self._ending:
            name, reason = self._ending.popitem()
            log.warning("backend.ended", backend=name, reason=reason)
            await self._reporter.report(BackendEnded(name, reason))

    async def _wait(self) -> None:
        """Until something is new, or a time ends."""
        until = min(self._ends_at.values(), default=None)
        try:
            async with asyncio.timeout_at(until):
                await self._news.wait()
        except TimeoutError:
            return
