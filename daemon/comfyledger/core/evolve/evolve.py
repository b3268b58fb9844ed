"""What an event makes of the state: the one fold that the daemon, a rebuild and an audit share.

`touches` names the rows that an event needs, `evolve` gives the rows that it changes. An event that is in the log has
been decided: nothing is refused here, and nothing is looked up beyond the slice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from comfyledger.core.events import (
    BatchCancelled,
    BatchHeld,
    BatchReopened,
    BatchRequested,
    BatchResumed,
    BatchSettled,
    BlobErased,
    Event,
    FilesTaken,
    FilesWaiting,
    ImageAdded,
    ImageCancelled,
    ImageDeleted,
    ImageFailed,
    ImageForgotten,
    ImageKept,
    ImageLeft,
    ImageLost,
    ImageParked,
    ImageRenumbered,
    ImageUploaded,
    LanePaused,
    LaneResumed,
    LedgerRestored,
    PromptAccepted,
    PromptFailed,
    PromptFinished,
    PromptLost,
    PromptRefused,
    PromptRemoved,
    PromptSubmitting,
    Recorded,
    SeriesOpened,
    SeriesRaised,
    StoreDropped,
    StoreOwed,
    UploadStarted,
)
from comfyledger.core.evolve.forgetting import forgetting, without_deletion
from comfyledger.core.evolve.prompts import (
    files_taken,
    files_waiting,
    image_added,
    prompt_accepted,
    prompt_failed,
    prompt_finished,
    prompt_lost,
    prompt_refused,
    prompt_removed,
    prompt_submitting,
)
from comfyledger.core.evolve.recovery import RecoveryEvent, recovered, touched_by
from comfyledger.core.evolve.transitions import left_alone, moved, renewed, waits
from comfyledger.core.keys import (
    BatchImages,
    BatchKey,
    ImageKey,
    Key,
    LaneKey,
    SeriesKey,
    whole_batch,
    whole_prompt,
)
from comfyledger.core.rows import (
    UNOPENED,
    BatchRow,
    ImageRow,
    ImageState,
    PromptRow,
    RequestRow,
    Row,
    SeriesRow,
    Slice,
    Upload,
)


def touches(event: Event) -> tuple[Key, ...]:
    """The keys of the rows that `evolve` needs for an event."""
    match event:
        case SeriesOpened(series=series) | SeriesRaised(series=series) | BatchRequested(series=series):
            return (SeriesKey(series),)
        case LanePaused(lane=lane) | LaneResumed(lane=lane):
            return (LaneKey(lane),)
        case LedgerRestored():
            return (SeriesKey(UNOPENED),)
        case BatchHeld() | BatchResumed() | BatchSettled() | BatchCancelled() | BlobErased():
            return (BatchKey(event.batch_id),)
        case BatchReopened(batch_id=batch_id):
            return whole_batch(batch_id)
        case StoreDropped(batch_id=batch_id):
            return (BatchKey(batch_id), BatchImages(batch_id))
        case StoreOwed() | ImageLost() | ImageRenumbered():
            return touched_by(event)
        case UploadStarted() | ImageUploaded() | ImageParked() | ImageDeleted() | ImageLeft():
            return (BatchKey(event.batch_id), ImageKey(event.batch_id, event.image))
        case ImageFailed() | ImageCancelled() | ImageForgotten():
            rows = (key for prompt in event.prompts for key in whole_prompt(event.batch_id, prompt))
            return (BatchKey(event.batch_id), *rows)
        case _:
            batch_id, prompt = event.batch_id, event.prompt  # type: ignore[attr-defined]
            numbers = (SeriesKey(event.series),) if isinstance(event, ImageAdded) else ()
            return (*numbers, BatchKey(batch_id), *whole_prompt(batch_id, prompt))


def _series(state: Slice, event: SeriesOpened | SeriesRaised | LedgerRestored) -> tuple[Row, ...]:
    """The folder stays as it was spelled first. What an import found opens a series for the stores that it saw."""
    if isinstance(event, LedgerRestored):
        return (SeriesRow(UNOPENED, "", max(event.first, state.first_number()), open=False),)
    row = state.series(event.series) or SeriesRow(event.series, event.folder, event.next, open=False)
    if row.open or isinstance(event, SeriesOpened):
        return (SeriesRow(row.key, row.folder, event.next),)
    known = {*row.known, *(evidence.identity for evidence in event.evidence)}
    return (replace(row, next=event.next, known=tuple(sorted(known))),)


def _requested(state: Slice, event: BatchRequested, recorded: Recorded) -> tuple[Row, ...]:
    series = state.series(event.series)
    next_number = max(image.number for image in event.images) + 1
    folder = series.folder if series else event.images[0].folder
    batch = BatchRow(
        batch_id=event.batch_id,
        label=event.label,
        request_id=event.request_id,
        username=event.username,
        user_key=event.user_key,
        character=event.character,
        premade=event.premade,
        series=event.series,
        workflow=event.workflow,
        priority=event.priority,
        template=event.template,
        plan=event.plan,
        stores=event.stores,
        prompts=len(event.prompts),
        position=recorded.position,
        at_ms=recorded.at_ms,
        metadata=event.metadata,
        pending=len(event.images),
    )
    uploads = tuple(Upload(store.name) for store in event.stores)
    images = (
        ImageRow(
            event.batch_id,
            image.index,
            image.number,
            image.folder,
            image.file,
            image.prompt,
            event.user_key,
            uploads=uploads,
        )
        for image in event.images
    )
    prompts = (
        PromptRow(event.batch_id, prompt.index, prompt.images, prompt.seed, prompt.backend, prompt.inputs)
        for prompt in event.prompts
    )
    request = RequestRow(event.label, event.request_id, event.request_digest, event.batch_id)
    return (SeriesRow(event.series, folder, next_number), request, batch, *images, *prompts)


def _lane(state: Slice, event: LanePaused | LaneResumed, recorded: Recorded) -> tuple[Row, ...]:
    lane = state.lane(event.lane)
    match event:
        case LanePaused(cause="person"):
            return (replace(lane, person=True, since_ms=recorded.at_ms),)
        case LaneResumed(cause="person"):
            return (replace(lane, person=False, since_ms=recorded.at_ms),)
        case LanePaused():
            return (replace(lane, code=event.code, words=event.words, since_ms=recorded.at_ms),)
        case LaneResumed():
            return (replace(lane, code="", words=None, since_ms=recorded.at_ms),)


def _image_kept(state: Slice, event: ImageKept) -> tuple[Row, ...]:
    batch_id, index = event.batch_id, event.image
    batch, image = state.the_batch(batch_id), state.the_image(batch_id, index)
    prompt = state.the_prompt(batch_id, event.prompt)
    after = _kept(image, event)
    for other in prompt.images:
        if other != index and waits(state.image(batch_id, other)):
            break
    else:
        prompt = replace(prompt, state="done", waiting=())
    return (after, prompt, moved(batch, (image,), after.state))


def _upload_started(state: Slice, event: UploadStarted) -> tuple[Row, ...]:
    image = state.the_image(event.batch_id, event.image)
    return _answered(state, image, Upload(event.store, "uploading", event.attempt))


def _image_uploaded(state: Slice, event: ImageUploaded) -> tuple[Row, ...]:
    image = state.the_image(event.batch_id, event.image)
    return _answered(state, image, Upload(event.store, "stored", _attempts(image, event.store), event.url))


def _image_parked(state: Slice, event: ImageParked) -> tuple[Row, ...]:
    image = state.the_image(event.batch_id, event.image)
    tries = _attempts(image, event.store)
    return _answered(state, image, Upload(event.store, "parked", tries, code=event.code, words=event.words))


def _answered(state: Slice, image: ImageRow, new: Upload) -> tuple[Row, ...]:
    after = _with_upload(image, new)
    if after.state == image.state:
        return (after,)
    return (after, moved(state.the_batch(image.batch_id), (image,), after.state))


def _kept(image: ImageRow, event: ImageKept) -> ImageRow:
    kept = replace(
        image,
        state="kept",
        sha256=event.sha256,
        md5=event.md5,
        size_bytes=event.size_bytes,
        width=event.width,
        height=event.height,
        extension=event.extension,
        attempt=event.attempt,
        code="",
        words=None,
    )
    return _settled(kept)


def _attempts(image: ImageRow, store: str) -> int:
    upload = image.upload(store)
    return upload.attempts if upload else 0


def _with_upload(image: ImageRow, new: Upload) -> ImageRow:
    """The image after one store's answer: stored when all stores have it, parked when the last open one gave up."""
    uploads = tuple([new if upload.store == new.store else upload for upload in image.uploads])
    after = replace(image, uploads=uploads)
    return after if image.is_forgotten else _settled(after)


