"""What the daemon sends: results of requests, what comes unasked, and the parts that they are made of."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec


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
    right: Literal["read", "submit_configured", "submit", "operate", "admin"] = "admin"
    """What the token may do."""


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
    locked_text: str = ""


class SeriesHeld(Answer, frozen=True):
    """A series as one page shows it. `second`: the second highest number, else 0. `extremes`: the lowest and
    the highest number of each digit count, to find outliers; empty if these are `highest` and `second` only."""

    folder: str
    stem: str
    highest: int
    second: int
    images: int
    suffix: str = ""
    extremes: tuple[int, ...] = ()


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
