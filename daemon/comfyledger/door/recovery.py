"""Taking up again what did not arrive, or giving it up: what `recover` does.

A store that is gone for good is given up batch by batch, a few in one command, so that no command is large.
"""

from __future__ import annotations

from typing import Final, cast

from comfyledger import wire
from comfyledger.core.commands import DropStore
from comfyledger.core.draft import Changed
from comfyledger.door.context import Context
from comfyledger.errors import Refused

BATCHES_AT_ONCE: Final = 10


async def recover(context: Context, label: str, message: wire.Recover) -> wire.Recovered:
    """Give up what is owed to a store. Raises Refused(nothing_to_do) if nothing is."""
    store = message.drop_store
    owing = await context.reader.owing(store)
    if not owing:
        known = ", ".join(context.stores)
        text = f"No image is owed to a store {store[:100]!r}."
        raise Refused("nothing_to_do", text, hint=f"Configured stores: {known}.", path="$.data.drop_store")
    if message.dry_run:
        return wire.Recovered(len(owing), sum(owing.values()), dry_run=True)
    images, batch_ids = 0, list(owing)
    for first in range(0, len(batch_ids), BATCHES_AT_ONCE):
        some = tuple(batch_ids[first : first + BATCHES_AT_ONCE])
        images += cast(Changed, await context.engine.command(DropStore(label, store, some))).images
    return wire.Recovered(len(owing), images)
