"""Answers that take long: streams of events, and waiting for a batch.

Each holds its connection. They count as websockets do, and end when the client leaves, its token is revoked or the
daemon stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Final

from aiohttp import web

from comfyledger.server.app_keys import HELD, Client, check_room
from comfyledger.server.tokens import Caller

GONE_S: Final = 2.0
"""How often it is checked whether the client is still there."""


async def hold(request: web.Request, caller: Caller, work: Coroutine[None, None, None]) -> None:
    """Run what keeps a connection for long. Raises what `work` raises, Refused(busy)."""
    try:
        check_room(request.app, caller)
    except BaseException:
        work.close()
        raise
    held = request.app[HELD]
    task = asyncio.create_task(work)
    held[task] = Client(caller, request)
    try:
        while not (await asyncio.wait({task}, timeout=GONE_S))[0]:
            if request.transport is None or request.transport.is_closing():
                task.cancel()
        if not task.cancelled():
            task.result()
    finally:
        task.cancel()
        del held[task]
