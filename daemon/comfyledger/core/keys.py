"""Keys: which rows a message needs. One type of key for each question, one function that answers all of them.

`needs` and `touches` name keys. Whoever holds rows answers two questions about them, `one` row and `many` rows of a
batch, and `gathered` makes a slice of the answers. The ledger answers from its tables, a group from its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, assert_never, get_args

import msgspec

from comfyledger.core.rows import PromptRow, RequestRow, Row, RowId, Slice


class SeriesKey(msgspec.Struct, frozen=True, gc=False):
    """A series by its key; UNOPENED names the row that every unused series begins with."""

    key: str

    @property
    def row_id(self) -> RowId:
        return ("series", self.key, "")


class RequestKey(msgspec.Struct, frozen=True, gc=False):
    """A used request_id, with its batch and the images of that batch."""

    label: str
    request_id: str

    @property
    def row_id(self) -> RowId:
        return ("request", self.label, self.request_id)


class TemplateKey(msgspec.Struct, frozen=True, gc=False):
    """A graph that the ledger may hold, by its unsalted digest."""

    key: str

    @property
    def row_id(self) -> RowId:
        return ("template", self.key, "")


class BatchKey(msgspec.Struct, frozen=True, gc=False):
    batch_id: str

    @property
    def row_id(self) -> RowId:
        return ("batch", self.batch_id, "")


class PromptKey(msgspec.Struct, frozen=True, gc=False):
    batch_id: str
    index: int

    @property
    def row_id(self) -> RowId:
        return ("prompt", self.batch_id, self.index)


class ImageKey(msgspec.Struct, frozen=True, gc=False):
    batch_id: str
    index: int

    @property
    def row_id(self) -> RowId:
        return ("image", self.batch_id, self.index)


class LaneKey(msgspec.Struct, frozen=True, gc=False):
    name: str

    @property
    def row_id(self) -> RowId:
        return ("lane", self.name, "")


class InputKey(msgspec.Struct, frozen=True, gc=False):
    """An input by its sha256."""

    sha256: str

    @property
    def row_id(self) -> RowId:
        return ("input", self.sha256, "")


class BackendKey(msgspec.Struct, frozen=True, gc=False):
    """A backend that was added, by its name."""

    name: str

    @property
    def row_id(self) -> RowId:
        return ("backend", self.name, "")


class WebhookKey(msgspec.Struct, frozen=True, gc=False):
    """A webhook, by its name."""

    name: str

    @property
    def row_id(self) -> RowId:
        return ("webhook", self.name, "")


class BoxKey(msgspec.Struct, frozen=True, gc=False):
    """A box of the fleet, by its name."""

    name: str

    @property
    def row_id(self) -> RowId:
        return ("box", self.name, "")


class PromptImages(msgspec.Struct, frozen=True, gc=False):
    """The images of one prompt."""

    batch_id: str
    prompt: int


class BatchPrompts(msgspec.Struct, frozen=True, gc=False):
    """All prompts of a batch."""

    batch_id: str


class BatchImages(msgspec.Struct, frozen=True, gc=False):
    """All images of a batch."""

    batch_id: str


class BatchTexts(msgspec.Struct, frozen=True, gc=False):
    """The texts of a batch that the ledger still holds."""

    batch_id: str


class BatchInputs(msgspec.Struct, frozen=True, gc=False):
    """The inputs that a batch loads, and the copies of its images that others load, each with who else uses it."""

    batch_id: str


class InputUses(msgspec.Struct, frozen=True, gc=False):
    """Who uses an input. `batch_id`: always empty; no batch is left out of `elsewhere`."""

    sha256: str
    batch_id: str = ""


class PresentBackends(msgspec.Struct, frozen=True, gc=False):
    """All backends that were added and are present. `batch_id`: always empty."""

    batch_id: str = ""


class PresentWebhooks(msgspec.Struct, frozen=True, gc=False):
    """All webhooks that were added and are present. `batch_id`: always empty."""

    batch_id: str = ""


class PresentBoxes(msgspec.Struct, frozen=True, gc=False):
    """All boxes of the fleet that are present. `batch_id`: always empty."""

    batch_id: str = ""


_OfName = LaneKey | BackendKey | WebhookKey | BoxKey
OneKey = SeriesKey | RequestKey | TemplateKey | BatchKey | PromptKey | ImageKey | InputKey | _OfName
"""Names at most one row, by its `row_id`."""
ThroughTables = BatchTexts | BatchInputs | InputUses | PresentBackends | PresentWebhooks | PresentBoxes
"""Name rows that are found through tables alone. What the group has changed must be in the tables before."""
ManyKey = BatchPrompts | BatchImages | ThroughTables
"""Names rows that belong together, mostly of one type and one batch."""
Key = OneKey | PromptImages | ManyKey

One = Callable[[OneKey], Row | None]
Many = Callable[[ManyKey], Iterable[Row]]


def whole_batch(batch_id: str) -> tuple[Key, ...]:
    """A batch with all of its prompts and images."""
    return (BatchKey(batch_id), BatchPrompts(batch_id), BatchImages(batch_id))


def whole_prompt(batch_id: str, prompt: int) -> tuple[Key, ...]:
    """A prompt with its images, without its batch."""
    return (PromptKey(batch_id, prompt), PromptImages(batch_id, prompt))


def gathered(keys: Iterable[Key], one: One, many: Many) -> Slice:
    """The rows that the keys name. `one` finds a row or None, `many` the rows of a batch; absent rows are left out."""
    rows: list[Row] = []
    for key in keys:
        if type(key) not in _ALONE:
            rows += _together(key, one, many)  # type: ignore[arg-type]
        elif (row := one(key)) is not None:  # type: ignore[arg-type]
            rows.append(row)
    return Slice(rows)


_ALONE: Final = frozenset(get_args(OneKey)) - {RequestKey}
"""Keys of one row and nothing else. Most keys are, and a look at the type is cheaper than a `match`."""


def _together(key: RequestKey | PromptImages | ManyKey, one: One, many: Many) -> Iterable[Row]:
    match key:
        case RequestKey():
            return _request_with_batch(key, one, many)
        case PromptImages():
            return _images_of_prompt(key, one)
        case BatchPrompts() | BatchImages() | BatchTexts() | BatchInputs() | InputUses():
            return many(key)
        case PresentBackends() | PresentWebhooks() | PresentBoxes():
            return many(key)
        case _:
            assert_never(key)


def _images_of_prompt(key: PromptImages, one: One) -> Iterator[Row]:
    """Found by primary key, from the indexes that the prompt names, so that the table needs no further index."""
    prompt = one(PromptKey(key.batch_id, key.prompt))
    if isinstance(prompt, PromptRow):
        rows = (one(ImageKey(key.batch_id, index)) for index in prompt.images)
        yield from (row for row in rows if row is not None)


def _request_with_batch(key: RequestKey, one: One, many: Many) -> Iterator[Row]:
    request = one(key)
    if isinstance(request, RequestRow):
        batch = one(BatchKey(request.batch_id))
        yield from (row for row in (request, batch) if row is not None)
        yield from many(BatchImages(request.batch_id))