def _settled(image: ImageRow) -> ImageRow:
    """A kept image once no store is open: stored if all that were not given up have it, else parked."""
    parked = None
    left = False
    for upload in image.uploads:
        if upload.state in {"owed", "uploading"}:
            return image
        left = left or upload.state != "dropped"
        if parked is None and upload.state == "parked":
            parked = upload
    if parked is not None:
        return replace(image, state="parked", code=parked.code, words=parked.words)
    if image.uploads and not left:
        return replace(image, state="parked", code="store_dropped", words=None)
    return replace(image, state="stored", code="", words=None)


def _store_dropped(state: Slice, event: StoreDropped) -> tuple[Row, ...]:
    batch = state.the_batch(event.batch_id)
    after = []
    for index in event.images:
        image = state.the_image(event.batch_id, index)
        dropped = _given_up(image, event.store)
        batch = moved(batch, [image], dropped.state)
        after.append(dropped)
    return (batch, *after)


def _given_up(image: ImageRow, store: str) -> ImageRow:
    """What is not rendered yet stays as it is: then the other stores alone will be owed it."""
    if image.is_forgotten:
        return without_deletion(image, store, Upload(store, "dropped"))
    uploads = tuple(
        Upload(store, "dropped", upload.attempts) if upload.store == store else upload for upload in image.uploads
    )
    after = replace(image, uploads=uploads)
    return _settled(after) if image.state in {"kept", "parked"} and not image.awaits_choice else after


