"""Deletes inputs from the daemon's own folder, after the event that says that nothing needs them; and takes back those
that were lost and are found again.

The deletion is owed until `input_removed` is in the log. So a daemon that dies in between looks again, and finds that
the file is there or has gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from comfyledger import crash_points
from comfyledger.core.reports import InputFound, InputGone, InputRemoving
from comfyledger.core.results import Wanted
from comfyledger.workers.inputs.store import InputStore, Removing
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.spool.files import NoPlace

LANE = "inputs"
"""The lane of the folder of inputs. It is in trouble while its disk does not delete."""

log = structlog.get_logger("comfyledger.inputs")


class InputRemover:
    """Deletes inputs from the folder of this daemon."""

    def __init__(self, store: InputStore, reporter: Reporter, box: str = "") -> None:
        """`box`: of this daemon, in a fleet."""
        self._store = store
        self._reporter = reporter
        self._box = box

    async def drop_copy(self, sha256: str, is_unwanted: Callable[[], Awaitable[bool]]) -> None:
        """Delete a file that the ledger does not take for this box's own. Raises SpoolUnusable."""
        await self._removed(sha256, _Dropping(is_unwanted))

    async def remove(self, sha256: str) -> None:
        """Delete a file if the ledger still says so. Raises SpoolUnusable."""
        await self._removed(sha256, _Removing(sha256, self._reporter))

    async def take_back(self, sha256: str, extension: str) -> None:
        """Report a file that is here although the ledger took it for lost. If it is not whole, or nobody wants it, it
        is deleted. Raises SpoolUnusable.
        """
        await self._removed(sha256, _TakingBack(sha256, extension, self._store, self._reporter, self._box))

    async def _removed(self, sha256: str, removing: Removing) -> None:
        try:
            await self._store.remove(sha256, removing)
        except NoPlace as error:
            await self._reporter.stuck(LANE, "not_deleted", error.reason)
        else:
            await self._reporter.works(LANE)


class _TakingBack:
    def __init__(self, sha256: str, extension: str, store: InputStore, reporter: Reporter, box: str) -> None:
        self._box = box
        self._sha256 = sha256
        self._extension = extension
        self._store = store
        self._reporter = reporter

    async def is_unwanted(self) -> bool:
        file = await asyncio.to_thread(self._store.open, self._sha256, self._extension)
        if file is None:
            return True
        file.close()
        answer = await self._reporter.report(InputFound(self._sha256, self._box))
        return isinstance(answer, Wanted) and not answer.go

    async def record(self, *, found: bool) -> None:
        """The ledger says already that it is not here."""


class _Dropping:
    def __init__(self, is_unwanted: Callable[[], Awaitable[bool]]) -> None:
        self._is_unwanted = is_unwanted

    async def is_unwanted(self) -> bool:
        return await self._is_unwanted()

    async def record(self, *, found: bool) -> None:
        """The ledger does not say that it is here."""


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
