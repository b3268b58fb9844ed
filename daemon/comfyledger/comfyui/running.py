"""Which prompt of ours ComfyUI is at, since when, and whether it was at it when its socket fell.

Nothing here waits or calls: the watcher says what it heard and found, with the loop's time, and asks. ComfyUI runs one
prompt at a time and tells of it only the client that sent it, so what is heard to begin takes the place of the one
before. Nothing of this outlives the daemon: after its own restart nobody was seen running, and nobody is blamed.
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
    """What one server is seen running. `timeout_s`: how long a prompt may run."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._prompt_id = ""
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
        """A prompt is seen running. One that outlived the fall of a socket has been running all the time."""
        if prompt_id != self._prompt_id:
            self._prompt_id, self._since_s = prompt_id, self._fallen.pop(prompt_id, now_s)

    def ends(self, prompt_id: str) -> None:
        if prompt_id == self._prompt_id:
            self._prompt_id = ""

    def fell(self) -> None:
        """The socket has ended, and perhaps the server with it: a lookup will say."""
        if self._prompt_id:
            remember(self._fallen, self._prompt_id, self._since_s, FALLEN_KEPT)
            self._prompt_id = ""

    def was(self, prompt_id: str) -> bool:
        """Whether a prompt that is gone was running when it was last heard of."""
        return prompt_id in self._fallen or prompt_id == self._prompt_id

    # ---- too long

    def overdue(self, now_s: float) -> str | None:
        """The prompt that has run too long, unless that was dealt with."""
        due = self._prompt_id and self._prompt_id not in self._stopped and now_s - self._since_s >= self._timeout_s
        return self._prompt_id if due else None

    def stop(self, prompt_id: str, *, asked: bool) -> None:
        """The overdue prompt is dealt with. `asked`: the server was asked to end it, else it must be let finish."""
        remember(self._stopped, prompt_id, asked, STOPPED_KEPT)

    def was_stopped(self, prompt_id: str, entry: HistoryEntry | None = None) -> bool:
        """Whether we ended it.

        One that nobody dealt with here, and that ran too long all the same, an earlier run of the daemon has ended.
        """
        return self._stopped.get(prompt_id, entry is not None and entry.ran_s >= self._timeout_s)


def remember(kept: OrderedDict[str, T], prompt_id: str, value: T, most: int) -> None:
    """Keep a value of a prompt, and at most so many in all: the oldest go."""
    kept[prompt_id] = value
    while len(kept) > most:
        kept.popitem(last=False)
