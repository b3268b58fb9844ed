"""Given, when, then for the pure core: a ledger of plain rows, and short builders of messages.

The ledger loads exactly the rows that `needs` names, so that a key that is missing there shows as a failure. It writes
nothing down and knows no SQL; what it does is what the engine does for one message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from msgspec.structs import replace

from comfyledger.core.backends import BackendRow
from comfyledger.core.boxes import BoxRow
from comfyledger.core.commands import (
    AddInput,
    CancelBatch,
    DropStore,
    FailedSources,
    Forget,
    HoldBatch,
    ImagesOf,
    MadeFrom,
    OweStore,
    RaiseSeries,
    ReleaseBatch,
    RenumberImages,
    RestoreLedger,
    RetryBatch,
    ReviewImages,
    SeriesFound,
    SeriesSeen,
    SetPriority,
    SubmitBatch,
)
from comfyledger.core.decide.decide import Message, decide, needs
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.events import (
    BatchHeld,
    BatchRequested,
    BatchSettled,
    BlobErased,
    Event,
    FilesWaiting,
    ImageFailed,
    ImageParked,
    Recorded,
)
from comfyledger.core.evolve.evolve import evolve, touches
from comfyledger.core.inputs import InputRow, InputUse
from comfyledger.core.keys import (
    BatchImages,
    BatchInputs,
    BatchPrompts,
    BatchTexts,
    InputUses,
    Key,
    ManyKey,
    PresentBackends,
    PresentBoxes,
    PresentWebhooks,
    gathered,
)
from comfyledger.core.naming.names import Series, Templates, series_of
from comfyledger.core.reports import (
    DeletionDone,
    DeletionRefused,
    FilesKept,
    FilesLaidBy,
    ImageIsLost,
    InputSending,
    LaneStuck,
    OrphanBroughtBack,
    OrphanIsLost,
    PromptDoesNotFit,
    PromptHasFailed,
    PromptHasFinished,
    PromptIsGone,
    PromptIsLeft,
    PromptWasAccepted,
    PromptWasInterrupted,
    PromptWasRefused,
    SourceEnded,
    SourcesFound,
    SubmitIntended,
    UploadDone,
    UploadIntended,
    UploadRefused,
)
from comfyledger.core.rows import (
    BatchRow,
    ImageRow,
    LaneRow,
    PromptRow,
    Row,
    RowId,
    SeriesRow,
    Slice,
    TemplateRow,
    TextRow,
    row_id,
)
from comfyledger.core.values import (
    Evidence,
    ImageAt,
    LoadedFile,
    OutputFile,
    Pinned,
    PromptFixed,
    StoreRef,
    Take,
    VerdictAsked,
    blob_of,
)
from comfyledger.core.webhooks import WebhookProgress, WebhookRow

POLICY = Policy(render_attempts_max=3)
BACKEND = "main"


@dataclass(frozen=True)
class Then:
    """What came of one message."""

    answer: Any
    events: tuple[Event, ...]

    @property
    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


class PlainLedger:
    """All rows and the whole log, in memory."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.rows: dict[RowId, Row] = {}
        self.log: list[Recorded] = []
        self.now_ms = 1_000
        self.changed: tuple[Row, ...] = ()
        """The rows that the last message changed."""
        self.policy = policy

    def when(self, message: Message) -> Then:
        """Decide one message. Raises Refused; then nothing has changed."""
        self.now_ms += 1
        keys = needs(message)
        state = self.load(keys)
        decision = decide(state, message, self.now_ms, len(self.log), self.policy)
        self._check_loaded(decision.recorded, self.ids(keys))
        self._take(decision.recorded, state)
        if isinstance(message, SubmitBatch) and decision.recorded:
            template = TemplateRow(message.template.key, message.template.digest)
            self.rows.setdefault(row_id(template), template)
        return Then(decision.answer, tuple(entry.event for entry in decision.recorded))

    def given(self, *messages: Message | Iterable[Message]) -> PlainLedger:
        for message in messages:
            for one in message if isinstance(message, Iterable) else (message,):
                self.when(one)
        return self

    def _take(self, recorded: tuple[Recorded, ...], state: Slice) -> None:
        of_events = [row for row in state.changed.values() if not isinstance(row, WebhookProgress)]
        assert bool(recorded) == bool(of_events), "rows change with events and never without"
        self.log.extend(recorded)
        self.rows |= state.changed
        self.changed = tuple(state.changed.values())

    def _check_loaded(self, recorded: tuple[Recorded, ...], loaded: set[RowId]) -> None:
        """Every row that an event touches was loaded for its message, if it existed before."""
        for entry in recorded:
            missing = self.ids(touches(entry.event)) - loaded
            assert not missing, f"{entry.event} touches rows that were not loaded: {missing}"

    def load(self, keys: Iterable[Key]) -> Slice:
        return gathered(keys, lambda key: self.rows.get(key.row_id), self._many)

    def _many(self, key: ManyKey) -> list[Row]:
        match key:
            case BatchTexts(batch_id=batch_id):
                return list(self.texts(batch_id))
            case BatchInputs(batch_id=batch_id):
                return list(inputs_of(self.rows, batch_id))
            case InputUses(sha256=sha256):
                return [self.use_of(sha256)]
            case PresentBackends():
                return [row for row in self.rows.values() if isinstance(row, BackendRow) and row.present]
            case PresentWebhooks():
                return [row for row in self.rows.values() if isinstance(row, WebhookRow) and row.present]
            case PresentBoxes():
                return [row for row in self.rows.values() if isinstance(row, BoxRow) and row.present]
            case _:
                return of_batch(self.rows, key)

    def use_of(self, sha256: str) -> InputUse:
        """Who uses an input, by the prompts that load it."""
        return use_of(self.rows, sha256, "", self._settled_ms())

    def _settled_ms(self) -> dict[str, int]:
        """By batch: when it was settled last."""
        return {entry.event.batch_id: entry.at_ms for entry in self.log if isinstance(entry.event, BatchSettled)}

    def texts(self, batch: str = "b1") -> list[TextRow]:
        """The texts that events of a batch have named and none has erased."""
        events = [entry.event for entry in self.log if getattr(entry.event, "batch_id", "") == batch]
        erased = {digest for event in events if isinstance(event, BlobErased) for digest in event.digests}
        found = [text for event in events for text in self._texts_named(event)]
        return [text for text in _joined(found) if text.digest not in erased]

    def _texts_named(self, event: Event) -> Iterator[TextRow]:
        batch: str = event.batch_id  # type: ignore[attr-defined]
        words = getattr(event, "words", None)
        match event:
            case BatchRequested():
                yield TextRow(batch, event.template, whole=True, elsewhere=self._is_used_by_others(event))
                yield from (TextRow(batch, one.inputs, prompts=(one.index,)) for one in event.prompts if one.inputs)
                yield from (TextRow(batch, event.metadata, whole=True),) if event.metadata else ()
            case ImageFailed(images=images) | FilesWaiting(images=images) | BatchHeld(images=images) if words:
                yield TextRow(batch, words, images)
            case ImageParked(image=image) if words:
                yield TextRow(batch, words, (image,))
            case _ if words:
                yield TextRow(batch, words, prompts=(event.prompt,))  # type: ignore[attr-defined]

    def _is_used_by_others(self, event: BatchRequested) -> bool:
        rows = (row for row in self.rows.values() if isinstance(row, BatchRow) and row.batch_id != event.batch_id)
        return any(row.template == event.template and row.forgotten < row.images for row in rows)

    def ids(self, keys: Iterable[Key]) -> set[RowId]:
        """The identities of the rows that the keys name and that exist."""
        return {row_id(row) for row in self.load(keys)._rows.values()}

    # ---- looking

    def batch(self, batch: str = "b1") -> BatchRow:
        return self.rows["batch", batch, ""]  # type: ignore[return-value]

    def prompt(self, index: int = 1, batch: str = "b1") -> PromptRow:
        return self.rows["prompt", batch, index]  # type: ignore[return-value]

    def image(self, index: int = 1, batch: str = "b1") -> ImageRow:
        return self.rows["image", batch, index]  # type: ignore[return-value]

    def lane(self, name: str) -> LaneRow:
        return self.rows.get(("lane", name, ""), LaneRow(name))  # type: ignore[return-value]

    def series(self, key: str) -> SeriesRow:
        return self.rows["series", key, ""]  # type: ignore[return-value]

    def states(self, batch: str = "b1") -> list[str]:
        return [image.state for image in self.load([BatchImages(batch)]).images(batch)]

    def numbers(self, batch: str = "b1") -> list[int]:
        return [image.number for image in self.load([BatchImages(batch)]).images(batch)]

    def open_rows(self) -> list[Row]:
        """What a restart reads: boxes, lanes, batches that are not over, their open prompts, kept images."""
        prompts = [row for row in self.rows.values() if isinstance(row, PromptRow) and not row.is_over]
        mine = {row.batch_id for row in prompts}
        return [
            *(row for row in self.rows.values() if isinstance(row, LaneRow | BoxRow)),
            *(
                row
                for row in self.rows.values()
                if isinstance(row, BatchRow) and (not row.settled or row.batch_id in mine)
            ),
            *prompts,
            *(row for row in self.rows.values() if isinstance(row, ImageRow) and row.state in {"kept", "forgetting"}),
            *(row for row in self.rows.values() if isinstance(row, InputRow) and row.is_going),
        ]


