"""The rows that are the state, and the slice of them that one message needs.

A row is frozen; `evolve` makes new ones. The ledger keeps rows in tables and loads a slice by the keys that `needs`
and `touches` name; the core never sees a table. A slice answers from memory alone: what was not loaded is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from comfyledger.core.backends import BackendRow
from comfyledger.core.boxes import BoxRow
from comfyledger.core.inputs import InputRow, InputUse
from comfyledger.core.media import Medium, medium_of
from comfyledger.core.values import (
    ImageNamed,
    LoadedFile,
    Origin,
    OutputFile,
    OutputNamed,
    Pinned,
    Plan,
    StoreRef,
    Verdict,
    output_nodes,
)
from comfyledger.core.webhooks import WebhookProgress, WebhookRow

ImageState = Literal["pending", "kept", "stored", "parked", "failed", "cancelled", "forgetting", "forgotten"]
PromptState = Literal["queued", "submitting", "accepted", "finished", "cancelling", "done"]
UploadState = Literal["owed", "uploading", "stored", "parked", "dropped", "deleting", "deleted", "foreign"]


class SeriesRow(msgspec.Struct, frozen=True, gc=False):
    """A series and the next number that it will give.

    `open`: every store was asked or a number was given. Until then `known` are the stores (by identity) of which an
    import has said what they hold.
    """

    key: str
    folder: str
    next: int
    open: bool = True
    known: tuple[str, ...] = ()


class RequestRow(msgspec.Struct, frozen=True, gc=False):
    """A request_id that was used, with the label of its client."""

    label: str
    request_id: str
    digest: str
    batch_id: str


class TemplateRow(msgspec.Struct, frozen=True, gc=False):
    """A graph that the ledger already holds: its unsalted digest and that of its blob."""

    key: str
    blob: str


class TextRow(msgspec.Struct, frozen=True, gc=False):
    """A text of a batch that is not erased yet, and what it is about. It is read, and never saved through a slice.

    `images` and `prompts` by index; or the `whole` batch. `elsewhere`: another batch that is not forgotten uses it.
    """

    batch_id: str
    digest: str
    images: tuple[int, ...] = ()
    prompts: tuple[int, ...] = ()
    whole: bool = False
    elsewhere: bool = False


class BatchRow(msgspec.Struct, frozen=True, gc=False):
    """One request. The counts are of images by state; the batch is settled when none is pending or kept."""

    batch_id: str
    label: str
    request_id: str
    username: str
    user_key: str
    character: str
    premade: bool
    series: str
    workflow: str
    priority: int
    template: str
    plan: Plan
    stores: tuple[StoreRef, ...]
    prompts: int
    position: int
    at_ms: int
    metadata: str | None = None
    held: str = ""
    held_words: str | None = None
    """Digest of the text that says why it is held, if there is one."""
    settled: bool = False
    cancelled: bool = False
    succeeded: int = 0
    """Prompts that gave a complete set; with none, the first failures decide whether the batch is held."""
    failures: tuple[str, ...] = ()
    """Codes of the failures before the first success, at most as many as hold a batch."""
    pending: int = 0
    kept: int = 0
    stored: int = 0
    parked: int = 0
    failed: int = 0
    images_cancelled: int = 0
    forgotten: int = 0
    added: int = 0
    """Images that were not requested, made from surplus files of a run."""
    outputs: tuple[OutputNamed, ...] = ()
    """Empty for one output whose files are images; see `every_output`."""
    origin: Origin | None = None
    """The image whose recipe it was made from."""
    loads_files: bool = False
    """Whether one of its prompts loads an input or an image."""
    needs: tuple[str, ...] = ()
    """Tags that a backend must have to render it."""
    backend: str = ""
    """The only backend that may render it; empty if any may."""
    webhook: str = ""
    """The webhook that its request names; empty if it names none."""
    webhook_url: str = ""
    """The address that its request gives for this webhook; empty for the webhook's own."""

    @property
    def every_output(self) -> tuple[OutputNamed, ...]:
        """The outputs in their order, at least one."""
        return self.outputs or (OutputNamed(output_nodes(self.plan)[0], "image", self.series),)

    def series_of(self, output: int) -> str:
        """The key of the series that numbers the images of an output (from 1)."""
        return self.outputs[output - 1].series if self.outputs else self.series

    @property
    def every_series(self) -> tuple[str, ...]:
        """The keys of its series, each once."""
        return tuple(dict.fromkeys(output.series for output in self.every_output))

    @property
    def images(self) -> int:
        ended = self.stored + self.parked + self.failed + self.images_cancelled + self.forgotten
        return self.pending + self.kept + ended

    @property
    def asked_for(self) -> int:
        """How many images the request asked for: the first ones."""
        return self.images - self.added

    @property
    def status(self) -> str:
        """One word for people: open, held, settled or cancelled."""
        if self.settled:
            return "cancelled" if self.cancelled else "settled"
        return "held" if self.held else "open"


