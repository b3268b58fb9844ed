"""Which prompt of ours ComfyUI runs, since when, and whether it ran when the socket closed.

Nothing here waits or calls: the watcher passes on what it received and found, with the loop's time. ComfyUI runs one
prompt at a time and sends messages about it only to its client, so a prompt that begins replaces the one before.
Nothing of this outlives the daemon: after its restart no prompt counts as seen running.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeVar

from comfyledger.comfyui.answers import HistoryEntry
from comfyledger.comfyui.messages import (
    Executing,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    Message,
    Progress,
)

FALLEN_KEPT: Final = 64
STOPPED_KEPT: Final = 64

T = TypeVar("T")


class Running:
    """What one server is seen running. `prompt_id`: empty if nothing. `timeout_s`: how long a prompt may run."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self.prompt_id = ""
        self._since_s = 0.0
        self._fallen: OrderedDict[str, float] = OrderedDict()
        self._stopped: OrderedDict[str, bool] = OrderedDict()

    def hears(self, message: Message, now_s: float) -> None:
        match message:
            case ExecutionStart() | Executing(node=str()) | Progress():
                self.starts(message.prompt_id, now_s)
            case ExecutionSuccess() | ExecutionError() | ExecutionInterrupted() | Executing():
                self.ends(message.prompt_id)
            case _:
                pass

    def starts(self, prompt_id: str, now_s: float) -> None:
        """A prompt is seen running. If it ran when the socket closed, it has been running since then."""
        if prompt_id != self.prompt_id:
            self.prompt_id, self._since_s = prompt_id, self._fallen.pop(prompt_id, now_s)

    def ends(self, prompt_id: str) -> None:
        if prompt_id == self.prompt_id:
            self.prompt_id = ""

    def fell(self) -> None:
        """The socket has closed, and perhaps the server has ended too: a lookup finds out."""
        if self.prompt_id:
            remember(self._fallen, self.prompt_id, self._since_s, FALLEN_KEPT)
            self.prompt_id = ""

    def was(self, prompt_id: str) -> bool:
        """Whether a prompt that is gone was running by the last message about it."""
        return prompt_id in self._fallen or prompt_id == self.prompt_id

    def fell_with(self, prompt_id: str) -> bool:
        """Whether a prompt ran when the socket closed, and was not heard of since."""
        return prompt_id in self._fallen

    # ---- too long

    def overdue(self, now_s: float) -> str | None:
        """The prompt that has run too long, unless it is handled already."""
        due = self.prompt_id and self.prompt_id not in self._stopped and now_s - self._since_s >= self._timeout_s
        return self.prompt_id if due else None

    def stop(self, prompt_id: str, *, asked: bool) -> None:
        """The overdue prompt is handled. `asked`: the server was asked to end it; else it may finish."""
        remember(self._stopped, prompt_id, asked, STOPPED_KEPT)

    def was_stopped(self, prompt_id: str, entry: HistoryEntry | None = None) -> bool:
        """Whether we ended it.

        A prompt that ran too long and that this run of the daemon did not end was ended by an earlier run.
        """
        return self._stopped.get(prompt_id, entry is not None and entry.ran_s >= self._timeout_s)


def remember(kept: OrderedDict[str, T], prompt_id: str, value: T, most: int) -> None:
    """Keep a value of a prompt, and at most `most` values: the oldest are dropped."""
    kept[prompt_id] = value
    while len(kept) > most:
        kept.popitem(last=False)
