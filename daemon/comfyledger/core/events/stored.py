"""What became of images: kept, stored, given up, forgotten."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.core.events.event import (
    Attempt,
    BatchId,
    By,
    CausedBy,
    Event,
    FileGiven,
    FolderGiven,
    ImageIndex,
    ImageIndexes,
    PromptIndex,
    PromptIndexes,
    PublicId,
    Series,
    StoreName,
    Words,
)
from comfyledger.core.media import Medium
from comfyledger.core.values import Extension, FileBytes, Height, HowChecked, Md5, Sha256, StoreRef, Width


class ImageKept(Event, frozen=True):
    """The bytes are checked and final, and they are on stable storage in the spool."""

    batch_id: BatchId
    prompt: PromptIndex
    attempt: Attempt
    image: ImageIndex
    name: PublicId
    sha256: Sha256
    md5: Md5
    size_bytes: FileBytes
    width: Width
    height: Height
    extension: Extension
    checked: HowChecked = "whole"
    medium: Annotated[Medium, Meta(description="What the file turned out to be.")] = "image"
    box: Annotated[str, Meta(description="The box whose spool has it; empty without a fleet.", examples=["north"])] = ""


class UploadStarted(Event, frozen=True):
    """An upload is about to begin. The event is durable before the call."""

    batch_id: BatchId
    image: ImageIndex
    store: StoreName
    attempt: Annotated[int, Meta(description="The number of the upload to this store, from 1.", examples=[1])]


class ImageUploaded(Event, frozen=True):
    """One store has the bytes. The image is stored when all its stores have them."""

    batch_id: BatchId
    image: ImageIndex
    name: PublicId
    store: StoreName
    url: Annotated[
        str,
        Meta(
            description="The address of the file in the store.",
            examples=["file:///srv/images/Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1.png"],
        ),
    ]
    replayed: Annotated[bool, Meta(description="Whether the store had the image before this call.")] = False
    details: Annotated[
        dict[str, str | int], Meta(description="Further values from the store.", examples=[{"version": 1_795_377_407}])
    ] = {}


class ImageParked(Event, frozen=True):
    """One store refused the image. The file stays in the spool until a person decides."""

    batch_id: BatchId
    image: ImageIndex
    name: PublicId
    store: StoreName
    code: Annotated[
        str,
        Meta(
            description="Why: `refused`, `collision`, `misnamed` (the store saved it under another name), `altered` "
            "(the store changed the bytes), `identity_changed` (the store's name now means another place), or "
            "`plugin_died` (the store's plugin raised an error or gave an invalid answer).",
            examples=["collision"],
        ),
    ]
    words: Words = None


class StoreDropped(Event, frozen=True):
    """A person gave up what a batch owes to a store: `recover --drop-store`. Files that the store already has stay
    there. An image becomes stored if all its other stores have it."""

    batch_id: BatchId
    store: StoreName
    images: ImageIndexes
    by: By


class StoreOwed(Event, frozen=True):
    """`recover` uploads images to a store again, because the store lost or refused them. Or it uploads them to a store
    that the batch did not have; this store is then added to the batch. The attempt number continues from the earlier
    uploads."""

    batch_id: BatchId
    store: Annotated[StoreRef, Meta(description="The store.")]
    images: ImageIndexes
    by: By


class ImageLost(Event, frozen=True):
    """Neither the spool nor any store has the bytes of these images any more. They wait to be rendered again under the
    same numbers, by a new attempt of their prompt, and then go to every store."""

    batch_id: BatchId
    images: ImageIndexes
    prompts: PromptIndexes


class ImageTakenOver(Event, frozen=True):
    """The box that kept the file of an image has left the fleet. Another box has the same bytes now, from a store, and
    uploads them to the stores that lack them."""

    batch_id: BatchId
    image: ImageIndex
    box: Annotated[str, Meta(description="The box that has the file now.", examples=["south"])]
    before: Annotated[str, Meta(description="The box that kept it.", examples=["north"])]


class ImageRenumbered(Event, frozen=True):
    """A store holds other bytes under the name of an image, and `recover --new-number` gave the image the next number
    of its series. The old name stays used and still finds the image."""

    batch_id: BatchId
    series: Series
    image: ImageIndex
    number: Annotated[int, Meta(description="Its new number in the series.", examples=[58])]
    folder: FolderGiven
    file: FileGiven
    before: Annotated[
        str,
        Meta(
            description="The public id that it had.",
            examples=["Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1"],
        ),
    ]
    by: By


class ImageFailed(Event, frozen=True):
    """Images could not be rendered. Their numbers stay used."""

    batch_id: BatchId
    images: ImageIndexes
    prompts: PromptIndexes
    code: Annotated[
        str,
        Meta(
            description="The code of the refusal or of the last failure; `poison` if ComfyUI stopped too "
            "often while it ran the prompt, or if the daemon died too often while it checked a "
            "file.",
            examples=["execution_error"],
        ),
    ]
    words: Words = None


class ImageCancelled(Event, frozen=True):
    """Images are not wanted any more. Their numbers stay used."""

    batch_id: BatchId
    images: ImageIndexes
    prompts: PromptIndexes
    by: CausedBy = ""
    choice_over: Annotated[
        bool,
        Meta(
            description="Whether files are dropped: `retry --take` chose them for these images, but no image "
            "has received them."
        ),
    ] = False


class ImageForgotten(Event, frozen=True):
    """A person ran `forget` for these images. Their texts and files are erased, and on request their files in the
    stores. Their numbers and names stay used."""

    batch_id: BatchId
    images: ImageIndexes
    prompts: PromptIndexes
    stores: Annotated[bool, Meta(description="Whether the stores are asked to delete the images.")]
    by: By


class BlobErased(Event, frozen=True):
    """Texts were erased from the ledger. Inputs and error texts go when all images of their prompt are forgotten.
    Metadata and graph go when the whole batch is forgotten and no other batch uses the graph."""

    batch_id: BatchId
    digests: Annotated[
        tuple[str, ...],
        Meta(
            description="The digests of the texts.",
            examples=[["478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"]],
        ),
    ]
    by: By


class ImageDeleted(Event, frozen=True):
    """A store does not have a forgotten image any more."""

    batch_id: BatchId
    image: ImageIndex
    name: Annotated[
        str,
        Meta(
            description="The public id in the store.",
            examples=["Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1"],
        ),
    ]
    store: StoreName
    found: Annotated[
        bool, Meta(description="Whether the store still had the image when it was asked to delete it.")
    ] = True


class ImageLeft(Event, frozen=True):
    """A store kept what it has under the name of a forgotten image."""

    batch_id: BatchId
    image: ImageIndex
    name: Annotated[
        str,
        Meta(
            description="The public id that the store was asked for.",
            examples=["Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1"],
        ),
    ]
    store: StoreName
    code: Annotated[
        str,
        Meta(
            description="Why: `foreign` (the file is not ours), `identity_changed` (the store's name now means "
            "another place), or `plugin_died` (the store's plugin raised an error or gave an invalid "
            "answer).",
            examples=["foreign"],
        ),
    ]
