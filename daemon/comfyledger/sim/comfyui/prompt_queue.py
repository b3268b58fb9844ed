"""The queue, the history and the jobs of the stand-in: where a prompt is, in ComfyUI's own shapes.

Kept in memory and lost with the process, as ComfyUI's are. A prompt moves from pending to running to history in one
step each, and every such step is told to `changed`. Nothing is executed here.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any, Final

import msgspec

HISTORY_MAX: Final = 10_000


class Item(msgspec.Struct, frozen=True):
    """One prompt as it was posted. Of two the one with the smaller number runs first."""

    number: float
    prompt_id: str
    graph: dict[str, Any]
    extra: dict[str, Any]
    outputs: list[str]

    def row(self) -> list[Any]:
        """As `/queue` and `/history` show it."""
        return [self.number, self.prompt_id, self.graph, self.extra, self.outputs]


class Ended(msgspec.Struct, frozen=True):
    """What a prompt left behind; `messages` are those that `/history` repeats."""

    outputs: dict[str, Any]
    meta: dict[str, Any]
    messages: list[tuple[str, dict[str, Any]]]

    @property
    def last(self) -> str:
        """The type of the last message, which says how the prompt ended."""
        return self.messages[-1][0]


class PromptQueue:
    """`changed` is called with the number of prompts that are pending or running."""

    def __init__(self, changed: Callable[[int], None]) -> None:
        self._changed = changed
        self._arrived = asyncio.Event()
        self._pending: list[tuple[float, int, Item]] = []
        self._running: Item | None = None
        self._history: dict[str, tuple[Item, Ended]] = {}
        self._tickets = 0
        self._numbers = 0

    @property
    def remaining(self) -> int:
        """How many prompts are pending or running."""
        return len(self._pending) + (self._running is not None)

    def next_number(self, front: bool) -> int:
        """The number of a prompt that did not bring its own."""
        number = -self._numbers if front else self._numbers
        self._numbers += 1
        return number

    def put(self, item: Item) -> None:
        """Let a prompt wait its turn."""
        self._tickets += 1
        heapq.heappush(self._pending, (item.number, self._tickets, item))
        self._arrived.set()
        self._changed(self.remaining)

    async def wait(self) -> None:
        """Until something is pending."""
        while not self._pending:
            self._arrived.clear()
            await self._arrived.wait()

    def take(self) -> Item | None:
        """The next prompt, which runs from now on; None when it was removed meanwhile."""
        if not self._pending:
            return None
        self._running = heapq.heappop(self._pending)[2]
        self._changed(self.remaining)
        return self._running

    def finish(self, item: Item, ended: Ended) -> None:
        """Put the prompt that ran into the history, in the place of an older one of the same id."""
        self._history.pop(item.prompt_id, None)
        self._history[item.prompt_id] = (item, ended)
        if len(self._history) > HISTORY_MAX:
            del self._history[next(iter(self._history))]
        self._running = None
        self._changed(self.remaining)

    def delete(self, prompt_id: str) -> bool:
        """Remove a pending prompt, without a trace; whether there was one."""
        kept = [entry for entry in self._pending if entry[2].prompt_id != prompt_id]
        if len(kept) == len(self._pending):
            return False
        self._pending = kept
        heapq.heapify(self._pending)
        # ComfyUI says so twice (recordings `delete_pending` and `interrupt`), but once when all are removed.
        self._changed(self.remaining)
        self._changed(self.remaining)
        return True

    def clear(self) -> list[str]:
        """Remove all pending prompts, without a trace; which those were."""
        removed = [item.prompt_id for _, _, item in self._pending]
        self._pending.clear()
        self._changed(self.remaining)
        return removed

    def forget(self) -> None:
        """Lose everything, as a restart does."""
        self._pending.clear()
        self._history.clear()
        self._running = None
        self._numbers = 0

    @property
    def running(self) -> list[str]:
        """The prompt that runs now, if one does."""
        return [self._running.prompt_id] if self._running else []

    def is_running(self, prompt_id: str) -> bool:
        """Whether this is the prompt that runs now."""
        return self._running is not None and self._running.prompt_id == prompt_id

    def delete_history(self, prompt_id: str) -> None:
        """Forget one finished prompt; its files stay."""
        self._history.pop(prompt_id, None)

    def clear_history(self) -> None:
        """Forget all finished prompts; their files stay."""
        self._history.clear()

    def queue(self) -> dict[str, Any]:
        """What `GET /queue` answers."""
        running = [self._running.row()] if self._running else []
        return {"queue_running": running, "queue_pending": [e[2].row() for e in sorted(self._pending)]}

    def history(self, prompt_id: str | None = None) -> dict[str, Any]:
        """What `GET /history` answers, or `GET /history/{prompt_id}`."""
        wanted = list(self._history) if prompt_id is None else [prompt_id]
        return {key: _history_entry(*self._history[key]) for key in wanted if key in self._history}

    def job(self, prompt_id: str) -> dict[str, Any] | None:
        """What `GET /api/jobs/{prompt_id}` answers; None when it is unknown."""
        if self.is_running(prompt_id) and self._running:
            return _job("in_progress", self._running) | {"outputs_count": 0}
        for _, _, item in self._pending:
            if item.prompt_id == prompt_id:
                return _job("pending", item) | {"outputs_count": 0}
        found = self._history.get(prompt_id)
        return _finished_job(*found) if found else None


def _history_entry(item: Item, ended: Ended) -> dict[str, Any]:
    return {"prompt": item.row(), "outputs": ended.outputs, "status": _status(ended), "meta": ended.meta}


def _status(ended: Ended) -> dict[str, Any]:
    completed = ended.last == "execution_success"
    return {
        "status_str": "success" if completed else "error",
        "completed": completed,
        "messages": ended.messages,
    }


def _job(status: str, item: Item) -> dict[str, Any]:
    return {
        "id": item.prompt_id,
        "status": status,
        "priority": item.number,
        "create_time": item.extra["create_time"],
        "workflow": {"prompt": item.graph, "extra_data": item.extra},
    }


def _finished_job(item: Item, ended: Ended) -> dict[str, Any]:
    words = {"execution_success": "completed", "execution_interrupted": "cancelled"}
    files = [
        file | {"nodeId": node_id, "mediaType": key}
        for node_id, output in ended.outputs.items()
        for key, listed in output.items()
        for file in listed
        if isinstance(file, dict)
    ]
    saved = [file for file in files if file["type"] == "output"]
    job = _job(words.get(ended.last, "failed"), item) | {
        "execution_start_time": ended.messages[0][1]["timestamp"],
        "execution_end_time": ended.messages[-1][1]["timestamp"],
        "outputs_count": len(files),
        "previewable_outputs_count": len(files),
        "outputs": ended.outputs,
        "execution_status": _status(ended),
    }
    if files:
        job["preview_output"] = (saved or files)[0]
    if ended.last == "execution_error":
        job["execution_error"] = ended.messages[-1][1]
    return job
