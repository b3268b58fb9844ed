"""Asking a store which of some images it holds: a folder that several of them lie in by one listing, others one by one.

The store is only listed and asked. What a list lacks, or says no digest of, is asked for by its name before anything is
believed: lists may be a little behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from comfyledger.core.rows import ImageRow
from comfyledger.plugin_api import Held, Store, StoreTrouble

CHECKS_AT_ONCE: Final = 4
LISTED_MIN: Final = 3
"""A listing costs an account as much as a question for one file."""

Found = Literal["held", "missing", "different"]


async def look(store: Store, wanted: Mapping[str, ImageRow]) -> dict[str, Found]:
    """What the store holds under each name, compared with what was pinned. Raises StoreTrouble."""
    listed = await _listed(store, list(wanted))
    places = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def one(name: str, image: ImageRow) -> Found:
        held = listed.get((name, image.extension))
        if held is None or not held.md5:
            async with places:
                held = await store.check(name, image.extension)
        return _judged(image, held)

    try:
        async with asyncio.TaskGroup() as group:
            asked = {name: group.create_task(one(name, image)) for name, image in wanted.items()}
    except ExceptionGroup as several:
        raise next((error for error in several.exceptions if isinstance(error, StoreTrouble)), several) from several
    return {name: task.result() for name, task in asked.items()}


async def _listed(store: Store, names: Sequence[str]) -> dict[tuple[str, str], Held]:
    """The first page of each folder that several names are in."""
    folders = [name.rpartition("/")[0] for name in names]
    worth = [folder for folder in dict.fromkeys(folders) if folders.count(folder) >= LISTED_MIN]
    pages = [await store.page(folder) for folder in worth]
    return {(held.public_id, held.extension): held for page in pages for held in page.held}


def _judged(image: ImageRow, held: Held | None) -> Found:
    if held is None:
        return "missing"
    return "held" if held.size_bytes == image.size_bytes and held.md5 in {"", image.md5} else "different"
