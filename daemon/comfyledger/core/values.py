"""The small values that commands, reports, events and rows are made of. Plain data; no rules live here."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, Literal

import msgspec

NUMBER_MAX = 10**15 - 1
SEED_MAX = 2**53 - 1
"""The largest seed that a request may give: what every JSON reader keeps exactly (RFC 8259, section 6)."""
SEED_MADE_UP_MAX = 2**31 - 1
"""The largest seed that is made up: 104 seed inputs of ComfyUI 0.29.0 and those of many custom nodes take no larger."""

Checked = Literal["whole", "structure"]
"""How far a file was proved: all of its pixels, or only what holds them, where they would take too much memory."""

PROMPT_NAMESPACE = uuid.UUID("9a3a9f62-6f0c-5c4e-9d0e-1d1f6c3b7e55")


class Blob(msgspec.Struct, frozen=True, gc=False):
    """Text that can be forgotten. Events hold `digest` alone; content and salt lie beside the log and can be erased."""

    digest: str
    salt: bytes
    content: bytes
    key: str = ""
    """By which an equal content is found again instead of being kept twice; erased together with the content."""


def blob_of(content: bytes, salt: bytes, key: str = "") -> Blob:
    """The blob of a content. The salt keeps a digest from being guessed back into a short text."""
    return Blob(hashlib.sha256(salt + content).hexdigest(), salt, content, key)


class StoreRef(msgspec.Struct, frozen=True, gc=False):
    """A store as a batch names it: the name it has in the configuration, and which place that was."""

    name: str
    identity: str


class ImageNamed(msgspec.Struct, frozen=True, gc=False):
    """An image of a batch with its number and name, which no other image ever gets. `index` counts from 1."""

    index: int
    number: int
    folder: str
    file: str
    prompt: int

    @property
    def public_id(self) -> str:
        return f"{self.folder}/{self.file}"


class PromptFixed(msgspec.Struct, frozen=True, gc=False):
    """A prompt as it was fixed when its batch was accepted: a retry runs all of it again with the same seed."""

    index: int
    images: tuple[int, ...]
    seed: int
    backend: str
    """The ComfyUI that renders it."""
    inputs: str | None = None
    """Digest of the blob that holds the inputs, by node address."""


class OutputFile(msgspec.Struct, frozen=True, gc=False):
    """A file that ComfyUI reports as written, in the form that `/view` takes."""

    filename: str
    subfolder: str
    type: str


class Pinned(msgspec.Struct, frozen=True, gc=False):
    """The bytes of one image, fixed before they are reported to anyone."""

    image: int
    sha256: str
    md5: str
    size_bytes: int
    width: int
    height: int
    extension: str
    checked: Checked = "whole"


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """What one store answered to the question for its highest number of a series."""

    store: str
    identity: str
    highest: int


WAITING_FIRST = 10**9
FILES_MAX = 10_000
"""Of one prompt; no history of ComfyUI's is read further."""


def waiting_index(prompt: int, place: int) -> int:
    """The index under which the spool keeps a prompt's file (from 1) that is not assigned to an image yet.

    It is above the index of any image.
    """
    return WAITING_FIRST + prompt * FILES_MAX + place


def waiting_indexes(prompt: int) -> range:
    """All indexes under which files of a prompt may wait."""
    return range(waiting_index(prompt, 1), waiting_index(prompt + 1, 0))


Take = Literal["first", "last", "all"]
"""Which of too many files a person takes."""

Plan = dict[str, Any]
"""Where a graph takes prefix, seed, batch size and inputs, as `comfyui.graph` found it; the core only carries it."""


def image_id(batch_id: str, index: int) -> str:
    return f"{batch_id}/{index}"


def prompt_uuid(batch_id: str, prompt: int, attempt: int) -> str:
    """ComfyUI's prompt_id of an attempt: the same for ever, so that a lost answer can be looked up."""
    return str(uuid.uuid5(PROMPT_NAMESPACE, f"{batch_id}/{prompt}/{attempt}"))


def backend_lane(name: str) -> str:
    return f"backend/{name}"


def store_lane(name: str) -> str:
    return f"store/{name}"


USER_LANES = "user/"
"""What the lanes of users begin with."""


def user_lane(user_key: str) -> str:
    return f"{USER_LANES}{user_key}"


EVERYTHING = "everything"
"""The lane that `pause` without a scope pauses."""
