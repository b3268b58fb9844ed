"""What happened, in the past tense: the only things that are ever written to the log.

An event is small and holds no text typed by a user or sent by a foreign server: of these it holds salted digests.
A field is never renamed or removed; a change of meaning is a new schema version with an upcaster. `touches` says which
rows an event changes, so that a fold of the log and the daemon load the same slice for it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from comfyledger.core.events.event import (
    Event as Event,
)
from comfyledger.core.events.inputs import (
    InputAdded as InputAdded,
)
from comfyledger.core.events.inputs import (
    InputErased as InputErased,
)
from comfyledger.core.events.inputs import (
    InputForgotten as InputForgotten,
)
from comfyledger.core.events.inputs import (
    InputRemoved as InputRemoved,
)
from comfyledger.core.events.inputs import (
    InputSent as InputSent,
)
from comfyledger.core.events.inputs import (
    SourcesFixed as SourcesFixed,
)
from comfyledger.core.events.operated import (
    LanePaused as LanePaused,
)
from comfyledger.core.events.operated import (
    LaneResumed as LaneResumed,
)
from comfyledger.core.events.operated import (
    LedgerRestored as LedgerRestored,
)
from comfyledger.core.events.rendered import (
    FilesTaken as FilesTaken,
)
from comfyledger.core.events.rendered import (
    FilesWaiting as FilesWaiting,
)
from comfyledger.core.events.rendered import (
    ImageAdded as ImageAdded,
)
from comfyledger.core.events.rendered import (
    PromptAccepted as PromptAccepted,
)
from comfyledger.core.events.rendered import (
    PromptFailed as PromptFailed,
)
from comfyledger.core.events.rendered import (
    PromptFinished as PromptFinished,
)
from comfyledger.core.events.rendered import (
    PromptLost as PromptLost,
)
from comfyledger.core.events.rendered import (
    PromptRefused as PromptRefused,
)
from comfyledger.core.events.rendered import (
    PromptRemoved as PromptRemoved,
)
from comfyledger.core.events.rendered import (
    PromptSubmitting as PromptSubmitting,
)
from comfyledger.core.events.requested import (
    BatchCancelled as BatchCancelled,
)
from comfyledger.core.events.requested import (
    BatchHeld as BatchHeld,
)
from comfyledger.core.events.requested import (
    BatchReopened as BatchReopened,
)
from comfyledger.core.events.requested import (
    BatchRequested as BatchRequested,
)
from comfyledger.core.events.requested import (
    BatchResumed as BatchResumed,
)
from comfyledger.core.events.requested import (
    BatchSettled as BatchSettled,
)
from comfyledger.core.events.requested import (
    SeriesOpened as SeriesOpened,
)
from comfyledger.core.events.requested import (
    SeriesRaised as SeriesRaised,
)
from comfyledger.core.events.stored import (
    BlobErased as BlobErased,
)
from comfyledger.core.events.stored import (
    ImageCancelled as ImageCancelled,
)
from comfyledger.core.events.stored import (
    ImageDeleted as ImageDeleted,
)
from comfyledger.core.events.stored import (
    ImageFailed as ImageFailed,
)
from comfyledger.core.events.stored import (
    ImageForgotten as ImageForgotten,
)
from comfyledger.core.events.stored import (
    ImageKept as ImageKept,
)
from comfyledger.core.events.stored import (
    ImageLeft as ImageLeft,
)
from comfyledger.core.events.stored import (
    ImageLost as ImageLost,
)
from comfyledger.core.events.stored import (
    ImageParked as ImageParked,
)
from comfyledger.core.events.stored import (
    ImageRenumbered as ImageRenumbered,
)
from comfyledger.core.events.stored import (
    ImageUploaded as ImageUploaded,
)
from comfyledger.core.events.stored import (
    StoreDropped as StoreDropped,
)
from comfyledger.core.events.stored import (
    StoreOwed as StoreOwed,
)
from comfyledger.core.events.stored import (
    UploadStarted as UploadStarted,
)

KINDS: Final[dict[str, type[Event]]] = {
    "series_opened": SeriesOpened,
    "series_raised": SeriesRaised,
    "batch_requested": BatchRequested,
    "batch_held": BatchHeld,
    "batch_resumed": BatchResumed,
    "batch_cancelled": BatchCancelled,
    "batch_settled": BatchSettled,
    "batch_reopened": BatchReopened,
    "prompt_submitting": PromptSubmitting,
    "prompt_accepted": PromptAccepted,
    "prompt_refused": PromptRefused,
    "prompt_finished": PromptFinished,
    "files_waiting": FilesWaiting,
    "files_taken": FilesTaken,
    "image_added": ImageAdded,
    "prompt_failed": PromptFailed,
    "prompt_lost": PromptLost,
    "prompt_removed": PromptRemoved,
    "image_kept": ImageKept,
    "upload_started": UploadStarted,
    "image_uploaded": ImageUploaded,
    "image_parked": ImageParked,
    "store_dropped": StoreDropped,
    "store_owed": StoreOwed,
    "image_lost": ImageLost,
    "image_renumbered": ImageRenumbered,
    "image_failed": ImageFailed,
    "image_cancelled": ImageCancelled,
    "image_forgotten": ImageForgotten,
    "blob_erased": BlobErased,
    "image_deleted": ImageDeleted,
    "image_left": ImageLeft,
    "lane_paused": LanePaused,
    "lane_resumed": LaneResumed,
    "ledger_restored": LedgerRestored,
    "input_added": InputAdded,
    "input_sent": InputSent,
    "input_forgotten": InputForgotten,
    "input_erased": InputErased,
    "input_removed": InputRemoved,
    "sources_fixed": SourcesFixed,
}
"""Every kind of event with its type. The names are written into ledgers and never change."""

NUMBERING: Final = (ImageRenumbered, ImageAdded)
"""Events that give one image of a batch that is there a number: they touch a series that the batch's others do not."""

KIND_OF: Final[dict[type[Event], str]] = {event_type: kind for kind, event_type in KINDS.items()}


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event with its place in the log. `at` is in milliseconds since 1970, UTC."""

    position: int
    at_ms: int
    event: Event


def stream_of(event: Event) -> str:
    """The stream that an event belongs to: its batch, its series, its lane, its input, else `ledger`."""
    match event:
        case SeriesOpened() | SeriesRaised():
            return f"series/{event.series}"
        case LanePaused() | LaneResumed():
            return f"lane/{event.lane}"
        case LedgerRestored():
            return "ledger"
        case InputAdded() | InputSent() | InputForgotten() | InputErased() | InputRemoved():
            return f"input/{event.sha256}"
        case _:
            batch_id: str = event.batch_id  # type: ignore[attr-defined]
            return batch_id