def of_batch(rows: dict[RowId, Row], key: ManyKey) -> list[Row]:
    """The rows of one batch among all rows; its texts are not among them."""
    kinds: dict[type[ManyKey], type[PromptRow | ImageRow | TextRow]]
    kinds = {BatchPrompts: PromptRow, BatchImages: ImageRow, BatchTexts: TextRow}
    kind = kinds[type(key)]
    return [row for row in rows.values() if isinstance(row, kind) and row.batch_id == key.batch_id]


def use_of(rows: dict[RowId, Row], sha256: str, but: str, settled_ms: Mapping[str, int]) -> InputUse:
    """Who uses an input, `elsewhere` without the batch `but`. `settled_ms`: by batch, when it was settled."""
    users = {
        row.batch_id
        for row in rows.values()
        if isinstance(row, PromptRow) and any(load.sha256 == sha256 for load in row.loads)
    }
    batches = [row for row in rows.values() if isinstance(row, BatchRow) and row.batch_id in users]
    ended = [settled_ms.get(row.batch_id, 0) for row in batches if row.settled]
    elsewhere = {row.label for row in batches if row.batch_id != but and row.forgotten < row.images}
    settled = max(ended, default=0)
    return InputUse(sha256, sum(not row.settled for row in batches), settled, tuple(sorted(elsewhere)))


