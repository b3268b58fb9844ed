"""What happened, in the past tense: the only things that are ever written to the log.

An event is small and holds no text typed by a user or sent by a foreign server: of these it holds salted digests.
A field is never renamed or removed; a change of meaning is a new schema version with an upcaster. `touches` says which
rows an event changes, so that a fold of the log and the daemon load the same slice for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from comfyledger.core.events.backends import (
    BackendAdded as BackendAdded,
)
from comfyledger.core.events.backends import (
    BackendRemoved as BackendRemoved,
)
from comfyledger.core.events.boxes import (
    BoxGivenUp as BoxGivenUp,
)
from comfyledger.core.events.boxes import (
    BoxJoined as BoxJoined,
)
from comfyledger.core.events.boxes import (
    BoxLeft as BoxLeft,
)
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
    PromptMoved as PromptMoved,
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
from comfyledger.core.events.rendered import (
    StrayEnded as StrayEnded,
)
from comfyledger.core.events.requested import (
    BatchCancelled as BatchCancelled,
)
from comfyledger.core.events.requested import (
    BatchHeld as BatchHeld,
)
from comfyledger.core.events.requested import (
    BatchPrioritized as BatchPrioritized,
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
from comfyledger.core.events.reviews import (
    ImageReviewed as ImageReviewed,
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
    ImageTakenOver as ImageTakenOver,
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
from comfyledger.core.events.webhooks import (
    WebhookAdded as WebhookAdded,
)
from comfyledger.core.events.webhooks import (
    WebhookPaused as WebhookPaused,
)
from comfyledger.core.events.webhooks import (
    WebhookRemoved as WebhookRemoved,
)
from comfyledger.core.events.webhooks import (
    WebhookResumed as WebhookResumed,
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
    "prompt_moved": PromptMoved,
    "stray_ended": StrayEnded,
    "backend_added": BackendAdded,
    "backend_removed": BackendRemoved,
    "webhook_added": WebhookAdded,
    "webhook_removed": WebhookRemoved,
    "webhook_paused": WebhookPaused,
    "webhook_resumed": WebhookResumed,
    "batch_prioritized": BatchPrioritized,
    "image_reviewed": ImageReviewed,
    "box_joined": BoxJoined,
    "box_left": BoxLeft,
    "box_given_up": BoxGivenUp,
    "image_taken_over": ImageTakenOver,
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


_STREAMS: Final[dict[type[Event], Callable[[Any], str]]] = {
    **dict.fromkeys((SeriesOpened, SeriesRaised), lambda event: f"series/{event.series}"),
    **dict.fromkeys((LanePaused, LaneResumed), lambda event: f"lane/{event.lane}"),
    **dict.fromkeys(
        (InputAdded, InputSent, InputForgotten, InputErased, InputRemoved), lambda event: f"input/{event.sha256}"
    ),
    **dict.fromkeys((BackendAdded, BackendRemoved), lambda event: f"backend/{event.name}"),
    **dict.fromkeys(
        (WebhookAdded, WebhookRemoved, WebhookPaused, WebhookResumed), lambda event: f"webhook/{event.name}"
    ),
    **dict.fromkeys((BoxJoined, BoxLeft, BoxGivenUp), lambda event: f"box/{event.box}"),
    LedgerRestored: lambda event: "ledger",
}
"""By type, of the events that belong to no batch."""


def stream_of(event: Event) -> str:
    """The stream that an event belongs to: its batch, series, lane, input, backend, webhook or box, else `ledger`."""
    stream = _STREAMS.get(type(event))
    return event.batch_id if stream is None else stream(event)  # type: ignore[attr-defined]
