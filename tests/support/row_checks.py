"""What is true of the rows of a ledger at any time, whatever has happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from comfyledger.core.events import (
    BatchReopened,
    BatchRequested,
    Event,
    FilesTaken,
    FilesWaiting,
    ImageAdded,
    ImageKept,
    ImageLost,
    ImageRenumbered,
    PromptAccepted,
    PromptFailed,
    PromptFinished,
    PromptLost,
    PromptMoved,
    PromptRefused,
    PromptRemoved,
    PromptSubmitting,
    SeriesOpened,
    SeriesRaised,
    StrayEnded,
)
from comfyledger.core.evolve.transitions import COUNT
from comfyledger.core.rows import UNOPENED, BatchRow, ImageRow, PromptRow, Row, SeriesRow, TemplateRow
from support.core_builders import PlainLedger, folded

R = TypeVar("R")


def rows_of(ledger: PlainLedger, kind: type[R]) -> list[R]:
    return [row for row in ledger.rows.values() if isinstance(row, kind)]


def check_numbers(ledger: PlainLedger) -> None:
    """Every number of a series is given once, and what is left out before its next was skipped by an event."""
    batches = {row.batch_id: row.every_output for row in rows_of(ledger, BatchRow)}
    for row in rows_of(ledger, SeriesRow):
        if row.key == UNOPENED:
            continue
        every = rows_of(ledger, ImageRow)
        images = [image for image in every if batches[image.batch_id][image.output - 1].series == row.key]
        assert row.next >= 1
        assert sorted(image.number for image in images) == numbers_given(ledger, row.key)
    names = [image.public_id.casefold() for image in rows_of(ledger, ImageRow)]
    assert len(names) == len(set(names))


def numbers_given(ledger: PlainLedger, series: str) -> list[int]:
    """By the log: from where a series was opened or raised to, one after the other; without what was given up.

    A number that an image gave up stays used.
    """
    following, given = 1, list[int]()
    now: dict[str, int] = {}
    for entry in ledger.log:
        match entry.event:
            case SeriesOpened(series=key) | SeriesRaised(series=key) as event if key == series:
                assert event.next >= following, "a series went back"
                following = event.next
            case BatchRequested(outputs=outputs) as event:
                images = [image for image in event.images if outputs[image.output - 1].series == series]
                assert [image.number for image in images] == list(range(following, following + len(images)))
                following += len(images)
                given += [image.number for image in images]
                now |= {image.public_id: image.number for image in images}
            case ImageAdded(series=key) as event if key == series:
                assert event.number == following
                following += 1
                given.append(event.number)
                now[f"{event.folder}/{event.file}"] = event.number
            case ImageRenumbered(series=key) as event if key == series:
                assert event.number == following
                following += 1
                given.remove(now.pop(event.before))
                given.append(event.number)
                now[f"{event.folder}/{event.file}"] = event.number
            case _:
                pass
    return given


def check_batch(ledger: PlainLedger, batch: BatchRow) -> None:
    images = [row for row in rows_of(ledger, ImageRow) if row.batch_id == batch.batch_id]
    states = Counter(row.state for row in images)
    counts = {name: sum(states[state] for state in COUNT if COUNT[state] == name) for name in COUNT.values()}
    assert {name: getattr(batch, name) for name in counts} == counts
    assert batch.settled == (not states["pending"] and not states["kept"])
    assert not (batch.settled and batch.held)
    waiting = {row.index for row in images if row.state == "pending"}
    for prompt in rows_of(ledger, PromptRow):
        if prompt.batch_id == batch.batch_id and prompt.state != "cancelling":
            assert (prompt.state == "done") == waiting.isdisjoint(prompt.images), f"nobody ends {prompt}"
            undecided = {image.output for image in images if image.prompt == prompt.index and image.awaits_choice}
            lying = {prompt.files[file.image - 1].output for file in prompt.waiting} if undecided else set()
            assert undecided == lying, f"nothing to choose from: {prompt}"
            assert not undecided or prompt.state == "done", f"a run replaces what waits: {prompt}"
            assert undecided or prompt.state == "finished" or not prompt.waiting, f"nobody wants these: {prompt}"
    for image in images:
        if image.state == "kept":
            assert any(upload.state in {"owed", "uploading"} for upload in image.uploads), f"nobody ends {image}"
        if image.is_forgotten:
            deleting = any(upload.state == "deleting" for upload in image.uploads)
            assert (image.state == "forgetting") == deleting
            assert not any(upload.state == "owed" for upload in image.uploads), f"to be stored all the same: {image}"
            assert (image.code, image.words) == ("", None)


class Attempts:
    """What the log alone says of the attempts of one prompt, told without the code that decides or folds it."""

    def __init__(self) -> None:
        self.begun = 0
        self.live = 0
        """The attempt that may still give files; 0 for none."""
        self.done = False
        """Whether the live attempt has its files."""
        self.again = False
        """Whether another attempt was asked for after these files."""
        self.strays: dict[int, str] = {}
        """By attempt: where it was left."""
        self.backends: dict[int, str] = {}
        self.strikes = 0

    def take(self, event: Event) -> None:
        match event:
            case PromptSubmitting():
                assert event.attempt == self.begun + 1, f"begun twice: {event}"
                assert self.is_free, f"begun beside another: {event}"
                self.begun = self.live = event.attempt
                self.done, self.again, self.backends[event.attempt] = False, False, event.backend
            case PromptMoved():
                self._leave(event)
            case StrayEnded():
                self._end_stray(event)
            case PromptAccepted() | PromptFinished() | FilesWaiting():
                assert event.attempt == self.live, f"of another attempt than the live one: {event}"
                if not isinstance(event, PromptAccepted):
                    self.done = True
                if isinstance(event, PromptFinished):
                    self.strikes = 0
            case PromptFailed() | PromptRefused() | PromptRemoved() | PromptLost():
                assert event.attempt == self.live, f"of another attempt than the live one: {event}"
                self.live = 0
                self.strikes += isinstance(event, PromptLost) and event.running
            case ImageKept():
                assert (event.attempt, self.done) == (self.live, True), f"a file of an attempt that gave none: {event}"
            case _:
                pass

    @property
    def is_free(self) -> bool:
        """Whether no attempt may give files any more."""
        return not self.live or (self.done and self.again)

    def _leave(self, event: PromptMoved) -> None:
        assert (event.attempt, event.backend) == (self.live, self.backends[self.live]), f"left twice: {event}"
        assert not self.strikes or event.reason not in {"away", "person"}, f"a suspect walks on: {event}"
        self.strays[self.live] = event.backend
        self.live = 0
        self.strikes += event.running

    def _end_stray(self, event: StrayEnded) -> None:
        assert self.strays.pop(event.attempt, None) == event.backend, f"no stray: {event}"
        if event.outcome == "used":
            assert self.is_free, f"two attempts give files: {event}"
            self.live, self.done, self.again, self.strikes = event.attempt, True, False, 0
        else:
            assert event.files == ()


def attempts_of(events: Iterable[Event]) -> dict[tuple[str, int], Attempts]:
    """The attempts of each prompt by the log. Raises AssertionError where two are live, a number is begun twice, an
    image gets a file of an attempt that had none to give, or a suspect goes from one backend to the next.
    """
    found: dict[tuple[str, int], Attempts] = {}
    for event in events:
        batch, prompt = getattr(event, "batch_id", ""), getattr(event, "prompt", 0)
        again = {BatchReopened: "render", ImageLost: "prompts"}.get(type(event), "")
        for index in getattr(event, again, ()):
            found.setdefault((batch, index), Attempts()).again = True
        if isinstance(event, FilesTaken):  # the live attempt gives the files that were chosen
            assert found[batch, prompt].done
        elif prompt:
            found.setdefault((batch, prompt), Attempts()).take(event)
    return found


def check_attempts(events: Iterable[Event], rows: Iterable[Row]) -> None:
    """The rows say of each attempt what the log says of it."""
    told = attempts_of(events)
    for row in rows:
        if not isinstance(row, PromptRow):
            continue
        attempts = told.get((row.batch_id, row.index), Attempts())
        assert row.next_attempt == attempts.begun + 1
        assert {stray.attempt: stray.backend for stray in row.strays} == attempts.strays
        assert bool(row.strikes) == bool(attempts.strikes)
        assert not (row.at_comfyui or row.state == "finished") or row.attempt == attempts.live


def check_fold(ledger: PlainLedger) -> None:
    """The log alone makes these rows, whether a fold loads everything or only what each event touches."""
    rows = {each: row for each, row in ledger.rows.items() if not isinstance(row, TemplateRow)}
    assert folded(ledger.log, narrow=True) == rows
    assert folded(ledger.log, narrow=False) == rows
