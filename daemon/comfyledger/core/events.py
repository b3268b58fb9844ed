"""What happened, in the past tense: the only things that are ever written to the log.

An event is small and holds no text typed by a user or sent by a foreign server: of these it holds salted digests.
A field is never renamed or removed; a change of meaning is a new schema version with an upcaster. `touches` says which
rows an event changes, so that a fold of the log and the daemon load the same slice for it.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from comfyledger.core.values import (
    Checked,
    Evidence,
    ImageNamed,
    OutputFile,
    Pinned,
    Plan,
    PromptFixed,
    StoreRef,
    Take,
)


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The root of all events."""


class SeriesOpened(Event, frozen=True):
    """The stores were asked for their highest number, or the configuration trusts that there is none."""

    series: str
    folder: str
    next: int
    evidence: tuple[Evidence, ...] = ()
    asked: bool = True
    by: str = ""
    """The label of the first client that asked for a number of it."""


class SeriesRaised(Event, frozen=True):
    """The next number of a series was raised above what was found to hold numbers, before anybody asked for one.

    `reason`: import, or restore. The series is open for the stores in `evidence`; others are asked at its first batch.
    """

    series: str
    folder: str
    next: int
    evidence: tuple[Evidence, ...]
    reason: str
    by: str


class BatchRequested(Event, frozen=True):
    """A batch was accepted: its numbers are given, its prompts fixed, its stores named."""

    batch_id: str
    label: str
    request_id: str
    request_digest: str
    username: str
    user_key: str
    character: str
    premade: bool
    series: str
    workflow: str
    template: str
    plan: Plan
    images: tuple[ImageNamed, ...]
    prompts: tuple[PromptFixed, ...]
    stores: tuple[StoreRef, ...]
    priority: int = 1
    metadata: str | None = None


class BatchHeld(Event, frozen=True):
    """Nothing new of the batch goes to ComfyUI. `reason`: person, removed, interrupted or failing."""

    batch_id: str
    reason: str
    by: str = ""


class BatchResumed(Event, frozen=True):
    batch_id: str
    by: str = ""


class BatchCancelled(Event, frozen=True):
    batch_id: str
    by: str


class BatchSettled(Event, frozen=True):
    """Every image of the batch has come to an end, one way or the other."""

    batch_id: str
    stored: int
    parked: int
    failed: int
    cancelled: int
    forgotten: int = 0


class BatchReopened(Event, frozen=True):
    """`retry` took up images again under their own numbers. `render`: prompts to run; `upload`: images to store."""

    batch_id: str
    by: str
    render: tuple[int, ...] = ()
    images: tuple[int, ...] = ()
    upload: tuple[int, ...] = ()


class PromptSubmitting(Event, frozen=True):
    """Durable before the call goes out: it says where to look first after a crash, nothing else."""

    batch_id: str
    prompt: int
    attempt: int
    prompt_id: str
    backend: str


class PromptAccepted(Event, frozen=True):
    batch_id: str
    prompt: int
    attempt: int


class PromptRefused(Event, frozen=True):
    """ComfyUI will not run the graph. `words`: digest of what it said."""

    batch_id: str
    prompt: int
    attempt: int
    code: str
    words: str | None = None


class PromptFinished(Event, frozen=True):
    batch_id: str
    prompt: int
    attempt: int
    files: tuple[OutputFile, ...]


class FilesWaiting(Event, frozen=True):
    """More files came than images were asked for. All of them wait in the spool until a person says whose they are.

    `files` in their order, each with its place (from 1) as `image`. `words`: digest of both numbers, in words.
    """

    batch_id: str
    prompt: int
    attempt: int
    images: tuple[int, ...]
    files: tuple[Pinned, ...]
    words: str | None = None


class FilesTaken(Event, frozen=True):
    """A person said which of the files that wait are taken. `files`: the place of each, in the order of the images."""

    batch_id: str
    prompt: int
    images: tuple[int, ...]
    """Those that get one now; an image of the prompt that has come to its end otherwise keeps what it has."""
    files: tuple[int, ...]
    take: Take
    by: str


class ImageAdded(Event, frozen=True):
    """An image more of a batch, with the next number of its series, for a file more than images were asked for."""

    batch_id: str
    prompt: int
    series: str
    image: int
    number: int
    folder: str
    file: str
    by: str


class PromptFailed(Event, frozen=True):
    """An attempt came to nothing. `again`: another one is owed."""

    batch_id: str
    prompt: int
    attempt: int
    code: str
    again: bool
    words: str | None = None


class PromptLost(Event, frozen=True):
    """ComfyUI was restarted and no longer knows the prompt; another attempt is owed.

    `running`: it was what ComfyUI was at when it went away, which counts as a strike.
    """

    batch_id: str
    prompt: int
    attempt: int
    running: bool = False