class Stray(msgspec.Struct, frozen=True, gc=False):
    """An attempt that was left behind at a backend, so that another one could be made. It may still run there; it is
    looked after until it has ended.

    `outputs`, `left_out` and `server`: as those of its prompt were.
    """

    attempt: int
    backend: str
    prompt_id: str
    outputs: tuple[int, ...] = ()
    left_out: tuple[str, ...] | None = None
    server: str = ""


class PromptRow(msgspec.Struct, frozen=True, gc=False):
    """A fixed set of images rendered by one run. `attempt` is the number of the last one begun, 0 for none; or of a
    stray before it that was used."""

    batch_id: str
    index: int
    images: tuple[int, ...]
    seed: int
    backend: str = ""
    """Where the last attempt was sent; empty before the first."""
    inputs: str | None = None
    state: PromptState = "queued"
    attempt: int = 0
    failures: int = 0
    """Attempts that count against the budget since the last renewal."""
    strikes: int = 0
    """How often ComfyUI went away while it ran this prompt. With any it is a suspect and runs alone."""
    prompt_id: str = ""
    files: tuple[OutputFile, ...] = ()
    code: str = ""
    words: str | None = None
    waiting: tuple[Pinned, ...] = ()
    """The files in the spool that are not assigned to an image yet, by their place among `files`. While there are any
    the prompt is done. Then those that were chosen; as `files`."""
    outputs: tuple[int, ...] = ()
    """The outputs (from 1) that the attempt was asked for; empty for all of them."""
    left_out: tuple[str, ...] | None = None
    """The nodes that are not sent in the attempt; None if that was not recorded."""
    loads: tuple[LoadedFile, ...] = ()
    """The files that the graph loads."""
    depth: int = 0
    """How many images in a row it is made from."""
    models: str = ""
    """Tells prompts that load the same models from others."""
    refused_by: tuple[str, ...] = ()
    """Backends whose ComfyUI refused it, since the last renewal. It goes to others."""
    strays: tuple[Stray, ...] = ()
    """Earlier attempts that were left behind and have not ended, as far as is known."""
    begun: int = 0
    """The number of the last attempt begun, if that is not `attempt`."""
    server: str = ""
    """Host, port and path of the ComfyUI that the last attempt was sent to; empty if that was not recorded."""

    @property
    def next_attempt(self) -> int:
        """The number that the next attempt gets."""
        return max(self.attempt, self.begun) + 1

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be done for it any more."""
        return self.state == "done" and not self.strays

    @property
    def open_state(self) -> str:
        """Its state; or `strays` if it is done and has strays, so that `done` means that it is over."""
        return self.state if self.is_over or self.state != "done" else "strays"

    def stray(self, attempt: int) -> Stray | None:
        """The stray with this number."""
        return next((one for one in self.strays if one.attempt == attempt), None)

    def as_attempt(self, attempt: int) -> PromptRow:
        """The prompt as it is for one of its attempts: the last one, or a stray."""
        one = self.stray(attempt)
        return self if one is None else _with_attempt(self, one)

    @property
    def lacks_sources(self) -> bool:
        """Whether it waits for images that it is made from: their bytes are not known."""
        return bool(self.loads) and any(not load.sha256 for load in self.loads)

    @property
    def is_sent(self) -> bool:
        """Whether its attempt is or may be at its backend, or left files there that are still to be fetched."""
        return self.state not in {"queued", "done"}

    @property
    def at_comfyui(self) -> bool:
        """Whether ComfyUI has this prompt in its queue, or may have it."""
        return self.state in {"submitting", "accepted", "cancelling"}


def _with_attempt(row: PromptRow, one: Stray) -> PromptRow:
    about = {"attempt": one.attempt, "backend": one.backend, "prompt_id": one.prompt_id}
    return replace(row, **about, outputs=one.outputs, left_out=one.left_out, server=one.server)


class Upload(msgspec.Struct, frozen=True, gc=False):
    """How far one image has come with one store."""

    store: str
    state: UploadState = "owed"
    attempts: int = 0
    url: str = ""
    code: str = ""
    words: str | None = None
    name: str = ""
    """The public id under which the store has the image, if that is not its name any more."""


class ImageRow(msgspec.Struct, frozen=True, gc=False):
    """One number, one name, one picture. `sha256` and its neighbours are empty until the file is kept."""

    batch_id: str
    index: int
    number: int
    folder: str
    file: str
    prompt: int
    user_key: str
    state: ImageState = "pending"
    uploads: tuple[Upload, ...] = ()
    sha256: str = ""
    md5: str = ""
    size_bytes: int = 0
    width: int = 0
    height: int = 0
    extension: str = ""
    attempt: int = 0
    code: str = ""
    words: str | None = None
    output: int = 1
    """The output of the batch that it comes from, from 1."""
    medium: Medium = "image"
    """As it was expected when the name was given; see `medium_kept`."""
    verdict: Verdict | Literal[""] = ""
    rating: int = 0
    """From 1 to RATING_MAX; 0 if nobody rated it."""
    box: str = ""
    """The box of the fleet whose spool has its file; empty before it is kept, and without a fleet."""

    @property
    def public_id(self) -> str:
        return f"{self.folder}/{self.file}"

    @property
    def medium_kept(self) -> Medium:
        """What the kept file is; before it is kept, what is expected."""
        return medium_of(self.extension) if self.extension else self.medium

    @property
    def named(self) -> ImageNamed:
        return ImageNamed(self.index, self.number, self.folder, self.file, self.prompt, self.output)

    @property
    def is_forgotten(self) -> bool:
        """Whether a person had it forgotten. No command continues it."""
        return self.state in {"forgetting", "forgotten"}

    @property
    def has_file(self) -> bool:
        """Whether its bytes are known, and it was not forgotten."""
        return bool(self.sha256) and not self.is_forgotten

    @property
    def awaits_choice(self) -> bool:
        """Whether more files came than images were asked for, and a person must say which is this one's."""
        return (self.state, self.code, self.sha256) == ("parked", "wrong_count", "")

    def is_elsewhere(self, box: str) -> bool:
        """Whether another box of the fleet keeps its file. `box`: the one that asks; empty without a fleet."""
        return bool(box) and self.box not in {"", box}

    def upload(self, store: str) -> Upload | None:
        for upload in self.uploads:
            if upload.store == store:
                return upload
        return None