def inputs_of(rows: dict[RowId, Row], batch_id: str) -> Iterator[Row]:
    """The inputs of a batch and the copies of its images, each with who uses it."""
    loads = (row.loads for row in rows.values() if isinstance(row, PromptRow) and row.batch_id == batch_id)
    images = (row for row in rows.values() if isinstance(row, ImageRow) and row.batch_id == batch_id)
    named = {load.sha256 for one in loads for load in one} | {image.sha256 for image in images}
    for row in [row for row in rows.values() if isinstance(row, InputRow) and row.sha256 in named]:
        yield row
        yield use_of(rows, row.sha256, batch_id, {})


def _joined(texts: Iterable[TextRow]) -> list[TextRow]:
    """One row for each text, about all that events say it is about."""
    rows: dict[str, TextRow] = {}
    for text in texts:
        before = rows.get(text.digest, text)
        images = tuple(sorted({*before.images, *text.images}))
        prompts = tuple(sorted({*before.prompts, *text.prompts}))
        rows[text.digest] = replace(before, images=images, prompts=prompts)
    return list(rows.values())


def given(*messages: Message | Iterable[Message], policy: Policy = POLICY) -> PlainLedger:
    return PlainLedger(policy).given(*messages)


# ---- commands


def series(user: str = "Areg", character: str = "Opal Fever", premade: bool = True) -> Series:
    return series_of(Templates(), user, character, premade)


