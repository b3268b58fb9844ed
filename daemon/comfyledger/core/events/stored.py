"""What became of images: kept, stored, given up, forgotten."""

from __future__ import annotations

from comfyledger.core.events.event import Event
from comfyledger.core.values import Checked, StoreRef


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
    details: dict[str, str | int] = {}  # noqa: RUF012 (msgspec copies it)


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