class LaneRow(msgspec.Struct, frozen=True, gc=False):
    """Whether a person paused a lane, and whether it is in trouble by itself (`code`, empty if not)."""

    name: str
    person: bool = False
    code: str = ""
    words: str | None = None
    since_ms: int = 0


UNOPENED: Final = ""
"""The key of the row that all unused series share: what such a series begins with."""

_OfBatch = RequestRow | TemplateRow | TextRow | BatchRow | PromptRow | ImageRow
Row = _OfBatch | SeriesRow | LaneRow | InputRow | InputUse | BackendRow | WebhookRow | WebhookProgress | BoxRow


RowId = tuple[str, str, str | int]
"""The identity of a row: its type, then what tells it from its like."""


_IDS: Final[dict[type, Callable[[Any], RowId]]] = {
    ImageRow: lambda row: ("image", row.batch_id, row.index),
    SeriesRow: lambda row: ("series", row.key, ""),
    RequestRow: lambda row: ("request", row.label, row.request_id),
    TemplateRow: lambda row: ("template", row.key, ""),
    TextRow: lambda row: ("text", row.batch_id, row.digest),
    BatchRow: lambda row: ("batch", row.batch_id, ""),
    PromptRow: lambda row: ("prompt", row.batch_id, row.index),
    LaneRow: lambda row: ("lane", row.name, ""),
    InputRow: lambda row: ("input", row.sha256, ""),
    InputUse: lambda row: ("input_use", row.sha256, ""),
    BackendRow: lambda row: ("backend", row.name, ""),
    WebhookRow: lambda row: ("webhook", row.name, ""),
    WebhookProgress: lambda row: ("webhook_progress", row.name, ""),
    BoxRow: lambda row: ("box", row.name, ""),
}
"""By type, since a fold asks for two of them with each event."""


def row_id(row: Row) -> RowId:
    """The identity of a row among all rows."""
    return _IDS[type(row)](row)


