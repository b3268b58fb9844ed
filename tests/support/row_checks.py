"""What is true of the rows of a ledger at any time, whatever has happened."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from comfyledger.core.events import BatchRequested, ImageAdded, ImageRenumbered, SeriesOpened, SeriesRaised
from comfyledger.core.evolve.transitions import COUNT
from comfyledger.core.rows import UNOPENED, BatchRow, ImageRow, PromptRow, SeriesRow, TemplateRow
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


def check_fold(ledger: PlainLedger) -> None:
    """The log alone makes these rows, whether a fold loads everything or only what each event touches."""
    rows = {each: row for each, row in ledger.rows.items() if not isinstance(row, TemplateRow)}
    assert folded(ledger.log, narrow=True) == rows
    assert folded(ledger.log, narrow=False) == rows