def _recovered(state: Slice, event: StoreDropped | RecoveryEvent) -> tuple[Row, ...]:
    """What recovery changes, and the counts of its batch."""
    if isinstance(event, StoreDropped):
        return _store_dropped(state, event)
    batch, images, others = recovered(state, event)
    for image in images:
        batch = moved(batch, [state.the_image(image.batch_id, image.index)], image.state)
    return (batch, *images, *others)


def _ended(state: Slice, event: ImageFailed | ImageCancelled) -> tuple[Row, ...]:
    """Images that come to an end unrendered, and the prompts that nothing is left of."""
    batch_id, ended = event.batch_id, frozenset(event.images)
    to: ImageState
    match event:
        case ImageFailed():
            to, code, words = "failed", event.code, event.words
        case ImageCancelled():
            to, code, words = "cancelled", "cancelled", None
    before = [image for image in state.images(batch_id) if image.index in ended]
    after = [replace(image, state=to, code=code, words=words) for image in before]
    return (*after, *left_alone(state, batch_id, before), moved(state.the_batch(batch_id), before, to))


def _batch_event(
    state: Slice, event: BatchHeld | BatchResumed | BatchCancelled | BatchSettled | BatchReopened
) -> tuple[Row, ...]:
    batch = state.the_batch(event.batch_id)
    match event:
        case BatchHeld(reason=reason):
            return (replace(batch, held=reason),)
        case BatchResumed():
            return (replace(batch, held="", failures=()),)
        case BatchCancelled():
            return (replace(batch, cancelled=True, held=""),)
        case BatchSettled():
            return (replace(batch, settled=True, held=""),)
        case BatchReopened():
            return _reopened(state, batch, event)


def _reopened(state: Slice, batch: BatchRow, event: BatchReopened) -> tuple[Row, ...]:
    render = [state.the_image(batch.batch_id, index) for index in event.images]
    upload = [state.the_image(batch.batch_id, index) for index in event.upload]
    prompts = [renewed(state.the_prompt(batch.batch_id, index)) for index in event.render]
    pending = [replace(image, state="pending", code="", words=None) for image in render]
    kept = [replace(image, state="kept", code="", words=None, uploads=_owed_again(image.uploads)) for image in upload]
    batch = moved(moved(batch, render, "pending"), upload, "kept")
    batch = replace(batch, settled=False, cancelled=False, held="", failures=())
    return (batch, *pending, *kept, *prompts)


def _owed_again(uploads: tuple[Upload, ...]) -> tuple[Upload, ...]:
    """What was parked; of an image whose stores were all given up, those."""
    again = "parked" if any(upload.state == "parked" for upload in uploads) else "dropped"
    return tuple(
        replace(upload, state="owed", code="", words=None) if upload.state == again else upload for upload in uploads
    )


_CHANGES: Final[dict[type[Event], Callable[[Slice, Any], tuple[Row, ...]]]] = {
    SeriesOpened: _series,
    SeriesRaised: _series,
    LedgerRestored: _series,
    PromptSubmitting: prompt_submitting,
    PromptAccepted: prompt_accepted,
    FilesWaiting: files_waiting,
    FilesTaken: files_taken,
    ImageAdded: image_added,
    PromptRefused: prompt_refused,
    PromptFinished: prompt_finished,
    PromptFailed: prompt_failed,
    PromptLost: prompt_lost,
    PromptRemoved: prompt_removed,
    ImageKept: _image_kept,
    UploadStarted: _upload_started,
    ImageUploaded: _image_uploaded,
    ImageParked: _image_parked,
    ImageFailed: _ended,
    ImageCancelled: _ended,
    BatchHeld: _batch_event,
    BatchResumed: _batch_event,
    BatchCancelled: _batch_event,
    BatchSettled: _batch_event,
    BatchReopened: _batch_event,
    StoreDropped: _recovered,
    StoreOwed: _recovered,
    ImageLost: _recovered,
    ImageRenumbered: _recovered,
    ImageForgotten: forgetting,
    BlobErased: forgetting,
    ImageDeleted: forgetting,
    ImageLeft: forgetting,
}
"""By type: a rebuild and an audit ask this for every event of months."""

_DATED: Final[dict[type[Event], Callable[[Slice, Any, Recorded], tuple[Row, ...]]]] = {
    BatchRequested: _requested,
    LanePaused: _lane,
    LaneResumed: _lane,
}
"""Whose rows also say when or where in the log it was."""


def evolve(state: Slice, recorded: Recorded) -> tuple[Row, ...]:
    """The rows that are different after an event."""
    event = recorded.event
    change = _CHANGES.get(type(event))
    return change(state, event) if change is not None else _DATED[type(event)](state, event, recorded)
