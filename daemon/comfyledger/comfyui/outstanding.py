"""A prompt whose end the watcher awaits, and how it ended."""

from __future__ import annotations

import asyncio

import msgspec

from comfyledger.comfyui.answers import HistoryEntry


class Ending(msgspec.Struct, frozen=True):
    """How a prompt left ComfyUI. `entry` is None if it is gone; `restarted`: the server may not be the same one.

    `heard`: the entry is what the socket said; nobody has looked at the history. `running`: it was seen running when
    the server went away. `timed_out`: it ran too long and was cancelled.
    """

    entry: HistoryEntry | None
    restarted: bool = False
    running: bool = False
    timed_out: bool = False
    heard: bool = False


class Outstanding:
    """A prompt whose end is awaited.

    `connection`: under which one it was sent, 0 if not known. `there_at`: when it was last known not to have ended.
    """

    __slots__ = ("connection", "future", "heard", "there_at")

    def __init__(self, connection: int, there_at: float, heard: float) -> None:
        self.connection = connection
        self.there_at = there_at
        self.heard = heard
        self.future: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
