"""Random messages to a ledger, or to a model of one: commands, and reports that fit, are late, doubled or foreign."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from msgspec.structs import replace

from comfyledger.core.commands import (
    AddBackend,
    AddWebhook,
    CancelBatch,
    DropStore,
    Forget,
    GiveUpBox,
    HoldBatch,
    ImagesOf,
    JoinBox,
    LeaveBox,
    MadeFrom,
    OpenSeries,
    OweStore,
    PauseLane,
    PauseWebhook,
    RaiseSeries,
    ReleaseBatch,
    RemoveBackend,
    RemoveWebhook,
    RenumberImages,
    RestoreLedger,
    ResumeLane,
    ResumeWebhook,
    RetryBatch,
    ReviewImages,
    SeriesFound,
    SeriesSeen,
    SetPriority,
    SubmitBatch,
)
from comfyledger.core.decide.decide import Message
from comfyledger.core.keys import BatchKey, ImageKey, PromptKey, whole_batch
from comfyledger.core.media import Medium
from comfyledger.core.naming.names import Series
from comfyledger.core.reports import (
    BackendEnded,
    DeletionDone,
    DeletionRefused,
    FilesKept,
    FilesLaidBy,
    ImageIsLost,
    LaneStuck,
    LaneWorks,
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
    SeriesAnswered,
    SubmitIntended,
    UploadDone,
    UploadIntended,
    UploadRefused,
)
from comfyledger.core.values import Blob, Evidence, LoadedFile, OutputFile, Pinned, VerdictAsked, blob_of
from comfyledger.errors import Refused
from comfyledger.ledger.sqlite.writer import Ledger
from support.input_load import InputLoad
from support.ledger_builders import FOLDER, Rows, submission, take_one

USERS = ("Areg", "areg", "Ann", "Bob")
KEPT = Pinned(1, "5" * 64, "5" * 32, 100, 8, 8, "png")
FILE = OutputFile("a_00001_.png", "comfyledger", "output")
VIDEO = OutputFile("b_00001_.mp4", "comfyledger", "output", output=2)
FILES = ((FILE,), (FILE,), (FILE,), (FILE, VIDEO), (FILE, FILE))
VERDICTS: tuple[VerdictAsked | None, ...] = (None, "approved", "rejected", "none")
MEDIA: tuple[tuple[Medium, ...], ...] = (("image",), ("image",), ("image", "video"), ("video",))


class Load:
    """Random messages about batches that exist; most reports fit the attempt that their prompt is at."""

    def __init__(self, ledger: Rows, seed: int) -> None:
        self._ledger = ledger
        self._random = random.Random(seed)
        self._inputs = InputLoad(ledger, self._random)
        self._batches: list[str] = []
        self._made = self._spoken = self._asked = 0
        self._of_backends = random.Random(seed)

    def next(self) -> Message:
        self._asked += 1
        if self._asked % 25 == 0:
            return self._backend()
        if self._asked % 50 == 30:
            return self._box()
        if self._asked % 25 == 12 and self._batches:
            return self._review()
        if not self._batches or self._random.random() < 0.03:
            return self._submit()
        kinds: list[Callable[[str], Message]] = [self._command, self._lane, *[self._render] * 12, *[self._upload] * 8]
        kinds += [self._inputs.about_an_input] * 3
        return self._random.choice(kinds)(self._random.choice(self._batches[-6:]))

    def _words(self) -> Blob:
        """No two are alike, salted as they are."""
        self._spoken += 1
        return blob_of(b"CUDA out of memory", f"salt {self._spoken}".encode())

    def _submit(self) -> Message:
        self._made += 1
        user = self._random.choice(USERS)
        if self._random.random() < 0.2:
            series = submission(user=user, character=f"Number {self._made}").series[0]
            return SeriesAnswered(series, (Evidence("folder", "folder:/images", self._random.randrange(60)),))
        label, quantity = "app" if self._made % 3 else "other", self._random.randint(1, 4)
        media = MEDIA[self._made % len(MEDIA)]
        asked = submission(f"r{self._made}", user=user, quantity=quantity, prompt="typed", label=label, media=media)
        command = loading_too(asked, self._inputs.loads(self._batches))
        self._batches.append(command.batch_id)
        return command

    def _command(self, batch_id: str) -> Message:
        indexes = self._random.choice([(), (), (1,), (1, 2)])
        made: list[Message] = [
            CancelBatch("app", batch_id, indexes),
            RetryBatch("app", batch_id, indexes),
            RetryBatch("app", batch_id, also=tuple(MadeFrom(one, (1, 2)) for one in self._batches[-4:])),
            HoldBatch("app", batch_id),
            ReleaseBatch("app", batch_id),
            DropStore("app", "folder", (batch_id,)),
            OweStore("app", batch_id, (1, 2), FOLDER),
            RenumberImages("app", batch_id, self._every_series(batch_id), (1, 2, 3, 4)),
            RaiseSeries("app", FOLDER, (SeriesFound(self._some_series(), self._made),)),
            OpenSeries("app", self._some_series(), (), True),
            self._restore(),
            *self._seldom(Forget("app", batch_id, indexes, self._random.random() < 0.5)),
        ]
        return self._random.choice(made)

    def _seldom(self, message: Message) -> list[Message]:
        """What ends an image for ever, in one of five cases: else nothing would be left for the others."""
        return [message] if self._random.random() < 0.2 else []

    def _backend(self) -> Message:
        """With chances of its own, so that the other messages are what they would be without."""
        name, place = self._of_backends.choice("xyz"), self._of_backends.choice("xyz")
        adding = AddBackend("app", name, f"http://{place}.example:8188", ttl_s=self._made % 2)
        messages: list[Message] = [adding, adding, RemoveBackend("app", name), BackendEnded(name, "expired")]
        hook = AddWebhook("app", name, f"https://{place}.example/hook", ("batch_settled",))
        messages += [hook, hook, RemoveWebhook("app", name), PauseWebhook("app", name), ResumeWebhook("app", name)]
        messages += [SetPriority("app", batch_id, self._of_backends.randrange(3)) for batch_id in self._batches[-2:]]
        return self._of_backends.choice(messages)

    def _box(self) -> Message:
        """With the chances of backends. A box that leaves is in one of its first terms."""
        name, term = self._of_backends.choice("no"), self._of_backends.randint(1, 3)
        messages = [JoinBox("app", name), LeaveBox("app", name, term, "lease"), GiveUpBox("app", name)]
        return self._of_backends.choice([*messages, *self._orphans()])

    def _orphans(self) -> list[Message]:
        """About images that are kept."""
        rows = [row for one in self._batches[-6:] for row in self._ledger.load(whole_batch(one)).images(one)]
        about = [(row.batch_id, row.index, row.prompt, row.attempt, "") for row in rows if row.state == "kept"]
        return [*(OrphanBroughtBack(*one) for one in about), *(OrphanIsLost(*one) for one in about[:1])]

    def _review(self) -> Message:
        """Of images that have a file, mostly; with the chances of backends."""
        batch_id = self._of_backends.choice(self._batches[-6:])
        rows = self._ledger.load([ImageKey(batch_id, index) for index in range(1, 5)]).images(batch_id)
        chosen = tuple(row.index for row in rows if row.has_file or self._of_backends.random() < 0.1)
        verdict = self._of_backends.choice(VERDICTS)
        return ReviewImages("app", (ImagesOf(batch_id, chosen),), verdict, self._of_backends.choice([None, 0, 1, 5]))

    def _series_of(self, batch_id: str) -> str:
        return next(iter(self._every_series(batch_id)), "")

    def _every_series(self, batch_id: str) -> tuple[str, ...]:
        batch = self._ledger.load((BatchKey(batch_id),)).batch(batch_id)
        return batch.every_series if batch is not None else ()

    def _some_series(self) -> Series:
        return submission(user=self._random.choice(USERS)).series[0]

    def _restore(self) -> Message:
        series = self._some_series()
        seen = SeriesSeen(series.key, series.folder, (Evidence("folder", "folder:/images", self._made),))
        return RestoreLedger("cli", "e1", "e2", seen.evidence, 10, self._random.choice([1, 11]), (seen,))

    def _lane(self, _: str) -> Message:
        lane = self._random.choice(["store/folder", "backend/main", "user/areg", "everything"])
        made: list[Message] = [
            PauseLane("app", lane),
            ResumeLane("app", lane),
            LaneStuck(lane, self._random.choice(["not_reached", "throttled"]), self._words()),
            LaneWorks(lane),
        ]
        return self._random.choice(made)

    def _render(self, batch_id: str) -> Message:
        index = self._random.randint(1, 4)
        row = self._ledger.load((PromptKey(batch_id, index),)).prompt(batch_id, index)
        attempt = row.attempt if row else 1
        if row is not None and row.lacks_sources and self._random.random() < 0.9:
            return self._inputs.about_sources(row, self._words())
        if row is not None and row.state == "queued" and self._random.random() < 0.8:
            return SubmitIntended(batch_id, index, row.next_attempt, "main")
        if row is not None and row.waiting and row.state == "done":
            takes: tuple[Literal["first", "last", "all"], ...] = ("first", "last", "all")
            take = self._random.choice(takes)
            return RetryBatch("app", batch_id, (), take, (self._series_of(batch_id),))
        if row is not None and row.state == "finished" and self._random.random() < 0.6:
            if len(row.files) > len(row.images):
                files = tuple(replace(KEPT, image=place + 1) for place in range(len(row.files)))
                return FilesLaidBy(batch_id, index, attempt, files, self._words())
            kept = tuple(replace(KEPT, image=image) for image in row.images)
            return FilesKept(batch_id, index, attempt, kept)
        about = (batch_id, index, attempt + self._random.choice([0, 0, 0, 0, 0, -1, 1]))
        made: list[Message] = [
            SubmitIntended(*about, "main"),
            PromptWasAccepted(*about),
            PromptWasAccepted(*about),
            PromptHasFinished(*about, files=self._random.choice(FILES)),
            PromptHasFinished(*about, files=(FILE,)),
            FilesKept(*about, files=(KEPT,)),
            PromptHasFailed(*about, code="execution_error", words=self._words()),
            PromptIsGone(*about, self._random.random() < 0.5, self._random.random() < 0.5, self._words()),
            PromptIsLeft(*about, "away", self._random.random() < 0.2),
            PromptWasInterrupted(*about) if self._random.random() < 0.3 else PromptWasAccepted(*about),
            self._random.choice([PromptWasRefused(*about, "comfyui_refused", self._words()), *self._not_sent(about)]),
        ]
        return self._random.choice(made)

    def _not_sent(self, about: tuple[str, int, int]) -> tuple[Message, Message]:
        return PromptDoesNotFit(*about, self._words()), LaneWorks("x")

    def _upload(self, batch_id: str) -> Message:
        about = (batch_id, self._random.randint(1, 4), "folder")
        row = self._ledger.load((ImageKey(batch_id, about[1]),)).image(*about[:2])
        if row is not None and row.state == "forgetting":
            return self._random.choice([DeletionDone(*about, found=True), DeletionRefused(*about, code="foreign")])
        if row is not None and row.state in {"stored", "parked"} and self._random.random() < 0.4:
            return Forget("app", batch_id, about[1:2], stores=True)
        made: list[Message] = [
            UploadIntended(*about),
            UploadIntended(*about),
            UploadDone(*about, url="file:///x.png"),
            UploadRefused(*about, "collision", self._words()),
            RenumberImages("app", batch_id, self._every_series(batch_id), (1, 2, 3, 4)),
            ImageIsLost(*about, prompt=about[1], attempt=self._random.randint(1, 2)),
        ]
        return self._random.choice(made)


def loading_too(command: SubmitBatch, loads: tuple[LoadedFile, ...]) -> SubmitBatch:
    """The same batch, each of its prompts with these files."""
    return replace(command, prompts=tuple(replace(one, loads=loads) for one in command.prompts))


def run_load(ledger: Ledger, seed: int, groups: int) -> None:
    """Groups of many sizes; now and then one that is dropped, and messages that are refused."""
    load, size = Load(ledger, seed), random.Random(seed)
    for _ in range(groups):
        try:
            with ledger.group():
                for _ in range(size.choice([1, 1, 2, 10, 40])):
                    try:
                        take_one(ledger, load.next())
                    except Refused:
                        continue
                if size.random() < 0.05:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            continue
