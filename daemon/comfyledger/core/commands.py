"""What people and apps ask for, after admission has checked everything that can be checked without the ledger."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from comfyledger.core.events.boxes import LeaveReason
from comfyledger.core.media import Medium
from comfyledger.core.naming.names import Series
from comfyledger.core.results import (
    Accepted,
    BackendKnown,
    BoxKnown,
    Changed,
    Forgotten,
    InputKnown,
    Raised,
    SeriesNext,
    WebhookKnown,
)
from comfyledger.core.values import (
    Blob,
    Checked,
    Evidence,
    Origin,
    Plan,
    PromptFixed,
    StoreRef,
    Take,
    VerdictAsked,
)

R_co = TypeVar("R_co", covariant=True)


class Command(msgspec.Struct, Generic[R_co], frozen=True):
    """The root of all commands. `label` is the client's own name, from its token or its hello; `R_co` is the reply."""

    label: str


class SubmitBatch(Command[Accepted], frozen=True):
    """Give numbers and names to a batch, and have its images rendered and stored.

    `trust`: a series that was never used starts at 1 without asking the stores.
    """

    request_id: str
    request_digest: str
    batch_id: str
    username: str
    user_key: str
    character: str
    premade: bool
    series: tuple[Series, ...]
    """Of each output of the plan, in order; the same series may come twice."""
    media: tuple[Medium, ...]
    """Of each output, in order."""
    prompts: tuple[PromptFixed, ...]
    workflow: str
    template: Blob
    """The graph; its key finds one that the ledger already holds."""
    plan: Plan
    stores: tuple[StoreRef, ...]
    priority: int
    texts: tuple[Blob, ...] = ()
    metadata: str | None = None
    trust: bool = False
    unchecked: bool = False
    """Whether ComfyUI could not be asked if it would refuse the graph."""
    origin: Origin | None = None
    """The image whose recipe is asked for again."""
    needs: tuple[str, ...] = ()
    """Tags that a backend must have."""
    backend: str = ""
    """The only backend that may render it; empty if any may."""
    webhook: str = ""
    """The webhook that the request names; empty if it names none."""
    webhook_url: str = ""
    """The address below it that the request gives; empty if it gives none."""


class OpenSeries(Command[SeriesNext], frozen=True):
    """Ask the stores for the highest number of a series before its first batch comes."""

    series: Series
    stores: tuple[StoreRef, ...]
    trust: bool = False


class SeriesFound(msgspec.Struct, frozen=True):
    """A series of which a store holds files, and the highest number among them."""

    series: Series
    highest: int


class RaiseSeries(Command[Raised], frozen=True):
    """Go on above the numbers that a store was found to hold."""

    store: StoreRef
    found: tuple[SeriesFound, ...]


class SeriesSeen(msgspec.Struct, frozen=True):
    """A series that may have given numbers after the backup, and the evidence for it. `folder` is as written."""

    key: str
    folder: str
    evidence: tuple[Evidence, ...]


class RestoreLedger(Command[Raised], frozen=True):
    """Begin a new epoch after a backup, with every series above what was seen and by the margin.

    `first`: the first number of every other series.
    """

    epoch_before: str
    epoch: str
    evidence: tuple[Evidence, ...]
    margin: int
    first: int
    seen: tuple[SeriesSeen, ...]


class DropStore(Command[Changed], frozen=True):
    """Give up what these batches owe to a store and what it would not take; what it has is left there."""

    store: str
    batch_ids: tuple[str, ...]
    boxes: tuple[str, ...] = ()
    """All boxes of the fleet: their troubles with the store end."""


class DropCopies(Command[Changed], frozen=True):
    """Give up the copies of these inputs at a backend that is gone: nobody removes them there."""

    backend: str
    sha256s: tuple[str, ...]


class OweStore(Command[Changed], frozen=True):
    """Owe images of a batch (indexes) to a store again, or for the first time."""

    batch_id: str
    images: tuple[int, ...]
    store: StoreRef


class RenumberImages(Command[Changed], frozen=True):
    """Give the next numbers of their series to those images (indexes) whose name a store uses for another file.

    `series`: the keys of all series of the batch.
    """

    batch_id: str
    series: tuple[str, ...]
    images: tuple[int, ...]