class Slice:
    """The rows that one message needs, with those that it changed on top."""

    __slots__ = ("_rows", "changed")

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows: dict[RowId, Row] = {_IDS[type(row)](row): row for row in rows}
        self.changed: dict[RowId, Row] = {}

    def put(self, rows: Iterable[Row]) -> None:
        """Take rows that `evolve` made."""
        for row in rows:
            ident = _IDS[type(row)](row)
            self._rows[ident] = self.changed[ident] = row

    def series(self, key: str) -> SeriesRow | None:
        return self._rows.get(("series", key, ""))  # type: ignore[return-value]

    def first_number(self) -> int:
        """The first number of a series that was never used and that no store holds: 1, unless a restore raised it."""
        row = self.series(UNOPENED)
        return row.next if row is not None else 1

    def request(self, label: str, request_id: str) -> RequestRow | None:
        return self._rows.get(("request", label, request_id))  # type: ignore[return-value]

    def template(self, key: str) -> TemplateRow | None:
        return self._rows.get(("template", key, ""))  # type: ignore[return-value]

    def batch(self, batch_id: str) -> BatchRow | None:
        return self._rows.get(("batch", batch_id, ""))  # type: ignore[return-value]

    def prompt(self, batch_id: str, index: int) -> PromptRow | None:
        return self._rows.get(("prompt", batch_id, index))  # type: ignore[return-value]

    def image(self, batch_id: str, index: int) -> ImageRow | None:
        return self._rows.get(("image", batch_id, index))  # type: ignore[return-value]

    def the_series(self, key: str) -> SeriesRow:
        """A series that was loaded. A KeyError means that `needs` or `touches` left it out."""
        return self._rows["series", key, ""]  # type: ignore[return-value]

    def the_batch(self, batch_id: str) -> BatchRow:
        return self._rows["batch", batch_id, ""]  # type: ignore[return-value]

    def the_prompt(self, batch_id: str, index: int) -> PromptRow:
        return self._rows["prompt", batch_id, index]  # type: ignore[return-value]

    def the_image(self, batch_id: str, index: int) -> ImageRow:
        return self._rows["image", batch_id, index]  # type: ignore[return-value]

    def lane(self, name: str) -> LaneRow:
        row = self._rows.get(("lane", name, ""))
        return row if isinstance(row, LaneRow) else LaneRow(name)

    def input(self, sha256: str) -> InputRow | None:
        return self._rows.get(("input", sha256, ""))  # type: ignore[return-value]

    def input_use(self, sha256: str) -> InputUse:
        """Who uses an input, if that was loaded; else nobody."""
        row = self._rows.get(("input_use", sha256, ""))
        return row if isinstance(row, InputUse) else InputUse(sha256)

    def inputs(self) -> list[InputRow]:
        """The loaded inputs, by sha256."""
        found = [row for row in self._rows.values() if isinstance(row, InputRow)]
        return sorted(found, key=lambda row: row.sha256)

    def backend(self, name: str) -> BackendRow | None:
        """One that was added, also if it is not present any more."""
        return self._rows.get(("backend", name, ""))  # type: ignore[return-value]

    def backends(self) -> list[BackendRow]:
        """The loaded backends that are present, by name."""
        found = [row for row in self._rows.values() if isinstance(row, BackendRow) and row.present]
        return sorted(found, key=lambda row: row.name)

    def webhook(self, name: str) -> WebhookRow | None:
        """What the log says about a webhook, also if it is not present any more."""
        return self._rows.get(("webhook", name, ""))  # type: ignore[return-value]

    def webhooks(self) -> list[WebhookRow]:
        """The loaded webhooks that are present, by name."""
        found = [row for row in self._rows.values() if isinstance(row, WebhookRow) and row.present]
        return sorted(found, key=lambda row: row.name)

    def box(self, name: str) -> BoxRow | None:
        """One that has joined the fleet, also if it is not present any more."""
        return self._rows.get(("box", name, ""))  # type: ignore[return-value]

    def boxes(self) -> list[BoxRow]:
        """The loaded boxes that are present, by name."""
        found = [row for row in self._rows.values() if isinstance(row, BoxRow) and row.present]
        return sorted(found, key=lambda row: row.name)

    def images(self, batch_id: str) -> list[ImageRow]:
        """The loaded images of a batch, by index."""
        found = [row for row in self._rows.values() if isinstance(row, ImageRow) and row.batch_id == batch_id]
        return sorted(found, key=lambda row: row.index)

    def prompts(self, batch_id: str) -> list[PromptRow]:
        """The loaded prompts of a batch, by index."""
        found = [row for row in self._rows.values() if isinstance(row, PromptRow) and row.batch_id == batch_id]
        return sorted(found, key=lambda row: row.index)

    def texts(self, batch_id: str) -> list[TextRow]:
        """The loaded texts of a batch, by digest."""
        found = [row for row in self._rows.values() if isinstance(row, TextRow) and row.batch_id == batch_id]
        return sorted(found, key=lambda row: row.digest)