class PromptRemoved(Event, frozen=True):
    """The prompt was taken out of ComfyUI. `by`: cancel (it was ours to take) or foreign (a person did it there)."""

    batch_id: str
    prompt: int
    attempt: int
    by: Literal["cancel", "foreign"]


class ImageKept(Event, frozen=True):
    """The bytes are whole, pinned and on stable storage in the spool."""

    batch_id: str
    prompt: int
    attempt: int
    image: int
    name: str
    sha256: str
    md5: str
    size_bytes: int
    width: int
    height: int
    extension: str
    checked: Checked = "whole"


class UploadStarted(Event, frozen=True):
    batch_id: str
    image: int
    store: str
    attempt: int


class ImageUploaded(Event, frozen=True):
    """One store holds the bytes. `replayed`: it did before we asked."""

    batch_id: str
    image: int
    name: str
    store: str
    url: str
    replayed: bool = False
    details: dict[str, str | int] = {}


class ImageParked(Event, frozen=True):
    """One store will not take the image; the file stays in the spool until a person decides."""

    batch_id: str
    image: int
    name: str
    store: str
    code: str
    words: str | None = None


class StoreDropped(Event, frozen=True):
    """A person gave up what is not in a store yet: the batch owes these images to it no more."""

    batch_id: str
    store: str
    images: tuple[int, ...]
    by: str


class StoreOwed(Event, frozen=True):
    """Images of a batch are owed to a store again, or for the first time: then the batch has one store more."""

    batch_id: str
    store: StoreRef
    images: tuple[int, ...]
    by: str


class ImageLost(Event, frozen=True):
    """Neither the spool nor any store has the bytes of these images: they are rendered again, by a new attempt."""

    batch_id: str
    images: tuple[int, ...]
    prompts: tuple[int, ...]
    """The prompts that these images belong to."""


class ImageRenumbered(Event, frozen=True):
    """A store holds something else under the name of an image, which got the next number of its series instead.

    `before` is the old public id. It stays used, and a store that has the image under it keeps it there.
    """

    batch_id: str
    series: str
    image: int
    number: int
    folder: str
    file: str
    before: str
    by: str


class ImageFailed(Event, frozen=True):
    """The images could not be rendered. Their numbers stay used."""

    batch_id: str
    images: tuple[int, ...]
    prompts: tuple[int, ...]
    """The prompts that these images belong to."""
    code: str
    words: str | None = None


class ImageCancelled(Event, frozen=True):
    """The images are not wanted any more. Their numbers stay used."""

    batch_id: str
    images: tuple[int, ...]
    prompts: tuple[int, ...]
    by: str = ""


class ImageForgotten(Event, frozen=True):
    """A person had the images forgotten. Their numbers stay used, their names stay given.

    `stores`: these are asked to delete their copies; else what they have stays there.
    """

    batch_id: str
    images: tuple[int, ...]
    prompts: tuple[int, ...]
    """The prompts that these images belong to."""
    stores: bool
    by: str


class BlobErased(Event, frozen=True):
    """The texts behind these digests are gone from the ledger."""

    batch_id: str
    digests: tuple[str, ...]
    by: str


class ImageDeleted(Event, frozen=True):
    """A store no longer holds a forgotten image. `found`: it did until then."""

    batch_id: str
    image: int
    name: str
    store: str
    found: bool = True


class ImageLeft(Event, frozen=True):
    """What a store holds under the name of a forgotten image was left there. `code`: foreign, identity_changed,
    plugin_died."""

    batch_id: str
    image: int
    name: str
    store: str
    code: str


class LanePaused(Event, frozen=True):
    """A store, a backend, a user or everything is paused. `cause`: person, or trouble of the lane itself."""

    lane: str
    cause: Literal["person", "trouble"]
    code: str
    words: str | None = None
    by: str = ""


class LaneResumed(Event, frozen=True):
    lane: str
    cause: Literal["person", "trouble"]
    by: str = ""


class LedgerRestored(Event, frozen=True):
    """The ledger was restored from a backup: positions after it mean something else now, in a new epoch.

    `evidence`: what was asked for numbers given after the backup, each with the highest that it showed of any series.
    Every series that is known is raised after this; `first` is what one begins with that is not.
    """

    epoch_before: str
    epoch: str
    position_before: int
    evidence: tuple[Evidence, ...]
    margin: int
    by: str
    first: int = 1


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
    """The stream that an event belongs to: its batch, else its series, else its lane, else `ledger`."""
    match event:
        case SeriesOpened() | SeriesRaised():
            return f"series/{event.series}"
        case LanePaused() | LaneResumed():
            return f"lane/{event.lane}"
        case LedgerRestored():
            return "ledger"
        case _:
            batch_id: str = event.batch_id  # type: ignore[attr-defined]
            return batch_id
