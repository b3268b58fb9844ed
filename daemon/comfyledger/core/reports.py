"""What workers saw, in the perfect tense. A report may be late, doubled, reordered or about something unknown:
`decide` takes what fits the state and lets the rest change nothing."""

from __future__ import annotations

from typing import Literal

import msgspec

from comfyledger.core.events.backends import Ended
from comfyledger.core.naming.names import Series
from comfyledger.core.values import Blob, Evidence, ImageAt, LoadedFile, OutputFile, Pinned
from comfyledger.core.webhooks import WebhookProgress


class Report(msgspec.Struct, frozen=True, gc=False):
    """The root of all reports."""


class PromptReport(Report, frozen=True):
    """A report on one attempt of one prompt."""

    batch_id: str
    prompt: int
    attempt: int


class SubmitIntended(PromptReport, frozen=True):
    """A worker is about to POST this attempt to a backend. The answer says whether it is still wanted there.

    `version`: of the ComfyUI; empty if it did not say it. `server`: its address. `left_out`: nodes that are not sent;
    None if the graph is not there any more.
    """

    backend: str
    version: str = ""
    left_out: tuple[str, ...] | None = None
    server: str = ""


class PromptDoesNotFit(PromptReport, frozen=True):
    """ComfyUI would refuse this attempt, by what it says of its node classes, so it was not sent. `words` say why."""

    words: Blob


class PromptWasAccepted(PromptReport, frozen=True):
    """ComfyUI has the prompt in its queue, in work or in its history.

    `refused`: outputs (from 1) that it will not run, while it runs others; `code` and `words` say why.
    """

    refused: tuple[int, ...] = ()
    code: str = ""
    words: Blob | None = None


class PromptWasRefused(PromptReport, frozen=True):
    """`elsewhere`: backends that have not refused it and may be able to run it."""

    code: str
    words: Blob | None = None
    elsewhere: tuple[str, ...] = ()


class PromptHasFinished(PromptReport, frozen=True):
    """The answer says whether any of the files is wanted. `words`: what is wrong with their count, for people.

    `code` and `error`: why the run failed after some of its outputs had given these files; empty if it did not fail.
    """

    files: tuple[OutputFile, ...]
    words: Blob | None = None
    code: str = ""
    error: Blob | None = None


class PromptHasFailed(PromptReport, frozen=True):
    """`code`: execution_error, timeout, file_missing, broken, too_slow, redirected, poison, input_failed or
    http_STATUS.

    `final`: another attempt would end in the same way, so none is made.
    """

    code: str
    words: Blob | None = None
    final: bool = False


class PromptWasInterrupted(PromptReport, frozen=True):
    """The prompt was running and somebody ended it: we, if it is being cancelled, else a person at ComfyUI."""


class PromptIsGone(PromptReport, frozen=True):
    """Neither queue nor history knows the prompt. `restarted`: the server is not the one that accepted it.

    `running`: it was seen running there, and its end was not. `words` say so, for people.
    """

    restarted: bool
    running: bool = False
    words: Blob | None = None


class PromptIsLeft(PromptReport, frozen=True):
    """The attempt is to be left behind, because another ComfyUI may take the prompt. The answer says whether it was.

    `running`: it was seen running there when the server went away.
    """

    reason: Literal["away", "person", "removed", "replaced"]
    running: bool = False


class FilesKept(PromptReport, frozen=True):
    """The files of a complete set are whole and on stable storage. The answer names the images that took theirs."""

    files: tuple[Pinned, ...]


class FilesLaidBy(PromptReport, frozen=True):
    """Outputs of a run gave more files than images. All files of these outputs are whole and on stable storage, each
    with its place among the files of the run as `image`.

    `code` and `error`: why files of other outputs could not be kept. The answer names the images that wait for a file.
    If it names none, the files are not wanted.
    """

    files: tuple[Pinned, ...]
    words: Blob | None = None
    code: str = ""
    error: Blob | None = None


class ImageReport(Report, frozen=True):
    """A report on one image and one store."""

    batch_id: str
    image: int
    store: str


class UploadIntended(ImageReport, frozen=True):
    """A worker is about to put this image into this store. The answer says whether it is still wanted."""