class CancelBatch(Command[Changed], frozen=True):
    """Give up what is not kept yet: all of a batch, or the images named (indexes from 1)."""

    batch_id: str
    images: tuple[int, ...] = ()


class MadeFrom(msgspec.Struct, frozen=True):
    """Prompts of a batch, by index, that load images of another batch, or images that were made from those."""

    batch_id: str
    prompts: tuple[int, ...]


class FailedSources(msgspec.Struct, frozen=True):
    """Images of a batch, by index, without which images of another batch cannot be made."""

    batch_id: str
    images: tuple[int, ...]


class RetryBatch(Command[Changed], frozen=True):
    """Continue what failed, was parked or held, under the same numbers: a whole batch, or the images named.

    `take`: which files are taken, for prompts that gave more files than images and for no others. With "all" the other
    files get the next numbers of `series`, which are the keys of the batch's series. `also`: what may have failed
    because these images did. `sources`: images that these are made from and that failed, which are retried with them.
    """

    batch_id: str
    images: tuple[int, ...] = ()
    take: Take | None = None
    series: tuple[str, ...] = ()
    also: tuple[MadeFrom, ...] = ()
    sources: tuple[FailedSources, ...] = ()


class Forget(Command[Forgotten], frozen=True):
    """Erase the texts and files of a batch, or of the images named (indexes from 1). Numbers stay used.

    `stores`: these stores are asked to delete their copies.
    """

    batch_id: str
    images: tuple[int, ...] = ()
    stores: bool = False


class ImagesOf(msgspec.Struct, frozen=True):
    """Images of a batch, by index."""

    batch_id: str
    images: tuple[int, ...]


class ReviewImages(Command[Changed], frozen=True):
    """Say what a person thinks of images. What is None stays as it is; a rating of 0 is none."""

    batches: tuple[ImagesOf, ...]
    """Each batch once."""
    verdict: VerdictAsked | None = None
    rating: int | None = None


class AddInput(Command[InputKnown], frozen=True):
    """An input file was uploaded: its bytes are checked and on stable storage in the folder of inputs. `box`: whose
    folder, in a fleet."""

    sha256: str
    size_bytes: int
    extension: str
    width: int
    height: int
    checked: Checked
    box: str = ""


class ForgetInput(Command[Changed], frozen=True):
    """The labels named have no need of an input any more. Without any, none that has it does."""

    sha256: str
    labels: tuple[str, ...] = ()


class HoldBatch(Command[Changed], frozen=True):
    batch_id: str


class ReleaseBatch(Command[Changed], frozen=True):
    batch_id: str


class SetPriority(Command[Changed], frozen=True):
    """Make a batch more or less urgent. `priority`: 0 high, 1 normal, 2 low."""

    batch_id: str
    priority: int


class PauseLane(Command[Changed], frozen=True):
    lane: str


class ResumeLane(Command[Changed], frozen=True):
    lane: str


class AddBackend(Command[BackendKnown], frozen=True):
    """Use a ComfyUI that the configuration does not name, or give one that was added other values.

    `url`: without userinfo. `ttl_s`: seconds after which it ends unless it is added again; 0 for never.
    """

    name: str
    url: str
    tags: tuple[str, ...] = ()
    ttl_s: int = 0
    queue_depth: int = 0


class RemoveBackend(Command[BackendKnown], frozen=True):
    """Use a ComfyUI that was added no more."""

    name: str


class AddWebhook(Command[WebhookKnown], frozen=True):
    """Deliver events to an address that the configuration does not name, or give a webhook that was added other values.

    `kinds`: of events, at least one.
    """

    name: str
    url: str
    kinds: tuple[str, ...]


class RemoveWebhook(Command[WebhookKnown], frozen=True):
    """Deliver nothing more to a webhook that was added."""

    name: str


class PauseWebhook(Command[Changed], frozen=True):
    name: str


class ResumeWebhook(Command[Changed], frozen=True):
    name: str


class JoinBox(Command[BoxKnown], frozen=True):
    """A box takes part in the fleet from now on, in its next term. `founder`: the fleet begins with its ledger."""

    name: str
    founder: bool = False


class LeaveBox(Command[BoxKnown], frozen=True):
    """A box takes part no more, if this is its present term."""

    name: str
    term: int
    reason: LeaveReason


class GiveUpBox(Command[BoxKnown], frozen=True):
    """Do not wait for a box that left: what only it keeps is rendered again."""

    name: str
