"""Every message of the door, both ways: used by the door, the Python client and the command line alike.

One envelope, ComfyUI's own: {"type": ..., "id": ..., "data": {...}}. `id` is the client's and is echoed in the answer.
A request is answered by `result`, by `error`, or by `waiting` and later one of the two. Fields that are not declared
here are refused, so that a misspelled option is never silently ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from comfyledger.errors import Refused

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
    """A series of which a store holds files, and the highest number among them."""

    folder: NamePart
    stem: NamePart
    highest: Annotated[int, Meta(ge=1, le=10**15 - 1)]
    suffix: NamePart = ""


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


# ---- answers


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The root of what the daemon sends. Clients must tolerate fields that they do not know."""


class Welcome(Answer, frozen=True):
    server: str
    version: str
    protocol: int
    label: str
    ledger_id: str
    epoch: str
    position: int


class ImageGiven(Answer, frozen=True):
    index: int
    number: int
    name: str
    public_id: str


class BatchAccepted(Answer, frozen=True):
    """The answer to submit_batch. Of a dry run only `found` and `quantity` say something."""

    batch_id: str
    epoch: str
    position: int
    quantity: int
    numbers: list[int] = []
    names: list[str] = []
    public_ids: list[str] = []
    images: list[ImageGiven] = []
    repeated: bool = False
    dry_run: bool = False
    found: list[str] = []
    """What was found in the workflow, for people: output node, seeds, batch size."""


class SeriesInfo(Answer, frozen=True):
    series: str
    next: int


class UploadInfo(Answer, frozen=True):
    store: str
    state: str
    attempts: int = 0
    url: str = ""
    code: str = ""
    text: str = ""


class ImageInfo(Answer, frozen=True):
    image_id: str
    batch_id: str
    index: int
    number: int
    name: str
    public_id: str
    state: str
    prompt: int
    sha256: str = ""
    md5: str = ""
    size_bytes: int = 0
    width: int = 0
    height: int = 0
    extension: str = ""
    code: str = ""
    text: str = ""
    uploads: list[UploadInfo] = []


class BatchInfo(Answer, frozen=True):
    batch_id: str
    status: str
    held: str
    username: str
    character: str
    premade: bool
    workflow: str
    priority: str
    label: str
    request_id: str
    requested_at_ms: int
    position: int
    quantity: int
    pending: int
    kept: int
    stored: int
    parked: int
    failed: int
    cancelled: int
    forgotten: int = 0
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    images: list[ImageInfo] = []


class Batches(Answer, frozen=True):
    batches: list[BatchInfo]
    more: bool


class Images(Answer, frozen=True):
    images: list[ImageInfo]
    more: bool


class ChangedCount(Answer, frozen=True):
    """How many images a command changed, and what it left as it was, by state."""

    images: int
    left: dict[str, int] = {}


class RecoveryStep(Answer, frozen=True):
    """What is done, or shown, about some images: `examples` are the first few names."""

    kind: str
    images: int
    store: str = ""
    code: str = ""
    examples: list[str] = []


class Recovered(Answer, frozen=True):
    """How many images, of how many batches, a recovery changed or would change; `cursor` asks for the next page."""

    batches: int
    images: int
    dry_run: bool = False
    steps: list[RecoveryStep] = []
    looked_at: int = 0
    cursor: str = ""


class Forgotten(Answer, frozen=True):
    """What was forgotten, or would be: images, of how many batches, texts, and copies that stores are asked to delete.

    `left`: how many images stay in each store, because it is not asked. `before`: for the next page of a user; empty at
    the end. A dry run does not count texts.
    """

    batches: int
    images: int
    texts: int = 0
    deletions: int = 0
    left: dict[str, int] = {}
    before: str = ""
    dry_run: bool = False


class Subscribed(Answer, frozen=True):
    subscription: str
    epoch: str
    position: int


class Unsubscribed(Answer, frozen=True):
    subscription: str


class LaneInfo(Answer, frozen=True):
    lane: str
    paused: bool
    code: str = ""
    text: str = ""
    since_ms: int = 0


class WaitingInfo(Answer, frozen=True):
    """A series whose first batch waits for a store's answer."""

    series: str
    reason: str
    requests: int
    since_ms: int


class BackendInfo(Answer, frozen=True):
    name: str
    url: str
    connected: bool
    version: str = ""
    reconnects: int = 0
    deaf: int = 0
    sweeps: int = 0


class StoreInfo(Answer, frozen=True):
    name: str
    kind: str
    identity: str
    problem: str = ""


class Info(Answer, frozen=True):
    version: str
    protocol: int
    ledger_id: str
    epoch: str
    position: int
    storage_full: bool
    uptime_s: int
    open: dict[str, int]
    lanes: list[LaneInfo]
    waiting: list[WaitingInfo]
    backends: list[BackendInfo]
    stores: list[StoreInfo]
    workflows: list[str]
    storage_text: str = ""


