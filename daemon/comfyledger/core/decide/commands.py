"""What commands mean. Each refusal is raised before the first event, so that a refused command changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from comfyledger.core.commands import (
    CancelBatch,
    DropStore,
    HoldBatch,
    OpenSeries,
    PauseLane,
    RaiseSeries,
    ReleaseBatch,
    ResumeLane,
    SeriesFound,
    SetPriority,
    SubmitBatch,
)
from comfyledger.core.decide.inputs import check_inputs
from comfyledger.core.decide.recorder import Draft
from comfyledger.core.events import (
    BatchCancelled,
    BatchHeld,
    BatchPrioritized,
    BatchRequested,
    BatchResumed,
    ImageCancelled,
    LanePaused,
    LaneResumed,
    SeriesOpened,
    SeriesRaised,
    StoreDropped,
)
from comfyledger.core.naming.names import Series, name_of
from comfyledger.core.results import Accepted, Changed, Raised, SeriesNext, SeriesUnknown
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow
from comfyledger.core.values import (
    NUMBER_MAX,
    Evidence,
    ImageNamed,
    OutputNamed,
    StoreRef,
    lane_at,
    output_nodes,
    store_lane,
)
from comfyledger.errors import Refused


def submit_batch(draft: Draft, command: SubmitBatch) -> Accepted | SeriesUnknown:
    """Give numbers and names, or say what the request was answered before.

    Raises Refused(request_id_conflict): a number is never given for a request_id that means something else already.
    Raises Refused(input_missing).
    """
    used = draft.state.request(command.label, command.request_id)
    if used is not None:
        return _answered_before(draft, command, used.digest, used.batch_id)
    check_inputs(draft, command.prompts)
    unknown = _opened(draft, command, command.series)
    if unknown is not None:
        return unknown
    images = images_named(command, {one.key: draft.state.the_series(one.key).next for one in command.series})
    template = draft.state.template(command.template.key)
    recorded = draft.emit(
        BatchRequested(
            batch_id=command.batch_id,
            label=command.label,
            request_id=command.request_id,
            request_digest=command.request_digest,
            username=command.username,
            user_key=command.user_key,
            character=command.character,
            premade=command.premade,
            series=command.series[0].key,
            outputs=tuple(
                OutputNamed(node, medium, series.key)
                for node, medium, series in zip(output_nodes(command.plan), command.media, command.series, strict=True)
            ),
            workflow=command.workflow,
            template=template.blob if template else command.template.digest,
            plan=command.plan,
            images=images,
            prompts=command.prompts,
            stores=command.stores,
            priority=command.priority,
            metadata=command.metadata,
            unchecked=command.unchecked,
            origin=command.origin,
            needs=command.needs,
            backend=command.backend,
            webhook=command.webhook,
            webhook_url=command.webhook_url,
        )
    )
    return Accepted(command.batch_id, recorded.position, images, repeated=False, media=command.media)


def _opened(draft: Draft, command: SubmitBatch | OpenSeries, used: tuple[Series, ...]) -> SeriesUnknown | None:
    """The stores that must be asked first, if any. One that an import has gone through need not be.

    Nothing is opened while the stores must be asked about one of the series.
    """
    new = {series.key: series for series in used if not _is_open(draft, series)}
    unknown = [one for series in new.values() if (one := _unanswered(draft, command, series)) is not None]
    if unknown:
        return replace(unknown[0], also=tuple(unknown[1:]))
    for series in new.values():
        if draft.state.series(series.key) is None:
            first = draft.state.first_number()
            draft.emit(SeriesOpened(series.key, series.folder, first, asked=False, by=command.label))
    return None


def _unanswered(draft: Draft, command: SubmitBatch | OpenSeries, series: Series) -> SeriesUnknown | None:
    row = draft.state.series(series.key)
    known = row.known if row is not None else ()
    ask = tuple(store for store in command.stores if store.identity not in known)
    return SeriesUnknown(series, ask, command.label) if ask and not command.trust else None


def _is_open(draft: Draft, series: Series) -> bool:
    row = draft.state.series(series.key)
    return row is not None and row.open


def _answered_before(draft: Draft, command: SubmitBatch, digest: str, batch_id: str) -> Accepted:
    if digest != command.request_digest:
        raise conflict(command.request_id)
    batch = draft.state.the_batch(batch_id)
    images = tuple(image.named for image in draft.state.images(batch_id) if image.index <= batch.asked_for)
    media = tuple(output.medium for output in batch.every_output)
    return Accepted(batch_id, batch.position, images, repeated=True, media=media)


def conflict(request_id: str) -> Refused:
    return Refused(
        "request_id_conflict",
        f"The request_id {request_id!r} was used before for another request.",
        hint="Make up a new request_id for each batch; repeat one only with the same body.",
        path="request_id",
    )


def images_named(command: SubmitBatch, next_numbers: Mapping[str, int]) -> tuple[ImageNamed, ...]:
    """The images in their order. They take turns among the outputs, and each gets the next number of its series.

    `next_numbers`: by the key of the series. Raises Refused(quantity_out_of_range).
    """
    following = dict(next_numbers)
    named = []
    for prompt in command.prompts:
        for index in prompt.images:
            place = (index - 1) % len(command.series)
            series = command.series[place]
            number = following[series.key]
            if number > NUMBER_MAX:
                raise Refused("quantity_out_of_range", f"Too few numbers are left: the highest is {NUMBER_MAX}.")
            following[series.key] = number + 1
            name = name_of(series, number)
            named.append(ImageNamed(index, number, name.folder, name.file, prompt.index, place + 1))
    return tuple(named)


def open_series(draft: Draft, command: OpenSeries) -> SeriesNext | SeriesUnknown:
    unknown = _opened(draft, command, (command.series,))
    if unknown is not None:
        return unknown
    row = draft.state.the_series(command.series.key)
    return SeriesNext(row.key, row.next)


def raise_series(draft: Draft, command: RaiseSeries) -> Raised:
    """Take over what a store was found to hold. A series in use is only ever raised, and then counted as raised."""
    counts = {"opened": 0, "raised": 0, "unchanged": 0}
    for found in command.found:
        counts[_raise(draft, command.label, command.store, found)] += 1
    return Raised(**counts)


def _raise(draft: Draft, label: str, store: StoreRef, found: SeriesFound) -> str:
    row = draft.state.series(found.series.key)
    following = found.highest + draft.state.first_number() if row is None else max(found.highest + 1, row.next)
    is_news = row is None or following > row.next or (not row.open and store.identity not in row.known)
    if not is_news:
        return "unchanged"
    evidence = (Evidence(store.name, store.identity, found.highest),)
    folder = found.series.folder
    draft.emit(SeriesRaised(found.series.key, folder, following, evidence, reason="import", by=label))
    return "opened" if row is None else "raised"


def batch_or_refuse(draft: Draft, batch_id: str) -> BatchRow:
    batch = draft.state.batch(batch_id)
    if batch is None:
        raise unknown_batch(batch_id)
    return batch


def unknown_batch(batch_id: str) -> Refused:
    return Refused("unknown_batch", f"There is no batch {batch_id[:64]!r}.", hint="See `comfyledger batches`.")


def chosen_images(draft: Draft, batch: BatchRow, indexes: tuple[int, ...]) -> list[ImageRow]:
    images = draft.state.images(batch.batch_id)
    named = frozenset(indexes)
    unknown = named - {image.index for image in images}
    if unknown:
        text = f"The batch has no image {min(unknown)}; its images are 1 to {len(images)}."
        raise Refused("unknown_image", text, hint=f"`comfyledger images --batch {batch.batch_id}` lists them.")
    return [image for image in images if not indexes or image.index in named]


def cancel_batch(draft: Draft, command: CancelBatch) -> Changed:
    """Cancel the images that are not kept yet. Kept images still go to their stores, and stored images stay stored.

    A batch that somebody held after it was cancelled is released by the next cancel, because none of its images waits
    any more.
    """
    batch = batch_or_refuse(draft, command.batch_id)
    chosen = chosen_images(draft, batch, command.images)
    open_images = [image for image in chosen if image.state == "pending"]
    if not command.images and not batch.settled and (batch.held or not batch.cancelled):
        draft.emit(BatchCancelled(batch.batch_id, by=command.label))
    if open_images:
        indexes = tuple(image.index for image in open_images)
        prompts = tuple(sorted({image.prompt for image in open_images}))
        over = any(_awaits_taking(draft.state.the_prompt(batch.batch_id, index)) for index in prompts)
        draft.emit(ImageCancelled(batch.batch_id, indexes, prompts, by=command.label, choice_over=over))
    draft.settle(batch.batch_id)
    return Changed(len(open_images), left_as_they_are(chosen, open_images))


def _awaits_taking(prompt: PromptRow) -> bool:
    """Whether files were chosen from too many and are not given to their images yet."""
    return prompt.state == "finished" and bool(prompt.waiting)


def left_as_they_are(chosen: list[ImageRow], changed: list[ImageRow]) -> dict[str, int]:
    left: dict[str, int] = {}
    indexes = {image.index for image in changed}
    for image in chosen:
        if image.index not in indexes:
            left[image.state] = left.get(image.state, 0) + 1
    return left


def drop_store(draft: Draft, command: DropStore) -> Changed:
    """Give up what is owed to a store. The lane's trouble ends too: nothing may be left that would probe it."""
    dropped = sum(_dropped(draft, command, batch_id) for batch_id in command.batch_ids)
    for lane in lanes_of(command) if dropped else ():
        if draft.state.lane(lane).code:
            draft.emit(LaneResumed(lane, cause="trouble", by=command.label))
    return Changed(dropped)


