"""Reads Server-Sent Events as a browser does. (WHATWG HTML, 9.2.6)"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp


class Sent(NamedTuple):
    """One event that was dispatched. `last_id` is the id that a browser would send to continue after it."""

    kind: str
    data: Any
    last_id: str


class EventStream:
    """The events of one answer, and the last id that it gave."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.last_id = ""
        self.comments = 0

    async def next(self, timeout_s: float = 20.0) -> Sent:
        """The next event. Raises EOFError at the end of the stream."""
        async with asyncio.timeout(timeout_s):
            while True:
                fields: dict[str, str] = {}
                async for line in self._lines():
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                self.last_id = fields.get("id", self.last_id)
                if fields.get("data"):
                    return Sent(fields.get("event", "message"), json.loads(fields["data"]), self.last_id)

    async def _lines(self) -> AsyncIterator[str]:
        while line := await self.answer.content.readline():
            if line == b"\n":
                return
            if line.startswith(b":"):
                self.comments += 1
            else:
                yield line.decode().rstrip("\n")
        raise EOFError


@asynccontextmanager
async def follow(
    session: aiohttp.ClientSession, url: str, token: str, last_id: str = "", **headers: str
) -> AsyncIterator[EventStream]:
    """A stream from `url`, which must be answered with 200."""
    sent = {"Accept": "text/event-stream", "Authorization": f"Bearer {token}", **headers}
    if last_id:
        sent["Last-Event-ID"] = last_id
    timeout = aiohttp.ClientTimeout(total=None)
    async with session.get(url, headers=sent, timeout=timeout) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["Content-Type"] == "text/event-stream"
        yield EventStream(answer)
