"""Rounds in which the daemon and other clients render with one ComfyUI in turns, and what each used for an image.

What ComfyUI used is measured beside what the client used: a client that asks less spares the ComfyUI.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from statistics import median
from typing import Final, NamedTuple, Protocol

from processes import ComfyUI, Used, used_by

FIRST: Final = 10
"""Images of each client before the first round, which are not measured."""


class Client(Protocol):
    """Renders images with the ComfyUI. Returns how many a second."""

    async def rendered_per_second(self, images: int) -> float: ...


class Round(NamedTuple):
    """One round of one client. `calls` are what ComfyUI was asked for, all images together, by kind."""

    images: int
    rate: float
    client: Used
    comfyui: Used
    calls: Counter[str]

    @property
    def cpu_ms(self) -> float:
        return 1_000 * self.client.run_s / self.images

    @property
    def user_ms(self) -> float:
        return 1_000 * self.client.user_s / self.images

    @property
    def system_ms(self) -> float:
        return 1_000 * self.client.system_s / self.images

    @property
    def comfyui_ms(self) -> float:
        return 1_000 * self.comfyui.run_s / self.images

    @property
    def voluntary(self) -> float:
        return self.client.voluntary / self.images

    @property
    def involuntary(self) -> float:
        return self.client.involuntary / self.images

    @property
    def written_kib(self) -> float:
        return self.client.written_bytes / self.images / 1_024


class Rounds:
    """All rounds of one client. Its figures are medians, for one image."""

    def __init__(self) -> None:
        self._all: list[Round] = []

    def add(self, one: Round) -> None:
        self._all.append(one)

    def of(self, figure: str) -> float:
        """The median of a property of the rounds."""
        return median(getattr(one, figure) for one in self._all)

    @property
    def calls(self) -> float:
        return sum(self.calls_by_kind.values())

    @property
    def calls_by_kind(self) -> dict[str, float]:
        """The most frequent first."""
        every: Counter[str] = sum((one.calls for one in self._all), Counter())
        images = sum(one.images for one in self._all)
        return {kind: count / images for kind, count in every.most_common()}


async def in_turns(
    comfyui: ComfyUI, clients: Mapping[str, tuple[Client, int]], images: int, rounds: int
) -> dict[str, Rounds]:
    """The rounds of each client. A client comes with the process that does its work. The order alternates."""
    for client, _ in clients.values():
        await client.rendered_per_second(min(images, FIRST))
    found = {name: Rounds() for name in clients}
    for number in range(rounds):
        for name in list(clients)[:: 1 if number % 2 == 0 else -1]:
            found[name].add(await _round(comfyui, *clients[name], images))
    return found


async def _round(comfyui: ComfyUI, client: Client, pid: int, images: int) -> Round:
    entries = (await _requests(comfyui, 0))[1]
    before, theirs = used_by(pid), used_by(comfyui.pid)
    rate = await client.rendered_per_second(images)
    client_used, comfyui_used = used_by(pid).since(before), used_by(comfyui.pid).since(theirs)
    calls, _ = await _requests(comfyui, entries)
    return Round(images, rate, client_used, comfyui_used, calls)


async def _requests(comfyui: ComfyUI, after: int) -> tuple[Counter[str], int]:
    """Nothing of a real ComfyUI, which keeps no ledger of what it was asked."""
    return (Counter(), 0) if comfyui.control is None else await asyncio.to_thread(comfyui.requests, after)
