"""Answers of the daemon that reach the web page late: a test keeps them back, and says when they go on."""

from __future__ import annotations

import json

from playwright.async_api import Page, WebSocketRoute

from support.waiting import until


class LateAnswers:
    """Stands between a page and its daemon. Made with `between`, before the page connects."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        """Of the events that went on to the page."""
        self.requests: list[str] = []
        """The types of the requests of the page."""
        self._late: set[str] = set()
        self._asked: dict[str | int, str] = {}
        self._kept: list[tuple[WebSocketRoute, str]] = []

    @classmethod
    async def between(cls, page: Page) -> LateAnswers:
        made = cls()
        await page.route_web_socket("**/ws", made._connect)
        return made

    def keep(self, *types: str) -> None:
        """Keep the answers to requests of these types from now on, and what is kept already."""
        self._late = set(types)

    async def kept(self, count: int = 1) -> None:
        """Wait until at least so many answers are kept."""
        await until(lambda: len(self._kept) >= count, f"{count} answers to {self._late} have come")

    async def heard(self, kind: str) -> None:
        """Wait until an event of this kind went on to the page."""
        await until(lambda: kind in self.kinds, f"the event {kind} went on")

    def release(self) -> None:
        """Let what was kept go on, and all that follows."""
        self._late = set()
        for socket, text in self._kept:
            socket.send(text)
        self._kept.clear()

    def _connect(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def asked(text: str | bytes) -> None:
            frame = json.loads(text)
            self._asked[frame["id"]] = frame["type"]
            self.requests.append(frame["type"])
            server.send(text)

        def answered(text: str | bytes) -> None:
            frame = json.loads(text)
            is_answer = frame.get("id") is not None and frame["type"] in {"result", "error"}
            if is_answer and self._asked.get(frame["id"]) in self._late:
                self._kept.append((socket, str(text)))
                return
            socket.send(text)
            if frame["type"] == "event":
                self.kinds.append(frame["data"]["kind"])

        socket.on_message(asked)
        server.on_message(answered)
