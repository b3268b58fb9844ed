"""A repeated submit_batch gets its first reply again, from the ledger alone.

Nothing that would refuse it now matters: configuration, stores, ComfyUI, a limit, a right that was removed, a check
that an earlier release did not make. A request first goes the usual way, and only a refused one is searched here, so
that new requests cost nothing more.
"""

from __future__ import annotations

from typing import Final

import msgspec

from comfyledger import wire
from comfyledger.admission.admit import request_digests
from comfyledger.comfyui.graph import checks
from comfyledger.comfyui.graph import read as graphs
from comfyledger.core.decide.commands import conflict
from comfyledger.core.events import BatchRequested
from comfyledger.core.results import Accepted
from comfyledger.core.rows import BatchRow, RequestRow
from comfyledger.errors import Refused
from comfyledger.ledger.eventlog import decode
from comfyledger.ledger.ports import ImageFilter, Reader
from comfyledger.queries import serialize
from comfyledger.queries.dependencies import Dependencies
from comfyledger.wire.strict import check_once

_OF_THE_CALLER: Final = frozenset({"rate_limited", "unauthorized", "not_running"})
"""Refusals that do not depend on the request: the caller may not ask now, or the daemon is stopping."""


_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)


class _Asked(msgspec.Struct):
    """The fields that identify a request. A dry run does not count, because it leaves the request_id unused."""

    request_id: str
    dry_run: bool = False


_asked: Final = msgspec.json.Decoder(_Asked)


async def instead_of(refusal: Refused, context: Dependencies, label: str, raw: bytes) -> wire.BatchAccepted:
    """The first reply to the request in `raw`. Raises `refusal` if it had none, Refused(request_id_conflict)."""
    repeated = None if refusal.code in _OF_THE_CALLER else await answered_before(context, label, raw)
    if repeated is None:
        raise refusal
    return repeated


async def answered_before(context: Dependencies, label: str, raw: bytes) -> wire.BatchAccepted | None:
    """The first reply to the request in `raw`; None if it had none. Raises Refused(request_id_conflict)."""
    row = None if _is_ambiguous(raw) else await _used(context.reader, label, raw)
    batch = None if row is None else await context.reader.batch(row.batch_id)
    if row is None or batch is None:
        return None
    try:
        digests = request_digests(raw, context.view.secret)
    except _UNREADABLE:
        return None
    if row.digest not in digests:
        raise conflict(row.request_id).below("$.data")
    return await _answered(context, batch)


def _is_ambiguous(raw: bytes) -> bool:
    """Whether a key stands twice: then nobody can say which request this repeats."""
    try:
        check_once(raw.decode())
    except (Refused, UnicodeError):
        return True
    return False


async def found_in(reader: Reader, batch_id: str) -> str:
    """What was found in the workflow of a batch, from the log; empty if its graph is forgotten."""
    lines = await reader.page(after=0, limit=1, stream=batch_id)
    event = decode(lines[0].kind, lines[0].schema, lines[0].data) if lines else None
    if not isinstance(event, BatchRequested):
        return ""
    template = (await reader.texts([event.template])).get(event.template)
    if template is None:
        return ""
    found = graphs.describe(msgspec.convert(event.plan, graphs.Plan), msgspec.json.decode(template))
    return f"{found} · {checks.UNCHECKED}" if event.unchecked else found


async def _used(reader: Reader, label: str, raw: bytes) -> RequestRow | None:
    try:
        asked = _asked.decode(raw)
    except _UNREADABLE:
        return None
    return None if asked.dry_run else await reader.request(label, asked.request_id)


async def _answered(context: Dependencies, batch: BatchRow) -> wire.BatchAccepted:
    images = await context.reader.images(ImageFilter(batch_id=batch.batch_id, limit=batch.images))
    given = tuple(image.named for image in images if image.index <= batch.asked_for)
    media = tuple(output.medium for output in batch.every_output)
    accepted = Accepted(batch.batch_id, batch.position, given, repeated=True, media=media)
    return serialize.accepted(accepted, context.view.epoch, await found_in(context.reader, batch.batch_id))
