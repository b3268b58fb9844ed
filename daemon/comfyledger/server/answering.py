"""What the websocket and HTTP do with a request once it is read: the same checks, the same code, the same answers."""

from __future__ import annotations

from typing import Final

import structlog

from comfyledger import wire
from comfyledger.admission import dispatch, repeats
from comfyledger.errors import Refused
from comfyledger.server import access
from comfyledger.server.app_keys import Context
from comfyledger.server.tokens import Caller

DEFAULT_LABEL: Final = "default"
"""The label of a client that names itself in no way."""

_OF_OTHERS: Final = frozenset({"unknown_batch", "unknown_image", "unknown_position", "input_missing"})
"""Refusals of a box that does not know yet what another box of its fleet has just accepted. It looks once more."""

log = structlog.get_logger("comfyledger.door")


async def answer(context: Context, caller: Caller, label: str, message: wire.Message, raw: bytes) -> wire.Answer:
    """The answer to a request that is not about a connection, or the first answer to one that is repeated.

    `context`: limited to what the caller may see. `raw`: the request as it was read. Raises Refused.
    """
    context.access.check_still(caller)
    try:
        return await _answer(context, caller, label, message, raw)
    except Refused as refusal:
        if refusal.code not in _OF_OTHERS or not await context.engine.caught_up():
            raise
    return await _answer(context, caller, label, message, raw)


async def _answer(context: Context, caller: Caller, label: str, message: wire.Message, raw: bytes) -> wire.Answer:
    try:
        await access.check_request(caller, message, context.reader)
        return await dispatch.answer(context, label, message, raw)
    except Refused as refusal:
        if not isinstance(message, wire.SubmitBatch):
            raise
        return await repeats.instead_of(refusal, context, label, raw)


async def answer_unread(context: Context, caller: Caller, label: str, refusal: Refused, raw: bytes) -> wire.Answer:
    """The first answer to a submit_batch that cannot be read, if it was accepted under other limits or by another
    release. Raises `refusal` if it was not.
    """
    context.access.check_still(caller)
    return await repeats.instead_of(refusal, context, label, raw)


def unexpected(kind: str, label: str) -> Refused:
    """The refusal for an exception that nobody expected, which is logged. Called while it is handled."""
    log.exception("request.failed", type=kind, label=label)
    return Refused("internal")