def series_of_output(number: int, user: str = "Areg", character: str = "Opal Fever") -> Series:
    return series(user, character if number == 1 else f"{character} of output {number}")


def stores(*names: str) -> tuple[StoreRef, ...]:
    return tuple(StoreRef(name, f"{name}:/there") for name in names)


def fixed(quantity: int, per_prompt: int) -> tuple[PromptFixed, ...]:
    """`quantity` images, `per_prompt` of them in each prompt but perhaps the last."""
    groups = [range(first, min(first + per_prompt, quantity + 1)) for first in range(1, quantity + 1, per_prompt)]
    return tuple(PromptFixed(index, tuple(group), index) for index, group in enumerate(groups, 1))


def submit(
    batch: str = "b1",
    quantity: int = 3,
    *,
    per_prompt: int = 1,
    request: str = "",
    body: str = "",
    user: str = "Areg",
    character: str = "Opal Fever",
    label: str = "app",
    into: tuple[str, ...] = ("folder",),
    backend: str = "",
    needs: tuple[str, ...] = (),
    priority: int = 1,
    trust: bool = True,
    outputs: int = 1,
    loads: tuple[LoadedFile, ...] = (),
    depth: int | None = None,
) -> SubmitBatch:
    """`quantity` and `per_prompt` count shots: each gives an image for each output. All outputs but the first are
    videos, in series of their own. `loads`: what each prompt loads. `depth`: 1 with a source, unless it is given.
    """
    deep = int(any(load.source for load in loads)) if depth is None else depth
    nodes = [{"node": str(8 + number), "prefix": f"{8 + number}.filename_prefix"} for number in range(1, outputs + 1)]
    return SubmitBatch(
        label=label,
        request_id=request or f"request of {batch}",
        request_digest=body or f"body of {request or batch}",
        batch_id=batch,
        username=user,
        user_key=user.casefold(),
        character=character,
        premade=True,
        series=tuple(series_of_output(number, user, character) for number in range(1, outputs + 1)),
        media=tuple("image" if number == 1 else "video" for number in range(1, outputs + 1)),
        prompts=tuple(replace(one, loads=loads, depth=deep) for one in fixed(quantity * outputs, per_prompt * outputs)),
        workflow="text-to-image",
        template=blob_of(b"{}", b"salt", key="graph"),
        plan={"output": "9"} | ({"outputs": nodes} if outputs > 1 else {}),
        stores=stores(*into),
        priority=priority,
        trust=trust,
        backend=backend,
        needs=needs,
    )


def loading(sha256: str) -> LoadedFile:
    return LoadedFile("5.image", sha256=sha256, extension="png", size_bytes=10)


def made_from(batch: str = "b1", image: int = 1, *, sha256: str = "") -> LoadedFile:
    return LoadedFile("5.image", ImageAt(batch, image), sha256)


def adding(sha256: str, label: str = "app") -> AddInput:
    return AddInput(label, sha256, 10, "png", 64, 64, "whole")


def cancel(*images: int, batch: str = "b1") -> CancelBatch:
    return CancelBatch("app", batch, images)


def retry(
    *images: int, batch: str = "b1", also: Sequence[str | MadeFrom] = (), sources: Sequence[str] = ()
) -> RetryBatch:
    """`also`: batches of one prompt that are made from the images, or prompts of any batch. `sources`: batches whose
    first image they are made from.
    """
    made = (MadeFrom(one, (1,)) if isinstance(one, str) else one for one in also)
    failed = tuple(FailedSources(one, (1,)) for one in sources)
    return RetryBatch("app", batch, images, also=tuple(made), sources=failed)


