"""Deletes inputs from the daemon's own folder, after the event that says that nothing needs them.

The deletion is owed until `input_removed` is in the log. So a daemon that dies in between looks again, and finds that
the file is there or has gone.
"""

from __future__ import annotations

import structlog

from comfyledger import crash_points
from comfyledger.core.reports import InputGone, InputRemoving
from comfyledger.core.results import Wanted
from comfyledger.workers.inputs.store import InputStore
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.spool.files import NoPlace

LANE = "inputs"
"""The lane of the folder of inputs. It is in trouble while its disk does not delete."""

log = structlog.get_logger("comfyledger.inputs")


class InputRemover:
    """Deletes inputs from the folder of this daemon."""

    def __init__(self, store: InputStore, reporter: Reporter) -> None:
        self._store = store
        self._reporter = reporter

    async def remove(self, sha256: str) -> None:
        """Delete a file if the ledger still says so. Raises SpoolUnusable."""
        try:
            await self._store.remove(sha256, _Removing(sha256, self._reporter))
        except NoPlace as error:
            await self._reporter.stuck(LANE, "not_deleted", error.reason)
        else:
            await self._reporter.works(LANE)


class _Removing:
    def __init__(self, sha256: str, reporter: Reporter) -> None:
        self._sha256 = sha256
        self._reporter = reporter

    async def is_unwanted(self) -> bool:
        answer = await self._reporter.report(InputRemoving(self._sha256, backend=""))
        return isinstance(answer, Wanted) and answer.go

    async def record(self, *, found: bool) -> None:
        crash_points.at("input.deleted")
        await self._reporter.report(InputGone(self._sha256, backend="", found=found))
