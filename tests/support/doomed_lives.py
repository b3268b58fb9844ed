"""A daemon that is killed at named places, life after life, while an app goes on with the same request.

What the app was told over all lives is kept, and compared with the log at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable

from websockets.exceptions import WebSocketException

from support.processes import Doomed, House
from support.waiting import until
from support.wire_app import App, Frame

GONE = (OSError, EOFError, WebSocketException)
GoOn = Callable[[App], Awaitable[None]]
"""What the app does in each life: it sends its request again, and whatever else it wants."""


class Seen:
    """What the app was told, over all lives of the daemon."""

    def __init__(self) -> None:
        self.replies: list[Frame] = []
        self.events: list[Frame] = []
        self.epoch: str | None = None

    async def subscribe(self, app: App) -> None:
        """The events after the last one that it has."""
        subscribed = await app.ask("subscribe", after=len(self.events), epoch=self.epoch)
        self.epoch = subscribed["epoch"]

    def check_replies(self) -> None:
        """The same answer every time, but for the word that it is a repetition."""
        same = [{key: value for key, value in reply.items() if key != "repeated"} for reply in self.replies]
        assert all(reply == same[0] for reply in same)


async def die(house: House, place: str, seen: Seen, go_on: GoOn) -> None:
    """One life: an app uses the daemon until it is killed."""
    house.daemon = doomed = Doomed(house, place)
    doomed.start()
    await until(lambda: doomed.is_open() or doomed.exit_code() is not None, "the daemon opens its door or ends")
    if doomed.exit_code() is None:
        using = asyncio.create_task(use(house, seen, go_on))
        await until(lambda: doomed.exit_code() is not None, f"the daemon dies at {place}")
        using.cancel()
        await asyncio.gather(using, return_exceptions=True)
    assert doomed.exit_code() == -signal.SIGKILL, doomed.last_words()


async def use(house: House, seen: Seen, go_on: GoOn) -> None:
    with contextlib.suppress(*GONE):
        async with house.app("app") as app:
            try:
                await go_on(app)
                await asyncio.Event().wait()
            finally:
                seen.events += app.events


async def last_life(house: House, seen: Seen, go_on: GoOn) -> Frame:
    """The daemon lives on: the batch comes to its end."""
    house.daemon = Doomed(house)
    await house.daemon.begin()
    async with house.app("app") as app:
        await go_on(app)

        def is_settled() -> bool:
            """Now, or in an earlier life."""
            return any(event["kind"] == "batch_settled" for event in (*seen.events, *app.events))

        await until(is_settled, "the batch is settled")
        seen.events += app.events
        return await app.batch(seen.replies[-1]["batch_id"])