def forget(*images: int, batch: str = "b1", stores: bool = False) -> Forget:
    return Forget("app", batch, images, stores)


def reviewing(*images: str, verdict: VerdictAsked | None = None, rating: int | None = None) -> ReviewImages:
    """Of images as `b1/2`."""
    indexes: dict[str, list[int]] = {}
    for image in images:
        batch, _, index = image.rpartition("/")
        indexes.setdefault(batch, []).append(int(index))
    batches = tuple(ImagesOf(batch, tuple(its)) for batch, its in indexes.items())
    return ReviewImages("app", batches, verdict, rating)


def hold(batch: str = "b1") -> HoldBatch:
    return HoldBatch("app", batch)


def release(batch: str = "b1") -> ReleaseBatch:
    return ReleaseBatch("app", batch)


def prioritizing(priority: int, batch: str = "b1") -> SetPriority:
    return SetPriority("app", batch, priority)


def raising(*found: tuple[str, int], store: str = "folder") -> RaiseSeries:
    """What an import of a store found: user and highest number."""
    (ref,) = stores(store)
    return RaiseSeries("app", ref, tuple(SeriesFound(series(user), highest) for user, highest in found))


def restoring(*found: tuple[str, int], margin: int = 1_000, first: int = 1) -> RestoreLedger:
    """A restore that found these highest numbers in a store: user and number."""
    (ref,) = stores("folder")
    seen = tuple(
        SeriesSeen(series(user).key, series(user).folder, (Evidence(ref.name, ref.identity, highest),))
        for user, highest in found
    )
    evidence = tuple(one.evidence[0] for one in seen)[:1]
    return RestoreLedger("cli", "epoch1", "epoch2", evidence, margin, first, seen)


def dropping(store: str = "folder", *batches: str) -> DropStore:
    return DropStore("app", store, batches or ("b1",))


def owing(*images: int, store: str = "folder", batch: str = "b1") -> OweStore:
    (ref,) = stores(store)
    return OweStore("app", batch, images, ref)


def renumbering(*images: int, batch: str = "b1", user: str = "Areg") -> RenumberImages:
    return RenumberImages("app", batch, (series(user).key,), images)


# ---- reports


def sending(sha256: str, backend: str = BACKEND, source: ImageAt | None = None) -> InputSending:
    return InputSending(sha256, "png", 10, backend, name_of(sha256), source)


def name_of(sha256: str) -> str:
    """The name of an input below ComfyUI's input folder."""
    return f"comfyledger/{sha256}.png"


def sources_of(batch: str, *loads: LoadedFile, prompt: int = 1) -> SourcesFound:
    return SourcesFound(batch, prompt, loads)


def ended(batch: str = "b2", source: str = "b1", *, prompt: int = 1, image: int = 1) -> SourceEnded:
    return SourceEnded(batch, prompt, ImageAt(source, image), blob_of(b"it failed", b"salt"))


def intended(prompt: int = 1, attempt: int = 1, *, batch: str = "b1", backend: str = BACKEND) -> SubmitIntended:
    return SubmitIntended(batch, prompt, attempt, backend)


def accepted(prompt: int = 1, attempt: int = 1, *, batch: str = "b1") -> PromptWasAccepted:
    return PromptWasAccepted(batch, prompt, attempt)


def refused(
    prompt: int = 1, attempt: int = 1, *, batch: str = "b1", elsewhere: tuple[str, ...] = ()
) -> PromptWasRefused:
    words = blob_of(b"lora not found", b"salt")
    return PromptWasRefused(batch, prompt, attempt, "value_not_in_list", words, elsewhere)


