"""Frames that all subscribers share: their bytes are the frame's own, and nothing that can be forgotten is kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from comfyledger import wire
from comfyledger.ledger.eventlog import Line
from comfyledger.queries.subscription import FRAMES_KEPT_MAX, Cursor, Filter, FrameCache, frames_for

WORDS = "a" * 64


class Standing:
    """What a cursor needs of an engine."""

    epoch = "e1"


def line(position: int, data: str) -> Line:
    return Line(position, "b1", "prompt_failed", 1, 5, data, b"")


def cursor(frames: FrameCache, name: str = "s1") -> Cursor:
    return Cursor(frames_for(name), Standing(), None, frames, 0, Filter())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["s1", "s123456"])
async def test_a_shared_frame_is_the_frame_that_each_would_have_been_sent(name: str) -> None:
    frames = FrameCache()
    data = '{"batch_id":"b1","text":"\\u00e9 \\" subscription"}'
    for who in ("s9", name):
        frame = await cursor(frames, who)._frame(line(7, data))
    event = wire.LoggedEvent(name, "e1", 7, "prompt_failed", 5, "b1", msgspec.Raw(data.encode()))
    assert frame == wire.frame("event", event)
    assert frames.get(7) is not None


async def test_an_event_with_words_is_read_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter(({WORDS: "out of memory"}, {}))

    async def texts_of(*_: Any) -> dict[str, str]:
        return next(told)

    monkeypatch.setattr("comfyledger.queries.subscription.texts_of", texts_of)
    frames = FrameCache()
    failed = line(8, f'{{"words":"{WORDS}"}}')
    assert b"out of memory" in await cursor(frames)._frame(failed)
    assert b"out of memory" not in await cursor(frames)._frame(failed)
    assert frames.get(8) is None


def test_only_the_newest_are_kept() -> None:
    frames = FrameCache()
    for position in range(FRAMES_KEPT_MAX + 10):
        frames.put(position, b"")
    assert [position for position in range(12) if frames.get(position) is not None] == [10, 11]
