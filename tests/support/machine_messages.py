"""What the state machine says and reads: who asks for what, what workers report, and rows in the model's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfyledger.core.commands import SubmitBatch
from comfyledger.core.media import Medium
from comfyledger.core.naming.names import Templates, series_of
from comfyledger.core.output_files import by_output
from comfyledger.core.reports import Report
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, SeriesRow
from comfyledger.core.scheduling.effects import (
    CancelPrompt,
    DeleteImage,
    Effect,
    FetchPrompt,
    FollowPrompt,
    SubmitPrompt,
    UploadImage,
)
from support.core_builders import (
    accepted,
    deleted,
    failed,
    gone,
    interrupted,
    kept,
    refused,
    stuck,
    unwanted,
    uploaded,
    wrote,
)
from support.ledger_builders import raw, rows_in

AREG, MARA = "areg/opal", "mara/opal"
SPELLED = {
    ("Areg", "Opal Fever"): AREG,
    ("areg", "opal fever"): AREG,
    ("AREG", "OPAL  FEVER"): AREG,
    ("Mara", "Opal Fever"): MARA,
    ("mara", "Opal fever"): MARA,
}
IMAGES: tuple[Medium, ...] = ("image",)
BOTH: tuple[Medium, ...] = ("image", "video")


def named(series: str, media: tuple[Medium, ...]) -> tuple[str, ...]:
    """What the machine calls the series of the outputs of a batch."""
    return tuple(series if medium == "image" else f"{series}, {medium}" for medium in media)


KEYS = {
    series_of(Templates(), *who, True, medium).key: name
    for who, series in SPELLED.items()
    for medium, name in zip(BOTH, named(series, BOTH), strict=True)
}
STORE_HOLDS = {name: holds for series, holds in ((AREG, 0), (MARA, 57)) for name in named(series, BOTH)}
"""Only Mara's series ask the stores before their first number."""
STATES = "SELECT batch_id, image, state FROM images"


def said(effect: Effect, way: str, path: Path) -> list[Report]:
    """What a worker reports of a call that went out, and how it went. `path`: of the ledger."""
    if way == "stuck":
        return [stuck(effect.lane)]
    match effect:
        case UploadImage(image=image, store=store):
            make = unwanted if way == "refused" else uploaded
            return [make(image.index, store, batch=image.batch_id)]
        case DeleteImage(image=image, store=store):
            return [deleted(image.index, store, batch=image.batch_id, found=way == "well")]
        case SubmitPrompt(batch_id=batch, prompt=prompt, attempt=attempt):
            ends: dict[str, Any] = {"refused": refused, "fails": failed, "removed": gone}
            return [ends.get(way, accepted)(prompt, attempt, batch=batch)]
        case FollowPrompt(batch_id=batch, prompt=prompt, attempt=attempt):
            return [followed(way, prompt, attempt, files_expected(effect, path), batch)]
        case FetchPrompt(batch_id=batch, prompt=prompt, attempt=attempt):
            if way in {"fails", "miscounted"}:
                return [failed(prompt, attempt, "file_missing", batch=batch)]
            shares = by_output(images_of(effect, path), effect.files)
            images = [index for share in shares for index, _ in share.pairs]
            return [kept(*images, prompt=prompt, attempt=attempt, batch=batch)]
        case CancelPrompt():
            return []
        case _:
            raise TypeError(type(effect).__name__)


def images_of(effect: FollowPrompt | FetchPrompt, path: Path) -> list[ImageRow]:
    rows = rows_in(path)
    images = [rows["image", effect.batch_id, index] for index in effect.images]
    return [image for image in images if isinstance(image, ImageRow)]


def files_expected(effect: FollowPrompt, path: Path) -> list[int]:
    """How many files each output gives, if the attempt was asked for it."""
    prompt = rows_in(path)["prompt", effect.batch_id, effect.prompt]
    assert isinstance(prompt, PromptRow)
    outputs = [image.output for image in images_of(effect, path)]
    asked = prompt.as_attempt(effect.attempt).outputs or tuple(outputs)
    return [outputs.count(number) if number in asked else 0 for number in range(1, max(outputs) + 1)]


def followed(way: str, prompt: int, attempt: int, files: list[int], batch: str) -> Report:
    about: Any = {"prompt": prompt, "attempt": attempt, "batch": batch}
    match way:
        case "fails":
            return failed(prompt, attempt, batch=batch)
        case "interrupted":
            return interrupted(prompt, attempt, batch=batch)
        case "removed":
            return gone(prompt, attempt, batch=batch)
        case "lost":
            return gone(prompt, attempt, restarted=True, batch=batch)
        case "miscounted":
            return wrote(files=[count + 1 for count in files], **about)
        case "half" if len(files) > 1 and files[0]:
            return wrote(files=[files[0], *[0] * (len(files) - 1)], code="execution_error", **about)
        case _:
            return wrote(files=files, **about)


def raising_after(follow: Any, bad: SubmitBatch) -> Any:
    """What stands in for the ledger's `follow`: it raises once the events of the bad one are chained."""

    def follow_and_raise(recorded: Any, state: Any) -> Any:
        lines = follow(recorded, state)
        if any(getattr(entry.event, "batch_id", "") == bad.batch_id for entry in recorded):
            raise ZeroDivisionError
        return lines

    return follow_and_raise


def at_a_glance(path: Path) -> tuple[dict[tuple[str, int], str], set[str]]:
    """The states of all images, and which batches are held."""
    connection = raw(path)
    images = {(batch_id, index): state for batch_id, index, state in connection.execute(STATES)}
    held = {batch_id for (batch_id,) in connection.execute("SELECT batch_id FROM batches WHERE status = 'held'")}
    connection.close()
    return images, held


def in_series(path: Path) -> list[SeriesRow]:
    """The series that this machine knows, but for the one that stands for all others."""
    return [row for row in rows_in(path).values() if isinstance(row, SeriesRow) and row.key in KEYS]


def snapshot(path: Path) -> dict[str, Any]:
    """The rows in the words of the model."""
    rows = rows_in(path).values()
    images = [row for row in rows if isinstance(row, ImageRow)]
    return {
        "next": {KEYS[row.key]: row.next for row in rows if isinstance(row, SeriesRow) and row.key in KEYS},
        "numbers": {(row.batch_id, row.index): row.number for row in images},
        "images": {(row.batch_id, row.index): row.state for row in images},
        "held": {row.batch_id for row in rows if isinstance(row, BatchRow) and row.held},
        "settled": {row.batch_id for row in rows if isinstance(row, BatchRow) and row.settled},
        "paused": {row.name for row in rows if isinstance(row, LaneRow) and row.person},
    }