def unfit(prompt: int = 1, attempt: int = 1, *, batch: str = "b1") -> PromptDoesNotFit:
    return PromptDoesNotFit(batch, prompt, attempt, blob_of(b"ComfyUI lacks a model", b"salt"))


def wrote(
    prompt: int = 1, attempt: int = 1, *, files: Sequence[int], code: str = "", batch: str = "b1"
) -> PromptHasFinished:
    """Each output gave so many files. With a code the run failed after that."""
    given = tuple(
        replace(output(prompt, attempt, count), output=number)
        for number, some in enumerate(files, 1)
        for count in range(some)
    )
    error = blob_of(b"out of memory", b"salt") if code else None
    return PromptHasFinished(batch, prompt, attempt, given, blob_of(b"so many files", b"salt"), code, error)


def finished(prompt: int = 1, attempt: int = 1, *, files: int = 1, batch: str = "b1") -> PromptHasFinished:
    return PromptHasFinished(batch, prompt, attempt, tuple(output(prompt, attempt, count) for count in range(files)))


def output(prompt: int, attempt: int, count: int) -> OutputFile:
    return OutputFile(f"{prompt}-a{attempt}_{count:05}_.png", "comfyledger", "output")


def miscounted(prompt: int = 1, attempt: int = 1, *, files: int, batch: str = "b1") -> PromptHasFinished:
    """Finished with another number of files than images, in the worker's words."""
    return replace(finished(prompt, attempt, files=files, batch=batch), words=blob_of(b"so many files", b"salt"))


def laid_by(count: int, prompt: int = 1, attempt: int = 1, *, batch: str = "b1") -> FilesLaidBy:
    """So many files of a prompt are in the spool, by their places."""
    return laid(*range(1, count + 1), prompt=prompt, attempt=attempt, batch=batch)


def laid(*places: int, prompt: int = 1, attempt: int = 1, batch: str = "b1", code: str = "") -> FilesLaidBy:
    """The files at these places of a run are in the spool. With a code a file of another output could not be kept."""
    files = tuple(pinned(place, attempt) for place in places)
    error = blob_of(b"no such file", b"salt") if code else None
    return FilesLaidBy(batch, prompt, attempt, files, blob_of(b"too many files", b"salt"), code, error)


def taking(take: Take, *images: int, batch: str = "b1", user: str = "Areg", outputs: int = 1) -> RetryBatch:
    known = tuple(series_of_output(number, user).key for number in range(1, outputs + 1))
    return RetryBatch("app", batch, images, take, known if take == "all" else ())


def failed(
    prompt: int = 1, attempt: int = 1, code: str = "execution_error", *, batch: str = "b1", final: bool = False
) -> PromptHasFailed:
    return PromptHasFailed(batch, prompt, attempt, code, blob_of(b"out of memory", b"salt"), final)


def interrupted(prompt: int = 1, attempt: int = 1, *, batch: str = "b1") -> PromptWasInterrupted:
    return PromptWasInterrupted(batch, prompt, attempt)


def gone(prompt: int = 1, attempt: int = 1, *, restarted: bool = False, batch: str = "b1") -> PromptIsGone:
    return PromptIsGone(batch, prompt, attempt, restarted)


def fallen(prompt: int = 1, attempt: int = 1, *, restarted: bool = True, batch: str = "b1") -> PromptIsGone:
    """ComfyUI went away while it ran the prompt."""
    return PromptIsGone(batch, prompt, attempt, restarted, running=True, words=blob_of(b"went away", b"salt"))


def left(
    prompt: int = 1,
    attempt: int = 1,
    reason: Literal["away", "person", "removed", "replaced"] = "away",
    *,
    running: bool = False,
    batch: str = "b1",
) -> PromptIsLeft:
    """The attempt is to be left behind where it is."""
    return PromptIsLeft(batch, prompt, attempt, reason, running)


def kept(*images: int, prompt: int = 1, attempt: int = 1, batch: str = "b1") -> FilesKept:
    return FilesKept(batch, prompt, attempt, tuple(pinned(image, attempt) for image in images))