class UploadDone(ImageReport, frozen=True):
    url: str
    replayed: bool = False
    details: dict[str, str | int] = {}


class UploadRefused(ImageReport, frozen=True):
    """The store refused this image, for a reason of the image's own. It is parked."""

    code: str
    words: Blob | None = None


class DeletionReport(ImageReport, frozen=True):
    """A report on one forgotten image and a store that was asked to delete it."""


class DeletionDone(DeletionReport, frozen=True):
    """The store does not hold it. `found`: it did until it was asked."""

    found: bool = True


class DeletionRefused(DeletionReport, frozen=True):
    """What the store holds under the name is left there. `code`: foreign or identity_changed."""

    code: str


class ImageIsLost(ImageReport, frozen=True):
    """Neither the spool nor a store has the bytes that this attempt of this prompt gave."""

    prompt: int
    attempt: int


class OrphanReport(Report, frozen=True):
    """A report on an image of this attempt of this prompt that `box` alone kept, which has left."""

    batch_id: str
    image: int
    prompt: int
    attempt: int
    box: str


class OrphanBroughtBack(OrphanReport, frozen=True):
    """A store had the bytes, and the spool of the box that reports has them now."""


class OrphanIsLost(OrphanReport, frozen=True):
    """No store has the bytes, and the box that kept them is not waited for any longer."""


class LaneStuck(Report, frozen=True):
    """A store or backend could not work at all; counts against no image."""

    lane: str
    code: str
    words: Blob | None = None
    retry_after_s: float | None = None


class LaneWorks(Report, frozen=True):
    """A store or backend that was in trouble has answered."""

    lane: str


class SeriesAnswered(Report, frozen=True):
    """Every store has said which number is the highest that it holds under a series."""

    series: Series
    evidence: tuple[Evidence, ...]
    by: str = ""


class InputReport(Report, frozen=True):
    """A report on one input."""

    sha256: str


class InputSending(InputReport, frozen=True):
    """A worker is about to upload the bytes to a backend. The answer says whether they are still wanted there.

    `source`: the image that they are the bytes of; None for an input.
    """

    extension: str
    size_bytes: int
    backend: str
    name: str
    source: ImageAt | None


class InputUnused(InputReport, frozen=True):
    """No open batch seems to need the input; or its file is `missing`, whoever needs it. The answer says whether it is
    erased now."""

    reason: Literal["forgotten", "expired", "quota", "missing"]


class InputFound(InputReport, frozen=True):
    """The bytes are in the daemon's own folder, from which they had gone. The answer says whether they stay. `box`: of
    the daemon, in a fleet."""

    box: str = ""


class InputRemoving(InputReport, frozen=True):
    """A worker is about to remove the bytes from a backend, or from the daemon's own folder (`backend` and `name`
    are empty). The answer says whether that is still wanted."""

    backend: str
    name: str = ""


class InputGone(InputReport, frozen=True):
    """The place does not have the bytes any more. `found`: it had them until then."""

    backend: str
    name: str = ""
    found: bool = True


class SourceReport(Report, frozen=True):
    """A report on the images that a prompt waits for, because it is made from them."""

    batch_id: str
    prompt: int


class SourcesFound(SourceReport, frozen=True):
    """All of them have bytes. `loads`: all files of the prompt, each with its sha256."""

    loads: tuple[LoadedFile, ...]


class SourceEnded(SourceReport, frozen=True):
    """One of them came to an end without bytes. `words` say how, for people."""

    source: ImageAt
    words: Blob


class BackendEnded(Report, frozen=True):
    """A backend that was added is not to be used any more, though nobody removed it."""

    name: str
    reason: Ended


class WebhookReport(Report, frozen=True):
    """A report on a webhook."""


class WebhookProgressed(WebhookReport, frozen=True):
    """A webhook has delivered, or put aside, what its progress says. `term`: in which this box took part then; 0
    without a fleet."""

    progress: WebhookProgress
    term: int = 0


class WebhookEnded(WebhookReport, frozen=True):
    """A webhook is to deliver nothing more until a person resumes it."""

    name: str
    reason: Literal["gone", "dead"]
