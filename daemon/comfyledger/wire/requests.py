"""What a client sends: every request with its fields. A field that is not declared here is refused."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

PROTOCOL: Final = 1
REQUEST_ID_BYTES_MAX: Final = 128
IMAGES_PER_PROMPT_MAX: Final = 64
SUBPROTOCOL: Final = "comfyledger"
"""Asked for together with `token.<token>` by those who cannot send an Authorization header."""

Id = Annotated[str, Meta(max_length=128)] | int | None
Scalar = str | int | float | bool | None

Label = Annotated[str, Meta(min_length=1, max_length=64)]
Priority = Literal["high", "normal", "low"]
PRIORITIES: Final[tuple[Priority, ...]] = ("high", "normal", "low")
Take = Literal["first", "last", "all"]
Limit = Annotated[int, Meta(ge=1, le=500)]
Index = Annotated[int, Meta(ge=1, le=2**31 - 1)]
NamePart = Annotated[str, Meta(max_length=255)]
Typed = Annotated[str, Meta(max_length=1_000)]
"""A name of a user or a character that is looked for; names that are given are checked by `core.naming`."""
BatchId = Annotated[str, Meta(max_length=64)]
"""Where one is asked for alone, any text is looked up and is at worst unknown: nothing of it is kept."""
ImageName = Annotated[str, Meta(max_length=600)]
"""A public id, or an image id, `<batch_id>/<index>`."""
Word = Annotated[str, Meta(max_length=64)]
"""A name from the configuration, a kind, a code, an epoch, the id of a subscription."""
Kinds = Annotated[list[Word], Meta(max_length=200)]
Indexes = Annotated[list[Index], Meta(max_length=10_000)]
Position = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Moment = Annotated[int, Meta(ge=-(2**53), le=2**53)]
"""Milliseconds since 1970, UTC."""
InputName = Annotated[str, Meta(max_length=255)]
Scope = Annotated[str, Meta(max_length=1_100)]
ImageState = Literal["pending", "kept", "stored", "parked", "failed", "cancelled", "forgetting", "forgotten"]


class Message(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The root of what a client sends."""


class Hello(Message, frozen=True):
    """Names the client. A request_id belongs to this label; without a hello the label is `default`."""

    client: Label
    protocol: int = PROTOCOL


class ImageAsked(Message, frozen=True):
    """One image with inputs or a seed of its own."""

    inputs: dict[InputName, Scalar] = {}
    seed: int | None = None


class SubmitBatch(Message, frozen=True):
    """Ask for images: `quantity` alike ones, or `images` with inputs of their own."""

    request_id: Annotated[str, Meta(max_length=REQUEST_ID_BYTES_MAX)]
    username: str
    character: str
    premade: bool = False
    quantity: int | None = None
    images: list[ImageAsked] | None = None
    workflow: Annotated[str, Meta(max_length=255)] | dict[str, Any] | None = None
    """The name of a configured workflow, or a graph in ComfyUI's API format; the configured default if absent."""
    inputs: dict[InputName, Scalar] = {}
    seed: int | None = None
    images_per_prompt: Annotated[int, Meta(ge=1, le=IMAGES_PER_PROMPT_MAX)] = 1
    priority: Priority = "normal"
    tags: Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(max_length=50)] = []
    metadata: dict[str, Any] = {}
    dry_run: bool = False


class OpenSeries(Message, frozen=True):
    """Ask the stores now which numbers a user and character have, instead of at the first batch."""

    username: str
    character: str
    premade: bool = False


class GetBatch(Message, frozen=True):
    batch_id: str


class ListBatches(Message, frozen=True):
    """Batches, newest first. `before`: a batch_id to go on from."""

    username: Typed | None = None
    open_only: bool = False
    before: BatchId | None = None
    limit: Limit = 50


class GetImage(Message, frozen=True):
    """One image by its public id, or by `<batch_id>/<index>`."""

    image: str


class ListImages(Message, frozen=True):
    batch_id: BatchId | None = None
    username: Typed | None = None
    state: ImageState | None = None
    before: ImageName | None = None
    """An image id, `<batch_id>/<index>`, to go on from."""
    limit: Limit = 50


class Cancel(Message, frozen=True):
    """Give up what is not kept yet: a whole batch, or images of it (indexes from 1)."""

    batch_id: str
    images: Indexes = []


class Retry(Message, frozen=True):
    """Take up what failed, was parked or held, under the same numbers.

    `take`: where more files came than images were asked for, and only there, these files are taken: the first of them,
    the last, or all, the rest under new numbers.
    """

    batch_id: str
    images: Indexes = []
    take: Take | None = None