def pinned(image: int, attempt: int = 1) -> Pinned:
    return Pinned(image, f"sha256 of {image}-a{attempt}", f"md5 of {image}-a{attempt}", 1_000, 64, 64, "png")


def uploading(image: int = 1, store: str = "folder", *, batch: str = "b1") -> UploadIntended:
    return UploadIntended(batch, image, store)


def uploaded(image: int = 1, store: str = "folder", *, batch: str = "b1") -> UploadDone:
    return UploadDone(batch, image, store, f"file:///{image}.png")


def unwanted(image: int = 1, store: str = "folder", *, batch: str = "b1") -> UploadRefused:
    return UploadRefused(batch, image, store, "collision", blob_of(b"other bytes", b"salt"))


def deleted(image: int = 1, store: str = "folder", *, batch: str = "b1", found: bool = True) -> DeletionDone:
    return DeletionDone(batch, image, store, found)


def foreign(image: int = 1, store: str = "folder", *, batch: str = "b1") -> DeletionRefused:
    return DeletionRefused(batch, image, store, "foreign")


def lost(image: int = 1, store: str = "folder", *, attempt: int = 1, batch: str = "b1") -> ImageIsLost:
    """Of a prompt of the same index."""
    return ImageIsLost(batch, image, store, prompt=image, attempt=attempt)


def brought_back(image: int = 1, *, attempt: int = 1, batch: str = "b1", box: str = "north") -> OrphanBroughtBack:
    """A store had the file that `box` kept. Of a prompt of the same index, as `gone_with`."""
    return OrphanBroughtBack(batch, image, image, attempt, box)


def gone_with(image: int = 1, *, attempt: int = 1, batch: str = "b1", box: str = "north") -> OrphanIsLost:
    """Nobody has the file that `box` kept."""
    return OrphanIsLost(batch, image, image, attempt, box)


def stuck(lane: str, code: str = "not_reached") -> LaneStuck:
    return LaneStuck(lane, code, blob_of(b"connection refused", b"salt"))


# ---- ways that several messages go together


def rendering(prompt: int = 1, attempt: int = 1, *, batch: str = "b1") -> tuple[Message, ...]:
    return (intended(prompt, attempt, batch=batch), accepted(prompt, attempt, batch=batch))


def rendered(prompt: int = 1, attempt: int = 1, *, files: int = 1, batch: str = "b1") -> tuple[Message, ...]:
    return (*rendering(prompt, attempt, batch=batch), finished(prompt, attempt, files=files, batch=batch))


def one_kept(index: int = 1, *, attempt: int = 1, batch: str = "b1") -> tuple[Message, ...]:
    """One image of one prompt of the same index, on its way as far as the spool."""
    return (*rendered(index, attempt, batch=batch), kept(index, prompt=index, attempt=attempt, batch=batch))


def one_stored(index: int = 1, *, attempt: int = 1, batch: str = "b1") -> tuple[Message, ...]:
    return (*one_kept(index, attempt=attempt, batch=batch), uploading(index, batch=batch), uploaded(index, batch=batch))


def failing(prompt: int = 1, *, times: int = 3, first: int = 1, batch: str = "b1") -> tuple[Message, ...]:
    """`times` attempts of a prompt that come to nothing, from attempt `first`."""
    attempts = range(first, first + times)
    return tuple(
        message
        for attempt in attempts
        for message in (*rendering(prompt, attempt, batch=batch), failed(prompt, attempt, batch=batch))
    )


def folded(log: Iterable[Recorded], *, narrow: bool) -> dict[RowId, Row]:
    """The rows that a log makes. `narrow`: each event sees only the rows that it touches."""
    ledger = PlainLedger()
    for entry in log:
        state = ledger.load(touches(entry.event)) if narrow else Slice(ledger.rows.values())
        state.put(evolve(state, entry))
        ledger.rows |= state.changed
    return ledger.rows
