"""Effects: outward calls that a worker makes and reports on, and which of them a row owes.

The key of an effect names what it is about and for which attempt, so that no effect is under way twice.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from comfyledger.core.inputs import InputRow
from comfyledger.core.rows import ImageRow, PromptRow, Upload
from comfyledger.core.values import INPUTS, LoadedFile, OutputFile, Pinned, backend_lane, store_lane

EffectKey = tuple[str, str, int, int | str]


class Effect(msgspec.Struct, frozen=True, gc=False):
    """The root of all effects. `lane` is the store or backend that must work for it; `kind` groups them for bounds."""

    kind: ClassVar[str]

    @property
    def key(self) -> EffectKey:
        """Begins with the kind."""
        raise TypeError(type(self).__name__)

    @property
    def lane(self) -> str:
        raise TypeError(type(self).__name__)


class PromptEffect(Effect, frozen=True):
    """An effect on one attempt of one prompt."""

    batch_id: str
    prompt: int
    attempt: int
    backend: str

    @property
    def lane(self) -> str:
        return backend_lane(self.backend)


class SubmitPrompt(PromptEffect, frozen=True):
    """POST the prompt. `resumed`: an earlier call may have gone out, so look for the prompt_id first."""

    kind = "submit"
    resumed: bool = False

    @property
    def key(self) -> EffectKey:
        return ("submit", self.batch_id, self.prompt, self.attempt)


class FollowPrompt(PromptEffect, frozen=True):
    """Find out how the prompt ends."""

    kind = "follow"
    prompt_id: str
    images: tuple[int, ...]

    @property
    def key(self) -> EffectKey:
        return ("follow", self.batch_id, self.prompt, self.attempt)


class CancelPrompt(PromptEffect, frozen=True):
    """Take the prompt out of ComfyUI; owed until it is seen gone."""

    kind = "cancel"
    prompt_id: str

    @property
    def key(self) -> EffectKey:
        return ("cancel", self.batch_id, self.prompt, self.attempt)


class FetchPrompt(PromptEffect, frozen=True):
    """Bring the files of a finished prompt into the spool. `images`: all of the prompt, in their order."""

    kind = "fetch"
    prompt_id: str
    images: tuple[int, ...]
    files: tuple[OutputFile, ...]
    """All of the run, output by output. Where an output has more than images, all of its files are to be laid by."""
    waiting: tuple[Pinned, ...] = ()
    """The same files as they lie in the spool already, if a person chose them."""

    @property
    def key(self) -> EffectKey:
        return ("fetch", self.batch_id, self.prompt, self.attempt)


class StoreEffect(Effect, frozen=True):
    """An effect on one image in one store. One at a time: what is to be deleted waits until its upload has ended, so
    both have one key; and what holds for uploads, bounds and pauses, holds for deletions."""

    kind = "upload"
    store: str
    image: ImageRow
    upload: Upload

    @property
    def key(self) -> EffectKey:
        return ("upload", self.image.batch_id, self.image.index, self.store)

    @property
    def lane(self) -> str:
        return store_lane(self.store)


class UploadImage(StoreEffect, frozen=True):
    """Put the kept bytes of an image into one store."""


class DeleteImage(StoreEffect, frozen=True):
    """Have one store delete a forgotten image."""


class FindSources(Effect, frozen=True):
    """Look whether the images that a queued prompt is made from have their bytes, or have come to an end without.

    It reads the ledger alone, so its lane is never in trouble. It waits for a change of these images, not for a time.
    """

    kind = "sources"
    batch_id: str
    prompt: int
    loads: tuple[LoadedFile, ...]
    """All files that the prompt loads."""

    @property
    def key(self) -> EffectKey:
        return ("sources", self.batch_id, self.prompt, 0)

    @property
    def lane(self) -> str:
        return "sources"


class RemoveInput(Effect, frozen=True):
    """Remove the bytes of an input from one place: a backend, where they have this name, or the daemon's own folder
    (`backend` and `name` are empty).
    """

    kind = "input"
    sha256: str
    backend: str
    name: str

    @property
    def key(self) -> EffectKey:
        return ("input", self.sha256, 0, f"{self.backend}:{self.name}")

    @property
    def lane(self) -> str:
        return backend_lane(self.backend) if self.backend else INPUTS


def effects_of_input(row: InputRow) -> list[RemoveInput]:
    """From where the bytes of an input are to be removed."""
    copies = [RemoveInput(row.sha256, copy.backend, copy.name) for copy in row.copies if copy.state == "removing"]
    own = [RemoveInput(row.sha256, "", "")] if row.here == "removing" else []
    return [*own, *copies]


def next_submit(row: PromptRow, backend: str) -> SubmitPrompt:
    """The submit that begins the next attempt of a queued prompt, at a backend."""
    return SubmitPrompt(row.batch_id, row.index, row.next_attempt, backend)


def next_submit_key(row: PromptRow) -> EffectKey:
    """The key of that submit, which is the same at each backend: so only one of them begins it."""
    return ("submit", row.batch_id, row.index, row.next_attempt)


def effects_of_prompt(row: PromptRow) -> tuple[PromptEffect, ...]:
    """The effects of a prompt in this state, and of its strays. A queued prompt has none: it waits for its turn."""
    if not row.strays:
        return _effects_of_attempt(row)
    strays = (row.as_attempt(one.attempt) for one in row.strays)
    return (*_effects_of_attempt(row), *(effect for one in strays for effect in _taking_out(one)))


def _taking_out(row: PromptRow) -> tuple[PromptEffect, ...]:
    """What takes an attempt out of ComfyUI and finds out how it ended."""
    about = (row.batch_id, row.index, row.attempt, row.backend)
    return (FollowPrompt(*about, row.prompt_id, row.images), CancelPrompt(*about, row.prompt_id))


def _effects_of_attempt(row: PromptRow) -> tuple[PromptEffect, ...]:
    about = (row.batch_id, row.index, row.attempt, row.backend)
    match row.state:
        case "submitting":
            return (SubmitPrompt(*about, resumed=True),)
        case "accepted":
            return (FollowPrompt(*about, row.prompt_id, row.images),)
        case "cancelling":
            return _taking_out(row)
        case "finished":
            return (FetchPrompt(*about, row.prompt_id, row.images, row.files, row.waiting),)
        case _:
            return ()


def effects_of_image(row: ImageRow) -> list[StoreEffect]:
    """What is owed to stores: the bytes of a kept image, the deletion of a forgotten one."""
    if row.state == "kept":
        open_uploads = (upload for upload in row.uploads if upload.state in {"owed", "uploading"})
        return [UploadImage(upload.store, row, upload) for upload in open_uploads]
    if row.state == "forgetting":
        deletions = (upload for upload in row.uploads if upload.state == "deleting")
        return [DeleteImage(upload.store, row, upload) for upload in deletions]
    return []
