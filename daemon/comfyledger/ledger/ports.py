"""What the daemon knows of the ledger: `Ledger` to append to, `Reader` for rows and events, their types and errors.

`ledger/sqlite/` implements them. What only uses a ledger is typed against them and imports no implementation. The tests
in `tests/ledger/contract/` hold for every implementation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import msgspec

from comfyledger.core.backends import BackendRow
from comfyledger.core.commands import MadeFrom
from comfyledger.core.events import Event, Recorded
from comfyledger.core.inputs import InputRow
from comfyledger.core.keys import Key, ManyKey, OneKey, RequestKey, SeriesKey
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, RequestRow, Row, RowId, SeriesRow, Slice
from comfyledger.core.values import Blob
from comfyledger.core.webhooks import WebhookProgress, WebhookRow
from comfyledger.errors import ComfyledgerError
from comfyledger.ledger.eventlog import Head, Line
from comfyledger.wire.requests.reading import CountBy

# ---- errors


class StorageFull(ComfyledgerError):
    """The disk has no space for the group. The group was rolled back; the ledger is unchanged."""


class LedgerLocked(ComfyledgerError):
    """Another program holds a lock of the ledger. Nothing was written, and the same call succeeds later."""


class LogUnreachable(LedgerLocked):
    """The shared log cannot be reached. Whether the group was written is not known; once the log can be reached, the
    same call finds out, and succeeds."""


class RowRefused(ComfyledgerError):
    """The tables refused a row of one message of the group. The group was rolled back; the ledger is unchanged."""


# ---- appending

Noted = tuple[Event, BatchRow | None, int]
"""An event, its batch as it is after the message that recorded the event (None without a batch), and its time in
milliseconds."""


def noted(recorded: tuple[Recorded, ...], state: Slice) -> list[Noted]:
    """The events of one message, each with its batch as it is after them, and its time."""
    return [(entry.event, state.batch(getattr(entry.event, "batch_id", "")), entry.at_ms) for entry in recorded]


class BoxSeen(msgspec.Struct, frozen=True):
    """What a box of a fleet said last. `beat` grows each time; `age_s`: how long ago that was, by the database's clock.

    `url`: where other boxes reach its daemon. `about`: JSON. `position`: where its replica ended.
    """

    name: str
    url: str
    about: str
    position: int
    beat: int
    age_s: float


class Boxes(Protocol):
    """What boxes tell each other beside the log. Each call raises LogUnreachable if the database is away."""

    async def beat(self, name: str, url: str, about: str, position: int) -> None:
        """Say that a box lives, and what the others may know of it."""
        ...

    async def seen(self) -> list[BoxSeen]:
        """All boxes that ever said something, by name."""
        ...

    async def hold_deliveries(self, box: str, lasts_s: float) -> bool:
        """Whether a box is the one that delivers the webhooks, for so many seconds from now by the database's clock."""
        ...

    async def webhook_progress(self) -> list[WebhookProgress]:
        """How far each webhook has come, as whoever delivers has saved it last."""
        ...

    async def door_files(self) -> dict[str, str]:
        """The small files that all doors have in common, by name."""
        ...

    async def news(self, within_s: float) -> bool:
        """Whether the log has grown. Waits for it at most so long."""
        ...


class Taken(msgspec.Struct, frozen=True):
    """Lines that others appended to a shared log, and the rows that they changed, as they are now. `more`: there may be
    further ones."""

    lines: tuple[Line, ...] = ()
    rows: tuple[Row, ...] = ()
    more: bool = False

    def followed_by(self, later: Taken) -> Taken:
        """Both, in their order."""
        return Taken(self.lines + later.lines, self.rows + later.rows, more=later.more)


