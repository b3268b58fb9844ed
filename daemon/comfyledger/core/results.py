"""What decisions answer: the replies to commands, and what a worker is told to do. The wire has its own forms."""

from __future__ import annotations

import msgspec

from comfyledger.core.media import Medium
from comfyledger.core.naming.names import Series
from comfyledger.core.values import ImageNamed, StoreRef


class Accepted(msgspec.Struct, frozen=True):
    """A batch is in the ledger. `repeated`: the same request was answered before."""

    batch_id: str
    position: int
    images: tuple[ImageNamed, ...]
    repeated: bool
    media: tuple[Medium, ...] = ("image",)
    """Of each output, in their order."""


class SeriesUnknown(msgspec.Struct, frozen=True):
    """The stores must be asked before the series gives its first number; the command is to be decided again then.

    `by`: the label of the client that asks. `also`: further series of the same command, to be asked about at once.
    """

    series: Series
    stores: tuple[StoreRef, ...]
    by: str = ""
    also: tuple[SeriesUnknown, ...] = ()


class SeriesNext(msgspec.Struct, frozen=True):
    """A series is open and will give this number next."""

    series: str
    next: int


class Raised(msgspec.Struct, frozen=True):
    """How many series an import has found for the first time, raised, and left as they were."""

    opened: int
    raised: int
    unchanged: int


class Changed(msgspec.Struct, frozen=True):
    """How many images or lanes a command changed, and what it left as it was."""

    images: int
    left: dict[str, int] = {}


class InputKnown(msgspec.Struct, frozen=True):
    """An input is in the ledger. `new`: this label did not have it before."""

    sha256: str
    new: bool


class BackendKnown(msgspec.Struct, frozen=True):
    """What the ledger says about a backend that was added or removed. `changed`: it said something else before."""

    name: str
    changed: bool


class WebhookKnown(msgspec.Struct, frozen=True):
    """What the ledger says about a webhook that was added or removed. `changed`: it said something else before."""

    name: str
    changed: bool
    generation: int


class BoxKnown(msgspec.Struct, frozen=True):
    """What the ledger says about a box that joined or left. `term`: its last one. `changed`: it said something else
    before."""

    name: str
    term: int
    changed: bool


class Forgotten(msgspec.Struct, frozen=True):
    """How many images were forgotten, texts erased and inputs forgotten, how many copies stores will be asked to
    delete, and how many each store keeps because it is not asked."""

    images: int
    texts: int = 0
    deletions: int = 0
    left: dict[str, int] = {}
    inputs: int = 0


class Wanted(msgspec.Struct, frozen=True):
    """Whether a worker that is about to do something still shall. `attempt`: as which attempt.

    `resumed`: this attempt was begun before, and its call may have gone out.
    """

    go: bool
    attempt: int = 0
    resumed: bool = False


class Taken(msgspec.Struct, frozen=True):
    """The images (indexes) that took the bytes offered; the others have no use for theirs."""

    images: tuple[int, ...]