def lanes_of(command: DropStore) -> list[str]:
    """The lanes of a store: at each box, and without one."""
    return [lane_at(store_lane(command.store), box) for box in ("", *command.boxes)]


def _dropped(draft: Draft, command: DropStore, batch_id: str) -> int:
    batch = batch_or_refuse(draft, batch_id)
    indexes = tuple(image.index for image in draft.state.images(batch_id) if _waits_for(image, command.store))
    if indexes:
        draft.emit(StoreDropped(batch.batch_id, command.store, indexes, by=command.label))
        draft.settle(batch.batch_id)
    return len(indexes)


def _waits_for(image: ImageRow, store: str) -> bool:
    upload = image.upload(store)
    if upload is None or image.state == "cancelled":
        return False
    waits_for = {"deleting"} if image.is_forgotten else {"owed", "uploading", "parked"}
    return upload.state in waits_for


def hold_batch(draft: Draft, command: HoldBatch) -> Changed:
    batch = batch_or_refuse(draft, command.batch_id)
    if batch.settled:
        raise Refused("nothing_to_do", "The batch is settled; there is nothing left to hold.")
    if not batch.held:
        draft.emit(BatchHeld(batch.batch_id, reason="person", by=command.label))
    return Changed(batch.pending)


def release_batch(draft: Draft, command: ReleaseBatch) -> Changed:
    batch = batch_or_refuse(draft, command.batch_id)
    if not batch.held:
        raise Refused("nothing_to_do", "The batch is not held.", hint="See `comfyledger status`.")
    draft.emit(BatchResumed(batch.batch_id, by=command.label))
    return Changed(batch.pending)


def set_priority(draft: Draft, command: SetPriority) -> Changed:
    """The same priority again changes nothing and is no error."""
    batch = batch_or_refuse(draft, command.batch_id)
    if batch.settled:
        hint = "A batch that `retry` opens again can be given another priority."
        raise Refused("nothing_to_do", "The batch is settled; nothing of it waits.", hint=hint)
    if batch.priority == command.priority:
        return Changed(0)
    draft.emit(BatchPrioritized(batch.batch_id, command.priority, by=command.label))
    return Changed(batch.pending)


def pause_lane(draft: Draft, command: PauseLane) -> Changed:
    """Stop giving new work to a lane. Pausing a paused lane is not an error."""
    if not draft.state.lane(command.lane).person:
        draft.emit(LanePaused(command.lane, cause="person", code="person", by=command.label))
    return Changed(0)


def resume_lane(draft: Draft, command: ResumeLane) -> Changed:
    if not draft.state.lane(command.lane).person:
        raise Refused("nothing_to_do", f"{command.lane} is not paused.", hint="See `comfyledger status`.")
    draft.emit(LaneResumed(command.lane, cause="person", by=command.label))
    return Changed(0)
