"""Input files: taken in from a client or from a server, listed, and given up. A file is durable before its event is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.commands import AddInput, ForgetInput
from comfyledger.core.decide.inputs import missing
from comfyledger.core.inputs import InputRow
from comfyledger.core.media import medium_of
from comfyledger.errors import ComfyledgerError, Refused
from comfyledger.ledger.ports import InputFilter
from comfyledger.queries.dependencies import Dependencies
from comfyledger.workers.inputs.room import NoRoom
from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.media.media_file import ProvedFile
from comfyledger.workers.spool.files import NoPlace

PREFIX: Final = "sha256:"
_NAME: Final = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)
_CURSOR: Final = re.compile(r"([0-9]{1,15})-([0-9a-f]{64})")
_HINTS: Final = {
    "empty": "Send the bytes of the file as the body.",
    "unknown_kind": "Give its name with an extension, or send a file of a known kind.",
    "truncated": "Send the whole file again.",
    "too_many_pixels": "Make it smaller, or raise [spool] pixels_max.",
    "poison": "Report the file: no check of a file should stop the daemon.",
}
"""By the reason why a file is refused."""
_SAVE_AGAIN: Final = "Open the file in the program that made it, and save it again."


# ---- in


class _Adding:
    """A client that adds a file."""

    def __init__(self, context: Dependencies, label: str) -> None:
        self._context = context
        self._label = label

    async def knows(self, sha256: str) -> bool:
        row = await self._context.reader.input(sha256, self._label)
        return row is not None and row.is_usable and self._label in row.labels

    async def record(self, file: ProvedFile) -> wire.InputInfo:
        about = (file.sha256, file.size_bytes, file.extension, file.width, file.height, file.checked)
        command = AddInput(self._label, *about, box=self._context.fleet.own)
        known = await self._context.engine.command(command)
        return wire.InputInfo(
            PREFIX + file.sha256,
            file.size_bytes,
            file.extension,
            medium_of(file.extension),
            file.width,
            file.height,
            new=known.new,
        )


async def check_room(context: Dependencies, size_bytes: int) -> None:
    """Before a file is sent, as far as that is known then; `size_bytes` is 0 if it is not.

    Raises Refused(input_too_large, storage_full).
    """
    if context.view.shortage is not None:
        raise context.view.shortage.refusal()
    try:
        await context.inputs.check_room(size_bytes)
    except (Broken, NoRoom) as error:
        raise _refusal(error) from error


async def add(context: Dependencies, label: str, chunks: AsyncIterator[bytes], named: str) -> wire.InputInfo:
    """Take a file in. Raises Refused(input_broken, input_too_large, inputs_full, storage_full), or as `chunks` does."""
    try:
        return await context.inputs.add(chunks, named, _Adding(context, label))
    except (Broken, NoRoom, NoPlace) as error:
        raise _refusal(error) from error


async def fetch(context: Dependencies, label: str, message: wire.AddInput) -> wire.InputInfo:
    """Take a file in from a server. Raises as `add` does, and Refused(invalid_field, url_not_allowed, url_failed)."""
    await check_room(context, 0)
    async with context.input_fetcher.fetched(message.url) as file:
        await check_room(context, file.size_bytes)
        return await add(context, label, file.chunks, file.named)


def _refusal(error: ComfyledgerError | Broken) -> Refused:
    match error:
        case Broken(reason="too_large"):
            return Refused("input_too_large", error.sentence, hint="Make it smaller, or raise [inputs] bytes_max.")
        case Broken(reason=reason):
            return Refused("input_broken", f"{reason}: {error.sentence}", hint=_HINTS.get(reason, _SAVE_AGAIN))
        case NoRoom(is_quota=True):
            hint = "Give up what is not needed with `comfyledger input forget`, or raise [inputs] quota_bytes."
            return Refused("inputs_full", str(error), hint=hint)
        case NoPlace():
            hint = "Free space on the disk of the inputs, or repair it, and repeat the request."
            return Refused("storage_full", f"The disk did not take the file: {error}.", hint=hint)
        case _:
            hint = "Free space on it, or lower [spool] free_min_bytes, and repeat the request."
            return Refused("storage_full", str(error), hint=hint)


# ---- lists


async def list_inputs(context: Dependencies, message: wire.ListInputs) -> wire.Inputs:
    """Raises Refused(invalid_field) if `before` is no cursor."""
    rows = await context.reader.inputs(InputFilter(before=_cursor(message.before), limit=message.limit + 1))
    shown, more = rows[: message.limit], len(rows) > message.limit
    cursor = f"{shown[-1].added_ms}-{shown[-1].sha256}" if more else ""
    return wire.Inputs([_info(row) for row in shown], more=more, next_cursor=cursor)


def _cursor(before: str | None) -> tuple[int, str] | None:
    if before is None:
        return None
    found = _CURSOR.fullmatch(before)
    if found is None:
        hint = "Give the `next_cursor` of the page before."
        raise Refused("invalid_field", "`before` must be a cursor.", hint=hint, path="$.data.before")
    return int(found[1]), found[2]


def _info(row: InputRow) -> wire.InputInfo:
    return wire.InputInfo(
        PREFIX + row.sha256,
        row.size_bytes,
        row.extension,
        medium_of(row.extension),
        row.width,
        row.height,
        labels=list(row.labels),
        added_at_ms=row.added_ms,
    )


# ---- out


async def forget_input(context: Dependencies, label: str, message: wire.ForgetInput) -> wire.InputInfo:
    """For the label alone, or for all labels that are shown. Raises Refused(input_missing)."""
    named = _NAME.fullmatch(message.input)
    if named is None:
        text = f"{message.input[:100]!r} names no input file."
        raise Refused("input_missing", text, hint="`comfyledger input list` shows them.", path="$.data.input")
    sha256 = named[1].lower()
    row = await context.reader.input(sha256)
    if row is None:  # one that comes just now stays
        raise missing(sha256).at("$.data.input")
    labels = row.every_label if message.all_labels else (label,)
    try:
        await context.engine.command(ForgetInput(label, sha256, labels))
    except Refused as refusal:
        raise refusal.at("$.data.input") from refusal
    return _info(replace(row, labels=tuple(one for one in row.labels if one not in labels)))
