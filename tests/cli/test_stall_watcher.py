"""A watched batch without progress shows why, once for each reason."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from comfyledger import wire
from comfyledger.cli.ui.batch_progress import BatchProgress
from comfyledger.cli.ui.progress_view import JsonScreen, LineScreen, Screen
from comfyledger.cli.ui.stall_watcher import StallWatcher
from comfyledger.errors import Refused
from support.waiting import DEADLINE_S

BATCH = "01JD0000000000000000ABCDEF"
DOWN = wire.OwedInfo("render", "not_reached", "ComfyUI main does not work. It goes on by itself.", lane="backend/main")
PAUSED = wire.OwedInfo("render", "paused", "Everything was paused by a person.", "comfyledger resume everything")
AT_WORK = wire.OwedInfo("render", "at_comfyui", "ComfyUI main has it, queued or at work.")
BROKEN = wire.OwedInfo("decide", "broken", "It could not be rendered (broken).", f"comfyledger retry {BATCH}")


class Asked:
    """Answers `explain` with one situation after the other; the last one stays."""

    def __init__(self, *situations: list[wire.OwedInfo]) -> None:
        self.times = 0
        self._next: Iterator[list[wire.OwedInfo]] = itertools.chain(situations, itertools.repeat(situations[-1]))

    async def explain(self, batch_id: str) -> Any:
        self.times += 1
        if self.times == 1:
            raise Refused("not_running")
        return wire.Explanation("batch", "e1", [], next(self._next))


async def told(asked: Asked, times: int) -> list[list[str]]:
    """What was said while the daemon was asked so many times."""
    said: list[list[str]] = []

    def say(reasons: Sequence[wire.OwedInfo]) -> None:
        said.append([one.code for one in reasons])

    quiet = StallWatcher(asked, BATCH, say, quiet_s=0.001)  # type: ignore[arg-type]
    running = asyncio.create_task(quiet.run())
    async with asyncio.timeout(DEADLINE_S):
        while asked.times < times:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return said


async def test_a_reason_is_said_once_until_it_changes() -> None:
    asked = Asked([DOWN], [DOWN], [DOWN, PAUSED], [], [DOWN])
    assert await told(asked, 9) == [["not_reached"], ["not_reached", "paused"], [], ["not_reached"]]


async def test_work_that_is_in_hand_and_what_was_told_already_are_no_reasons() -> None:
    assert await told(Asked([AT_WORK, BROKEN]), 5) == []


@pytest.mark.parametrize(
    ("screen", "line"),
    [
        (LineScreen(), "00ABCDEF  0/0  waits: Everything was paused by a person. Continue with: comfyledger resume"),
        (JsonScreen(), '{"type": "waits", "data": {"batch_id": "01JD0000000000000000ABCDEF", "owed": [{"what"'),
    ],
)
def test_every_screen_says_why(screen: Screen, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    screen.waits(BatchProgress(BATCH), [PAUSED])
    assert line in capsys.readouterr().out