class Ledger(Protocol):
    """A ledger that is open for its one writer. All methods are called in the writer's thread.

    A group is one transaction: `with ledger.group()`. Inside it, messages are written one by one (`message`, `load`,
    `write`), or all of them at its end (`following`, `load_one`, `load_many`, `follow`, `put`). Nothing here decides.
    """

    head: Head
    """The last event. Inside a group: the last event of the group so far."""
    ledger_id: str
    """Never changes."""
    epoch: str
    """A restore begins a new one."""
    secret: bytes
    """32 bytes, the key of the digests of requests. Never changes."""
    is_shared: bool
    """Whether others append to the same log."""
    is_current: bool
    """Whether this ledger has had all of the log since it was opened. False only for a shared log that was away."""
    taken: Taken
    """What the last group took in of others before its first message. Its lines are also the first ones of the group.
    """
    scrub_owed: bool
    """Whether erased texts may still be in a file of the ledger, so that `scrub` has work."""

    def group(self) -> AbstractContextManager[list[Line]]:
        """One transaction. Gives a list, which holds the appended lines once the block has ended and is durable.

        If the block raises, nothing of the group is written, and `head` is what it was before. Raises StorageFull,
        LedgerLocked and RowRefused; LedgerUnusable if a write or sync failed: then the process must end.
        """
        ...

    def message(self) -> AbstractContextManager[None]:
        """What one message of a group writes. If the block raises, only that is undone, and the group goes on."""
        ...

    def following(self) -> AbstractContextManager[None]:
        """What one message adds by `follow`. If the block raises, `head` is what it was, and its lines are dropped."""
        ...

    def ends_group(self, error: Exception) -> bool:
        """Whether an error that one message raised ends the whole group."""
        ...

    def load(self, keys: Iterable[Key]) -> Slice:
        """The rows under the keys, as the messages written before left them. Missing rows are absent."""
        ...

    def load_one(self, key: OneKey) -> Row | None:
        """The row under a key; None if there is none."""
        ...

    def load_these(self, keys: Iterable[SeriesKey | RequestKey]) -> dict[RowId, Row | None]:
        """What `load_one` gives for each key, by the id of the row."""
        ...

    def load_many(self, key: ManyKey) -> Iterable[Row]:
        """The rows of a batch: its prompts, its images, or its texts that were not erased."""
        ...

    def write(self, recorded: tuple[Recorded, ...], state: Slice, texts: Iterable[Blob]) -> None:
        """Write the events of one message, the rows that they changed and the texts that they name. Raises as `put`."""
        ...

    def follow(self, recorded: tuple[Recorded, ...], state: Slice) -> list[Line]:
        """The lines of one message's events, chained to `head`, which is then the last of them. Nothing is written."""
        ...

    def adopt(self, lines: Sequence[Line]) -> None:
        """Have `head` be the last of some lines that follow it and are in the shared log already. Writes nothing."""
        ...

    def catch_up(self) -> Taken:
        """Take in what others have appended to a log that this ledger shares with them, and make it durable here.

        At most some hundred lines at once. Nothing to do for a ledger that is not shared. Raises as `group`.
        """
        ...

    def put(self, lines: Sequence[Line], noted: Iterable[Noted], rows: Iterable[Row], texts: Iterable[Blob]) -> None:
        """Write lines, the rows and names that their events change, and the texts that they name. Without
        lines, only the progress of webhooks is written, which is no projection of the log.

        A text that is there already is not written again. An erasing event overwrites its texts. Raises
        Refused(name_taken) for a name that was given before, or an error of the implementation's own.
        """
        ...

    def check_lock(self) -> None:
        """Whether a group could be written now. Writes nothing. Raises LedgerLocked, LedgerUnusable."""
        ...

    def lock_holder(self) -> str:
        """Who holds a lock of the ledger, as far as it is known, like `another program (sqlite3, process 4242)`."""
        ...

    def open_rows(self) -> list[Row]:
        """All boxes and lanes, and the open work: batches, prompts, kept images and images that stores are to delete.

        Raises LedgerUnusable if they cannot be read.
        """
        ...

    def scrub(self) -> bool:
        """Remove erased texts from where the transactions left copies. False if that must be tried again later.

        Waits for no lock. Raises LedgerUnusable if the disk failed.
        """
        ...


# ---- reading


class BatchFilter(msgspec.Struct, frozen=True):
    """Which batches to list, newest first; what is not None must fit. `before`: continue after this batch_id."""

    username_key: str | None = None
    open_only: bool = False
    before: str | None = None
    limit: int = 50
    label: str | None = None
    series: str | None = None


