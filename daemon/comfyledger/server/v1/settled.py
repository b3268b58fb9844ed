"""Waiting for a batch: until it is settled, or as long as the caller asked for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from aiohttp import web

from comfyledger import wire
from comfyledger.admission import dispatch
from comfyledger.errors import Refused
from comfyledger.queries.subscription import Cursor, Filter, frames_for
from comfyledger.server.app_keys import Context
from comfyledger.server.tokens import Caller
from comfyledger.server.v1.held import hold

ENDED: Final = frozenset({"settled", "cancelled"})
"""Statuses of a batch whose images have all come to an end."""


class _Found(Exception):
    """The event has come."""


async def settled(
    request: web.Request, context: Context, caller: Caller, batch_id: str, wait_s: float, *, is_new: bool
) -> wire.BatchInfo:
    """The batch once it is settled, or as it is after `wait_s`. Raises Refused(unknown_batch, busy, unauthorized).

    `is_new`: accepted by this very request. Without room to wait, or if the token is revoked meanwhile, it is shown as
    it was accepted: a refusal would deny that.
    """
    wanted = Filter(batch_id=batch_id, kinds=frozenset({"batch_settled"}))
    cursor = Cursor(frames_for(""), context.view, context.reader, context.event_frames, context.view.position, wanted)
    batch = await _now(context, batch_id)
    if batch.status in ENDED:
        return batch
    try:
        await hold(request, caller, _wait(cursor, wait_s))
        context.access.check_still(caller)
    except Refused as refusal:
        if is_new and refusal.code in {"busy", "unauthorized"}:
            return batch
        raise
    return await _now(context, batch_id)


async def _wait(cursor: Cursor, wait_s: float) -> None:
    with suppress(_Found, TimeoutError):
        async with asyncio.timeout(wait_s):
            await cursor.run(_end)


async def _end(frame: bytes) -> None:
    raise _Found


async def _now(context: Context, batch_id: str) -> wire.BatchInfo:
    answer = await dispatch.answer(context, "", wire.GetBatch(batch_id), b"")
    assert isinstance(answer, wire.BatchInfo)  # noqa: S101 (as RESULTS says)
    return answer
