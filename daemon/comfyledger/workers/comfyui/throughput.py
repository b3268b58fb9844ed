"""What each ComfyUI has done since the daemon's start, counted in memory from what was committed.

Nothing of this is read from the ledger, and it begins at 0 with each start.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Final

import msgspec

from comfyledger.core.rows import PromptRow
from comfyledger.ledger.observers import Committed
from comfyledger.metrics import ATTEMPTS

WINDOW_S: Final = 3_600
_MINUTE_S: Final = 60


class _About(msgspec.Struct):
    """Which prompt an event is about."""

    batch_id: str
    prompt: int


_DECODE: Final = msgspec.json.Decoder(_About).decode


class Throughput:
    """An observer of commits. `prompt`: the row of a prompt that is not done. `steady_s`: a clock that only goes on."""

    def __init__(self, prompt: Callable[[str, int], PromptRow | None], steady_s: Callable[[], float]) -> None:
        self._prompt, self._steady_s = prompt, steady_s
        self._began_s = steady_s()
        self._ended: dict[str, Counter[str]] = defaultdict(Counter)
        self._minutes: dict[str, deque[list[int]]] = defaultdict(deque)
        """By backend: minutes of the last hour, each with its images; at most 61."""

    def __call__(self, committed: Committed) -> None:
        for line in committed.lines:
            if line.kind not in ATTEMPTS and line.kind != "image_kept":
                continue
            about = _DECODE(line.data)
            row = committed.rows.get(("prompt", about.batch_id, about.prompt))
            prompt = row if isinstance(row, PromptRow) else self._prompt(about.batch_id, about.prompt)
            if prompt is None or not prompt.backend:
                continue
            if line.kind == "image_kept":
                self._count_image(prompt.backend)
            else:
                self._ended[prompt.backend][ATTEMPTS[line.kind]] += 1

    def ended(self, backend: str) -> dict[str, int]:
        """How many runs ended there, by outcome, each outcome included."""
        counts = self._ended.get(backend, Counter[str]())
        return {outcome: counts.get(outcome, 0) for outcome in ATTEMPTS.values()}

    def images_per_hour(self, backend: str) -> float:
        """From the files of the last hour, to a minute, or since the start if that is less than an hour ago."""
        now_s = self._steady_s()
        images = sum(images for minute, images in self._minutes.get(backend, ()) if self._is_recent(minute, now_s))
        return images * WINDOW_S / min(WINDOW_S, max(1.0, now_s - self._began_s))

    def _count_image(self, backend: str) -> None:
        now_s = self._steady_s()
        minutes, minute = self._minutes[backend], int(now_s // _MINUTE_S)
        while minutes and not self._is_recent(minutes[0][0], now_s):
            minutes.popleft()
        if not minutes or minutes[-1][0] != minute:
            minutes.append([minute, 0])
        minutes[-1][1] += 1

    def _is_recent(self, minute: int, now_s: float) -> bool:
        return (minute + 1) * _MINUTE_S > now_s - WINDOW_S