class SeriesHeld(Answer, frozen=True):
    """A series as one page shows it. `second`: the highest number but one, 0 if there is none."""

    folder: str
    stem: str
    highest: int
    second: int
    images: int
    suffix: str = ""


class Survey(Answer, frozen=True):
    """`others`: files that no name under the templates looks like. `cursor`: for the next page; empty at the end."""

    found: list[SeriesHeld]
    files: int
    others: int
    cursor: str = ""


class SeriesRaised(Answer, frozen=True):
    """How many series were found for the first time, raised, and left as they were."""

    opened: int
    raised: int
    unchanged: int


class ErrorInfo(Answer, frozen=True):
    """Why a request was refused. `code` is stable, `path` names the field, `hint` what to do."""

    code: str
    message: str
    path: str = ""
    hint: str = ""
    retry_after_s: float = 0.0
    """In how many seconds the same request may go well; 0 where waiting alone does not help."""


class Waiting(Answer, frozen=True):
    """A request is taken but cannot be answered yet; a result or an error follows."""

    code: str
    message: str


class LoggedEvent(Answer, frozen=True):
    """One event of the log. `texts` holds the words behind the digests in `data`, as far as they are still kept."""

    subscription: str
    epoch: str
    position: int
    kind: str
    at_ms: int
    stream: str
    data: msgspec.Raw
    texts: dict[str, str] = {}


class PastEvent(Answer, frozen=True):
    """An event of the log that was asked for, not subscribed to."""

    position: int
    kind: str
    at_ms: int
    stream: str
    data: msgspec.Raw
    texts: dict[str, str] = {}


class LogPage(Answer, frozen=True):
    """Events that are past. `position`: the last one that was looked at, from which the next page goes on."""

    epoch: str
    events: list[PastEvent]
    position: int
    more: bool


class OwedInfo(Answer, frozen=True):
    """Something that is still to be done (`what`: render, fetch, upload or decide), and why it is not yet."""

    what: str
    code: str
    text: str
    command: str = ""
    lane: str = ""
    since_ms: int = 0
    images: list[int] = []


class Explanation(Answer, frozen=True):
    """A whole story. `subject`: image, batch, gap (a number passed over) or never (a number not given so far)."""

    subject: Literal["image", "batch", "gap", "never"]
    epoch: str
    events: list[PastEvent]
    owed: list[OwedInfo]
    batch: BatchInfo | None = None
    image: ImageInfo | None = None
    series: str = ""
    number: int = 0
    next: int = 0
    code: str = ""
    """Of a gap: `held` (a store held higher numbers), `raised` or `unknown`."""
    left_out: dict[str, int] = {}
    """How many events of each everyday kind are not among `events`."""


class Progress(Answer, frozen=True):
    """Steps of a prompt that runs; never logged. `images`: indexes in the batch."""

    subscription: str
    batch_id: str
    prompt: int
    images: list[int]
    node: str
    value: float
    max: float


class Preview(Answer, frozen=True):
    """A picture of work in progress; never logged. `data` is base64."""

    subscription: str
    batch_id: str
    prompt: int
    images: list[int]
    mime: str
    data: str


class SubscriptionEnded(Answer, frozen=True):
    """The daemon ended a subscription; subscribe again after the last position that was seen."""

    subscription: str
    code: str
    message: str


ANSWERS: Final[dict[str, type[Answer]]] = {
    "error": ErrorInfo,
    "waiting": Waiting,
    "event": LoggedEvent,
    "progress": Progress,
    "preview": Preview,
    "subscription_ended": SubscriptionEnded,
}
"""Every type that the daemon sends but `result`, whose `data` depends on the request: see RESULTS."""

RESULTS: Final[dict[str, type[Answer]]] = {
    "hello": Welcome,
    "submit_batch": BatchAccepted,
    "open_series": SeriesInfo,
    "get_batch": BatchInfo,
    "list_batches": Batches,
    "get_image": ImageInfo,
    "list_images": Images,
    "cancel": ChangedCount,
    "retry": ChangedCount,
    "recover": Recovered,
    "forget": Forgotten,
    "pause": ChangedCount,
    "resume": ChangedCount,
    "subscribe": Subscribed,
    "unsubscribe": Unsubscribed,
    "read_log": LogPage,
    "explain": Explanation,
    "server_info": Info,
    "survey_store": Survey,
    "raise_series": SeriesRaised,
}


# ---- reading and writing frames


class Envelope(msgspec.Struct, frozen=True):
    """A frame whose data is not read yet."""

    type: str
    id: Id = None
    data: msgspec.Raw = msgspec.Raw(b"{}")


class Asked(Envelope, frozen=True, forbid_unknown_fields=True):
    """A frame from a client: options that stand beside `data` would be ignored, so they are refused."""