class ImageFilter(msgspec.Struct, frozen=True):
    """Which images to list, newest batch first, then by index; what is not None must fit.

    `before`: continue after this image (batch_id, index). Keys are folded. `medium`: the expected one. `verdict`: also
    `none`. `since_ms`, `until_ms`: when the id of the batch was made, in milliseconds since 1970, both inclusive.
    """

    batch_id: str | None = None
    username_key: str | None = None
    state: str | None = None
    before: tuple[str, int] | None = None
    limit: int = 50
    label: str | None = None
    character_key: str | None = None
    workflow: str | None = None
    code: str | None = None
    verdict: str | None = None
    rating_min: int | None = None
    medium: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def is_simple(self) -> bool:
        """Whether nothing is asked of its batch but id, user and label, and nothing of an image but its state."""
        return self == ImageFilter(self.batch_id, self.username_key, self.state, self.before, self.limit, self.label)


GROUPS_MAX: Final = 1_000
"""How many groups one count has, the largest ones."""


class ImageCounts(msgspec.Struct, frozen=True):
    """How many images fit a filter.

    `groups`: by value, most images first; `more_groups`: there are others. `cursors`: `<batch_id>/<index>` of the last
    image before each place that is a multiple of `every`, from 0 on; the first is empty.
    """

    count: int
    groups: tuple[tuple[str, int], ...] = ()
    more_groups: bool = False
    cursors: tuple[str, ...] = ()
    every: int = 0


class InputFilter(msgspec.Struct, frozen=True):
    """Which usable inputs to list, newest first; what is not None must fit.

    `before`: continue after the input that was added at this time, in milliseconds since 1970, with this sha256.
    """

    label: str | None = None
    before: tuple[int, str] | None = None
    limit: int = 50


class LogWanted(msgspec.Struct, frozen=True):
    """Which lines: positions above `after` up to `upto`; what is not None must fit. Times in milliseconds since 1970.

    `reverse`: newest first.
    """

    after: int = 0
    upto: int | None = None
    stream: str | None = None
    user: str | None = None
    series: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    reverse: bool = False
    limit: int = 200
    label: str | None = None


class LogLines(msgspec.Struct, frozen=True):
    """A page of lines. `position`: the last one examined, whether it fits or not. `more`: others follow it."""

    lines: list[Line]
    position: int
    more: bool


class Turns(msgspec.Struct, frozen=True):
    """Who takes turns: the prompts of a batch that are not done, and other batches that are open or held."""

    own: int = 0
    batches: int = 0


class Descent(msgspec.Struct, frozen=True):
    """The batches that were made from an image, or from any image of a batch, oldest first: those that were made like
    it, and those that load it. The other fields say whether there are more than an answer names.
    """

    like: tuple[str, ...] = ()
    like_more: bool = False
    loading: tuple[str, ...] = ()
    loading_more: bool = False


class Dependents(msgspec.Struct, frozen=True):
    """What images are loaded by, through all levels, nearest first. `more`: there may be others beyond a limit."""

    found: tuple[MadeFrom, ...] = ()
    more: bool = False


