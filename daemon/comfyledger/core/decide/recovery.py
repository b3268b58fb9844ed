"""What the commands and reports of recovery mean, and what the restore of a ledger means.

A recovery takes the images that it fits and leaves the others as they are.

A state that is not named here is not recoverable: what was cancelled or forgotten on purpose stays so, and what failed
is taken up by `retry`.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from comfyledger.core.commands import OweStore, RenumberImages, RestoreLedger, SeriesSeen
from comfyledger.core.decide.commands import batch_or_refuse
from comfyledger.core.decide.inputs import forget_copies
from comfyledger.core.decide.prompts import awaits_choice
from comfyledger.core.decide.recorder import Draft, Policy
from comfyledger.core.events import ImageLost, ImageRenumbered, LedgerRestored, SeriesRaised, StoreOwed
from comfyledger.core.evolve.recovery import has_collided
from comfyledger.core.naming.names import name_after
from comfyledger.core.reports import ImageIsLost
from comfyledger.core.results import Changed, Raised
from comfyledger.core.rows import BatchRow, ImageRow
from comfyledger.core.values import NUMBER_MAX, StoreRef
from comfyledger.errors import Refused

OWED_AGAIN: Final = frozenset({"pending", "kept", "stored", "parked"})
"""States of images that can be owed to a store; the bytes of the others are not wanted or were never there."""


def owe_store(draft: Draft, command: OweStore) -> Changed:
    """Raises Refused(unknown_batch), and Refused(store_unavailable) if the store was another place for the batch."""
    batch = batch_or_refuse(draft, command.batch_id)
    _same_place(batch, command.store)
    images = _images(draft, batch, command.images)
    owed = tuple(image.index for image in images if is_owable(image, command.store.name))
    if owed:
        draft.emit(StoreOwed(batch.batch_id, command.store, owed, by=command.label))
    return Changed(len(owed))


def is_owable(image: ImageRow, store: str) -> bool:
    """Whether the image can be owed to the store, and is not already."""
    upload = image.upload(store)
    if image.awaits_choice:
        return False
    return image.state in OWED_AGAIN and (upload is None or upload.state in {"stored", "parked", "dropped"})


def renumber_images(draft: Draft, command: RenumberImages) -> Changed:
    """Raises Refused(unknown_batch, nothing_to_do), and Refused(quantity_out_of_range) if no number is left."""
    batch = batch_or_refuse(draft, command.batch_id)
    if lacking := set(batch.every_series).difference(command.series):
        text = f"The naming templates no longer give the series of this batch: {min(lacking)[:200]!r}."
        hint = "Set the templates in [naming] back to what they were when the batch was accepted."
        raise Refused("nothing_to_do", text, hint=hint)
    collided = [image for image in _images(draft, batch, command.images) if is_renumberable(image)]
    for key, count in Counter(batch.series_of(image.output) for image in collided).items():
        if draft.state.the_series(key).next + count > NUMBER_MAX + 1:
            raise Refused("quantity_out_of_range", f"Too few numbers are left: the highest is {NUMBER_MAX}.")
    for image in collided:
        _renumber(draft, batch.series_of(image.output), image, command.label)
    return Changed(len(collided))


def _renumber(draft: Draft, series: str, image: ImageRow, label: str) -> None:
    number = draft.state.the_series(series).next
    name = name_after(image.folder, image.file, number)
    draft.emit(
        ImageRenumbered(
            batch_id=image.batch_id,
            series=series,
            image=image.index,
            number=number,
            folder=name.folder,
            file=name.file,
            before=image.public_id,
            by=label,
        )
    )


def is_renumberable(image: ImageRow) -> bool:
    """Whether a store holds another file under the image's name, and no store is receiving the image now."""
    under_way = any(upload.state == "uploading" for upload in image.uploads)
    return image.state in {"kept", "parked"} and not under_way and any(map(has_collided, image.uploads))


def image_lost(draft: Draft, report: ImageIsLost, policy: Policy) -> None:
    """Changes nothing if the bytes were replaced since, if another box keeps them, or if no image waits for them.

    Nor while other files of the run wait for a person's choice: another attempt would replace them.
    """
    image = draft.state.image(report.batch_id, report.image)
    if image is None or (image.state, image.prompt, image.attempt) != ("kept", report.prompt, report.attempt):
        return
    if policy.is_foreign(image):
        return
    upload = image.upload(report.store)
    prompt = draft.state.the_prompt(report.batch_id, report.prompt)
    if upload is not None and upload.state in {"owed", "uploading"} and not awaits_choice(draft, prompt):
        draft.emit(ImageLost(report.batch_id, (report.image,), (report.prompt,)))
        forget_copies(draft, image.sha256)


def _same_place(batch: BatchRow, store: StoreRef) -> None:
    meant = next((ref.identity for ref in batch.stores if ref.name == store.name), store.identity)
    if meant != store.identity:
        text = f"The store {store.name} is now {store.identity}; for batch {batch.batch_id} it was {meant}."
        raise Refused("store_unavailable", text, hint="Give the new place another name.")


def _images(draft: Draft, batch: BatchRow, indexes: tuple[int, ...]) -> list[ImageRow]:
    """Those that exist, each once, in the order in which they are named."""
    found = (draft.state.image(batch.batch_id, index) for index in dict.fromkeys(indexes))
    return [image for image in found if image is not None]


def restore_ledger(draft: Draft, command: RestoreLedger) -> Raised:
    """Each series is raised by the margin, whatever was found: a reply may have given numbers that left no trace."""
    draft.emit(
        LedgerRestored(
            epoch_before=command.epoch_before,
            epoch=command.epoch,
            position_before=draft.position,
            evidence=command.evidence,
            margin=command.margin,
            by=command.label,
            first=command.first,
        )
    )
    known = sum(draft.state.series(seen.key) is not None for seen in command.seen)
    for seen in command.seen:
        _raise_by_margin(draft, command, seen)
    return Raised(opened=len(command.seen) - known, raised=known, unchanged=0)


def _raise_by_margin(draft: Draft, command: RestoreLedger, seen: SeriesSeen) -> None:
    row = draft.state.series(seen.key)
    highest = max((evidence.highest for evidence in seen.evidence), default=0)
    following = max(highest + 1, row.next if row is not None else 1) + command.margin
    folder = row.folder if row is not None else seen.folder
    draft.emit(SeriesRaised(seen.key, folder, following, seen.evidence, reason="restore", by=command.label))
