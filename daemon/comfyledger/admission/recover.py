"""Recovery: try again what did not arrive, or give a store up.

Images are read page by page, newest batch first. The client keeps the cursor between pages, so that no command is large
and nothing is remembered here. Each page becomes commands of the engine, a few for each batch. A store that is gone for
good is given up in the same way, a few batches at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from comfyledger import wire
from comfyledger.admission import retries
from comfyledger.admission.recover_plan import Scope, Step, done, is_there, steps_of, stored_in, summed
from comfyledger.admission.store_import import opened_store, unavailable
from comfyledger.core.commands import Command, DropCopies, DropStore, OweStore, RenumberImages, RetryBatch
from comfyledger.core.evolve.inputs import INPUT_FAILED
from comfyledger.core.naming.slugs import fold
from comfyledger.core.results import Changed
from comfyledger.core.rows import BatchRow, ImageRow
from comfyledger.core.values import StoreRef
from comfyledger.errors import Refused
from comfyledger.ledger.ports import ImageFilter
from comfyledger.plugin_api import Held, Store, StoreTrouble
from comfyledger.queries.dependencies import Dependencies

BATCHES_AT_ONCE: Final = 10
COPIES_AT_ONCE: Final = 200
CHECKS_AT_ONCE: Final = 4
LISTED_MIN: Final = 3
"""A page of a listing costs an account as much as a question for one file."""
PAGES_MAX: Final = 3

Found = Literal["held", "missing", "different"]


async def recover(context: Dependencies, label: str, message: wire.Recover) -> wire.Recovered:
    """One page of recovery, or the whole of giving a store up. Raises Refused."""
    if message.drop_store is not None:
        return await _drop_store(context, label, message.drop_store, message)
    if message.drop_comfyui is not None:
        return await _drop_comfyui(context, label, message.drop_comfyui, message)
    scope = _scope(context, message)
    rows = await context.reader.images(await _filter(context, message))
    batches = await _batches(context, rows)
    chosen = [row for row in rows if _is_young_enough(batches[row.batch_id], message)]
    steps = [step for row in chosen for step in steps_of(row, batches[row.batch_id], scope)]
    if message.missing:
        steps += await _missing(context, chosen, batches, scope)
    cursor = f"{rows[-1].batch_id}/{rows[-1].index}" if len(rows) == message.limit else ""
    changing = done(steps)
    images = len({(step.image.batch_id, step.image.index) for step in changing})
    if not message.dry_run:
        images = await _carry_out(context, label, changing, batches, scope)
    count = len({step.image.batch_id for step in changing})
    return wire.Recovered(count, images, message.dry_run, summed(steps), len(rows), cursor)


# ---- which images


def _scope(context: Dependencies, message: wire.Recover) -> Scope:
    """Raises Refused(unknown_store, plugin_broken, store_unavailable) for a store that is named and cannot be used."""
    if message.store is not None:
        opened_store(context, message.store)
    places = {one.name: one.identity for one in context.stores.values() if one.store is not None}
    is_since = message.since_ms is not None or message.since_position is not None
    return Scope(places, message.store, message.code, message.store is not None and is_since, message.new_number)


async def _filter(context: Dependencies, message: wire.Recover) -> ImageFilter:
    if message.batch_id is not None and await context.reader.batch(message.batch_id) is None:
        text = f"There is no batch {message.batch_id[:64]!r}."
        raise Refused("unknown_batch", text, hint="`comfyledger batches` lists them.", path="$.data.batch_id")
    username = None if message.username is None else fold(message.username)
    before = _read_cursor(message.cursor) if message.cursor else None
    return ImageFilter(batch_id=message.batch_id, username_key=username, before=before, limit=message.limit)


def _read_cursor(cursor: str) -> tuple[str, int]:
    batch_id, _, index = cursor.rpartition("/")
    if not batch_id or not index.isascii() or not index.isdigit() or len(index) > 6:
        text = "`cursor` must be the cursor of the previous reply."
        raise Refused("invalid_field", text, hint="Send the first request without a cursor.", path="$.data.cursor")
    return batch_id, int(index)


async def _batches(context: Dependencies, rows: Sequence[ImageRow]) -> dict[str, BatchRow]:
    ids = dict.fromkeys(row.batch_id for row in rows)
    found = [await context.reader.batch(batch_id) for batch_id in ids]
    return {batch.batch_id: batch for batch in found if batch is not None}


def _is_young_enough(batch: BatchRow, message: wire.Recover) -> bool:
    return batch.position >= (message.since_position or 0) and batch.at_ms >= (message.since_ms or 0)


# ---- comparing with the stores


async def _missing(
    context: Dependencies, rows: Sequence[ImageRow], batches: dict[str, BatchRow], scope: Scope
) -> list[Step]:
    """What the stores no longer hold, or hold with other bytes. Raises Refused(store_unavailable)."""
    wanted: dict[str, dict[str, ImageRow]] = {}
    steps = []
    for row in rows:
        for store, name in stored_in(row, scope):
            if is_there(batches[row.batch_id], store, scope):
                wanted.setdefault(store, {})[name] = row
            else:
                steps.append(Step("elsewhere", row, store))
    for store, names in wanted.items():
        steps += await _compared(context, store, names)
    return steps


async def _compared(context: Dependencies, name: str, wanted: dict[str, ImageRow]) -> list[Step]:
    _, store = opened_store(context, name)
    try:
        found = await compare_with_store(store, wanted)
    except StoreTrouble as trouble:
        raise unavailable(name, trouble.fault) from trouble
    kinds = ((wanted[public_id], kind) for public_id, kind in found.items())
    return [Step(kind, row, name) for row, kind in kinds if kind != "held"]


async def compare_with_store(store: Store, wanted: Mapping[str, ImageRow]) -> dict[str, Found]:
    """What the store holds under each name, compared with what the ledger recorded. Raises StoreTrouble.

    A folder that several images are in is listed once; the others are checked one by one. Listings may lag, so what a
    list lacks, or gives without a digest, is checked by its name before it counts.
    """
    listed = await _listed(store, [(name, image.extension) for name, image in wanted.items()])
    places = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def one(name: str, image: ImageRow) -> Found:
        held = listed.get((name, image.extension))
        if held is None or not (held.md5 or held.sha256):
            async with places:
                held = await store.check(name, image.extension)
        return _judged(image, held)

    try:
        async with asyncio.TaskGroup() as group:
            asked = {name: group.create_task(one(name, image)) for name, image in wanted.items()}
    except ExceptionGroup as several:
        raise next((error for error in several.exceptions if isinstance(error, StoreTrouble)), several) from several
    return {name: task.result() for name, task in asked.items()}


async def _listed(store: Store, files: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Held]:
    """The first pages of each folder that several files are in, until all of these are found.

    An account has a list for each kind of file.
    """
    folders: dict[str, set[tuple[str, str]]] = {}
    for file in files:
        folders.setdefault(file[0].rpartition("/")[0], set()).add(file)
    found: dict[tuple[str, str], Held] = {}
    for folder, wanted in folders.items():
        cursor, pages = "", 0 if len(wanted) >= LISTED_MIN else PAGES_MAX
        while pages < PAGES_MAX and (cursor or not pages) and not wanted <= found.keys():
            page = await store.page(folder, cursor)
            found |= {(held.public_id, held.extension): held for held in page.held}
            cursor, pages = page.cursor, pages + 1
    return found


def _judged(image: ImageRow, held: Held | None) -> Found:
    if held is None:
        return "missing"
    is_same = held.md5 in {"", image.md5} and held.sha256 in {"", image.sha256}
    return "held" if is_same and held.size_bytes == image.size_bytes else "different"


# ---- carrying it out


async def _carry_out(
    context: Dependencies, label: str, steps: Sequence[Step], batches: dict[str, BatchRow], scope: Scope
) -> int:
    """The number of images that recover. An image that changed since the page was read is left as it is, and so is one
    of a run whose files wait for a choice, and one that is made from an image that has ended.
    """
    images = 0
    for command in commands_of(label, steps, batches, scope):
        try:
            whole = await retries.completed(context, command) if isinstance(command, RetryBatch) else command
            images += (await context.engine.command(whole)).images
        except Refused as refusal:
            if refusal.code not in {"nothing_to_do", "take_missing", INPUT_FAILED}:
                raise
    return images


def commands_of(
    label: str, steps: Sequence[Step], batches: dict[str, BatchRow], scope: Scope
) -> Iterator[Command[Changed]]:
    """One command for all steps of one kind about one batch and store."""
    grouped: dict[tuple[str, str, str], list[int]] = {}
    for step in steps:
        of_store = step.kind not in {"render", "renumber"}
        key = ("owe" if of_store else step.kind, step.image.batch_id, step.store if of_store else "")
        grouped.setdefault(key, []).append(step.image.index)
    for (what, batch_id, store), found in grouped.items():
        indexes = tuple(dict.fromkeys(found))
        if what == "render":
            yield RetryBatch(label, batch_id, indexes)
        elif what == "renumber":
            yield RenumberImages(label, batch_id, batches[batch_id].every_series, indexes)
        else:
            yield OweStore(label, batch_id, indexes, StoreRef(store, scope.places[store]))


# ---- a store that is gone


async def _drop_store(context: Dependencies, label: str, store: str, message: wire.Recover) -> wire.Recovered:
    """Give up what is owed to a store. Raises Refused(nothing_to_do) if nothing is owed."""
    if message != wire.Recover(store, message.dry_run):
        text = "`drop_store` gives up a store in all batches. Only `dry_run` may be given with it."
        raise Refused("invalid_field", text, hint="Omit the other fields.", path="$.data.drop_store")
    owing = await context.reader.owing(store)
    if not owing:
        known = ", ".join(context.stores)
        text = f"No image is owed to a store {store[:100]!r}."
        raise Refused("nothing_to_do", text, hint=f"Configured stores: {known}.", path="$.data.drop_store")
    if message.dry_run:
        return wire.Recovered(len(owing), sum(owing.values()), dry_run=True)
    images, batch_ids = 0, list(owing)
    boxes = tuple(row.name for row in context.view.boxes())
    for first in range(0, len(batch_ids), BATCHES_AT_ONCE):
        some = tuple(batch_ids[first : first + BATCHES_AT_ONCE])
        images += (await context.engine.command(DropStore(label, store, some, boxes))).images
    return wire.Recovered(len(owing), images)


# ---- a ComfyUI that is gone


async def _drop_comfyui(context: Dependencies, label: str, name: str, message: wire.Recover) -> wire.Recovered:
    """Give up the input files that a ComfyUI may have. Raises Refused(nothing_to_do) if it has none."""
    path = "$.data.drop_comfyui"
    if message != wire.Recover(drop_comfyui=name, dry_run=message.dry_run):
        text = "`drop_comfyui` gives up all input files at a ComfyUI. Only `dry_run` may be given with it."
        raise Refused("invalid_field", text, hint="Omit the other fields.", path=path)
    if name in context.policy.backends:
        hint = f"Remove [comfyui.{name}] from the configuration and restart the daemon, or start that ComfyUI."
        raise Refused("invalid_field", f"The ComfyUI {name[:100]!r} is configured.", hint=hint, path=path)
    copies = await context.reader.inputs_at(name)
    if not copies:
        raise Refused("nothing_to_do", f"No input file is at a ComfyUI {name[:100]!r}.", path=path)
    if message.dry_run:
        return wire.Recovered(0, 0, dry_run=True, inputs=sum(copies.values()))
    inputs, sha256s = 0, list(copies)
    for first in range(0, len(sha256s), COPIES_AT_ONCE):
        some = tuple(sha256s[first : first + COPIES_AT_ONCE])
        inputs += (await context.engine.command(DropCopies(label, name, some))).images
    return wire.Recovered(0, 0, inputs=inputs)
