"""What an event makes of the state: the one fold that the daemon, a rebuild and an audit share.

`touches` names the rows that an event needs, `evolve` gives the rows that it changes. An event that is in the log has
been decided: nothing is refused here, and nothing is looked up beyond the slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, get_args

from msgspec.structs import replace

from comfyledger.core.events import (
    BackendAdded,
    BackendRemoved,
    BatchCancelled,
    BatchHeld,
    BatchPrioritized,
    BatchReopened,
    BatchRequested,
    BatchResumed,
    BatchSettled,
    BlobErased,
    BoxGivenUp,
    BoxJoined,
    BoxLeft,
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
    ImageReviewed,
    ImageTakenOver,
    ImageUploaded,
    InputAdded,
    InputErased,
    InputForgotten,
    InputRemoved,
    InputSent,
    LanePaused,
    LaneResumed,
    LedgerRestored,
    PromptAccepted,
    PromptFailed,
    PromptFinished,
    PromptLost,
    PromptMoved,
    PromptRefused,
    PromptRemoved,
    PromptSubmitting,
    Recorded,
    SeriesOpened,
    SeriesRaised,
    SourcesFixed,
    StoreDropped,
    StoreOwed,
    StrayEnded,
    UploadStarted,
)
from comfyledger.core.evolve.backends import backend_changed
from comfyledger.core.evolve.batches import batch_changed, batch_requested, images_ended
from comfyledger.core.evolve.boxes import BoxEvent, box_changed
from comfyledger.core.evolve.forgetting import forgetting
from comfyledger.core.evolve.inputs import input_added, input_changed, sources_fixed
from comfyledger.core.evolve.prompts import (
    files_taken,
    files_waiting,
    image_added,
    prompt_accepted,
    prompt_failed,
    prompt_finished,
    prompt_lost,
    prompt_moved,
    prompt_refused,
    prompt_removed,
    prompt_submitting,
    stray_ended,
)
from comfyledger.core.evolve.recovery import RecoveryEvent, recovered, touched_by
from comfyledger.core.evolve.reviews import image_reviewed
from comfyledger.core.evolve.transitions import moved
from comfyledger.core.evolve.uploads import (
    image_kept,
    image_parked,
    image_taken_over,
    image_uploaded,
    store_dropped,
    upload_started,
)
from comfyledger.core.evolve.webhooks import WebhookEvent, webhook_changed
from comfyledger.core.keys import (
    BackendKey,
    BatchImages,
    BatchKey,
    BoxKey,
    ImageKey,
    InputKey,
    Key,
    LaneKey,
    SeriesKey,
    WebhookKey,
    whole_batch,
    whole_prompt,
)
from comfyledger.core.rows import UNOPENED, Row, SeriesRow, Slice

_NAMED: Final = (LanePaused, LaneResumed, BackendAdded, BackendRemoved, *get_args(WebhookEvent), *get_args(BoxEvent))
"""Events that touch one row, which has the name of what they are about."""


def touches(event: Event) -> tuple[Key, ...]:
    """The keys of the rows that `evolve` needs for an event."""
    if isinstance(event, _NAMED):
        return (_key_of_name(event),)
    match event:
        case SeriesOpened() | SeriesRaised() | LedgerRestored() | BatchRequested():
            return tuple(SeriesKey(key) for key in _series_touched(event))
        case InputAdded() | InputSent() | InputForgotten() | InputErased() | InputRemoved():
            return (InputKey(event.sha256),)
        case BatchHeld() | BatchResumed() | BatchPrioritized() | BatchSettled() | BatchCancelled() | BlobErased():
            return (BatchKey(event.batch_id),)
        case BatchReopened(batch_id=batch_id):
            return whole_batch(batch_id)
        case StoreDropped(batch_id=batch_id):
            return (BatchKey(batch_id), BatchImages(batch_id))
        case StoreOwed() | ImageLost() | ImageRenumbered() | ImageAdded() | ImageReviewed():
            return touched_by(event)
        case UploadStarted() | ImageUploaded() | ImageParked() | ImageDeleted() | ImageLeft() | ImageTakenOver():
            return (BatchKey(event.batch_id), ImageKey(event.batch_id, event.image))
        case ImageFailed() | ImageCancelled() | ImageForgotten():
            rows = (key for prompt in event.prompts for key in whole_prompt(event.batch_id, prompt))
            return (BatchKey(event.batch_id), *rows)
        case _:
            batch_id, prompt = event.batch_id, event.prompt  # type: ignore[attr-defined]
            return (BatchKey(batch_id), *whole_prompt(batch_id, prompt))


def _key_of_name(event: LanePaused | LaneResumed | BackendAdded | BackendRemoved | WebhookEvent | BoxEvent) -> Key:
    match event:
        case LanePaused() | LaneResumed():
            return LaneKey(event.lane)
        case BackendAdded() | BackendRemoved():
            return BackendKey(event.name)
        case BoxJoined() | BoxLeft() | BoxGivenUp():
            return BoxKey(event.box)
        case _:
            return WebhookKey(event.name)


def _series_touched(event: SeriesOpened | SeriesRaised | LedgerRestored | BatchRequested) -> Iterable[str]:
    match event:
        case LedgerRestored():
            return (UNOPENED,)
        case BatchRequested(outputs=outputs):
            return dict.fromkeys(output.series for output in outputs)
        case _:
            return (event.series,)


def _series(state: Slice, event: SeriesOpened | SeriesRaised | LedgerRestored) -> tuple[Row, ...]:
    """The folder stays as it was spelled first. What an import found opens a series for the stores that it saw."""
    if isinstance(event, LedgerRestored):
        return (SeriesRow(UNOPENED, "", max(event.first, state.first_number()), open=False),)
    row = state.series(event.series) or SeriesRow(event.series, event.folder, event.next, open=False)
    if row.open or isinstance(event, SeriesOpened):
        return (SeriesRow(row.key, row.folder, event.next),)
    known = {*row.known, *(evidence.identity for evidence in event.evidence)}
    return (replace(row, next=event.next, known=tuple(sorted(known))),)


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


def _recovered(state: Slice, event: StoreDropped | RecoveryEvent) -> tuple[Row, ...]:
    """What recovery changes, and the counts of its batch."""
    if isinstance(event, StoreDropped):
        return store_dropped(state, event)
    batch, images, others = recovered(state, event)
    for image in images:
        batch = moved(batch, [state.the_image(image.batch_id, image.index)], image.state)
    return (batch, *images, *others)


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
    PromptMoved: prompt_moved,
    StrayEnded: stray_ended,
    ImageKept: image_kept,
    UploadStarted: upload_started,
    ImageUploaded: image_uploaded,
    ImageTakenOver: image_taken_over,
    ImageParked: image_parked,
    ImageFailed: images_ended,
    ImageCancelled: images_ended,
    BatchHeld: batch_changed,
    BatchResumed: batch_changed,
    BatchPrioritized: batch_changed,
    BatchCancelled: batch_changed,
    BatchSettled: batch_changed,
    BatchReopened: batch_changed,
    StoreDropped: _recovered,
    StoreOwed: _recovered,
    ImageLost: _recovered,
    ImageRenumbered: _recovered,
    ImageForgotten: forgetting,
    BlobErased: forgetting,
    ImageDeleted: forgetting,
    ImageLeft: forgetting,
    InputSent: input_changed,
    InputForgotten: input_changed,
    InputErased: input_changed,
    InputRemoved: input_changed,
    SourcesFixed: sources_fixed,
    BackendAdded: backend_changed,
    BackendRemoved: backend_changed,
    ImageReviewed: image_reviewed,
}
"""By type, because a match asks one type after the other, which takes longer than most changes."""

_DATED: Final[dict[type[Event], Callable[[Slice, Any, Recorded], tuple[Row, ...]]]] = {
    BatchRequested: batch_requested,
    LanePaused: _lane,
    LaneResumed: _lane,
    InputAdded: input_added,
    **dict.fromkeys(get_args(WebhookEvent), webhook_changed),
    **dict.fromkeys(get_args(BoxEvent), box_changed),
}
"""Whose rows also say when or where in the log it was."""


def evolve(state: Slice, recorded: Recorded) -> tuple[Row, ...]:
    """The rows that are different after an event."""
    event = recorded.event
    change = _CHANGES.get(type(event))
    return change(state, event) if change is not None else _DATED[type(event)](state, event, recorded)


def undated(event_type: type[Event]) -> Callable[[Slice, Any], tuple[Row, ...]] | None:
    """What `evolve` does for events of a type, for who folds many; None if their rows also say when that was."""
    return _CHANGES.get(event_type)
