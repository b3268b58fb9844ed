"""Preparing stores: call `prepare` of each at the start, and again with back-off until it succeeds.

A store that cannot answer stops nothing else. Once it is prepared, it replaces its entry in `stores`, which all modules
share, unless open batches mean another place by its name.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

import structlog
from msgspec.structs import replace

from comfyledger.core.backoff import backoff
from comfyledger.core.values import store_lane
from comfyledger.errors import Refused
from comfyledger.ledger.ports import Reader
from comfyledger.plugins import OpenedStore, prepared
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.stores.resolve import check_identities

FIRST_S: Final = 5.0
"""The start does not wait longer for a store."""
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
        """Prepare all stores once. Raises Refused(config_invalid) if images are owed to a store's former place."""
        opened = await asyncio.gather(*(prepared(one, FIRST_S) for one in self._stores.values()))
        for one in opened:
            if one.waiting is not None:
                log.warning("store.not_ready", store=one.name, problem=one.problem)
            self._stores[one.name] = one
        await check_identities(self._stores, self._reader)

    async def run(self) -> None:
        """Try again until every store is usable, or known not to be."""
        tries = 0
        while waiting := [one for one in self._stores.values() if one.waiting is not None]:
            tries += 1
            await asyncio.sleep(backoff(tries, DELAY_FIRST_S, DELAY_LAST_S, self._jitter.uniform(0.8, 1.2)))
            for one in waiting:
                self._stores[one.name] = await self._checked(await prepared(one, AGAIN_S))

    async def _checked(self, opened: OpenedStore) -> OpenedStore:
        """A store that turns out to be another place than images are owed to is not used: a start would refuse it."""
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
