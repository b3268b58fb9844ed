"""Looks after the wrapping keys of the fleet's texts, again and again: `ledger/shared/rotation.py` does the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.ports import LogUnreachable

LOOK_S: Final = 30.0

log = structlog.get_logger("comfyledger.fleet")


class KeyRotation:
    """`tend` does what is to be done now, in a thread, and returns whether there is more to do at once."""

    def __init__(self, tend: Callable[[], bool]) -> None:
        self._tend = tend

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if not await self._look():
                await asyncio.sleep(LOOK_S)

    async def _look(self) -> bool:
        try:
            return await asyncio.to_thread(self._tend)
        except LogUnreachable as error:
            log.info("fleet.keys_wait", error=str(error))
        except (LedgerUnusable, OSError) as error:
            log.error("fleet.keys_failed", error=str(error))
        return False
