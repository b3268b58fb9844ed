"""A real HTTP server that receives webhooks: it takes, refuses, hangs, redirects or answers slowly, as a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from aiohttp import web

from comfyledger.core.webhooks import signature, signing_key

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Received(NamedTuple):
    """A request as it came, and whether it was taken."""

    path: str
    id: str
    body: dict[str, Any]
    is_signed: bool
    taken: bool

    @property
    def kind(self) -> str:
        return str(self.body["type"])

    @property
    def position(self) -> int:
        return int(self.body["data"]["event"]["position"])

    @property
    def stream(self) -> str:
        return str(self.body["data"]["event"]["stream"])


Answer = Callable[[Received], web.Response | None]
"""What a request gets; None if it is taken."""


class Receiver:
    """`answer` decides; `hangs` holds every request until it is cleared."""

    def __init__(self, url: str = "", secret: str = SECRET) -> None:
        self.url, self.secret = url, secret
        self.received: list[Received] = []
        self.answer: Answer = lambda _: None
        self.free = asyncio.Event()
        self.free.set()

    @property
    def taken(self) -> list[Received]:
        return [one for one in self.received if one.taken]

    @property
    def kinds(self) -> list[str]:
        """Of what was taken, each event once."""
        return [one.kind for one in {one.id: one for one in self.taken}.values()]

    def fails(self, status: int, **headers: str) -> None:
        self.answer = lambda _: web.Response(status=status, headers=headers)

    def works(self) -> None:
        self.answer = lambda _: None

    async def take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        named = request.headers
        expected = signature(signing_key(self.secret), named["webhook-id"], int(named["webhook-timestamp"]), raw)
        is_signed = named["webhook-signature"] == expected
        one = Received(request.path, named["webhook-id"], json.loads(raw), is_signed, taken=False)
        place, answer = len(self.received), self.answer(one)
        self.received.append(one)
        await self.free.wait()
        self.received[place] = one._replace(taken=answer is None)
        return answer or web.Response(status=200, text="ok")


@asynccontextmanager
async def receiving(secret: str = SECRET) -> AsyncIterator[Receiver]:
    """A receiver at a free loopback port."""
    receiver = Receiver(secret=secret)
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        receiver.free.set()
        with suppress(asyncio.CancelledError):
            await runner.cleanup()
