"""What a client sends: every request with its fields. A field that is not declared here is refused."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

PROTOCOL: Final = 1
REQUEST_ID_BYTES_MAX: Final = 128
SUBPROTOCOL: Final = "comfyledger"
"""Asked for together with `token.<token>` by those who cannot send an Authorization header."""

Id = Annotated[str, Meta(max_length=128)] | int | None
Scalar = str | int | float | bool | None
Label = Annotated[str, Meta(min_length=1, max_length=64)]
Priority = Literal["high", "normal", "low"]
PRIORITIES: Final[tuple[Priority, ...]] = ("high", "normal", "low")
Limit = Annotated[int, Meta(ge=1, le=500)]
Index = Annotated[int, Meta(ge=1)]
NamePart = Annotated[str, Meta(max_length=255)]
ImageState = Literal["pending", "kept", "stored", "parked", "failed", "cancelled", "forgetting", "forgotten"]


class Message(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The root of what a client sends."""


class Hello(Message, frozen=True):
    """Names the client. A request_id belongs to this label; without a hello the label is `default`."""

    client: Label
    protocol: int = PROTOCOL


class ImageAsked(Message, frozen=True):
    """One image with inputs or a seed of its own."""

    inputs: dict[str, Scalar] = {}
    seed: int | None = None


class SubmitBatch(Message, frozen=True):
    """Ask for images: `quantity` alike ones, or `images` with inputs of their own."""

    request_id: str
    username: str
    character: str
    premade: bool = False
    quantity: int | None = None
    images: list[ImageAsked] | None = None
    workflow: str | dict[str, Any] | None = None
    """The name of a configured workflow, or a graph in ComfyUI's API format; the configured default if absent."""
    inputs: dict[str, Scalar] = {}
    seed: int | None = None
    images_per_prompt: Annotated[int, Meta(ge=1, le=64)] = 1
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

    username: str | None = None
    open_only: bool = False
    before: str | None = None
    limit: Limit = 50


class GetImage(Message, frozen=True):
    """One image by its public id, or by `<batch_id>/<index>`."""

    image: str


class ListImages(Message, frozen=True):
    batch_id: str | None = None
    username: str | None = None
    state: ImageState | None = None
    before: str | None = None
    """An image id, `<batch_id>/<index>`, to go on from."""
    limit: Limit = 50


class Cancel(Message, frozen=True):
    """Give up what is not kept yet: a whole batch, or images of it (indexes from 1)."""

    batch_id: str
    images: list[Index] = []


class Retry(Message, frozen=True):
    """Take up what failed, was parked or held, under the same numbers."""

    batch_id: str
    images: list[Index] = []


class Recover(Message, frozen=True):
    """Take up a page of what is parked, failed or missing, or give up all that is owed to `drop_store`.

    `dry_run` says what would be done and changes nothing. Times are in milliseconds since 1970, UTC.
    """

    drop_store: str | None = None
    dry_run: bool = False
    batch_id: str | None = None
    username: str | None = None
    store: str | None = None
    code: str | None = None
    since_position: Annotated[int, Meta(ge=0)] | None = None
    since_ms: int | None = None
    missing: bool = False
    new_number: bool = False
    cursor: Annotated[str, Meta(max_length=100)] = ""
    limit: Limit = 100


class Forget(Message, frozen=True):
    """Have texts and files go: of a batch, of images of it (indexes from 1), or of all batches of a user.

    `stores`: these are asked to delete what they have. Of a user one page is forgotten with each request, newest batch
    first; `before`: the batch_id to go on from. `dry_run` counts and changes nothing.
    """

    batch_id: str | None = None
    images: list[Index] = []
    username: str | None = None
    before: str | None = None
    stores: bool = False
    dry_run: bool = False


class Pause(Message, frozen=True):
    """Stop giving out new work. `scope`: everything, backend:NAME, store:NAME, user:NAME or batch:ID."""

    scope: str = "everything"


class Resume(Message, frozen=True):
    """Undo a pause, or let a held batch go on."""

    scope: str = "everything"


class Subscribe(Message, frozen=True):
    """Everything after a position, then live. `epoch` is required as soon as `after` is not 0.

    `after` = -1 stands for now: only what comes from here on.
    """

    after: Annotated[int, Meta(ge=-1)] = 0
    epoch: str | None = None
    batch_id: str | None = None
    username: str | None = None
    kinds: list[str] | None = None
    progress: bool = False
    previews: bool = False


class ReadLog(Message, frozen=True):
    """A page of what is past: positions above `after` up to `upto`, oldest first, or newest first with `reverse`.

    `character` goes together with `username`. Times are in milliseconds since 1970, UTC, both ends included.
    """

    after: Annotated[int, Meta(ge=0)] = 0
    upto: Annotated[int, Meta(ge=0)] | None = None
    epoch: str | None = None
    batch_id: str | None = None
    username: str | None = None
    character: str | None = None
    kinds: list[str] | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    reverse: bool = False
    limit: Limit = 200


class Explain(Message, frozen=True):
    """The story of an image, a batch or a gap. `what`: a name, an id, or a number with `username` and `character`."""

    what: Annotated[str, Meta(min_length=1, max_length=600)]
    username: str | None = None
    character: str | None = None


class Unsubscribe(Message, frozen=True):
    subscription: str


class ServerInfo(Message, frozen=True):
    """How the daemon is: version, ledger, lanes, what is open, what waits and why."""


class SurveyStore(Message, frozen=True):
    """One page of what a store holds, by series: one call to the store, which is not changed.

    `prefix`: a folder; all if empty. `cursor`: that of the page before.
    """

    store: str
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

    store: str
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