class Recover(Message, frozen=True):
    """Take up a page of what is parked, failed or missing, or give up all that is owed to `drop_store`.

    `dry_run` says what would be done and changes nothing. Times are in milliseconds since 1970, UTC.
    """

    drop_store: Word | None = None
    dry_run: bool = False
    batch_id: BatchId | None = None
    username: Typed | None = None
    store: Word | None = None
    code: Word | None = None
    since_position: Position | None = None
    since_ms: Moment | None = None
    missing: bool = False
    new_number: bool = False
    cursor: Annotated[str, Meta(max_length=100)] = ""
    limit: Limit = 100


class Forget(Message, frozen=True):
    """Have texts and files go: of a batch, of images of it (indexes from 1), or of all batches of a user.

    `stores`: these are asked to delete what they have. Of a user one page is forgotten with each request, newest batch
    first; `before`: the batch_id to go on from. `dry_run` counts and changes nothing.
    """

    batch_id: BatchId | None = None
    images: Indexes = []
    username: Typed | None = None
    before: BatchId | None = None
    stores: bool = False
    dry_run: bool = False


class Pause(Message, frozen=True):
    """Stop giving out new work. `scope`: everything, backend:NAME, store:NAME, user:NAME or batch:ID."""

    scope: Scope = "everything"


class Resume(Message, frozen=True):
    """Undo a pause, or let a held batch go on."""

    scope: Scope = "everything"


class Subscribe(Message, frozen=True):
    """Everything after a position, then live. `epoch` is required as soon as `after` is not 0.

    `after` = -1 stands for now: only what comes from here on.
    """

    after: Annotated[int, Meta(ge=-1)] = 0
    epoch: Word | None = None
    batch_id: BatchId | None = None
    username: Typed | None = None
    kinds: Kinds | None = None
    progress: bool = False
    previews: bool = False


class ReadLog(Message, frozen=True):
    """A page of what is past: positions above `after` up to `upto`, oldest first, or newest first with `reverse`.

    `character` goes together with `username`. Times are in milliseconds since 1970, UTC, both ends included.
    """

    after: Position = 0
    upto: Position | None = None
    epoch: Word | None = None
    batch_id: BatchId | None = None
    username: Typed | None = None
    character: Typed | None = None
    kinds: Kinds | None = None
    since_ms: Moment | None = None
    until_ms: Moment | None = None
    reverse: bool = False
    limit: Limit = 200


class Explain(Message, frozen=True):
    """The story of an image, a batch or a gap. `what`: a name, an id, or a number with `username` and `character`."""

    what: Annotated[str, Meta(min_length=1, max_length=600)]
    username: Typed | None = None
    character: Typed | None = None


class Unsubscribe(Message, frozen=True):
    subscription: Word


class ServerInfo(Message, frozen=True):
    """How the daemon is: version, ledger, lanes, what is open, what waits and why."""


class SurveyStore(Message, frozen=True):
    """One page of what a store holds, by series: one call to the store, which is not changed.

    `prefix`: a folder; all if empty. `cursor`: that of the page before.
    """

    store: Word
    prefix: Annotated[str, Meta(max_length=1_024)] = ""
    cursor: Annotated[str, Meta(max_length=16_384)] = ""


class SeriesFound(Message, frozen=True):
    """A series of which a store holds files, and the highest number among them.

    `counts`: false if no file of the series counts, so that the store holds none of its numbers.
    """

    folder: NamePart
    stem: NamePart
    highest: Annotated[int, Meta(ge=1, le=10**15 - 1)]
    suffix: NamePart = ""
    counts: bool = True


class RaiseSeries(Message, frozen=True):
    """Go on above the numbers that a store was found to hold; nothing is ever lowered."""

    store: Word
    found: Annotated[list[SeriesFound], Meta(min_length=1, max_length=500)]


REQUESTS: Final[dict[str, type[Message]]] = {
    "hello": Hello,
    "submit_batch": SubmitBatch,
    "open_series": OpenSeries,
    "get_batch": GetBatch,
    "list_batches": ListBatches,
    "get_image": GetImage,
    "list_images": ListImages,
    "cancel": Cancel,
    "retry": Retry,
    "recover": Recover,
    "forget": Forget,
    "pause": Pause,
    "resume": Resume,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "read_log": ReadLog,
    "explain": Explain,
    "server_info": ServerInfo,
    "survey_store": SurveyStore,
    "raise_series": RaiseSeries,
}
"""Every type that a client may send, with what its `data` holds."""

TYPE_OF: Final[dict[type[Message], str]] = {message: name for name, message in REQUESTS.items()}
