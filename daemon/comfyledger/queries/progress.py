"""Progress and previews, from the watchers to subscriptions. Never logged, and dropped if there are too many."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from comfyledger import wire
from comfyledger.comfyui.messages import Preview, Progress
from comfyledger.core.rows import BatchRow
from comfyledger.core.scheduling.effects import FollowPrompt


class Listener(msgspec.Struct, frozen=True):
    """One subscription that wants progress. `send` takes a type and its data and must not block.

    `label`: None for progress of all labels.
    """

    subscription: str
    batch_id: str | None
    user_key: str | None
    previews: bool
    send: Callable[[str, wire.Answer], None]
    label: str | None = None


class Pushes:
    """What one client gets unasked, as far as it keeps up. If `most` frames wait, the oldest is dropped."""

    def __init__(self, most: int) -> None:
        self._waiting: deque[bytes] = deque(maxlen=most)
        self._has_some = asyncio.Event()

    def put(self, frame: bytes) -> None:
        self._waiting.append(frame)
        self._has_some.set()

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send until cancelled, or until `send` raises."""
        while True:
            await self._has_some.wait()
            self._has_some.clear()
            while self._waiting:
                await send(self._waiting.popleft())


class ProgressFeed:
    """Receives progress from the watchers. `abouts` says which batch a prompt is of; `batch` gives an open batch."""

    def __init__(self, batch: Callable[[str], BatchRow | None]) -> None:
        self._listeners: set[Listener] = set()
        self._batch = batch
        self.abouts: list[Mapping[str, FollowPrompt]] = []

    def add(self, listener: Listener) -> None:
        self._listeners.add(listener)

    def remove(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def wants_previews(self, batch_id: str) -> bool:
        """Whether somebody watches the pictures of this batch now."""
        return any(listener.previews for listener in self._listeners_of(batch_id))

    def progress(self, prompt_id: str, news: Progress) -> None:
        for about, listener in self._receivers(prompt_id):
            step = wire.Progress(
                listener.subscription,
                about.batch_id,
                about.prompt,
                list(about.images),
                news.node,
                news.value,
                news.max,
            )
            listener.send("progress", step)

    def preview(self, prompt_id: str, picture: Preview) -> None:
        receivers = [(about, listener) for about, listener in self._receivers(prompt_id) if listener.previews]
        if not receivers:
            return
        encoded = base64.b64encode(picture.image).decode()
        for about, listener in receivers:
            frame = wire.Preview(
                listener.subscription, about.batch_id, about.prompt, list(about.images), picture.mime, encoded
            )
            listener.send("preview", frame)

    def _receivers(self, prompt_id: str) -> list[tuple[FollowPrompt, Listener]]:
        about = next((found[prompt_id] for found in self.abouts if prompt_id in found), None)
        return [(about, listener) for listener in self._listeners_of(about.batch_id)] if about is not None else []

    def _listeners_of(self, batch_id: str) -> list[Listener]:
        if not self._listeners:
            return []
        batch = self._batch(batch_id)
        user, label = (batch.user_key, batch.label) if batch is not None else (None, "")
        return [
            listener
            for listener in self._listeners
            if listener.batch_id in {None, batch_id}
            and listener.user_key in {None, user}
            and listener.label in {None, label}
        ]