_envelope = msgspec.json.Decoder(Envelope)
_asked = msgspec.json.Decoder(Asked)
_encoder = msgspec.json.Encoder()
_requests: Final = {name: msgspec.json.Decoder(message) for name, message in REQUESTS.items()}
_answers: Final = {name: msgspec.json.Decoder(answer) for name, answer in ANSWERS.items()}
_results: Final = {name: msgspec.json.Decoder(answer) for name, answer in RESULTS.items()}


def read_envelope(frame: str | bytes) -> Envelope:
    """The envelope of a frame of the daemon. Raises Refused(not_json, not_utf8, bad_envelope)."""
    return _read(_envelope, frame)


def read_asked(frame: bytes) -> Envelope:
    """The envelope of a frame of a client. Raises Refused(not_json, not_utf8, bad_envelope)."""
    try:
        frame.decode()
    except UnicodeDecodeError as error:
        raise Refused("not_utf8", f"The frame is not UTF-8: byte {error.start} fits nothing.") from error
    return _read(_asked, frame)


def _read(decoder: msgspec.json.Decoder[Any], frame: str | bytes) -> Envelope:
    try:
        envelope: Envelope = decoder.decode(frame)
        return envelope
    except msgspec.ValidationError as error:
        hint = 'Send {"type": ..., "id": ..., "data": {...}}.'
        raise Refused("bad_envelope", _sentence(error), hint=hint, path=_path(error, "$")) from error
    except RecursionError as error:
        raise Refused("not_json", "The frame is nested too deeply.") from error
    except UnicodeError as error:
        raise Refused("not_utf8") from error
    except msgspec.DecodeError as error:
        raise Refused("not_utf8" if "utf-8" in str(error).lower() else "not_json", _sentence(error)) from error


def read_request(envelope: Envelope) -> Message:
    """The message in an envelope. Raises Refused(unknown_type, unknown_field, invalid_field)."""
    decoder = _requests.get(envelope.type)
    if decoder is None:
        known = ", ".join(REQUESTS)
        raise Refused(
            "unknown_type", f"There is no message {envelope.type[:64]!r}.", hint=f"Known: {known}.", path="$.type"
        )
    try:
        return decoder.decode(envelope.data)
    except msgspec.ValidationError as error:
        code = "unknown_field" if "unknown field" in str(error) else "invalid_field"
        raise Refused(code, _sentence(error), path=_path(error, "$.data"), hint=_FIELDS_HINT) from error
    except RecursionError as error:
        raise Refused("not_json", "The frame is nested too deeply.") from error
    except UnicodeError as error:
        raise Refused("not_utf8") from error
    except msgspec.DecodeError as error:
        raise Refused("not_json", _sentence(error)) from error


_FIELDS_HINT: Final = "`comfyledger schema` prints the fields of every message."


def _sentence(error: Exception) -> str:
    text = str(error).split(" - at `")[0][:300]
    return text if text.endswith(".") else f"{text}."


def _path(error: Exception, root: str) -> str:
    """msgspec ends its sentences with where: "... - at `$.images[0].seed`"."""
    _, found, place = str(error).partition(" - at `")
    return root + place.rstrip("`").removeprefix("$") if found else root


def frame(kind: str, data: Any, id: Id = None) -> bytes:
    """A frame as it goes out, either way."""
    return _encoder.encode({"type": kind, "id": id, "data": data})


def request_frame(message: Message, id: Id = None) -> bytes:
    return frame(TYPE_OF[type(message)], message, id)


def error_of(refusal: Refused) -> ErrorInfo:
    waits = {"retry_after_s": refusal.retry_after_s} if refusal.retry_after_s else {}
    return ErrorInfo(refusal.code, refusal.message, refusal.path, refusal.hint, **waits)


def read_answer(envelope: Envelope) -> Answer:
    """What the daemon sent unasked, or an error. Raises KeyError for a type that this version does not know."""
    return _answers[envelope.type].decode(envelope.data)


def read_result(request: type[Message], envelope: Envelope) -> Answer:
    """The data of a `result`, read as the answer to a request of this type."""
    return _results[TYPE_OF[request]].decode(envelope.data)


def schemas() -> dict[str, Any]:
    """JSON Schema (2020-12) of every message, generated from the types above."""
    types: list[type] = [*REQUESTS.values(), *ANSWERS.values(), *dict.fromkeys(RESULTS.values())]
    _, components = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")

    def envelope(kind: str, data: type) -> dict[str, Any]:
        reference = {"$ref": f"#/$defs/{data.__name__}"}
        properties = {"type": {"const": kind}, "id": {"type": ["string", "integer", "null"]}, "data": reference}
        return {"type": "object", "properties": properties, "required": ["type"]}

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "comfyledger wire",
        "protocol": PROTOCOL,
        "requests": {name: envelope(name, message) for name, message in REQUESTS.items()},
        "results": {name: envelope("result", answer) for name, answer in RESULTS.items()},
        "pushes": {name: envelope(name, answer) for name, answer in ANSWERS.items()},
        "$defs": components,
    }
