"""What each ComfyUI has done since the daemon's start, counted in memory from what was committed.

Nothing of this is read from the ledger, and it begins at 0 with each start.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Final

import msgspec

from comfyledger.core.rows import PromptRow
from comfyledger.ledger.observers import Committed
from comfyledger.metrics import ATTEMPTS

WINDOW_S: Final = 3_600
_MINUTE_S: Final = 60
NAMES_MAX: Final = 1_000
"""Of ComfyUIs."""


class _About(msgspec.Struct):
    """Which prompt an event is about, and which backend if it says so."""

    batch_id: str
    prompt: int
    backend: str = ""


_DECODE: Final = msgspec.json.Decoder(_About).decode


class _Done:
    """What one ComfyUI has done."""

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.images = 0
        self.minutes: deque[list[int]] = deque()
        """Minutes of the last hour, each with its images; at most 61."""

    def count_image(self, now_s: float) -> None:
        self.images += 1
        minute = int(now_s // _MINUTE_S)
        while self.minutes and not _is_recent(self.minutes[0][0], now_s):
            self.minutes.popleft()
        if not self.minutes or self.minutes[-1][0] != minute:
            self.minutes.append([minute, 0])
        self.minutes[-1][1] += 1


class Throughput:
    """An observer of commits. `prompt`: the row of a prompt that is not done. `steady_s`: a clock that only goes on.

    Names come and go: those that were used longest ago are forgotten.
    """

    def __init__(self, prompt: Callable[[str, int], PromptRow | None], steady_s: Callable[[], float]) -> None:
        self._prompt, self._steady_s = prompt, steady_s
        self._began_s = steady_s()
        self._done: OrderedDict[str, _Done] = OrderedDict()

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
                self._of(prompt.backend).count_image(self._steady_s())
            else:
                self._of(prompt.backend).ended[ATTEMPTS[line.kind]] += 1

    def _of(self, backend: str) -> _Done:
        if (found := self._done.get(backend)) is None:
            found = self._done[backend] = _Done()
        self._done.move_to_end(backend)
        if len(self._done) > NAMES_MAX:
            self._done.popitem(last=False)
        return found

    def ended(self, backend: str) -> dict[str, int]:
        """How many runs ended there, by outcome, each outcome included."""
        counts = self._done.get(backend, _Done()).ended
        return {outcome: counts.get(outcome, 0) for outcome in ATTEMPTS.values()}

    def images(self, backend: str) -> int:
        """How many files came from there."""
        return self._done.get(backend, _Done()).images

    def images_per_hour(self, backend: str) -> float:
        """From the files of the last hour, to a minute, or since the start if that is less than an hour ago."""
        now_s, done = self._steady_s(), self._done.get(backend, _Done())
        images = sum(images for minute, images in done.minutes if _is_recent(minute, now_s))
        return images * WINDOW_S / min(WINDOW_S, max(1.0, now_s - self._began_s))


def _is_recent(minute: int, now_s: float) -> bool:
    return (minute + 1) * _MINUTE_S > now_s - WINDOW_S