class Reader(Protocol):
    """Reads committed rows and events while the ledger is written. Each call is one short read of one moment.

    Every list has a limit. Each method raises Refused(busy) while another program locks the ledger.
    """

    async def head(self) -> Head:
        """The last committed event."""
        ...

    async def seen(self, lines: list[Line]) -> list[Line]:
        """Those of some lines of the log that this reader shows: all, unless it is limited to a label."""
        ...

    async def page(
        self, *, after: int, limit: int, stream: str | None = None, user: str | None = None, upto: int | None = None
    ) -> list[Line]:
        """The next lines after a position, oldest first, of one stream or one user if given.

        `Line.user` is set only if a user was given.
        """
        ...

    async def log_lines(self, wanted: LogWanted) -> LogLines:
        """The next lines that fit. A page may be shorter than its limit, or empty, while `more` is true."""
        ...

    async def texts(self, digests: list[str], bytes_max: int | None = None) -> dict[str, bytes]:
        """The contents of texts by digest. Erased and unknown ones are missing.

        `bytes_max`: once so many bytes are read, in the order of the digests, those that follow are missing too.
        """
        ...

    async def request(self, label: str, request_id: str) -> RequestRow | None:
        """The request that a client sent under an id of its own."""
        ...

    async def batch(self, batch_id: str, label: str | None = None) -> BatchRow | None:
        """A batch; with a label, only if it is of that label."""
        ...

    async def batches(self, wanted: BatchFilter) -> list[BatchRow]: ...

    async def prompt(self, batch_id: str, prompt: int) -> PromptRow | None: ...

    async def prompts(self, batch_id: str) -> list[PromptRow]:
        """All prompts of a batch, in their order."""
        ...

    async def image(self, batch_id: str, index: int) -> ImageRow | None: ...

    async def images(self, wanted: ImageFilter) -> list[ImageRow]: ...

    async def count_images(self, wanted: ImageFilter, by: CountBy | None = None, every: int = 0) -> ImageCounts:
        """How many images fit; its `before` and `limit` are ignored. `by`: also count them in groups.

        `every`: also find where each page of so many images begins; 0 for none. If the pages are too many, larger ones
        are taken, of a multiple of so many images.
        """
        ...

    async def these_images(self, batch_id: str, indexes: tuple[int, ...]) -> list[ImageRow]:
        """Images of a batch in the order of the indexes. Those that do not exist are missing."""
        ...

    async def image_named(self, public_id: str) -> ImageRow | None:
        """The image that was given a name, in whichever case and Unicode form it is spelled."""
        ...

    async def name_place(self, key: str) -> tuple[str, int] | None:
        """Batch and index of the image that was given a name. `key`: folder, `/` and file, folded."""
        ...

    async def input(self, sha256: str, label: str | None = None) -> InputRow | None:
        """An input, or an image that another prompt loads, usable or not; with a label, an input that it has, or had
        before its bytes were erased. A label sees each as if no other had the same bytes.
        """
        ...

    async def these_inputs(self, sha256s: Sequence[str], label: str | None = None) -> list[InputRow]:
        """Those of some inputs that exist; with a label, as `input`."""
        ...

    async def inputs(self, wanted: InputFilter) -> list[InputRow]: ...

    async def inputs_kept(self, after: str = "", limit: int = 1_000) -> list[InputRow]:
        """Inputs of which the daemon has bytes, usable or not, by sha256 and after one."""
        ...

    async def inputs_unused(self, ended_before_ms: int, limit: int) -> list[InputRow]:
        """What may be erased because no open batch needs it: first what was forgotten and has bytes somewhere, then
        usable inputs that were added, and whose last batch was settled, before a time; of these, the first the one that
        was needed longest ago. With the time 0 only what was forgotten, which is found at once.
        """
        ...

    async def series(self, key: str) -> SeriesRow | None: ...

    async def series_ending(self, end: str, label: str | None = None) -> list[SeriesRow]:
        """Some series whose keys end with `end`; with a label, those of its batches."""
        ...

    async def prompt_place(self, prompt_id: str, after: int, upto: int) -> tuple[str, int] | None:
        """Batch and prompt that were submitted with ComfyUI's prompt id at a position above `after` up to `upto`."""
        ...

    async def turns(self, batch_id: str, label: str | None = None) -> Turns:
        """The prompts of a batch that are not done, and the other open or held batches, counted up to a limit.

        With a label, only its batches are counted.
        """
        ...

    async def descent(self, batch_id: str, image: int | None, label: str | None = None) -> Descent:
        """What was made from an image of a batch, or from any of them without `image`; with a label, its batches."""
        ...

    async def dependents(self, batch_id: str, images: Sequence[int] | None) -> Dependents:
        """Which prompts load these images of a batch, or any of them, through all levels and up to a limit."""
        ...

    async def parked_bytes(self, batch_ids: list[str]) -> int:
        """How many bytes the files of the parked images of these batches have."""
        ...

    async def owing(self, store: str) -> dict[str, int]:
        """By batch: how many images a store does not have yet, did not take, or is still to delete.

        Reads every image; only for rare commands.
        """
        ...

    async def inputs_at(self, backend: str) -> dict[str, int]:
        """By sha256: how many copies of an input a backend may have.

        Reads every input; only for rare commands.
        """
        ...

    async def backends(self) -> list[BackendRow]:
        """The backends that were added and are present, by name."""
        ...

    async def webhooks(self) -> list[WebhookRow]:
        """What the log says about each webhook, by name. Those that were removed are among them."""
        ...

    async def webhook_progress(self) -> list[WebhookProgress]:
        """How far each webhook has come, by name."""
        ...

    async def lanes(self) -> list[LaneRow]:
        """Every lane that was ever paused."""
        ...
