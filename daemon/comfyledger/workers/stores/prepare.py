"""Making stores usable: what one must know before its first use is asked at the start, and again until it is known.

A store that cannot answer keeps the daemon from nothing else. It takes its place in `stores`, which all rooms share,
only as the place that open batches mean by its name.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

import structlog
from msgspec.structs import replace

from comfyledger.core.values import store_lane
from comfyledger.errors import Refused
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.plugins import OpenedStore, prepared
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.stores.resolve import check_identities

FIRST_S: Final = 5.0
"""Of the first time: the start does not wait longer for a store that is away."""
AGAIN_S: Final = 30.0
DELAY_FIRST_S: Final = 1.0
DELAY_LAST_S: Final = 60.0

log = structlog.get_logger("comfyledger.work.opening")


class StorePreparer:
    """Prepares the stores of one daemon."""

    def __init__(
        self, stores: dict[str, OpenedStore], reader: Reader, reporter: Reporter, jitter: random.Random
    ) -> None:
        self._stores = stores
        self._reader = reader
        self._reporter = reporter
        self._jitter = jitter

    async def first(self) -> None:
        """Raises Refused(config_invalid) if a store was pointed at another place while images are owed to the old."""
        opened = await asyncio.gather(*(prepared(one, FIRST_S) for one in self._stores.values()))
        for one in opened:
            if one.waiting is not None:
                log.warning("store.not_ready", store=one.name, problem=one.problem)
            self._stores[one.name] = one
        await check_identities(self._stores, self._reader)

    async def run(self) -> None:
        """Until every store is usable or known to be none."""
        delay_s = DELAY_FIRST_S
        while waiting := [one for one in self._stores.values() if one.waiting is not None]:
            await asyncio.sleep(delay_s * self._jitter.uniform(0.8, 1.2))
            delay_s = min(DELAY_LAST_S, delay_s * 2)
            for one in waiting:
                self._stores[one.name] = await self._checked(await prepared(one, AGAIN_S))

    async def _checked(self, opened: OpenedStore) -> OpenedStore:
        """One that turns out to be another place than images are owed to is not used: a new start would refuse it."""
        if opened.store is None:
            return opened
        try:
            await check_identities({opened.name: opened}, self._reader)
        except Refused as refusal:
            log.error("store.moved", store=opened.name, error=str(refusal))
            return replace(opened, store=None, problem=str(refusal))
        log.info("store.ready", store=opened.name, identity=opened.identity)
        self._reporter.probe_soon(store_lane(opened.name))
        return opened
