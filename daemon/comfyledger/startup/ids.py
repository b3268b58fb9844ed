"""Where ids, salts and seeds come from: the random numbers of the machine, and its clock."""

from __future__ import annotations

import os
import time

from ulid import ULID

from comfyledger.core.values import SEED_MADE_UP_MAX
from comfyledger.ledger.ports import BatchFilter, Reader
from comfyledger.queries.dependencies import IdSource


def wall_ms() -> int:
    """The wall clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class BatchIds:
    """Makes ids that sort in the order in which they were made, also where the wall clock goes back.

    `newest` is the highest id so far, from an earlier run. Batches are listed, and resumed at a start, by their ids.
    """

    def __init__(self, newest: str | None) -> None:
        self._last = int(ULID.from_str(newest)) if newest else 0

    def __call__(self) -> str:
        """A ULID is the time in milliseconds and 80 random bits. The package takes twice as long to make one."""
        made = wall_ms() << 80 | int.from_bytes(os.urandom(10), "big")
        self._last = max(self._last + 1, made)
        return str(ULID.from_int(self._last))


async def id_source(reader: Reader) -> IdSource:
    """The source of a daemon whose earlier ids are in this ledger."""
    newest = await reader.batches(BatchFilter(limit=1))
    batch_id = BatchIds(newest[0].batch_id if newest else None)
    return IdSource(batch_id=batch_id, salt=salt, seed=made_up_seed)


def made_up_seed() -> int:
    """Each with the same chance, since their number is a power of two."""
    return int.from_bytes(os.urandom(8), "big") % (SEED_MADE_UP_MAX + 1)


def salt() -> bytes:
    """The same bytes as `secrets.token_bytes`, which takes four times as long because it makes a large number first."""
    return os.urandom(16)
